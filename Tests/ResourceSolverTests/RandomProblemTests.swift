// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import ResourceSolver
import Testing

/// Random small problems by the million; `make solver-random` runs it and shows the counts.
@Suite("Random problems in bulk")
struct RandomProblemTests {
    private static let wanted = ProcessInfo.processInfo.environment["PCI_REBALANCE_RANDOM"].flatMap { Int($0) }

    private struct Count {
        var layouts = 0
        var conflicts = 0
        var undecided = 0
        var rejected = 0
        var compared = 0
        var wrong = 0

        static func + (a: Count, b: Count) -> Count {
            Count(
                layouts: a.layouts + b.layouts,
                conflicts: a.conflicts + b.conflicts,
                undecided: a.undecided + b.undecided,
                rejected: a.rejected + b.rejected,
                compared: a.compared + b.compared,
                wrong: a.wrong + b.wrong
            )
        }
    }

    @Test("no layout is rejected, no proof is wrong", .enabled(if: wanted != nil))
    func bulk() async throws {
        let count = try #require(Self.wanted)
        let parts = 64
        let total = try await withThrowingTaskGroup(of: Count.self) { group in
            for part in 0..<parts {
                group.addTask {
                    try Self.run(seeds: (count * part / parts)..<(count * (part + 1) / parts))
                }
            }
            return try await group.reduce(Count()) { $0 + $1 }
        }
        print(
            """
            \(count) problems: \(total.layouts) layouts, \(total.conflicts) conflicts, \(total.undecided) undecided; \
            \(total.rejected) layouts rejected by the checker; \(total.compared) compared with exhaustive search, \
            \(total.wrong) different
            """
        )
        #expect(total.rejected == 0)
        #expect(total.wrong == 0)
    }

    private static func run(seeds: Range<Int>) throws -> Count {
        var count = Count()
        for seed in seeds {
            let kind = seed % 4
            let problem =
                kind == 0
                ? SmallProblems.memory(UInt64(seed))
                : kind == 1 ? SmallProblems.buses(UInt64(seed)) : SmallProblems.mixed(UInt64(seed))
            let outcome = try Solver().smallestChange(problem)
            switch outcome {
            case .layout(let layout):
                count.layouts += 1
                let defects = LayoutChecker(problem).defects(of: layout)
                if !defects.isEmpty {
                    count.rejected += 1
                    print("seed \(seed): \(defects)")
                }
            case .conflict: count.conflicts += 1
            case .undecided: count.undecided += 1
            }
            guard seed % 20 < 2, outcome != .undecided else { continue }
            count.compared += 1
            let expected = ExhaustivePlacer(problem: problem).leastCost()
            let isRight = outcome.layout.map { $0.cost == expected || $0.proof != .optimal } ?? (expected == nil)
            if !isRight {
                count.wrong += 1
                print("seed \(seed): \(outcome.layout?.cost ?? -1), exhaustive search \(expected ?? -1)")
            }
        }
        return count
    }
}
