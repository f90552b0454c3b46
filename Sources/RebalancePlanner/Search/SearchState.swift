// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// A machine at one moment of a plan, in thought: the twin, what it shows, and what never changes.
///
/// A value; the search branches by copying it.
struct SearchState {
    let context: SearchContext
    private(set) var simulation: TwinSimulation
    private(set) var summary: TwinSummary
    /// Whether registers were written with windows that depend on what nobody could see: of a bridge above a port behind
    /// which functions may appear in the same rescan.
    private(set) var hasGuessedWindows = false

    /// - Parameters:
    ///   - context: what no stage changes.
    ///   - simulation: the machine.
    ///   - isStart: whether later states are held against this one.
    init(_ context: SearchContext, _ simulation: TwinSimulation, isStart: Bool = false) {
        self.context = context
        self.simulation = simulation
        summary = self.simulation.beginSummary(countsTouched: isStart)
    }

    /// The same moment in another context of the same tree.
    init(_ context: SearchContext, at other: SearchState) {
        self.context = context
        simulation = other.simulation
        summary = other.summary
    }

    /// One part of a stage: writes that belong together.
    struct Part {
        /// What the part is for.
        enum Purpose: Hashable {
            case stop
            case find(Stage.Rescan)
            case repairWindows
            case enableVFs
            case decode
        }

        var purpose: Purpose
        var writes: [SystemWrite]
    }

    /// Carries out a stage part by part; `report` is told each part with the search state after it.
    ///
    /// - Parameters:
    ///   - stage: the stage.
    ///   - report: told of every part that has writes.
    /// - Returns: false when the twin refuses a write, or would be in doubt after it, and where the kernel could take a
    ///   root bus for the bus of a bridge.
    mutating func carryOut(
        _ stage: Stage,
        report: ((Part, SearchState) -> Void)? = nil
    ) -> Bool {
        if !context.madeUpRootBuses.isEmpty, BusNumbering(self, for: []).meetsRootBus(stage) { return false }
        let before = summary
        func commands(_ functions: [Int]) -> [(function: Int, bits: UInt32)] {
            Set(functions).sorted().compactMap { i in command(i).map { (function: i, bits: $0) } }
        }
        let silent = commands(stage.silenced + (stage.usesResizeFiles ? [] : stage.resizes.map(\.function)))
        // The kernel switches memory decoding off where it grows a BAR (`pci_reassigndev_resource_alignment`); what decodes
        // below would not be reached.
        let deaf = commands(stage.alignments.map(\.function))
        var done = true
        /// Does a part, and looks at what came of it; a look is not free.
        func perform(_ part: Part, _ searchState: inout SearchState) {
            guard done, !part.writes.isEmpty else { return }
            done = searchState.simulation.perform(part.writes)
            guard done else { return }
            searchState.simulation.update(&searchState.summary)
            report?(part, searchState)
        }
        let stopping = Part(purpose: .stop, writes: stopWrites(stage))
        if report != nil || stage.rescans.isEmpty {
            perform(stopping, &self)
        } else {
            // Nobody looks before the rescan.
            done = stopping.writes.isEmpty || simulation.perform(stopping.writes)
        }
        for (n, rescan) in stage.rescans.enumerated() where done {
            guard let found = findWrites(stage, rescan) else { return false }
            var writes = found
            if !stage.alignments.isEmpty {
                let texts = alignmentTexts(stage, before)
                if n == 0 { writes.insert(.resourceAlignment(texts.wanted), at: 0) }
                if n == stage.rescans.count - 1 { writes.append(.resourceAlignment(texts.usual)) }
            }
            // Registers that the rescan leaves behind are put right before anybody looks.
            done = simulation.perform(writes)
            guard done else { return false }
            simulation.update(&summary)
            var healing = windowRepairWrites(stage, before)
            if !healing.isEmpty {
                let healed = Set(
                    healing.compactMap { if case .config(let address, _, _, _, _) = $0 { address } else { nil } }
                )
                hasGuessedWindows =
                    hasGuessedWindows
                    || (0..<context.count).contains { i in
                        context.isUnseenBelow[i] && address(i).map { healed.contains($0) } ?? false
                    }
                done = simulation.perform(healing)
                simulation.update(&summary)
            }
            if n == stage.rescans.count - 1 {
                let waking = deaf.compactMap { decodeWrite($0.function, $0.bits, before) }
                done = done && (waking.isEmpty || simulation.perform(waking))
                healing += waking
            }
            if done { report?(Part(purpose: .find(rescan), writes: writes + healing), self) }
        }
        guard done else { return false }
        if stage.rescans.isEmpty {
            perform(Part(purpose: .repairWindows, writes: windowRepairWrites(stage, before)), &self)
        }
        perform(Part(purpose: .enableVFs, writes: enableVFWrites(before)), &self)
        perform(Part(purpose: .decode, writes: silent.compactMap { decodeWrite($0.function, $0.bits, before) }), &self)
        return done
    }

    private func command(_ i: Int) -> UInt32? {
        simulation.twin.register(ofNumber: i, at: 4, width: 2)
    }

    /// Lets a function that nobody enabled again decode as it did before it was silenced.
    private func decodeWrite(_ i: Int, _ bits: UInt32, _ before: TwinSummary) -> SystemWrite? {
        // One that has lost the place of a BAR would decode what belongs to others.
        let lost = (summary.lacking[i] | summary.wiped[i]) & ~(before.lacking[i] | before.wiped[i])
        guard let address = address(i), let now = command(i), lost & 0x7f == 0 else { return nil }
        let missing = bits & 0x7 & ~now
        guard missing & 0x3 != 0 else { return nil }
        return .config(address, offset: 4, width: 2, mask: missing, value: missing)
    }

    /// The present address of a function, or nil while it is gone.
    func address(_ i: Int) -> FunctionAddress? { simulation.twin.address(ofNumber: i) }

    /// The number of the bus behind a bridge, or of a root bus, with its segment; nil while there is none.
    func bus(behind bridge: Int) -> (segment: UInt32, bus: BusNumber)? {
        guard bridge >= 0 else {
            let host = context.topology.hostBridges[-1 - bridge]
            return (host.segment, host.rootBus)
        }
        guard let range = summary.buses[bridge], let address = address(bridge) else { return nil }
        return (address.segment, range.first)
    }

    // MARK: - Writes

    private func findWrites(_ stage: Stage, _ rescan: Stage.Rescan) -> [SystemWrite]? {
        switch rescan {
        case .bus(let behind):
            // Bus numbers of bridges that stay are those of before the stage.
            return bus(behind: behind).map { [.rescanBus(segment: $0.segment, bus: $0.bus)] }
        case .aboveBridge(let bridge): return address(bridge).map { [.rescanDevice($0)] }
        case .resizeFiles:
            var writes: [SystemWrite] = []
            for resize in stage.resizes {
                guard let address = address(resize.function) else { return nil }
                writes.append(.resizeBAR(address, bar: resize.bar, exponent: resize.exponent))
            }
            for i in stage.stopped where stage.resizes.contains(where: { $0.function == i && $0.isBound }) {
                guard let address = address(i) else { return nil }
                writes.append(.probeDriver(address))
            }
            return writes
        }
    }

    /// The text that grows BARs, with what was in force before the plan, and that by itself.
    private func alignmentTexts(_ stage: Stage, _ before: TwinSummary) -> (wanted: String, usual: String) {
        let usual = context.topology.kernel.alignmentText
        let mine = stage.alignments.map { "\($0.order)@\(alignmentPath($0.function))" }
        return ((mine + (usual.isEmpty ? [] : [usual])).joined(separator: ";"), usual)
    }

    /// The function as `resource_alignment` names it: by its place, from the topmost bridge down.
    private func alignmentPath(_ i: Int) -> String { context.topology.path(of: i).description }

    /// Writes that make window registers agree with what the kernel holds: for bridges that a plain rescan left behind
    /// (`__pci_bus_assign_resources` skips enabled ones), and for those that the stage is to heal.
    private func windowRepairWrites(_ stage: Stage, _ before: TwinSummary) -> [SystemWrite] {
        var writes: [SystemWrite] = []
        for i in 0..<context.count where summary.isKnown[i] && summary.diverging[i] != 0 {
            guard summary.diverging[i] & ~before.diverging[i] != 0 || stage.repairedBridges.contains(i),
                let address = address(i)
            else { continue }
            writes += repairOrder(i).map { $0.write(to: address) }
            // A window that was closed when the bridge was enabled left its decode bit off (`pci_enable_resources`).
            var wanted: UInt32 = 0
            if summary.size(i, .ioWindow) > 0 { wanted |= 1 }
            if summary.size(i, .memoryWindow) > 0 || summary.size(i, .prefetchableWindow) > 0 { wanted |= 2 }
            let command = simulation.twin.register(ofNumber: i, at: 4, width: 2) ?? 0
            let missing = wanted & ~command
            if missing != 0, !writes.isEmpty {
                writes.append(.config(address, offset: 4, width: 2, mask: missing, value: missing))
            }
        }
        return writes
    }

    /// The window registers of bridge `i` that differ from what the kernel holds, in the order to write them.
    private func repairOrder(_ i: Int) -> [WindowRegisterValue] {
        let wanted = simulation.twin.windowRegisters(ofNumber: i).map {
            WindowRegisterValue(offset: $0.offset, width: $0.width, value: $0.value)
        }
        return WindowRegisterValue.writeOrder(wanted) {
            simulation.twin.register(ofNumber: i, at: $0.offset, width: $0.width) ?? 0
        }
    }

    /// Writes that enable VFs again where there were some.
    private func enableVFWrites(_ before: TwinSummary) -> [SystemWrite] {
        var writes: [SystemWrite] = []
        for i in 0..<context.count where before.enabledVFs[i] > 0 && summary.isKnown[i] && summary.enabledVFs[i] == 0 {
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
