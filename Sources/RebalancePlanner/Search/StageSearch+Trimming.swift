// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

// What is left of a sequence once everything that does not help is taken out.
extension StageSearch {
    /// The solution without removals that cost nothing and help nothing.
    mutating func trimmed(_ solution: Solution, from start: SearchState) -> Solution {
        var best = solution
        for stage in best.stages.indices {
            for root in best.stages[stage].roots.reversed() where context.subtreeWeight[root] == 0 {
                guard best.stages[stage].roots.count > 1, simulations < budget + 24 else { break }
                var stages = best.stages
                stages[stage].roots.removeAll { $0 == root }
                let dropped = FunctionSet(context.subtree[root])
                stages[stage].numbering.removeAll { dropped.contains($0.bridge) }
                stages[stage].windows.removeAll { dropped.contains($0.bridge) }
                guard let shorter = replay(stages, from: start, like: best), !isBetter(best, than: shorter) else {
                    continue
                }
                best = shorter
            }
        }
        return best
    }

    private mutating func replay(_ stages: [Stage], from start: SearchState, like solution: Solution) -> Solution? {
        var searchState = start
        var disturbed = already
        for stage in stages {
            simulations += 1
            let before = searchState.summary
            guard searchState.carryOut(stage) else { return nil }
            for root in stage.usesResizeFiles ? stage.stopped : stage.roots {
                for i in context.subtree[root] { disturbed.insert(i) }
            }
            let moved = acceptance.moved(from: before, to: searchState.summary, stopped: disturbed)
            guard !moved.members.contains(where: { context.isProtected[$0] }) else { return nil }
            disturbed.formUnion(moved)
        }
        guard acceptance.accepts(searchState, wanted: wanted) else { return nil }
        return Solution(
            stages: stages,
            searchState: searchState,
            disturbed: disturbed,
            weight: weight(of: disturbed),
            risk: risk(of: stages),
            rank: rank(stages, searchState, disturbed, solution.rank.first ?? 0)
        )
    }
}
