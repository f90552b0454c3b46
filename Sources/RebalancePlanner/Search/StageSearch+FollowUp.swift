// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import HeapModule
internal import PCITopology

// Slack that is used at once: two stages thought of together.
extension StageSearch {
    /// Stages simulated in search of slack with its use.
    private static let followUpBudget = 320

    /// Stages simulated for one set of removed functions.
    private static let followUpsPerLead = 100

    /// The removals that single stages tried, once more with slack in the windows, each followed by emptying one of the
    /// buses below, so that the rescan hands the slack to whoever needs it.
    ///
    /// The root port with 4 GiB twice behind its switch, of which the kernel left room for one: a third BAR is taken to
    /// need 4 GiB while the port is found (`resource_alignment`), then everything below the port is found at its true size.
    ///
    /// - Returns: the best that was found, the lightest removals first; nil without one.
    mutating func searchFollowUps() -> Solution? {
        let limit = simulations + min(budget / 4, Self.followUpBudget)
        var rootsSeen: Set<[Int]> = []
        let leads = nodes.indices.filter { n in
            nodes[n].stages.count == 1 && nodes[n].stages[0].alignments.isEmpty
                && nodes[n].stages[0].windows.isEmpty && nodes[n].stages[0].roots.contains { context.isBridge($0) }
        }.sorted { (nodes[$0].weight, $0) < (nodes[$1].weight, $1) }
        var best: Solution?
        let putOff = queue
        for lead in leads where simulations < limit && rootsSeen.insert(nodes[lead].stages[0].roots).inserted {
            if let best, nodes[lead].weight >= best.weight { break }
            let end = min(limit, simulations + Self.followUpsPerLead)
            queue = Heap<Candidate>()
            offerAlignments(lead)
            var grown = queue
            while simulations < end, let candidate = grown.popMin() {
                let known = nodes.count
                guard candidate.stage != nil, simulate(candidate) == nil, nodes.count > known else { continue }
                if let found = use(of: nodes.count - 1, until: end), isBetter(found, than: best) { best = found }
                if let best, best.weight <= bound { break }
            }
            if let best, best.weight <= bound { break }
        }
        queue = putOff
        return best
    }

    /// The best of emptying one bus below what the last stage of node `n` removed, the topmost first.
    private mutating func use(of n: Int, until end: Int) -> Solution? {
        var best: Solution?
        for root in nodes[n].stages.last?.roots ?? [] {
            for bridge in context.subtree[root] where context.isBridge(bridge) {
                for stage in emptying(bridge, state(of: n)) where simulations < end {
                    var stopped = FunctionSet()
                    for member in stage.roots { for i in context.subtree[member] { stopped.insert(i) } }
                    queue = Heap<Candidate>()
                    push(stage, stopped: stopped, renumbered: 0, from: n)
                    guard let candidate = queue.popMin(), let found = simulate(candidate) else { continue }
                    if isBetter(found, than: best) { best = found }
                }
                if best != nil { return best }
            }
        }
        return best
    }

    /// Everything behind a bridge removed and found again; once more with the windows closed before, where a kernel takes
    /// the sizes it finds for the least.
    private func emptying(_ bridge: Int, _ searchState: SearchState) -> [Stage] {
        let members = context.members(behind: bridge).filter { searchState.summary.isKnown[$0] }
        guard !members.isEmpty, searchState.summary.buses[bridge] != nil else { return [] }
        let plain = Stage(roots: members, rescans: [.bus(behind: bridge)])
        guard searchState.simulation.twin.behaviour.oldWindowSizeIsLowerBound else { return [plain] }
        var closed = plain
        for i in FunctionSet(members.flatMap { context.subtree[$0] }).members where context.isBridge(i) {
            for kind in [ResourceKind.io, .memory, .prefetchable] where searchState.isOpen(i, kind) {
                closed.windows.append(Stage.WindowWrite(bridge: i, kind: kind, size: 0))
            }
        }
        return closed.windows.isEmpty ? [plain] : [closed, plain]
    }
}
