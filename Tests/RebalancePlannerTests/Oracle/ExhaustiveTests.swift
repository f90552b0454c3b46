// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import Testing

/// How many seeds, from which on, and how many stages are simulated for each: `PCI_REBALANCE_ORACLE=COUNT:FIRST:LIMIT`.
let oracleWords = (ProcessInfo.processInfo.environment["PCI_REBALANCE_ORACLE"] ?? "")
    .split(separator: ":").compactMap { UInt64($0) }

/// The planner against every sequence of levers: `make oracle`.
@Suite("plans against exhaustive search", .enabled(if: !oracleWords.isEmpty))
struct ExhaustiveTests {
    @Test("no way is missed, and what claims to be the least is", arguments: KernelBehaviour.presets)
    func plans(behaviour: KernelBehaviour) throws {
        let words = oracleWords
        let first = words.count > 1 ? words[1] : 1000
        var trees = 0
        for question in SmallMachine.Question.allCases {
            var table = OracleTable(behaviour, question)
            if words.isEmpty {
                table.limit = 200
            } else if words.count > 2 {
                table.limit = Int(words[2])
            }
            for seed in first..<(first + (words.first ?? 200)) where words.first != nil || table.trees < 5 {
                try table.take(seed: seed)
            }
            for line in table.lines { print(line) }
            trees += table.trees
            #expect(table.falseNo == [])
            #expect(table.falseLeast == [])
        }
        #expect(trees > 8)
    }
}
