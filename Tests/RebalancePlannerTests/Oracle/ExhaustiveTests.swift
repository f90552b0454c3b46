// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import Testing

/// How many seeds, from which on, and how many stages are simulated for each: `PCI_REBALANCE_ORACLE=COUNT:FIRST:LIMIT`.
let oracleWords = (ProcessInfo.processInfo.environment["PCI_REBALANCE_ORACLE"] ?? "")
    .split(separator: ":").compactMap { UInt64($0) }

/// The planner against every sequence of levers: a few machines here, as many as are wanted with `make oracle`.
@Suite("plans against exhaustive search")
struct ExhaustiveTests {
    /// A reserve whose window must be larger than the room in it, an I/O BAR beneath a running driver, and others.
    private static let sample: [UInt64] = [1004, 1011, 2003, 2020]

    @Test("no way is missed, and what claims to be the least is", arguments: KernelBehaviour.presets)
    func plans(behaviour: KernelBehaviour) throws {
        let words = oracleWords
        var seeds = Self.sample
        if let count = words.first {
            let first = words.count > 1 ? words[1] : 1000
            seeds = Array(first..<(first + count))
        }
        var trees = 0
        for question in SmallMachine.Question.allCases {
            var table = OracleTable(behaviour, question)
            table.limit = words.count > 2 ? Int(words[2]) : words.isEmpty ? 250 : 1500
            for seed in seeds { try table.take(seed: seed) }
            if !words.isEmpty { for line in table.lines { print(line) } }
            trees += table.trees
            #expect(table.falseNo == [])
            #expect(table.falseLeast == [])
            if words.isEmpty { #expect(table.heavier == []) }
        }
        #expect(trees > 0)
    }
}
