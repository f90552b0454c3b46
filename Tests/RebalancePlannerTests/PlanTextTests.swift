// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import PCITopology
internal import RescueFamily
internal import Testing

@testable internal import RebalancePlanner

/// Whole plans for random machines, word by word and write by write, as they were reviewed; each is held against the rules of
/// `PlanAudit` as well, so that what is reviewed is sound.
///
/// `Fixtures/plans/plans.txt` holds them. With `RECORD_PLAN_TEXTS=1` it is written anew, to be reviewed as a diff.
@Suite("plans as they were reviewed", .serialized)
struct PlanTextTests {
    private static let file = URL(fileURLWithPath: "\(#filePath)").deletingLastPathComponent()
        .deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures/plans/plans.txt")

    /// The seeds that are planned for, by question: machines on which much of what a plan can hold occurs.
    private static let seeds = 0..<60 as Range<UInt64>
    private static let casesPerQuestion = 4

    private static func name(_ question: PlanningCase.Question, _ seed: UInt64) -> String {
        "== \(question.rawValue) \(seed)"
    }

    /// All that a plan says, a line each; the trees between are what `PlanAudit` checks.
    private func lines(_ one: PlanningCase, _ plan: Plan) -> [String] {
        var result = [plan.verdict.line + ": " + plan.verdict.sentence, "proof \(plan.proof)"]
        result += plan.diagnosis.map { "diagnosis \($0.code): \($0.text)" }
        result += plan.disturbed.map {
            "\($0.effect.rawValue) \($0.address) -> \($0.newAddress) weight \($0.weight), \($0.what), \($0.uses)"
        }
        for step in plan.steps {
            result.append("step: \(step.purpose)")
            result += step.preconditions.map { "    if \($0)" }
            result += step.writes.map { "    \($0)" }
            result += step.wayBack.map { "    back \($0)" }
            result += step.mayAppearBelow.map { "    may appear below \($0)" }
        }
        result += plan.remarks.map { "remark: \($0)" }
        if let outage = plan.outage { result.append(outage) }
        return result
    }

    private func texts(_ question: PlanningCase.Question) throws -> [(name: String, lines: [String])] {
        var result: [(name: String, lines: [String])] = []
        for seed in Self.seeds where result.count < Self.casesPerQuestion {
            let behaviour = KernelBehaviour.presets[Int(seed % 3)]
            guard let one = try PlanningCase(seed: seed, question, behaviour: behaviour) else { continue }
            let plan = try one.plan()
            if plan.verdict.answer == .act {
                #expect(
                    try PlanAudit.faults(one.topology, one.behaviour, one.constraints, plan) == [],
                    "\(question) \(seed)"
                )
            }
            var words = lines(one, plan)
            if plan.verdict.answer == .impossible {
                let planner = Planner(topology: one.topology, behaviour: one.behaviour)
                words += planner.otherWays(to: [one.goal], beside: plan, constraints: one.constraints).map {
                    "or: \($0)"
                }
            }
            result.append((Self.name(question, seed), words))
        }
        return result
    }

    @Test("the whole plan", arguments: PlanningCase.Question.allCases)
    func whole(question: PlanningCase.Question) throws {
        let now = try texts(question)
        let old = ((try? String(contentsOf: Self.file, encoding: .utf8)) ?? "").components(separatedBy: "\n\n")
            .map { $0.split(separator: "\n").map(String.init) }.filter { !$0.isEmpty }
        guard ProcessInfo.processInfo.environment["RECORD_PLAN_TEXTS"] == nil else {
            let others = old.filter { !$0[0].hasPrefix("== \(question.rawValue) ") }
            let all = others + now.map { [$0.name] + $0.lines }
            return try (all.map { $0.joined(separator: "\n") }.joined(separator: "\n\n") + "\n")
                .write(to: Self.file, atomically: true, encoding: .utf8)
        }
        #expect(now.count == Self.casesPerQuestion)
        for (name, lines) in now {
            let expected = try #require(old.first { $0[0] == name }, "\(name) was not reviewed")
            #expect(lines == Array(expected.dropFirst()), "\(name)")
        }
    }
}
