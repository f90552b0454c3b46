// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// The stages that could help: for every bus on the way from a function that lacks something to the root bus, the sets
/// of functions whose removal there could help, and for each set the registers that could be written before.
///
/// Two kinds of stage matter (rules R1 to R8 of a rescan): functions of one bus are removed and placed anew within the
/// windows of their bridge; or a bus is emptied, so that the rescan of that bus may let its bridge's own windows grow into
/// what is free beside the bridge, where neighbours of the bridge may have been moved aside for it. Either way everything
/// else stays claimed where it is.
struct StageSource {
    let searchState: SearchState
    let wanted: [Demand]
    /// Functions that a layout with the least disturbance would move: tried together wherever they meet.
    var suggested = FunctionSet()
    /// The greatest number of sets of neighbours tried per bus.
    var setsPerBus = 40

    private var context: SearchContext { searchState.context }

    /// A stage with what it stops.
    struct Offer {
        var stage: Stage
        var stopped: FunctionSet
        /// Endpoints in use that get another bus number: names and guest configurations hang on it.
        var renumbered: Int
    }

    /// The stages, without duplicates, innermost bus first.
    func offers() -> [Offer] {
        var result: [Offer] = []
        var seen: Set<Stage> = []
        func offer(_ stage: Stage) {
            guard seen.insert(stage).inserted else { return }
            result.append(
                Offer(stage: stage, stopped: stopped(by: stage), renumbered: renumbered(by: stage))
            )
        }
        for case .stretch(let i, _, _) in wanted { offerPackings(below: context.host[i], offer) }
        let targets = targets
        offerWithoutRemoval(targets, offer)
        var busesSeen: Set<Int> = []
        var level = targets
        while !level.isEmpty {
            var next: [Int] = []
            for i in level {
                let bridge = context.busAbove(i)
                guard busesSeen.insert(bridge).inserted else { continue }
                offerRemovals(behind: bridge, FunctionSet(targets), offer)
                if context.parent[i] >= 0 { next.append(context.parent[i]) }
            }
            level = next
        }
        return result
    }

    /// Functions that lack something, or hold more than their hardware has.
    private var targets: [Int] {
        var result = FunctionSet(
            wanted.filter { if case .stretch = $0 { false } else { true } }.map(\.function)
        )
        for i in 0..<context.count where searchState.summary.inflated[i] != 0 { result.insert(i) }
        return result.members
    }

    // MARK: - Nothing is removed

    private func offerWithoutRemoval(_ targets: [Int], _ offer: (Stage) -> Void) {
        let resizes = resizes
        if !resizes.isEmpty, !resizes.contains(where: { context.isProtected[$0.function] }) {
            offer(Stage(resizes: resizes, rescans: [.resizeFiles]))
        }
        var bridges = FunctionSet()
        for i in targets {
            if context.isBridge(i) { bridges.insert(i) }
            for above in context.ancestors(of: i) { bridges.insert(above) }
        }
        let repairedBridges = bridges.members.filter { searchState.summary.diverging[$0] != 0 }
        if !repairedBridges.isEmpty { offer(Stage(repairedBridges: repairedBridges)) }
        // A plain rescan places what the kernel has not forgotten.
        var tops: Set<Int> = []
        for i in targets where isRetried(i) {
            let top = context.ancestors(of: i).last ?? i
            if tops.insert(top).inserted {
                offer(Stage(rescans: [.bus(behind: context.busAbove(top))], repairedBridges: repairedBridges))
            }
        }
    }

    /// Whether a rescan tries again to place what a function lacks.
    private func isRetried(_ i: Int) -> Bool {
        searchState.summary.lacking[i] & ~searchState.summary.wiped[i] != 0
    }

    // MARK: - Functions of a root bus are packed closer

    /// Functions of a root bus are found anew, so that they get the lowest places and numbers that are free; whoever may not
    /// be stopped stays.
    private func offerPackings(below host: Int, _ offer: (Stage) -> Void) {
        let members = context.members(behind: -1 - host).filter { searchState.summary.isKnown[$0] }
        for set in sets([], among: members) where !set.isEmpty {
            offerVariants(members.filter { set.contains($0) }, others: [], behind: -1 - host, offer)
        }
    }

    // MARK: - Functions of one bus are removed

    private func offerRemovals(behind bridge: Int, _ targets: FunctionSet, _ offer: (Stage) -> Void) {
        let members = context.members(behind: bridge).filter { searchState.summary.isKnown[$0] }
        let leading = members.filter { member in context.subtree[member].contains { targets.contains($0) } }
        guard !leading.isEmpty, !leading.contains(where: { context.isProtected[$0] }) else { return }
        for set in sets(leading, among: members) {
            let roots = members.filter { set.contains($0) }
            offerVariants(roots, others: [], behind: bridge, offer)
        }
        // What the kernel has not forgotten is placed where it is, once a neighbour has given up what it held.
        if leading.contains(where: { member in context.subtree[member].contains { isRetried($0) } }) {
            let neighbours = members.filter { !leading.contains($0) }
            for set in sets([], among: neighbours).prefix(12) where !set.isEmpty && set.isDisjoint(with: leading) {
                offerVariants(members.filter { set.contains($0) }, others: [], behind: bridge, offer)
            }
        }
        // The bus is emptied, and neighbours of its bridge make room for the bridge's windows.
        guard bridge >= 0, !members.contains(where: { context.isProtected[$0] }) else { return }
        let above = context.busAbove(bridge)
        let beside = context.members(behind: above).filter { $0 != bridge && searchState.summary.isKnown[$0] }
        for set in sets([], among: beside).prefix(16) where !set.isEmpty {
            let others = beside.filter { set.contains($0) }
            offerVariants(members, others: others, behind: bridge, offer)
        }
    }

    /// Sets of whole devices that contain `leading`, without protected ones: by itself, with everything that costs nothing,
    /// with what is suggested, with all, and with the cheapest sets of neighbours.
    private func sets(_ leading: [Int], among members: [Int]) -> [Set<Int>] {
        var result: [Set<Int>] = []
        func add(_ set: [Int]) {
            let whole = whole(set)
            guard !whole.contains(where: { context.isProtected[$0] }), !result.contains(whole) else { return }
            result.append(whole)
        }
        add(leading)
        for one in leading where leading.count > 1 { add([one]) }
        let neighbours = members.filter { !leading.contains($0) && !context.isProtected[$0] && matters($0) }
        let free = neighbours.filter { context.subtreeWeight[$0] == 0 }
        if !free.isEmpty { add(leading + free) }
        let proposed = members.filter { suggested.contains($0) && !context.isProtected[$0] }
        if !proposed.isEmpty {
            add(leading + proposed)
            if !free.isEmpty { add(leading + proposed + free) }
        }
        add(leading + neighbours)
        add(members)
        let paid = neighbours.filter { context.subtreeWeight[$0] > 0 }
            .sorted { (context.subtreeWeight[$0], $0) < (context.subtreeWeight[$1], $1) }
        for subset in CheapestSubsets(paid.map { context.subtreeWeight[$0] }, limit: setsPerBus).list {
            let chosen = subset.map { paid[$0] }
            add(leading + chosen)
            if !free.isEmpty { add(leading + chosen + free) }
        }
        return result
    }

    /// Whether the removal of a neighbour frees anything that is wanted.
    private func matters(_ i: Int) -> Bool {
        if wanted.contains(where: \.wantsBuses), searchState.summary.buses[i] != nil { return true }
        return (0..<TwinSummary.width).contains { searchState.summary.sizes[i * TwinSummary.width + $0] > 0 }
    }

    /// The set with the other functions of its devices.
    private func whole(_ set: [Int]) -> Set<Int> {
        var result = Set(set)
        for i in set { result.formUnion(context.companions[i]) }
        return result
    }

    // MARK: - Registers and rescans

    private func offerVariants(
        _ roots: [Int],
        others: [Int],
        behind bridge: Int,
        _ offer: (Stage) -> Void
    ) {
        var all = roots + others
        var removed = FunctionSet()
        for root in all { for i in context.subtree[root] { removed.insert(i) } }
        // What the kernel lists on a root bus of its own goes with the bridge behind which it is, and comes back there.
        let strays = context.strays.filter { stray in
            searchState.summary.isKnown[stray.function] && !removed.contains(stray.function)
                && ([stray.home] + context.ancestors(of: stray.home)).contains { removed.contains($0) }
        }.map(\.function)
        guard !strays.contains(where: { context.isProtected[$0] }) else { return }
        all = strays + all
        for stray in strays { for i in context.subtree[stray] { removed.insert(i) } }
        var rescans: [[Stage.Rescan]] = [[.bus(behind: bridge)]]
        if !others.isEmpty {
            rescans = [[.bus(behind: bridge), .bus(behind: context.busAbove(bridge))]]
        } else if bridge >= 0 {
            // A rescan of the bus above looks below as well and sizes by other rules (`pci_assign_unassigned_bus_resources`).
            rescans.append([.aboveBridge(bridge)])
        }
        let bridges = removed.members.filter { context.isBridge($0) && searchState.summary.isKnown[$0] }
        var numberings: [[Stage.BridgeNumbers]] = [[]]
        if wanted.contains(where: \.wantsBuses), !bridges.isEmpty, others.isEmpty {
            numberings += BusNumbering(searchState, for: wanted).numberings(removing: Set(roots), below: bridge)
        }
        let resizes = resizes.filter { removed.contains($0.function) }
        let writes = windowWrites(bridges)
        for rescan in rescans {
            for numbering in numberings {
                for windows in writes {
                    offer(
                        Stage(
                            roots: all,
                            numbering: numbering,
                            windows: windows,
                            resizes: resizes,
                            rescans: rescan
                        )
                    )
                }
            }
        }
    }

    /// What the window registers of removed bridges may say: what they say, nothing, or more.
    private func windowWrites(_ bridges: [Int]) -> [[Stage.WindowWrite]] {
        guard !bridges.isEmpty else { return [[]] }
        var result: [[Stage.WindowWrite]] = [[]]
        let isBoundByMemory = searchState.simulation.twin.behaviour.oldWindowSizeIsLowerBound
        let kinds: [ResourceKind] = isBoundByMemory ? [.io, .memory, .prefetchable] : [.io]
        var closed: [Stage.WindowWrite] = []
        for bridge in bridges {
            for kind in kinds where searchState.isOpen(bridge, kind) {
                closed.append(Stage.WindowWrite(bridge: bridge, kind: kind, size: 0))
            }
        }
        if !closed.isEmpty { result.append(closed) }
        let justIO = closed.filter { $0.kind == .io }
        if !justIO.isEmpty, justIO.count < closed.count {
            result.append(justIO)
            result.append(closed.filter { $0.kind != .io })
        }
        for opened in openings(bridges) {
            result.append(opened)
            let keep = Set(opened.map { [$0.bridge, $0.kind == .io ? 0 : $0.kind == .memory ? 1 : 2] })
            let rest = closed.filter { !keep.contains([$0.bridge, $0.kind == .io ? 0 : $0.kind == .memory ? 1 : 2]) }
            if !rest.isEmpty { result.append((rest + opened).sorted()) }
        }
        return result
    }

    /// Windows opened as far as demands for room call for, where a kernel takes the size it finds as a lower bound: to the
    /// bare size, and with as much more that an aligned block fits wherever the window comes to lie. A kernel aligns a
    /// window by what is below it, not by its size.
    private func openings(_ bridges: [Int]) -> [[Stage.WindowWrite]] {
        let isBoundByMemory = searchState.simulation.twin.behaviour.oldWindowSizeIsLowerBound
        var bare: [Stage.WindowWrite] = []
        var roomy: [Stage.WindowWrite] = []
        for demand in wanted {
            var size: UInt64
            let kind: ResourceKind
            switch demand {
            case .room(_, let wantedKind, let bytes):
                kind = wantedKind
                size = bytes
                // What is below it comes on top; a block of that size wants its alignment.
                for child in context.children[demand.function] where searchState.summary.isKnown[child] {
                    for resource in 0..<TwinSummary.width {
                        guard let range = searchState.summary.range(child, resource),
                            isOfKind(child, resource, kind)
                        else { continue }
                        size = size.saturatingAdd(range.clampedSize)
                    }
                }
            case .window(_, let index, let bytes):
                kind = index == .ioWindow ? .io : index == .memoryWindow ? .memory : .prefetchable
                size = bytes
            default: continue
            }
            guard bridges.contains(demand.function), kind == .io || isBoundByMemory else { continue }
            let granule: UInt64 = kind == .io ? 0x1000 : 0x10_0000
            size = alignUpClamped(size, granule)
            bare.append(Stage.WindowWrite(bridge: demand.function, kind: kind, size: size))
            if case .room(_, _, let bytes) = demand, FreeRoom.block(of: bytes) > granule {
                size = alignUpClamped(size.saturatingAdd(FreeRoom.block(of: bytes) - granule), granule)
            }
            roomy.append(Stage.WindowWrite(bridge: demand.function, kind: kind, size: size))
        }
        if bare.isEmpty { return [] }
        return bare == roomy ? [bare.sorted()] : [bare.sorted(), roomy.sorted()]
    }

    private func isOfKind(_ i: Int, _ resource: Int, _ kind: ResourceKind) -> Bool {
        context.kind(i, resource) == kind
    }

    /// The sizes that are asked for and not yet there, as register writes.
    private var resizes: [Stage.Resize] {
        var result: [Stage.Resize] = []
        for demand in wanted {
            guard case .size(let i, let index, let size) = demand else { continue }
            let function = context.function(i)
            guard let entry = function.capabilities.resizableBARs.first(where: { $0.bar == Int(index.rawValue) }),
                let exponent = entry.exponents.first(where: { ResizableBAR.size(ofExponent: $0)?.rawValue == size })
            else { continue }
            result.append(
                Stage.Resize(
                    function: i,
                    bar: entry.bar,
                    exponent: exponent,
                    controlOffset: Int(entry.controlOffset),
                    isBound: function.use.driver != nil
                )
            )
        }
        return result.sorted { ($0.function, $0.bar) < ($1.function, $1.bar) }
    }

    // MARK: - What a stage costs

    /// Everything that the stage stops, VFs included.
    private func stopped(by stage: Stage) -> FunctionSet {
        var result = FunctionSet()
        for root in stage.usesResizeFiles ? stage.stopped : stage.roots {
            for i in context.subtree[root] { result.insert(i) }
        }
        return result
    }

    private func renumbered(by stage: Stage) -> Int {
        stage.numbering.reduce(0) { sum, numbers in
            guard let present = searchState.summary.buses[numbers.bridge], present.first != numbers.range.first else {
                return sum
            }
            return sum
                + context.children[numbers.bridge].filter {
                    !context.isBridge($0) && context.weight[$0] > 0 || context.isNamedByWords.contains($0)
                }.count
        }
    }
}

/// The non-empty subsets of weighted elements with the least sums, cheapest first.
struct CheapestSubsets {
    /// Each subset as ascending positions.
    private(set) var list: [[Int]] = []

    /// - Parameters:
    ///   - weights: ascending, each above 0.
    ///   - limit: the greatest number of subsets.
    /// - Complexity: O(limit x limit).
    init(_ weights: [Int], limit: Int) {
        guard !weights.isEmpty else { return }
        // Every subset but {0} comes from one other: its last element moved up from the one before, or added after it.
        var open: [(sum: Int, members: [Int])] = [(weights[0], [0])]
        while list.count < limit,
            let next = open.indices.min(by: {
                (open[$0].sum, open[$0].members.count, open[$0].members.last ?? 0)
                    < (open[$1].sum, open[$1].members.count, open[$1].members.last ?? 0)
            })
        {
            let (sum, members) = open.remove(at: next)
            list.append(members)
            guard let last = members.last, last + 1 < weights.count else { continue }
            open.append((sum + weights[last + 1], members + [last + 1]))
            open.append((sum - weights[last] + weights[last + 1], members.dropLast() + [last + 1]))
        }
    }
}
