// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

@testable internal import RebalancePlanner

/// Every sequence of levers on a small tree, by the kernel's twin: slow, and obviously right.
///
/// Shares with the planner what a stage does (`SearchState.carryOut`) and when a plan may end (`Acceptance`), nothing of what
/// is tried and in which order. Search states that were seen are told by their canonical key (`TwinSummary.key`); of several
/// ways to one the lightest goes on.
struct ExhaustiveSearch {
    let acceptance: Acceptance
    let wanted: [Demand]
    let levers: Levers
    /// The greatest number of stages.
    let depth: Int
    /// The greatest number of stages simulated: what lies beyond is not known.
    let limit: Int
    private(set) var simulations = 0

    /// What was found.
    struct Outcome {
        /// The least weight of what a sequence disturbs that reaches the goal, with that sequence; nil without one.
        var least: (weight: Int, way: [Stage])?
        /// Whether everything up to the depth was tried.
        var isComplete: Bool
    }

    private struct State {
        var searchState: SearchState
        var way: [Stage]
        var disturbed: FunctionSet
        var weight: Int
    }

    init(_ acceptance: Acceptance, wanted: [Demand], depth: Int, limit: Int) {
        self.acceptance = acceptance
        self.wanted = wanted
        self.depth = depth
        self.limit = limit
        levers = Levers(acceptance.original.context, wanted: wanted)
    }

    private var context: SearchContext { acceptance.original.context }

    private func weight(_ set: FunctionSet) -> Int { set.members.reduce(0) { $0 + context.weight[$1] } }

    /// Tries everything from `start`, stage by stage.
    mutating func run(from start: SearchState) -> Outcome {
        var level = [State(searchState: start, way: [], disturbed: FunctionSet(), weight: 0)]
        var lightest: [UInt64: Int] = [start.summary.key: 0]
        var least: (weight: Int, way: [Stage])?
        for _ in 0..<depth {
            var next: [State] = []
            for state in level {
                // The text that grows BARs is for the stage before the last.
                let mayGrow = state.way.count + 1 < depth
                for stage in levers.stages(from: state.searchState, mayGrow: mayGrow) {
                    guard simulations < limit else { return Outcome(least: least, isComplete: false) }
                    guard let reached = step(state, stage, below: least?.weight ?? .max) else { continue }
                    if acceptance.accepts(reached.searchState, wanted: wanted) {
                        least = (reached.weight, reached.way)
                        continue
                    }
                    let key = reached.searchState.summary.key
                    if let known = lightest[key], known <= reached.weight { continue }
                    lightest[key] = reached.weight
                    next.append(reached)
                }
            }
            level = next.sorted { $0.weight < $1.weight }
        }
        return Outcome(least: least, isComplete: true)
    }

    private mutating func step(_ state: State, _ stage: Stage, below bound: Int) -> State? {
        var disturbed = state.disturbed
        for root in stage.roots { for i in context.subtree[root] { disturbed.insert(i) } }
        guard weight(disturbed) < bound else { return nil }
        simulations += 1
        var searchState = state.searchState
        guard searchState.carryOut(stage) else { return nil }
        let moved = acceptance.moved(from: state.searchState.summary, to: searchState.summary, stopped: disturbed)
        guard !moved.members.contains(where: { context.isProtected[$0] }) else { return nil }
        disturbed.formUnion(moved)
        let total = weight(disturbed)
        guard total < bound else { return nil }
        return State(searchState: searchState, way: state.way + [stage], disturbed: disturbed, weight: total)
    }
}

/// Every stage that the levers allow: all sets of functions of one bus, of an emptied bus with all sets beside its bridge,
/// all rescans that find them, what window registers may say, and one function whose BARs are grown meanwhile.
struct Levers {
    let context: SearchContext
    /// The orders that BARs may be grown to: of what is wanted, and the two above.
    private let orders: [Int]
    /// What windows may be opened to, by kind.
    private let openings: [(kind: ResourceKind, size: UInt64)]

    init(_ context: SearchContext, wanted: [Demand]) {
        self.context = context
        var orders: Set<Int> = []
        var openings: [(kind: ResourceKind, size: UInt64)] = []
        for demand in wanted {
            var size: UInt64 = 0
            var kind: ResourceKind?
            switch demand {
            case .address(let i, let index):
                size = context.function(i).resource(index)?.size?.rawValue ?? 0
                kind = context.kind(i, index)
            case .size(let i, let index, let bytes): (size, kind) = (bytes, context.kind(i, index))
            case .room(_, let wantedKind, let bytes): (size, kind) = (bytes, wantedKind)
            default: continue
            }
            guard let kind, size > 1, size <= 1 << 40 else { continue }
            let granule: UInt64 = kind == .io ? 0x1000 : 0x10_0000
            for factor in [1, 2] as [UInt64] {
                let opening = (factor * size + granule - 1) & ~(granule - 1)
                if !openings.contains(where: { $0.kind == kind && $0.size == opening }) {
                    openings.append((kind, opening))
                }
            }
            let order = 64 - (size - 1).leadingZeroBitCount
            if kind != .io, order > 20 { orders.formUnion(order...(order + 2)) }
        }
        self.orders = orders.sorted()
        self.openings = openings
    }

    /// The stages from a search state, without growing BARs unless `mayGrow`.
    func stages(from searchState: SearchState, mayGrow: Bool) -> [Stage] {
        var result: [Stage] = []
        var buses = context.topology.hostBridges.indices.map { -1 - $0 }
        buses += (0..<context.count).filter { context.isBridge($0) && searchState.summary.isKnown[$0] }
        for bus in buses where bus < 0 || searchState.summary.buses[bus] != nil {
            let members = context.members(behind: bus).filter { searchState.summary.isKnown[$0] }
            for set in sets(of: members) {
                var rescans: [[Stage.Rescan]] = [[.bus(behind: bus)]]
                if bus >= 0 { rescans.append([.aboveBridge(bus)]) }
                for rescan in rescans { result += variants(set, rescan, searchState, mayGrow) }
                guard bus >= 0, set.count == members.count else { continue }
                let above = context.busAbove(bus)
                let beside = context.members(behind: above).filter { $0 != bus && searchState.summary.isKnown[$0] }
                for other in sets(of: beside) {
                    result += variants(set + other, [.bus(behind: bus), .bus(behind: above)], searchState, mayGrow)
                }
            }
            if members.isEmpty, bus >= 0 { result.append(Stage(rescans: [.bus(behind: bus)])) }
        }
        return result
    }

    /// All sets of whole devices without protected ones, in the order of the bus; of the first eight functions.
    private func sets(of members: [Int]) -> [[Int]] {
        let free = members.filter { !context.isProtected[$0] }.prefix(8)
        guard !free.isEmpty else { return [] }
        return (1..<(1 << free.count)).compactMap { mask in
            let set = free.enumerated().filter { mask >> $0.offset & 1 == 1 }.map(\.element)
            let isWhole = set.allSatisfy { i in context.companions[i].allSatisfy { set.contains($0) } }
            return isWhole ? set : nil
        }
    }

    private func variants(
        _ roots: [Int],
        _ rescans: [Stage.Rescan],
        _ searchState: SearchState,
        _ mayGrow: Bool
    ) -> [Stage] {
        let removed = roots.flatMap { context.subtree[$0] }.filter { searchState.summary.isKnown[$0] }
        let bridges = removed.filter { context.isBridge($0) }
        let isBound = searchState.simulation.twin.behaviour.oldWindowSizeIsLowerBound
        let kinds: [ResourceKind] = isBound ? [.io, .memory, .prefetchable] : [.io]
        var windows: [[Stage.WindowWrite]] = [[]]
        func closing(_ kinds: [ResourceKind]) -> [Stage.WindowWrite] {
            var writes: [Stage.WindowWrite] = []
            for bridge in bridges.sorted() {
                for kind in kinds where searchState.isOpen(bridge, kind) {
                    writes.append(Stage.WindowWrite(bridge: bridge, kind: kind, size: 0))
                }
            }
            return writes
        }
        for choice in [kinds, [.io], kinds.filter { $0 != .io }] {
            let writes = closing(choice)
            if !writes.isEmpty, !windows.contains(writes) { windows.append(writes) }
        }
        for bridge in bridges {
            for opening in openings where kinds.contains(opening.kind) {
                windows.append([Stage.WindowWrite(bridge: bridge, kind: opening.kind, size: opening.size)])
            }
        }
        var result = windows.map { Stage(roots: roots, windows: $0, rescans: rescans) }
        guard mayGrow else { return result }
        for i in removed where !context.isVirtual(i) && context.parent[i] >= 0 {
            for order in orders where hasSmaller(i, order) {
                var grown = Stage(roots: roots, rescans: rescans)
                grown.alignments = [Stage.AlignmentRequest(function: i, order: order)]
                result.append(grown)
            }
        }
        return result
    }

    private func hasSmaller(_ i: Int, _ order: Int) -> Bool {
        context.function(i).resources.contains { resource in
            guard resource.index.isBAR, resource.kind != .io, let size = resource.size?.rawValue else { return false }
            return size > 0 && order < 63 && size < 1 << UInt64(order)
        }
    }
}
