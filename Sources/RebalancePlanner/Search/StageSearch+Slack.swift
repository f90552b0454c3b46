// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import HeapModule
internal import PCITopology

// Windows that are made larger than what is below them needs, for a while.
extension StageSearch {
    /// The largest removals once more with slack in the windows, each followed by a stage that gives the slack back: far
    /// from the goal by what is missing, and yet what a kernel needs that sizes windows to the bare sum of what is below.
    mutating func searchWithSlack(_ best: inout Solution?, until limit: Int) {
        var leads: [Int] = []
        var rootsSeen: Set<[Int]> = []
        let whole = nodes.indices.filter { nodes[$0].stages.count == 1 && nodes[$0].stages[0].alignments.isEmpty }
        for n in whole.sorted(by: { (nodes[$1].disturbed.count, $0) < (nodes[$0].disturbed.count, $1) })
        where leads.count < 4 && rootsSeen.insert(nodes[n].stages[0].roots).inserted { leads.append(n) }
        let putOff = queue
        for lead in leads where best == nil {
            queue = Heap<Candidate>()
            let roots = nodes[lead].stages[0].roots
            offerAlignments(lead)
            while best == nil, simulations < limit, let candidate = queue.popMin() {
                if candidate.stage != nil, let found = simulate(candidate) { best = found }
            }
            let grown = nodes.indices.filter { n in
                nodes[n].stages.count == 1 && nodes[n].stages[0].roots == roots
                    && !nodes[n].stages[0].alignments.isEmpty
            }.sorted { (nodes[$0].distance, $0) < (nodes[$1].distance, $1) }
            for n in grown.prefix(4) where best == nil {
                queue = Heap<Candidate>()
                expand(n)
                var tries = 0
                while best == nil, tries < 30, simulations < limit, let candidate = queue.popMin() {
                    tries += 1
                    if candidate.stage != nil, let found = simulate(candidate) { best = found }
                }
            }
        }
        queue = putOff
    }

    /// Where the last stage left a BAR without a place, the same stage once more with another function's BARs grown
    /// meanwhile: slack in the windows above, which a further stage then uses.
    mutating func offerAlignments(_ n: Int) {
        let node = nodes[n]
        guard let stage = node.stages.last, stage.alignments.isEmpty, !stage.roots.isEmpty,
            node.stages.count + 1 <= maximumStages, node.parent >= 0
        else { return }
        let searchState = state(of: n)
        var removed = FunctionSet()
        for root in stage.roots { for i in context.subtree[root] { removed.insert(i) } }
        var orders: Set<Int> = []
        var failing = FunctionSet()
        for i in removed.members where searchState.summary.isKnown[i] && searchState.summary.lacking[i] != 0 {
            for resource in context.function(i).resources
            where resource.index.isBAR && resource.kind != .io
                && searchState.summary.lacking[i] >> UInt32(resource.index.rawValue) & 1 == 1
            {
                guard let size = resource.size?.rawValue, size > 1 << 20 else { continue }
                let order = 63 - size.leadingZeroBitCount
                orders.formUnion(order...(order + 2))
                failing.insert(i)
            }
        }
        for case .room(_, let kind, let bytes) in acceptance.unmet(wanted, in: searchState)
        where kind != .io && bytes > 0 {
            // Ports share what their kernel hands out: a neighbour takes as much.
            let order = bytes > 1 ? 64 - (bytes - 1).leadingZeroBitCount : 0
            orders.formUnion(order...(order + 2))
        }
        guard !orders.isEmpty else { return }
        // A function that failed may make room for itself where nobody else can; it is found at its true size later.
        // A bridge's own BAR shapes the windows above it as well.
        let hosts = removed.members.filter { i in
            searchState.summary.isKnown[i] && context.parent[i] >= 0 && !context.isVirtual(i)
        }
        var offered = 0
        for order in orders.sorted().prefix(5) {
            for i in hosts.filter({ !failing.contains($0) }) + failing.members where offered < 32 {
                guard canGrow(i, to: order, searchState.summary) else { continue }
                var aligned = stage
                aligned.alignments = [Stage.AlignmentRequest(function: i, order: order)]
                push(aligned, stopped: removed, renumbered: 0, from: node.parent)
                offered += 1
            }
        }
    }

    private func canGrow(_ i: Int, to order: Int, _ summary: TwinSummary) -> Bool {
        context.function(i).resources.contains { resource in
            let held = summary.size(i, resource.index)
            let size = held > 0 ? held : resource.size?.rawValue ?? 0
            return resource.index.isBAR && resource.kind != .io && size > 0 && order < 63 && size < 1 << UInt64(order)
        }
    }
}
