// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// A machine at one moment of a plan, in thought: the twin, what it shows, and what never changes.
///
/// A value; the search branches by copying it.
struct Situation {
    let ground: Ground
    private(set) var simulation: TwinSimulation
    private(set) var glance: TwinGlance

    init(_ ground: Ground, _ simulation: TwinSimulation) {
        self.ground = ground
        self.simulation = simulation
        glance = simulation.twin.glance()
    }

    /// One part of a stage: writes that belong together.
    struct Part {
        /// What the part is for.
        enum Purpose: Hashable {
            case stop
            case find(Maneuver.Rescan)
            case heal
            case revive
            case decode
        }

        var purpose: Purpose
        var writes: [SystemWrite]
    }

    /// Carries out a stage part by part; `report` is told each part with the situation after it.
    ///
    /// - Parameters:
    ///   - maneuver: the stage.
    ///   - report: told of every part that has writes.
    /// - Returns: false when the twin refuses a write, or would be in doubt after it.
    mutating func carryOut(
        _ maneuver: Maneuver,
        report: ((Part, Situation) -> Void)? = nil
    ) -> Bool {
        let before = glance
        let silent = maneuver.silenced + (maneuver.usesResizeFiles ? [] : maneuver.resizes.map(\.function))
        let commands = Set(silent).sorted().compactMap { i in command(i).map { (function: i, bits: $0) } }
        var done = true
        /// Does a part, and looks at what came of it; a look is not free.
        func perform(_ part: Part, _ situation: inout Situation) {
            guard done, !part.writes.isEmpty else { return }
            done = situation.simulation.perform(part.writes)
            guard done else { return }
            situation.glance = situation.simulation.twin.glance()
            report?(part, situation)
        }
        let stopping = Part(purpose: .stop, writes: stopWrites(maneuver))
        if report != nil || maneuver.rescans.isEmpty {
            perform(stopping, &self)
        } else {
            // Nobody looks before the rescan.
            done = stopping.writes.isEmpty || simulation.perform(stopping.writes)
        }
        for (n, rescan) in maneuver.rescans.enumerated() where done {
            guard let found = findWrites(maneuver, rescan) else { return false }
            var writes = found
            if !maneuver.alignments.isEmpty {
                let texts = alignmentTexts(maneuver, before)
                if n == 0 { writes.insert(.resourceAlignment(texts.wanted), at: 0) }
                if n == maneuver.rescans.count - 1 { writes.append(.resourceAlignment(texts.usual)) }
            }
            // Registers that the rescan leaves behind are put right before anybody looks.
            done = simulation.perform(writes)
            guard done else { return false }
            glance = simulation.twin.glance()
            let healing = healWrites(maneuver, before)
            if !healing.isEmpty {
                done = simulation.perform(healing)
                glance = simulation.twin.glance()
            }
            if done { report?(Part(purpose: .find(rescan), writes: writes + healing), self) }
        }
        guard done else { return false }
        if maneuver.rescans.isEmpty { perform(Part(purpose: .heal, writes: healWrites(maneuver, before)), &self) }
        perform(Part(purpose: .revive, writes: revivalWrites(before)), &self)
        perform(Part(purpose: .decode, writes: commands.compactMap { decodeWrite($0.function, $0.bits) }), &self)
        return done
    }

    private func command(_ i: Int) -> UInt32? {
        simulation.twin.register(ofNumber: i, at: 4, width: 2)
    }

    /// Lets a function that nobody enabled again decode as it did before it was silenced.
    private func decodeWrite(_ i: Int, _ bits: UInt32) -> SystemWrite? {
        guard let address = address(i), let now = command(i) else { return nil }
        let missing = bits & 0x7 & ~now
        guard missing & 0x3 != 0 else { return nil }
        return .config(address, offset: 4, width: 2, mask: missing, value: missing)
    }

    /// The present address of a function, or nil while it is gone.
    func address(_ i: Int) -> FunctionAddress? { simulation.twin.address(ofNumber: i) }

    /// The number of the bus behind a bridge, or of a root bus, with its segment; nil while there is none.
    func bus(behind bridge: Int) -> (segment: UInt32, bus: BusNumber)? {
        guard bridge >= 0 else {
            let host = ground.topology.hostBridges[-1 - bridge]
            return (host.segment, host.rootBus)
        }
        guard let range = glance.buses[bridge], let address = address(bridge) else { return nil }
        return (address.segment, range.first)
    }

    // MARK: - Writes

    private func findWrites(_ maneuver: Maneuver, _ rescan: Maneuver.Rescan) -> [SystemWrite]? {
        switch rescan {
        case .bus(let behind):
            // Bus numbers of bridges that stay are those of before the stage.
            return bus(behind: behind).map { [.rescanBus(segment: $0.segment, bus: $0.bus)] }
        case .aboveBridge(let bridge): return address(bridge).map { [.rescanDevice($0)] }
        case .resizeFiles:
            var writes: [SystemWrite] = []
            for resize in maneuver.resizes {
                guard let address = address(resize.function) else { return nil }
                writes.append(.resizeBAR(address, bar: resize.bar, exponent: resize.exponent))
            }
            for i in maneuver.stopped where maneuver.resizes.contains(where: { $0.function == i && $0.isBound }) {
                guard let address = address(i) else { return nil }
                writes.append(.probeDriver(address))
            }
            return writes
        }
    }

    /// The text that grows BARs, with what was in force before the plan, and that by itself.
    private func alignmentTexts(_ maneuver: Maneuver, _ before: TwinGlance) -> (wanted: String, usual: String) {
        let usual = ground.topology.kernel.alignmentText
        let mine = maneuver.alignments.map { "\($0.order)@\(alignmentPath($0.function))" }
        return ((mine + (usual.isEmpty ? [] : [usual])).joined(separator: ";"), usual)
    }

    /// The function as `resource_alignment` names it: by its place, from the topmost bridge down.
    private func alignmentPath(_ i: Int) -> String { ground.topology.path(of: i).description }

    /// Writes that make window registers agree with what the kernel holds: for bridges that a plain rescan left behind
    /// (`__pci_bus_assign_resources` skips enabled ones), and for those that the stage is to heal.
    private func healWrites(_ maneuver: Maneuver, _ before: TwinGlance) -> [SystemWrite] {
        var writes: [SystemWrite] = []
        for i in 0..<ground.count where glance.isKnown[i] && glance.diverging[i] != 0 {
            guard glance.diverging[i] & ~before.diverging[i] != 0 || maneuver.heals.contains(i),
                let address = address(i)
            else { continue }
            for register in simulation.twin.windowRegisters(ofNumber: i) {
                let mask: UInt32 =
                    switch register.offset {
                    case 0x1c: 0xf0f0
                    case 0x20, 0x24: 0xfff0_fff0
                    default: .max
                    }
                let present = simulation.twin.register(ofNumber: i, at: register.offset, width: register.width) ?? 0
                guard (present ^ register.value) & mask != 0 else { continue }
                writes.append(
                    .config(
                        address,
                        offset: register.offset,
                        width: register.width,
                        mask: mask,
                        value: register.value & mask
                    )
                )
            }
            // A window that was closed when the bridge was enabled left its decode bit off (`pci_enable_resources`).
            var wanted: UInt32 = 0
            if glance.size(i, .ioWindow) > 0 { wanted |= 1 }
            if glance.size(i, .memoryWindow) > 0 || glance.size(i, .prefetchableWindow) > 0 { wanted |= 2 }
            let command = simulation.twin.register(ofNumber: i, at: 4, width: 2) ?? 0
            let missing = wanted & ~command
            if missing != 0, !writes.isEmpty {
                writes.append(.config(address, offset: 4, width: 2, mask: missing, value: missing))
            }
        }
        return writes
    }

    /// Writes that enable VFs again where there were some.
    private func revivalWrites(_ before: TwinGlance) -> [SystemWrite] {
        var writes: [SystemWrite] = []
        for i in 0..<ground.count where before.enabledVFs[i] > 0 && glance.isKnown[i] && glance.enabledVFs[i] == 0 {
            if let address = address(i) { writes.append(.sriovNumVFs(address, count: Int(before.enabledVFs[i]))) }
        }
        return writes
    }
}

extension KernelIdentity {
    /// What the command line puts into `/sys/bus/pci/resource_alignment`; empty without.
    var alignmentText: String {
        for word in (commandLine ?? "").split(separator: " ") where word.hasPrefix("pci=") {
            for option in word.dropFirst(4).split(separator: ",") where option.hasPrefix("resource_alignment=") {
                return String(option.dropFirst(19))
            }
        }
        return ""
    }
}
