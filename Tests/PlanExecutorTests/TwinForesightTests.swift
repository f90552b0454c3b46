// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// The twin as foresight, on machines recorded from real kernels.
@Suite("Foresight by the twin")
struct TwinForesightTests {
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
        let foresight = TwinForesight(
            initial: failed,
            behaviour: .linux6_12,
            readTopology: { failed },
            wish: ([.everythingRequired], Constraints())
        )
        #expect(foresight.planAnew() == nil, "nothing was explained yet")
        let name = try #require(foresight.explain(seen))
        #expect(name.hasPrefix("linux-7.2"))
        #expect(foresight.outcome(of: []) == seen.last?.tree)
        let anew = try #require(foresight.planAnew())
        #expect(anew.behaviour == name)
        #expect(anew.after == seen.last?.tree)
    }

    @Test("what the planned behaviour does needs no other")
    func same() throws {
        let failed = try topology("first-light-7/failed-hot-add")
        let (plan, seen) = try repair(failed)
        let foresight = TwinForesight(initial: failed, behaviour: .linux7_2, readTopology: { failed })
        #expect(foresight.explain(seen) == plan.behaviour)
        #expect(foresight.planAnew() == nil, "nobody agreed to another plan")
        // Undone in thought: remove and find again what is there now.
        let root = try #require(failed.functions.first { $0.address.description == "0000:00:02.0" })
        let back = foresight.outcome(of: [.remove(root.address), .rescanBus(segment: 0, bus: BusNumber(0))])
        #expect(back?.functions.count == seen.last?.tree.functions.count)
        #expect(foresight.outcome(of: [.rescanBus(segment: 0, bus: BusNumber(0xee))]) == nil)
    }

    @Test("what no kernel does is not explained, and a plan back is asked of every behaviour")
    func none() throws {
        let failed = try topology("first-light-7/failed-hot-add")
        var (_, seen) = try repair(failed)
        seen[0].tree.functions.removeLast()
        let foresight = TwinForesight(initial: failed, behaviour: .linux6_12, readTopology: { failed })
        #expect(foresight.explain(seen) == nil)
        #expect(foresight.outcome(of: []) == nil)
        let card = try #require(FunctionAddress(parsing: "0000:04:00.0"))
        let now = TreeState(failed)
        let plan = try #require(foresight.planBack(from: now, for: [card]))
        #expect(plan.before == now)
        #expect(foresight.planBack(from: seen[0].tree, for: [card]) == nil, "the machine stands elsewhere")
        let unknown = TwinForesight(initial: nil, behaviour: .linux6_12, readTopology: { failed })
        #expect(unknown.explain([]) == nil, "after a crash nobody knows how it was")
    }
}
