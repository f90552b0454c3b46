// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// Puts a plan together: steps with their predicted states, the disturbed, the verdict.
struct PlanAssembly {
    let planner: Planner
    let goals: [Goal]
    let before: TreeState
    let weights: DisturbanceWeights
    let original: Standing

    var diagnosis: [DiagnosisLine] = []
    var steps: [PlanStep] = []
    var disturbed: Set<TopologyPath> = []
    var remarks: [String] = []
    var proofs: [(weight: Int, isCheapest: Bool)] = []
    var after: TreeState
    var final: Topology?
    /// Everything that was asked for and is being met.
    var asked: [Demand] = []
    private var refusals: [(reason: String, sentence: String)] = []
    private var impossible: [(reason: String, sentence: String)] = []

    init(planner: Planner, goals: [Goal], before: TreeState, weights: DisturbanceWeights, original: Standing) {
        self.planner = planner
        self.goals = goals
        self.before = before
        self.weights = weights
        self.original = original
        after = before
    }

    /// The number of functions with a weight above 0 that would be disturbed with `more`.
    func movers(with more: Set<TopologyPath>) -> Int {
        disturbed.union(more).filter { weights.weight($0) > 0 }.count
    }

    // MARK: - Steps

    /// Appends the steps of `maneuvers` and gives the simulation after them.
    mutating func append<S: Simulator>(
        _ maneuvers: [Maneuver],
        from start: S,
        disturbed more: Set<TopologyPath>
    ) -> S {
        var simulation = start
        for maneuver in maneuvers {
            guard let present = try? simulation.topology() else { continue }
            // What the stage leads to decides which decoders must be silent meanwhile.
            var trial = simulation
            let stop = maneuver.stopWrites(in: present)
            let outcome = trial.perform(stop + maneuver.findWrites) ? try? trial.topology() : nil
            let silenced = outcome.map { silence(maneuver, from: present, to: $0) } ?? []
            let quiet = silenced.flatMap(\.writes)

            let alreadyQuiet = Set(stop)
            let stopping = quiet.filter { !alreadyQuiet.contains($0) } + stop
            _ = simulation.perform(stopping)
            let stopped = (try? simulation.topology()) ?? present
            var conditions: [Precondition] = [.treeAsPredicted]
            for root in maneuver.stopped {
                guard let f = present[root] else { continue }
                conditions.append(.present(root, ids: UInt32(f.identity.vendor) << 16 | UInt32(f.identity.device)))
            }
            let names = maneuver.stopped.map(\.description).joined(separator: ", ")
            steps.append(
                PlanStep(
                    purpose: stopPurpose(maneuver, names),
                    preconditions: conditions,
                    writes: stopping,
                    after: TreeState(stopped),
                    wayBack: maneuver.findWrites
                )
            )

            _ = simulation.perform(maneuver.findWrites)
            let found = (try? simulation.topology()) ?? stopped
            var rescanConditions: [Precondition] = [.treeAsPredicted]
            if case .bus(let segment, let bus) = maneuver.rescan, bus != rootBus(of: segment, bus, in: present),
                stopped.bridge(toBus: bus, segment: segment).map({ stopped.children(of: $0).isEmpty }) == true
            {
                rescanConditions.append(.busIsEmpty(segment: segment, bus: bus))
            }
            steps.append(
                PlanStep(
                    purpose: rescanPurpose(maneuver, names),
                    preconditions: rescanConditions,
                    writes: maneuver.findWrites,
                    after: TreeState(found),
                    registersAfter: expectations(found)
                )
            )

            let restore = silenced.compactMap { entry -> SystemWrite? in
                guard entry.restores, let i = position(of: entry.path, in: found) else { return nil }
                return .config(
                    found.functions[i].address,
                    offset: 4,
                    width: 2,
                    mask: 0x7,
                    value: UInt32(entry.command.rawValue & 0x7)
                )
            }
            if !restore.isEmpty {
                _ = simulation.perform(restore)
                steps.append(
                    PlanStep(
                        purpose: "let functions without driver decode again as they did before",
                        preconditions: [.treeAsPredicted],
                        writes: restore,
                        after: TreeState((try? simulation.topology()) ?? found)
                    )
                )
            }
        }
        disturbed.formUnion(more)
        if let topology = try? simulation.topology() {
            final = topology
            after = TreeState(topology)
        }
        return simulation
    }

    private struct Silenced {
        var path: TopologyPath
        var command: Command
        var writes: [SystemWrite]
        var restores: Bool
    }

    /// The functions whose decoders must be off while they are gone, since another function gets part of their ranges.
    ///
    /// A removed function keeps its COMMAND register and its BARs: it would answer at addresses that now belong to
    /// somebody else until the kernel has placed it anew.
    private func silence(_ maneuver: Maneuver, from present: Topology, to later: Topology) -> [Silenced] {
        var result: [Silenced] = []
        var laterRanges: [(path: TopologyPath, isIO: Bool, range: AddressRange)] = []
        for i in later.functions.indices {
            let path = later.path(of: i)
            for resource in later.functions[i].resources where !resource.index.isWindow {
                if let range = resource.range {
                    laterRanges.append((path, resource.flags.contains(.io), range))
                }
            }
        }
        let resized = Set(maneuver.resizes.map(\.function))
        for root in maneuver.roots {
            guard let r = present.position(of: root) else { continue }
            for i in present.subtree(of: r) where !present.functions[i].isBridge && !present.functions[i].isVirtual {
                let function = present.functions[i]
                guard let command = function.config.command,
                    !command.isDisjoint(with: [.ioSpace, .memorySpace])
                else { continue }
                let path = present.path(of: i)
                let clashes = function.resources.contains { resource in
                    guard let old = resource.shownRange, !resource.index.isWindow else { return false }
                    return laterRanges.contains {
                        $0.path != path && $0.isIO == resource.flags.contains(.io) && $0.range.overlaps(old)
                    }
                }
                guard clashes || resized.contains(function.address) else { continue }
                var writes: [SystemWrite] = []
                if function.use.driver != nil { writes.append(.unbindDriver(function.address)) }
                writes.append(.config(function.address, offset: 4, width: 2, mask: 0x7, value: 0))
                result.append(
                    Silenced(path: path, command: command, writes: writes, restores: function.use.driver == nil)
                )
            }
        }
        return result
    }

    private func rootBus(of segment: UInt32, _ bus: BusNumber, in topology: Topology) -> BusNumber? {
        topology.hostBridges.first { $0.segment == segment && $0.rootBus == bus }?.rootBus
    }

    private func stopPurpose(_ maneuver: Maneuver, _ names: String) -> String {
        if maneuver.rescan == .resizeFiles { return "let the driver of \(names) go, so that its BAR may be resized" }
        var text = "stop \(names) and what is below"
        for resize in maneuver.resizes {
            let size = ResizableBAR.size(ofExponent: resize.exponent).map { "\($0)" } ?? "another size"
            text += "; set BAR \(resize.bar) of \(resize.function) to \(size) before"
        }
        if !maneuver.numbering.isEmpty {
            let numbers = maneuver.numbering.map { "\($0.bridge) \($0.range)" }.joined(separator: ", ")
            text += "; write the new bus numbers before: \(numbers)"
        }
        if maneuver.closesWindows {
            text += "; close the windows of the bridges, so that their old size is no lower bound"
        }
        return text
    }

    private func rescanPurpose(_ maneuver: Maneuver, _ names: String) -> String {
        switch maneuver.rescan {
        case .bus(let segment, let bus):
            "find \(names) again: rescan bus \(bareHex(UInt64(segment), width: 4)):\(bus), and nothing else"
        case .aboveBridge(let bridge): "find \(names) again: rescan from the bus of \(bridge) down"
        case .resizeFiles: "resize: the kernel moves the BAR and the windows that nobody else uses"
        }
    }

    /// Window and bus registers of every bridge, as they must read when kernel tree and registers agree.
    private func expectations(_ topology: Topology) -> [RegisterExpectation] {
        var result: [RegisterExpectation] = []
        for function in topology.functions {
            guard let registers = function.bridge?.registers, let range = function.bridge?.busRange else { continue }
            let numbers =
                UInt32(registers.primary.rawValue) | UInt32(range.first.rawValue) << 8
                | UInt32(range.last.rawValue) << 16
            result.append(
                RegisterExpectation(
                    address: function.address,
                    offset: 0x18,
                    width: 4,
                    mask: 0x00ff_ffff,
                    value: numbers
                )
            )
            let windows: [(offset: Int, width: Int, mask: UInt32)] = [
                (0x1c, 2, 0xf0f0), (0x20, 4, 0xfff0_fff0), (0x24, 4, 0xfff0_fff0), (0x28, 4, .max), (0x2c, 4, .max),
            ]
            for window in windows {
                let value =
                    window.width == 2
                    ? function.config.word(window.offset).map(UInt32.init) : function.config.long(window.offset)
                guard let value else { continue }
                result.append(
                    RegisterExpectation(
                        address: function.address,
                        offset: window.offset,
                        width: window.width,
                        mask: window.mask,
                        value: value & window.mask
                    )
                )
            }
        }
        return result
    }

    private func position(of path: TopologyPath, in topology: Topology) -> Int? {
        topology.functions.indices.first { topology.path(of: $0) == path }
    }

    // MARK: - Verdicts

    /// Says which of several sizes it became.
    mutating func noteSizes(_ wanted: [Demand], _ cluster: DemandCatalogue.Cluster, _ topology: Topology) {
        guard let best = cluster.choices.first, best != wanted else { return }
        for (demand, dream) in zip(wanted, best) where demand != dream {
            guard case .size(let path, let index, let size) = demand, case .size(_, _, let wish) = dream else {
                continue
            }
            let address = topology.functions.indices.first { topology.path(of: $0) == path }
                .map { topology.functions[$0].address.description }
            remarks.append(
                "\(address ?? path.description) \(index): \(ByteCount(size)) is the largest size that fits, "
                    + "\(wish == 0 ? "its present size" : ByteCount(wish).description) does not"
            )
        }
    }

    mutating func note(refused wanted: [Demand], reason: String, _ sentence: String) {
        refusals.append((reason, sentence))
    }

    mutating func note(
        refused wanted: [Demand],
        protectedBy weights: DisturbanceWeights,
        _ needed: Set<TopologyPath>,
        _ topology: Topology
    ) {
        var names: [String] = []
        for i in topology.functions.indices {
            let path = topology.path(of: i)
            guard needed.contains(path), let reason = weights.protection(path) else { continue }
            names.append("\(topology.functions[i].address): \(reason)")
        }
        let first = names.first ?? "a protected function"
        let more = names.count > 1 ? " and \(names.count - 1) more" : ""
        refusals.append(("protected", "the way leads over a function that must not be stopped: \(first)\(more)"))
        for name in names { diagnosis.append(DiagnosisLine(code: "protected", address: nil, text: name)) }
    }

    mutating func note(impossible wanted: [Demand]) {
        let reason = wanted.contains(where: \.wantsBuses) ? "bus-exhausted" : "mmio-window-too-small"
        impossible.append(
            (reason, "no sequence of operations that this kernel takes leads there without making something else worse")
        )
    }

    /// The plan of a tree where nothing is missing.
    func nothingToDo() -> Plan {
        make(.init(.none, reason: "nothing-missing", sentence: "everything required has its place"), .notApplicable)
    }

    /// The plan as it stands.
    mutating func finish(topology: Topology, simulations: Int) -> Plan {
        if steps.isEmpty {
            if let refusal = refusals.first {
                return make(.init(.refused, reason: refusal.reason, sentence: refusal.sentence), .notApplicable)
            }
            if let no = impossible.first {
                return make(.init(.impossible, reason: no.reason, sentence: no.sentence), .notApplicable)
            }
            return nothingToDo()
        }
        for rest in refusals { remarks.append("left undone (\(rest.reason)): \(rest.sentence)") }
        for rest in impossible { remarks.append("left undone (\(rest.reason)): \(rest.sentence)") }
        if let final {
            for loss in original.losses(in: Standing(final), asked: asked) where loss.grade == .remark {
                remarks.append(loss.text)
            }
        }
        let isPartial = !refusals.isEmpty || !impossible.isEmpty
        let weight = proofs.reduce(0) { $0 + $1.weight }
        let sentence =
            isPartial
            ? "part of what was asked for can be reached"
            : reason() == "resize"
                ? "what was asked for can be reached" : "everything that is missing can be placed"
        let bound = lowerBound(topology)
        let proof: ProofOfLeastDisturbance =
            weight <= bound && !isPartial && proofs.allSatisfy(\.isCheapest)
            ? .optimal : .bestOfSearched(cost: weight, lowerBound: min(bound, weight))
        return make(.init(.act, reason: isPartial ? "partly" : reason(), sentence: sentence), proof)
    }

    /// What any plan must cost: a function with a wiped BAR is found again only after its own removal
    /// (`reset_resource` leaves nothing to retry), and so is a bridge without bus.
    private func lowerBound(_ topology: Topology) -> Int {
        var places: Set<TopologyPath> = []
        for shortfall in topology.requiredShortfalls {
            switch shortfall.kind {
            case .bus: places.insert(shortfall.path)
            case .unreachable: continue
            case .resource(let index):
                let i = topology.functions.indices.first { topology.path(of: $0) == shortfall.path }
                if let i, topology.functions[i].resource(index)?.assignment == .wiped { places.insert(shortfall.path) }
            }
        }
        return places.reduce(0) { $0 + weights.weight($1) }
    }

    private func reason() -> String {
        if diagnosis.contains(where: { $0.code == "bus-missing" }) { return "missing-bus" }
        return asked.contains {
            if case .size = $0 { return true }
            return false
        } ? "resize" : "unassigned-bars"
    }

    private func make(_ verdict: Plan.Verdict, _ proof: ProofOfLeastDisturbance) -> Plan {
        Plan(
            verdict: verdict,
            kernelRelease: planner.topology.kernel.release ?? "unknown",
            behaviour: planner.behaviour.name,
            fingerprint: before.fingerprint,
            goals: goals,
            diagnosis: diagnosis,
            disturbed: verdict.answer == .act ? disturbances() : [],
            steps: verdict.answer == .act ? steps : [],
            before: before,
            after: verdict.answer == .act ? after : before,
            proof: proof,
            remarks: remarks
        )
    }

    private func disturbances() -> [Disturbance] {
        let topology = planner.topology
        var places: [TopologyPath: FunctionState] = [:]
        for state in after.functions { places[state.path] = state }
        var result: [Disturbance] = []
        for i in topology.functions.indices {
            let path = topology.path(of: i)
            guard disturbed.contains(path) else { continue }
            let function = topology.functions[i]
            guard let later = places[path] else { continue }
            let isMoved = !function.lines.isEmpty && function.lines != later.lines
            var what = function.roleText
            if let name = function.identity.name { what += " \(name)" }
            what += ", \(function.use.driver ?? "no driver")"
            result.append(
                Disturbance(
                    address: function.address,
                    newAddress: later.address,
                    effect: later.address != function.address ? .renumbered : isMoved ? .moved : .stopped,
                    what: what,
                    weight: weights.weight(path)
                )
            )
        }
        return result
    }
}
