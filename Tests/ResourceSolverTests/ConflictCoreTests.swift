// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import ResourceSolver
import Testing

/// Conflicts, held against the exhaustive placer: their members alone cannot be satisfied, all but any one can.
@Suite("Conflicts are impossible, and irreducible")
struct ConflictCoreTests {
    /// The problem that knows nothing but some members of a conflict: what must be placed may lie anywhere, what must not
    /// move is fixed, everything else is gone.
    private func core(_ problem: Problem, _ members: [Conflict.Member]) -> Problem {
        var core = problem
        // Whoever is below a window that changes is another member, or does not matter.
        core.rule = .movable
        core.requests = []
        core.hosts[0].obstacles = []
        for b in core.bridges.indices {
            for w in core.bridges[b].windows.indices { core.bridges[b].windows[w].isFrozen = false }
        }
        for member in members {
            switch member.role {
            case .request(let r):
                var request = problem.requests[r]
                request.current = nil
                request.isFixed = false
                core.requests.append(request)
            case .holder(let r):
                var request = problem.requests[r]
                request.isFixed = true
                core.requests.append(request)
            case .frozenWindow(let b, let w): core.bridges[b].windows[w].isFrozen = true
            case .obstacle(let host, let index):
                core.hosts[host].obstacles.append(problem.hosts[host].obstacles[index])
            }
        }
        return core
    }

    private func check(_ problem: Problem, _ name: String) throws -> Bool {
        guard case .conflict(let conflict) = try Solver().smallestChange(problem) else { return false }
        #expect(ExhaustivePlacer(problem: core(problem, conflict.members)).leastCost() == nil, "\(name): \(conflict)")
        #expect(conflict.isIrreducible, "\(name): \(conflict)")
        for dropped in conflict.members.indices {
            var rest = conflict.members
            rest.remove(at: dropped)
            let isPossible = ExhaustivePlacer(problem: core(problem, rest)).leastCost() != nil
            #expect(isPossible, "\(name) without \(conflict.members[dropped].label): \(conflict)")
        }
        return true
    }

    @Test("random small trees; ten times as many where many are asked for")
    func random() throws {
        let isMany = ProcessInfo.processInfo.environment["PCI_REBALANCE_RANDOM"] != nil
        var conflicts = 0
        for seed in 0..<(isMany ? 600 : 50) as Range<UInt64> {
            if try check(SmallProblems.memory(seed), "memory \(seed)") { conflicts += 1 }
            if try check(SmallProblems.buses(seed), "buses \(seed)") { conflicts += 1 }
        }
        // Exhaustive search over both kinds of window is slow without optimisation.
        for seed in 0..<(isMany ? 60 : 2) as Range<UInt64> {
            if try check(SmallProblems.mixed(seed), "mixed \(seed)") { conflicts += 1 }
        }
        print("\(conflicts) conflicts are irreducible")
        #expect(conflicts > (isMany ? 200 : 12))
    }
}
