// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import RescueFamily
internal import Testing

@Suite("plans write by write")
struct PlanAuditTests {
    @Test("a plan for a random machine keeps every rule", arguments: PlanningCase.Question.allCases)
    func random(question: PlanningCase.Question) throws {
        var acting = 0
        for seed in 0..<200 as Range<UInt64> where acting < 6 {
            let behaviour = KernelBehaviour.presets[Int(seed % 3)]
            guard let one = try PlanningCase(seed: seed, question, behaviour: behaviour) else { continue }
            let plan = try one.plan()
            guard plan.verdict.answer == .act else { continue }
            acting += 1
            let faults = try PlanAudit.faults(one.topology, one.behaviour, one.constraints, plan)
            #expect(faults == [], "\(question) \(seed)")
        }
        #expect(acting == 6, "\(question)")
    }
}
