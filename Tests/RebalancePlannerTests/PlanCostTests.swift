// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import PCITopology
internal import RebalancePlanner
internal import RescueFamily
internal import Testing

/// What plans for random machines cost, held against what they cost at best so far: no plan gets dearer, longer, or misses
/// what was reached before.
///
/// `PlanCosts.tsv` holds question, seed, answer, weight, writes. With `RECORD_PLAN_COSTS=1` it is written anew.
@Suite("no plan gets dearer")
struct PlanCostTests {
    private struct Figures {
        var answer: String
        var isWhole: Bool
        var weight: Int
        var writes: Int

        init(_ plan: Plan) {
            answer = plan.verdict.answer.rawValue
            isWhole = plan.isWhole
            weight = plan.disturbed.reduce(0) { $0 + $1.weight }
            writes = plan.steps.reduce(0) { $0 + $1.writes.count }
        }
    }

    private static let table = URL(fileURLWithPath: "\(#filePath)").deletingLastPathComponent()
        .appendingPathComponent("PlanCosts.tsv")

    private static func planningCase(_ question: PlanningCase.Question, _ seed: UInt64) throws -> PlanningCase? {
        try PlanningCase(seed: seed, question, behaviour: KernelBehaviour.presets[Int(seed % 3)])
    }

    @Test("the figures of the table, or better ones", arguments: PlanningCase.Question.allCases)
    func figures(question: PlanningCase.Question) throws {
        guard ProcessInfo.processInfo.environment["RECORD_PLAN_COSTS"] == nil else { return try record(question) }
        let rows = try String(contentsOf: Self.table, encoding: .utf8).split(separator: "\n")
            .map { $0.split(separator: "\t").map(String.init) }
            .filter { $0.first == question.rawValue }
        #expect(rows.count >= 7)
        for row in rows {
            let seed = try #require(UInt64(row[1]))
            let one = try #require(try Self.planningCase(question, seed))
            let now = Figures(try one.plan())
            let name = "\(question) \(seed)"
            if row[2] != "act" {
                // What could not be had may be had one day; what must not be is not done.
                #expect(now.answer == row[2] || row[2] == "impossible" && now.answer == "act", "\(name): \(now)")
                continue
            }
            let (weight, writes) = (try #require(Int(row[4])), try #require(Int(row[5])))
            #expect(now.answer == "act" && (now.isWhole || row[3] == "partly"), "\(name): \(now)")
            #expect(now.weight <= weight, "\(name): \(now)")
            if now.weight == weight { #expect(now.writes <= writes, "\(name): \(now)") }
        }
    }

    private func record(_ question: PlanningCase.Question) throws {
        var rows: [String] = []
        for seed in 0..<200 as Range<UInt64> where rows.count < 10 {
            guard let one = try Self.planningCase(question, seed) else { continue }
            let now = Figures(try one.plan())
            rows.append(
                "\(question.rawValue)\t\(seed)\t\(now.answer)\t\(now.isWhole ? "whole" : "partly")\t\(now.weight)\t\(now.writes)"
            )
        }
        let old = ((try? String(contentsOf: Self.table, encoding: .utf8)) ?? "").split(separator: "\n").map(String.init)
            .filter { !$0.hasPrefix("\(question.rawValue)\t") }
        try ((old + rows).joined(separator: "\n") + "\n").write(to: Self.table, atomically: true, encoding: .utf8)
    }
}
