// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Configuration space as bytes, for the model.
extension TwinState {
    /// Writes the registers that the twin models into an image of configuration space, as far as the image reaches.
    func patch(_ config: inout ConfigSpace, _ device: Int32) {
        guard config.hasHeader else { return }
        let known = facts[device]
        let held = registers[device]
        config.write(UInt32(held.command), at: 0x04, width: 2)
        if known.physicalFunction == none {
            let bars = known.headerLayout == 1 ? 2 : known.headerLayout == 0 ? 6 : 0
            for bar in 0..<bars where known.bars[bar].kind != .none {
                if let value = readRegister(device, at: 0x10 + 4 * bar) {
                    config.write(value, at: 0x10 + 4 * bar, width: 4)
                }
            }
            let rom = known.headerLayout == 1 ? 0x38 : 0x30
            if known.hasROM, let value = readRegister(device, at: rom) { config.write(value, at: rom, width: 4) }
        }
        if known.headerLayout == 1 {
            for offset in [0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x3c] {
                guard let value = readRegister(device, at: offset) else { continue }
                switch offset {
                case 0x1c: config.write(value, at: offset, width: 2)
                case 0x3c: config.write(value >> 16, at: 0x3e, width: 2)
                default: config.write(value, at: offset, width: 4)
                }
            }
            config.write(UInt32(held.primary), at: 0x18, width: 1)
            config.write(UInt32(held.secondary), at: 0x19, width: 1)
            config.write(UInt32(held.subordinate), at: 0x1a, width: 1)
        }
        for bar in 0..<6 where known.bars[bar].resizable != 0 {
            let offset = Int(known.bars[bar].resizeControl)
            guard let old = config.long(offset) else { continue }
            let exponent = UInt32(max(held.sizes[bar].trailingZeroBitCount - 20, 0))
            config.write(old & ~0x3f00 | exponent << 8, at: offset, width: 4)
        }
        patchCapabilities(&config, device)
    }

    private func patchCapabilities(_ config: inout ConfigSpace, _ device: Int32) {
        let known = facts[device]
        let held = registers[device]
        let capabilities = Capabilities(config)
        if let express = capabilities.express, known.forwardsARI {
            let offset = Int(express.offset) + 0x28
            let old = config.word(offset) ?? 0
            config.write(UInt32(old & ~0x20 | (held.ariForwarding ? 0x20 : 0)), at: offset, width: 2)
        }
        if let express = capabilities.express, express.isSlotImplemented, known.firstChild != none {
            // Presence Detect State: the card is there whether the kernel knows it or not (PCIe 6.0 §7.5.3.11).
            let offset = Int(express.offset) + 0x1a
            config.write(UInt32((config.word(offset) ?? 0) | 0x40), at: offset, width: 2)
        }
        guard let sriov = capabilities.sriov, known.totalVFs > 0 else { return }
        let offset = Int(sriov.offset)
        let control = (config.word(offset + 8) ?? 0) & ~0x19
        let bits: UInt16 = (held.vfEnabled ? 9 : 0) | (held.vfARI ? 0x10 : 0)
        config.write(UInt32(control | bits), at: offset + 8, width: 2)
        config.write(UInt32(held.numVFs), at: offset + 0x10, width: 2)
        for bar in 0..<6 {
            let kind = known.vfBARs[bar].kind
            guard kind == .memory32 || kind == .memory64 else { continue }
            let low = UInt32(truncatingIfNeeded: held.vfBARs[bar]) | known.vfBARs[bar].flags & 0xf
            config.write(low, at: offset + 0x24 + 4 * bar, width: 4)
            if kind == .memory64 {
                config.write(UInt32(truncatingIfNeeded: held.vfBARs[bar] >> 32), at: offset + 0x28 + 4 * bar, width: 4)
            }
        }
    }

    /// An image for a function that was never read: header and the capabilities that the twin knows of.
    func blankConfig(_ device: Int32) -> ConfigSpace {
        let known = facts[device]
        var config = ConfigSpace([UInt8](repeating: 0, count: known.isExpress ? 4096 : 256))
        // The ids of a VF read all ones (PCIe 6.0 §9.3.4.1.1).
        let ids = UInt32(known.vendor) | UInt32(known.device) << 16
        config.write(known.physicalFunction == none ? ids : .max, at: 0, width: 4)
        config.write(UInt32(known.revision) | known.classCode << 8, at: 8, width: 4)
        config.write(UInt32(known.headerLayout) | (known.isMultiFunction ? 0x80 : 0), at: 0x0e, width: 1)
        if known.headerLayout == 0 {
            config.write(UInt32(known.subsystemVendor) | UInt32(known.subsystemDevice) << 16, at: 0x2c, width: 4)
        }
        guard known.isExpress else { return config }
        config.write(0x10, at: 0x06, width: 2)
        config.write(0x40, at: 0x34, width: 1)
        config.write(0x0010, at: 0x40, width: 2)
        let leadsToSlot = known.portType == 4 || known.portType == 6
        config.write(2 | UInt32(known.portType) << 4 | (leadsToSlot ? 0x100 : 0), at: 0x42, width: 2)
        if known.isSlotHotPlug { config.write(0x40, at: 0x54, width: 4) }
        if known.forwardsARI { config.write(0x20, at: 0x64, width: 4) }
        var sections: [(offset: Int, id: UInt32)] = []
        if known.totalVFs > 0 { sections.append((0x100, 0x10)) }
        if known.hasARI { sections.append((0x150, 0x0e)) }
        let resizable = (0..<6).filter { known.bars[$0].resizable != 0 }
        if !resizable.isEmpty { sections.append((0x200, 0x15)) }
        // The first extended capability stands at 0x100 by definition; an empty one leads on to the others.
        if let first = sections.first, first.offset != 0x100 { sections.insert((0x100, 0x0b), at: 0) }
        for i in sections.indices {
            let next = i + 1 < sections.count ? UInt32(sections[i + 1].offset) : 0
            config.write(sections[i].id | 1 << 16 | next << 20, at: sections[i].offset, width: 4)
        }
        if known.totalVFs > 0 {
            config.write(UInt32(known.initialVFs) | UInt32(known.totalVFs) << 16, at: 0x10c, width: 4)
            config.write(UInt32(known.vfOffset) | UInt32(known.vfStride) << 16, at: 0x114, width: 4)
            config.write(UInt32(known.vfDevice) << 16, at: 0x118, width: 4)
            config.write(1, at: 0x120, width: 4)
        }
        for (i, bar) in resizable.enumerated() {
            let sizes = known.bars[bar].resizable
            config.write(UInt32(truncatingIfNeeded: sizes << 4), at: 0x204 + 8 * i, width: 4)
            let control = UInt32(bar) | UInt32(resizable.count) << 5 | UInt32(truncatingIfNeeded: sizes >> 28) << 16
            config.write(control, at: 0x208 + 8 * i, width: 4)
        }
        return config
    }
}
