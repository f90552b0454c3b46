// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// The twin as predictor, on machines recorded from real kernels.
@Suite("Predictor by the twin")
struct TwinPredictorTests {
    private func topology(_ name: String) throws -> Topology {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return try TopologyAssembler(SnapshotFile(path: "\(root)/Fixtures/\(name).snapshot.json").read()).topology()
    }

    /// The repair of a machine on 7.x, seen step by step.
    private func repair(_ failed: Topology) throws -> (plan: Plan, seen: [Observation]) {
        let plan = try Planner(topology: failed, behaviour: .linux7_2).plan(goals: [.everythingRequired])
        try #require(plan.verdict.answer == .act)
        return (plan, plan.steps.map { Observation(writes: $0.writes, tree: $0.after) })
    }

    @Test("what another kernel does is explained by that kernel, and planned for anew")
    func another() throws {
        let failed = try topology("first-light-7/failed-hot-add")
        let (_, seen) = try repair(failed)
        let predictor = TwinPredictor(
            initial: failed,
            behaviour: .linux6_12,
            readTopology: { failed },
            wish: ([.everythingRequired], Constraints())
        )
        #expect(predictor.planAnew() == nil, "nothing was explained yet")
        let name = try #require(predictor.explain(seen))
        #expect(name.hasPrefix("linux-7.2"))
        #expect(predictor.outcome(of: []) == seen.last?.tree)
        let anew = try #require(predictor.planAnew())
        #expect(anew.behaviour == name)
        #expect(anew.after == seen.last?.tree)
    }

    @Test("what the planned behaviour does needs no other")
    func same() throws {
        let failed = try topology("first-light-7/failed-hot-add")
        let (plan, seen) = try repair(failed)
        let predictor = TwinPredictor(initial: failed, behaviour: .linux7_2, readTopology: { failed })
        #expect(predictor.explain(seen) == plan.behaviour)
        #expect(predictor.planAnew() == nil, "nobody agreed to another plan")
        // Undone in thought: remove and find again what is there now.
        let root = try #require(failed.functions.first { $0.address.description == "0000:00:02.0" })
        let back = predictor.outcome(of: [.remove(root.address), .rescanBus(segment: 0, bus: BusNumber(0))])
        #expect(back?.functions.count == seen.last?.tree.functions.count)
        #expect(predictor.outcome(of: [.rescanBus(segment: 0, bus: BusNumber(0xee))]) == nil)
    }

    @Test("what no kernel does is not explained, and a plan back is asked of every behaviour")
    func none() throws {
        let failed = try topology("first-light-7/failed-hot-add")
        var (_, seen) = try repair(failed)
        seen[0].tree.functions.removeLast()
        let predictor = TwinPredictor(initial: failed, behaviour: .linux6_12, readTopology: { failed })
        #expect(predictor.explain(seen) == nil)
        #expect(predictor.outcome(of: []) == nil)
        let card = try #require(FunctionAddress(parsing: "0000:04:00.0"))
        let now = TreeState(failed)
        let plan = try #require(predictor.planBack(from: now, for: [.place(card)]))
        #expect(plan.before == now)
        #expect(predictor.planBack(from: seen[0].tree, for: [.place(card)]) == nil, "the machine stands elsewhere")
        let unknown = TwinPredictor(initial: nil, behaviour: .linux6_12, readTopology: { failed })
        #expect(unknown.explain([]) == nil, "after a crash nobody knows how it was")
    }
}
