// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver
import Testing

@Suite("Against the exhaustive placer")
struct OracleTests {
    @Test("random small memory trees: same least cost, valid layouts, true proofs", arguments: 0..<20)
    func memory(block: Int) throws {
        for seed in 0..<25 {
            let problem = SmallProblems.memory(UInt64(block * 1_000 + seed))
            try agree(problem, "memory \(block * 1_000 + seed)")
        }
    }

    @Test("random small bus numberings: same least cost, valid layouts, true proofs", arguments: 0..<40)
    func buses(block: Int) throws {
        for seed in 0..<25 {
            let problem = SmallProblems.buses(UInt64(block * 1_000 + seed))
            try agree(problem, "buses \(block * 1_000 + seed)")
        }
    }

    @Test("random small trees of all kinds at once: same least cost, valid layouts, true proofs", arguments: 0..<16)
    func mixed(block: Int) throws {
        // Exhaustive search is slow without optimisation: `make solver-random` does hundreds of thousands.
        for seed in 0..<2 {
            try agree(SmallProblems.mixed(UInt64(block * 1_000 + seed)), "mixed \(block * 1_000 + seed)")
        }
    }

    @Test("a place spans no two apertures, even where they touch", arguments: [26482, 29410, 241155, 379355, 615434])
    func touchingApertures(seed: Int) throws {
        let problem = seed % 4 == 0 ? SmallProblems.memory(UInt64(seed)) : SmallProblems.mixed(UInt64(seed))
        try agree(problem, "mixed \(seed)")
    }

    @Test("little effort still gives a valid layout with a true bound")
    func littleEffort() throws {
        var layouts = 0
        for seed in 0..<150 {
            let problem = SmallProblems.memory(UInt64(seed))
            guard case .layout(let quick) = try Solver(effort: Effort(steps: 300)).smallestChange(problem) else {
                continue
            }
            layouts += 1
            #expect(LayoutChecker(problem).defects(of: quick) == [], "memory \(seed)")
            let best = try Solver().smallestChange(problem).layout
            #expect(best.map { $0.cost <= quick.cost } == true, "memory \(seed)")
            if case .within(let bound) = quick.proof {
                #expect(best.map { bound <= $0.cost } == true, "memory \(seed)")
            }
        }
        #expect(layouts > 50)
    }

    private func agree(_ problem: Problem, _ name: String) throws {
        let expected = ExhaustivePlacer(problem: problem).leastCost()
        switch try Solver().smallestChange(problem) {
        case .layout(let layout):
            #expect(LayoutChecker(problem).defects(of: layout) == [], "\(name)")
            #expect(layout.cost == expected, "\(name)")
            #expect(layout.proof == .optimal, "\(name)")
        case .conflict(let conflict):
            #expect(expected == nil, "\(name)")
            #expect(!conflict.members.isEmpty, "\(name)")
        case .undecided:
            Issue.record("\(name) is undecided")
        }
    }

    @Test("the order of the input does not reach the output", arguments: 0..<60)
    func shuffled(seed: Int) throws {
        let problem = SmallProblems.memory(UInt64(seed))
        var dice = Dice(UInt64(seed) + 77)
        var other = problem
        // A permutation of devices and of requests; every reference follows.
        let devices = permutation(problem.devices.count, &dice)
        let requests = permutation(problem.requests.count, &dice)
        other.devices = devices.map { problem.devices[$0] }
        other.requests = requests.map { problem.requests[$0] }
        for r in other.requests.indices {
            other.requests[r].holders = other.requests[r].holders.compactMap { devices.firstIndex(of: $0) }
        }
        let a = try Solver().smallestChange(problem)
        let b = try Solver().smallestChange(other)
        #expect(a.layout?.cost == b.layout?.cost)
        #expect(a.layout?.proof == b.layout?.proof)
        #expect(a.layout?.windows == b.layout?.windows)
        #expect(
            requests.map { a.layout?.placements[$0] }
                == (b.layout?.placements.map { Optional($0) } ?? requests.map { _ in nil })
        )
        #expect(a.conflict?.summary == b.conflict?.summary)
    }

    private func permutation(_ count: Int, _ dice: inout Dice) -> [Int] {
        var list = Array(0..<count)
        for i in list.indices.reversed() where i > 0 { list.swapAt(i, dice.roll(i + 1)) }
        return list
    }
}
