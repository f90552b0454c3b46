// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

// What is left of a sequence once everything that does not help is taken out.
extension ManeuverSearch {
    /// The solution without removals that cost nothing and help nothing.
    mutating func trimmed(_ solution: Solution, from start: Situation) -> Solution {
        var best = solution
        for stage in best.maneuvers.indices {
            for root in best.maneuvers[stage].roots.reversed() where ground.subtreeWeight[root] == 0 {
                guard best.maneuvers[stage].roots.count > 1, simulations < budget + 24 else { break }
                var maneuvers = best.maneuvers
                maneuvers[stage].roots.removeAll { $0 == root }
                let dropped = FunctionSet(ground.subtree[root])
                maneuvers[stage].numbering.removeAll { dropped.contains($0.bridge) }
                maneuvers[stage].windows.removeAll { dropped.contains($0.bridge) }
                guard let shorter = replay(maneuvers, from: start, like: best), !isBetter(best, than: shorter) else {
                    continue
                }
                best = shorter
            }
        }
        return best
    }

    private mutating func replay(_ maneuvers: [Maneuver], from start: Situation, like solution: Solution) -> Solution? {
        var situation = start
        var disturbed = already
        for maneuver in maneuvers {
            simulations += 1
            let before = situation.glance
            guard situation.carryOut(maneuver) else { return nil }
            for root in maneuver.usesResizeFiles ? maneuver.stopped : maneuver.roots {
                for i in ground.subtree[root] { disturbed.insert(i) }
            }
            let moved = acceptance.moved(from: before, to: situation.glance, stopped: disturbed)
            guard !moved.members.contains(where: { ground.isProtected[$0] }) else { return nil }
            disturbed.formUnion(moved)
        }
        guard acceptance.accepts(situation, wanted: wanted) else { return nil }
        return Solution(
            maneuvers: maneuvers,
            situation: situation,
            disturbed: disturbed,
            weight: weight(of: disturbed),
            risk: risk(of: maneuvers),
            rank: rank(maneuvers, situation, disturbed, solution.rank.first ?? 0)
        )
    }
}
