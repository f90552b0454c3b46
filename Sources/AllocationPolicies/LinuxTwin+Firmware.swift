// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

// The registers as firmware left them.
extension LinuxTwin {
    /// Takes the registers of a function from an image of its configuration space, as if firmware had written them.
    ///
    /// What the kernel holds does not change: `TwinOperation.boot` is what follows. Sizes of BARs, capabilities and what is
    /// plugged in stay as the twin knows them.
    ///
    /// - Throws: `TwinError.noSuchFunction` when the kernel knows none at `address`; `TwinError.badArgument` for an image
    ///   without a whole header (64 bytes).
    public mutating func loadRegisters(of address: FunctionAddress, from config: ConfigSpace) throws(TwinError) {
        let device = try known(address)
        guard config.hasHeader else {
            throw TwinError(.badArgument, "expected the 64 bytes of a header for \(address), found \(config.count)")
        }
        let number = state.facts[device].original
        guard number != none else {
            throw TwinError(.badArgument, "expected a function that was read, \(address) was plugged in later")
        }
        var function = originals[Int(number)]
        function.config = config
        var held = state.registers[device]
        loadRegisters(function, state.facts[device], &held)
        state.registers[device] = held
        originals[Int(number)].config = config
    }

    /// The part of a reading that depends on register values alone.
    private func loadRegisters(_ function: Function, _ facts: FunctionFacts, _ held: inout FunctionRegisters) {
        let config = function.config
        held.command = config.command?.rawValue ?? 0
        let bars = facts.headerLayout == 1 ? 2 : facts.headerLayout == 0 ? 6 : 0
        for bar in 0..<bars {
            guard let low = config.long(0x10 + 4 * bar) else { continue }
            switch facts.bars[bar].kind {
            case .none, .upperHalf: continue
            case .io: held.bars[bar] = UInt64(low & ~3)
            case .memory32: held.bars[bar] = UInt64(low & ~0xf)
            case .memory64: held.bars[bar] = UInt64(low & ~0xf) | UInt64(config.long(0x14 + 4 * bar) ?? 0) << 32
            }
        }
        let rom = config.long(facts.headerLayout == 1 ? 0x38 : 0x30) ?? 0
        held.rom = UInt64(rom & 0xffff_f800)
        held.romEnabled = facts.hasROM && rom & 1 != 0
        if facts.headerLayout == 1 { readBridgeRegisters(config, &held) }
        let capabilities = Capabilities(config)
        held.ariForwarding = capabilities.express?.isARIForwardingEnabled ?? false
        guard let sriov = capabilities.sriov, facts.totalVFs > 0 else { return }
        for bar in 0..<min(6, sriov.barRegisters.count) {
            var value = UInt64(sriov.barRegisters[bar] & ~0xf)
            if facts.vfBARs[bar].kind == .memory64, bar + 1 < sriov.barRegisters.count {
                value |= UInt64(sriov.barRegisters[bar + 1]) << 32
            }
            held.vfBARs[bar] = value
        }
    }
}
