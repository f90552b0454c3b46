// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ProofChecker

/// Puts a plan together: steps with their predicted states.
struct PlanAssembly {
    let planner: Planner
    let goals: [Goal]
    let start: SearchState
    let weights: DisturbanceWeights
    let before: TreeState

    var diagnosis: [DiagnosisLine] = []
    private(set) var steps: [PlanStep] = []
    /// The places of the bridges of the tree before whose inside was searched: what is listed below them is all.
    private let searched: Set<TopologyPath>
    var remarks: [String] = []
    /// Everything that was asked for and is being met.
    var asked: [Demand] = []
    var refusals: [(reason: String, sentence: String)] = []
    var impossible: [(reason: String, sentence: String)] = []
    /// What is kept beside addresses.
    var conditions: [ConditionOutcome] = []
    /// Why what is impossible is.
    var certificates: [Certificate] = []
    private var latest: TreeState

    var context: SearchContext { start.context }
    /// The tree after the last step.
    var after: TreeState { latest }

    init(planner: Planner, goals: [Goal], start: SearchState, weights: DisturbanceWeights) {
        self.planner = planner
        self.goals = goals
        self.start = start
        self.weights = weights
        before = TreeState(planner.topology)
        searched = planner.topology.searchedBridges
        latest = before
    }

    /// Appends what was planned for a part of the tree that shares nothing with the rest.
    ///
    /// Diagnosis and remarks are appended as well. The steps expect registers of the part only.
    ///
    /// - Parameters:
    ///   - part: what was planned.
    ///   - demands: everything that was asked for there and is being met, by the numbers of the whole.
    mutating func append(part: PlanAssembly, asked demands: [Demand]) {
        let segments = Set(part.context.topology.hostBridges.map(\.segment))
        for step in part.steps {
            var step = step
            latest = latest.replacing(segments: segments, with: step.after)
            step.after = latest
            steps.append(step)
        }
        diagnosis += part.diagnosis
        remarks += part.remarks
        asked += demands
        refusals += part.refusals
        impossible += part.impossible
        certificates += part.certificates
    }

    // MARK: - Steps

    /// Appends the steps of stages that begin in `searchState`.
    mutating func append(_ stages: [Stage], from searchState: SearchState) {
        var searchState = searchState
        for stage in stages {
            // What the stage leads to decides which decoders must be silent meanwhile.
            var trial = searchState
            var stage = stage
            if trial.carryOut(stage) { stage.silenced = silenced(stage, from: searchState, to: trial) }
            let names = stage.stopped.compactMap { searchState.address($0)?.description }.joined(separator: ", ")
            let begin = searchState
            var collected: [(part: SearchState.Part, topology: Topology?)] = []
            _ = searchState.carryOut(stage) { part, now in
                collected.append((part, try? now.simulation.topology()))
            }
            for (part, topology) in collected {
                guard let topology else { continue }
                let state = TreeState(topology)
                steps.append(step(part, stage, names, from: begin, topology, state))
                latest = state
            }
        }
    }

    private func step(
        _ part: SearchState.Part,
        _ stage: Stage,
        _ names: String,
        from begin: SearchState,
        _ topology: Topology,
        _ state: TreeState
    ) -> PlanStep {
        var step = PlanStep(
            purpose: purpose(
                part.purpose,
                stage,
                names,
                begin,
                part.writes
            ),
            preconditions: [.treeAsPredicted],
            writes: part.writes,
            after: state
        )
        switch part.purpose {
        case .stop:
            step.preconditions += conditions(stage, begin)
            step.wayBack = wayBack(stage, begin)
        case .find(let rescan):
            if case .bus(let behind) = rescan, behind >= 0, let bus = begin.bus(behind: behind),
                FunctionSet(stage.roots).isSuperset(of: begin.context.members(behind: behind))
            {
                step.preconditions.append(.busIsEmpty(segment: bus.segment, bus: bus.bus))
            }
            step.registersAfter = Self.expectations(topology)
            step.mayAppearBelow = topology.bridges(searchedNow: searched)
            step.purpose += Self.appearanceText(step.mayAppearBelow)
        case .repairWindows: step.registersAfter = Self.expectations(topology)
        case .enableVFs, .decode: break
        }
        return step
    }

    /// Whom the step stops must be there, and must not have come into use since the plan was made.
    private func conditions(_ stage: Stage, _ begin: SearchState) -> [Precondition] {
        var result: [Precondition] = []
        for root in stage.stopped {
            guard let address = begin.address(root) else { continue }
            let identity = context.function(root).identity
            result.append(.present(address, ids: UInt32(identity.vendor) << 16 | UInt32(identity.device)))
        }
        for root in stage.stopped {
            for i in context.subtree[root] where !context.isBridge(i) && context.hasDriver(i) {
                guard weights.isWatched(i), let address = begin.address(i) else { continue }
                result.append(.notInUse(address))
            }
        }
        return result
    }

    private func wayBack(_ stage: Stage, _ begin: SearchState) -> [SystemWrite] {
        stage.rescans.compactMap { rescan in
            switch rescan {
            case .bus(let behind): begin.bus(behind: behind).map { .rescanBus(segment: $0.segment, bus: $0.bus) }
            case .aboveBridge(let bridge): begin.address(bridge).map { .rescanDevice($0) }
            case .resizeFiles: nil
            }
        }
            + (stage.usesResizeFiles
                ? stage.resizes.filter(\.isBound).compactMap { begin.address($0.function).map { .probeDriver($0) } }
                : [])
            + begin.physicalFunctions(removedBy: stage).map { .sriovNumVFs($0.address, count: $0.count) }
    }

    /// The functions whose decoders must be off while they are gone, since another function gets part of their ranges.
    ///
    /// A removed function keeps its COMMAND register and its BARs, and a removed bridge its windows: they would answer at
    /// addresses that now belong to somebody else until the kernel has placed them anew. Bridges matter only where drivers
    /// start between two rescans of a stage.
    private func silenced(_ stage: Stage, from before: SearchState, to after: SearchState) -> [Int] {
        let width = TwinSummary.width
        var taken: [(function: Int, isIO: Bool, range: AddressRange)] = []
        for i in 0..<context.count where after.summary.isKnown[i] && !after.summary.isVirtual[i] {
            for resource in context.function(i).resources where !resource.index.isWindow {
                if let range = after.summary.range(i, Int(resource.index.rawValue)) {
                    taken.append((i, resource.flags.contains(.io), range))
                }
            }
        }
        var result: [Int] = []
        for root in stage.roots {
            for i in context.subtree[root] where before.summary.isKnown[i] && !before.summary.isVirtual[i] {
                let isBridge = context.isBridge(i)
                guard !isBridge || stage.rescans.count > 1 else { continue }
                let command = before.simulation.twin.register(ofNumber: i, at: 4, width: 2) ?? 0
                guard command & 0x3 != 0 else { continue }
                let below = isBridge ? FunctionSet(context.subtree[i]) : FunctionSet([i])
                let clashes = (0..<width).contains { index in
                    guard let old = before.summary.range(i, index), isBridge || index < 13,
                        let kind = context.function(i).resources.first(where: { Int($0.index.rawValue) == index })?.kind
                    else { return false }
                    return taken.contains {
                        !below.contains($0.function) && $0.isIO == (kind == .io) && $0.range.overlaps(old)
                    }
                }
                if clashes { result.append(i) }
            }
        }
        return result
    }

    // MARK: - Words

    private func purpose(
        _ purpose: SearchState.Part.Purpose,
        _ stage: Stage,
        _ names: String,
        _ begin: SearchState,
        _ writes: [SystemWrite]
    ) -> String {
        switch purpose {
        case .stop:
            if stage.usesResizeFiles { return "let the driver of \(names) go, so that its BAR may be resized" }
            return stopText(stage, names, begin)
        case .find(let rescan):
            let text = findText(rescan, stage, names, begin)
            let registers = writes.compactMap { if case .config(_, let offset, _, _, _) = $0 { offset } else { nil } }
            if registers.isEmpty { return text }
            return registers.allSatisfy { $0 == 4 }
                ? text + "; then what nobody enables decodes again as before"
                : text + "; then window registers are made to agree with what the kernel holds"
        case .repairWindows: return "make the window registers of bridges agree with what the kernel holds"
        case .enableVFs: return "enable VFs again, as many as there were"
        case .decode: return "let functions that nobody enables decode again as they did before"
        }
    }

    private func stopText(_ stage: Stage, _ names: String, _ begin: SearchState) -> String {
        var text = "stop \(names) and what is below"
        for physical in begin.physicalFunctions(removedBy: stage) {
            text += "; the VFs of \(physical.address) are taken away first"
        }
        for resize in stage.resizes {
            let size = ResizableBAR.size(ofExponent: resize.exponent).map { "\($0)" } ?? "another size"
            text += "; BAR \(resize.bar) of \(begin.address(resize.function)?.description ?? "") will be \(size)"
        }
        for numbers in stage.numbering {
            text += "; \(begin.address(numbers.bridge)?.description ?? "a bridge") will have \(numbers.range)"
        }
        let closed = Set(stage.windows.filter { $0.size == 0 }.map(\.kind))
        if !closed.isEmpty {
            let all =
                closed.count > 1
                ? "their windows are" : closed.contains(.io) ? "their I/O windows are" : "their windows are"
            text += "; \(all) closed, so that the kernel sizes them by need"
        }
        for window in stage.windows where window.size > 0 {
            let word = window.kind == .io ? "I/O" : window.kind == .memory ? "memory" : "prefetchable"
            text += "; the \(word) window of \(begin.address(window.bridge)?.description ?? "a bridge") is opened to "
            text += "\(ByteCount(window.size)), which the kernel takes as its least size"
        }
        return text
    }

    private func findText(
        _ rescan: Stage.Rescan,
        _ stage: Stage,
        _ names: String,
        _ begin: SearchState
    ) -> String {
        var text: String
        switch rescan {
        case .bus(let behind):
            let bus = begin.bus(behind: behind)
            let name = bus.map { busName(segment: $0.segment, $0.bus) } ?? "?"
            let found = stage.roots.filter { context.busAbove($0) == behind }
                .compactMap { begin.address($0)?.description }.joined(separator: ", ")
            text =
                found.isEmpty
                ? "let the kernel place what it has not forgotten: rescan bus \(name), and nothing else"
                : "find \(found) again: rescan bus \(name), and nothing else"
        case .aboveBridge(let bridge):
            text = "find \(names) again: rescan from the bus of \(begin.address(bridge)?.description ?? "?") down"
        case .resizeFiles: text = "resize: the kernel moves the BAR and the windows that nobody else uses"
        }
        for request in stage.alignments {
            let size = ByteCount(1 << UInt64(request.order))
            text +=
                "; for a while \(begin.address(request.function)?.description ?? "a function") is taken to need \(size)"
        }
        return text
    }

    /// Window and bus registers of every bridge, as they must read when kernel tree and registers agree.
    static func expectations(_ topology: Topology) -> [RegisterExpectation] {
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
}

extension SystemWrite {
    /// Whether the write goes to configuration space.
    fileprivate var isRegister: Bool { if case .config = self { true } else { false } }
}
