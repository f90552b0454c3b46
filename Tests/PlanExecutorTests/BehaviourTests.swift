// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// A kernel may have one of several behaviours: what an apply makes of each step, and of the way back.
@Suite("Several behaviours")
struct BehaviourTests {
    /// Kernels that contradict each other: low addresses, high ones, and one that never lets a window grow.
    private func predictor(_ bench: Bench, _ names: [String] = ["low", "high", "rigid"]) -> FakePredictor {
        let predictor = FakePredictor(bench.machine)
        for name in names {
            var state = bench.original
            state.placesHigh = name == "high"
            state.neverGrows = name == "rigid"
            predictor.variants.append((name, state))
        }
        return predictor
    }

    private func left(_ bench: Bench) throws -> [[String]] {
        try #require(try Journal.last(on: bench.disk)).entries.compactMap {
            if case .behavioursLeft(let names) = $0 { names } else { nil }
        }
    }

    @Test("a step that ends as another behaviour left foretells is as good, and the rest is ruled out")
    func another() throws {
        let bench = Bench()
        bench.machine.state.placesHigh = true
        let plan = Fake.grow(bench.original)
        let report = try bench.applier.apply(plan, predictor: predictor(bench))
        #expect(report.line == "APPLY: done reason=goal-reached", "\(report)")
        #expect(report.sentence.contains("as high"))
        #expect(report.after == bench.machine.state.tree)
        #expect(report.after != plan.after)
        #expect(bench.broken.isEmpty)
        let card = try #require(bench.machine.state.index(Fake.card))
        #expect(bench.machine.state.devices[card].lines[0].isPlacedForTests)
        // The removal looks the same under all three.
        #expect(try left(bench) == [["low", "high", "rigid"], ["high"]])
    }

    @Test("a plan that says something else than the behaviour it was made for does is not carried on")
    func wrongPlan() throws {
        let bench = Bench()
        bench.machine.state.placesHigh = true
        var plan = Fake.grow(bench.original)
        plan.behaviour = "high"
        let report = try bench.applier.apply(plan, predictor: predictor(bench))
        #expect(report.reason == "prediction-differs", "\(report)")
        #expect(report.verdict != .done)
        #expect(bench.broken.isEmpty)
    }

    @Test("what the plan foretold rules out the others")
    func asPlanned() throws {
        let bench = Bench()
        let report = try bench.applier.apply(Fake.grow(bench.original), predictor: predictor(bench))
        #expect(report.verdict == .done)
        #expect(report.after == bench.machine.state.tree)
        #expect(try left(bench) == [["low", "high", "rigid"], ["low"]])
    }

    @Test("a behaviour under which the plan misses its goal is no reason to go on")
    func missed() throws {
        let bench = Bench()
        bench.machine.state.neverGrows = true
        let report = try bench.applier.apply(Fake.grow(bench.original), predictor: predictor(bench))
        // This kernel does not let anybody back either: what the way back in thought is there to find out before.
        #expect(report.verdict != .done)
        #expect(report.reason == "prediction-differs")
    }

    @Test("what no behaviour foretells ends the plan")
    func unforeseen() throws {
        let bench = Bench()
        bench.machine.state.placesHigh = true
        let report = try bench.applier.apply(
            Fake.grow(bench.original),
            predictor: predictor(bench, ["low", "rigid"])
        )
        #expect(report.verdict == .rolledBack)
        #expect(report.reason == "prediction-differs")
        #expect(bench.broken.isEmpty)
    }

    @Test("registers that part from the tree are no end that a behaviour foretold")
    func parted() throws {
        let bench = Bench()
        bench.machine.state.placesHigh = true
        bench.machine.state.bridgeWithStuckRegisters = Fake.secondPort
        let report = try bench.applier.apply(Fake.grow(bench.original), predictor: predictor(bench))
        #expect(report.verdict != .done, "\(report)")
    }

    // MARK: The way back

    private func unjudged(_ bench: Bench) -> Plan {
        bench.machine.release = "5.15.0-91-generic"
        var plan = Fake.grow(bench.original)
        plan.kernelRelease = bench.machine.release
        return plan
    }

    @Test("on a kernel that was not judged a plan whose way back is shown is carried out")
    func shown() throws {
        let bench = Bench()
        let plan = unjudged(bench)
        let predictor = predictor(bench)
        predictor.answer = WayBackAnswer(behaviours: ["low", "high"], gaps: [], isJudged: false)
        #expect(try bench.applier.apply(plan, predictor: predictor).verdict == .done)
    }

    @Test("one that could lose something on the way back is refused unless it is allowed")
    func notShown() throws {
        let bench = Bench()
        let plan = unjudged(bench)
        let predictor = predictor(bench)
        predictor.answer = WayBackAnswer(
            behaviours: ["low", "high"],
            gaps: [.init(behaviour: "high", step: 2, losses: ["03:00.0 BAR 0 was there, is gone"])],
            isJudged: false
        )
        let report = try bench.applier.apply(plan, predictor: predictor)
        #expect(report.line == "APPLY: failed reason=way-back-not-shown")
        #expect(report.exitStatus == 4)
        #expect(report.sentence.contains("as high, going back from step 2"))
        #expect(report.differences == ["as high, back from step 2: 03:00.0 BAR 0 was there, is gone"])
        #expect(bench.machine.trace.isEmpty)
        #expect(bench.disk.files.isEmpty)
        var applier = bench.applier
        applier.allowsUnjudgedKernel = true
        #expect(try applier.apply(plan, predictor: predictor).verdict == .done)
    }

    // MARK: What is known beforehand

    private var three: BehaviourSet {
        BehaviourSet(
            .init(.linux7_2, reason: "the nearest"),
            others: [.init(.linux6_12, reason: "older"), .init(.linux6_1, reason: "oldest")],
            judgement: .none
        )
    }

    @Test("what an earlier apply on the same kernel ruled out stays ruled out")
    func journals() throws {
        let bench = Bench()
        bench.machine.state.placesHigh = true
        let predictor = FakePredictor(bench.machine)
        for (name, isHigh) in [("linux-7.2", false), ("linux-6.12", true)] {
            var state = bench.original
            state.placesHigh = isHigh
            predictor.variants.append((name, state))
        }
        #expect(try bench.applier.apply(Fake.grow(bench.original), predictor: predictor).verdict == .done)
        let record = try #require(try Journal.last(on: bench.disk))
        var evidence = BehaviourEvidence(three)
        evidence.learn(from: record, release: "6.18.15")
        #expect(evidence.ruledOut.isEmpty, "another kernel")
        evidence.learn(from: record, release: bench.machine.release)
        #expect(evidence.left.behaviours.map(\.name) == ["linux-6.12", "linux-6.1"])
        #expect(evidence.ruledOut.map(\.behaviour) == ["linux-7.2"])
        #expect(evidence.ruledOut[0].reason.contains(record.beginning.id))
    }

    @Test("evidence against every behaviour says that none is known well enough, and drops none")
    func againstAll() {
        var evidence = BehaviourEvidence(three)
        evidence.drop { _ in "it did something else" }
        #expect(evidence.left == three)
        #expect(evidence.ruledOut.isEmpty)
        #expect(evidence.isOfSeveral)
        #expect(!BehaviourEvidence(forRelease: "6.12.118+deb13-amd64").isOfSeveral, "judged by itself")
    }

    @Test("a plan keeps what it says of each behaviour in its document")
    func document() throws {
        var plan = Fake.grow(Fake.machine())
        plan.outlooks = BehaviourOutlook.Outcome.allCases.enumerated().map { n, outcome in
            BehaviourOutlook(behaviour: "b\(n)", outcome: outcome, differsAfterStep: n == 0 ? nil : n)
        }
        plan.ruledOut = [RuledOutBehaviour(behaviour: "other", reason: "seen otherwise")]
        #expect(try PlanDocument.decode(PlanDocument.encode(plan)) == plan)
        plan.outlooks[1].differsAfterStep = 0
        let hostile = PlanDocument.encode(plan)
        #expect(throws: PlanDocumentError.self) { try PlanDocument.decode(hostile) }
    }

    // MARK: By the twin

    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    private func topology(_ path: String) throws -> Topology {
        try TopologyAssembler(SnapshotFile(path: path).read()).topology()
    }

    @Test("the ways back of the first repair are seen under every behaviour")
    func firstLight() throws {
        let failed = try topology("\(Self.root)/Fixtures/first-light-7/failed-hot-add.snapshot.json")
        let plan = try Planner(topology: failed, behaviour: .linux7_2).plan(goals: [.everythingRequired])
        try #require(plan.verdict.answer == .act)
        let others = KernelBehaviour.linux7_2.alternatives.map { BehaviourSet.Candidate($0, reason: "test") }
        let set = BehaviourSet(.init(.linux7_2, reason: "test"), others: others, judgement: .none)
        let predictor = TwinPredictor(initial: failed, behaviours: set, readTopology: { failed })
        let names = predictor.foresee([], after: []).map(\.behaviour)
        #expect(names == set.behaviours.map(\.name))
        // What the planned behaviour shows keeps it and drops those that would have done otherwise.
        let seen = plan.steps.map { Observation(writes: $0.writes, tree: $0.after) }
        let left = predictor.foresee([], after: seen).map(\.behaviour)
        #expect(left.first == "linux-7.2")
        #expect(left.count < names.count)
        #expect(predictor.foresee([], after: []).count == names.count, "another beginning is followed anew")
        predictor.triesWaysBack = true
        let answer = try #require(predictor.wayBack(of: plan))
        #expect(answer.behaviours == names)
        #expect(answer.gaps.allSatisfy { !$0.losses.isEmpty && $0.step <= plan.steps.count })
        // What no twin can follow to its end is not shown, and neither is what would take for ever.
        var unknown = plan
        unknown.steps[0].writes.append(.slotPower(slot: "1", on: true))
        #expect(predictor.wayBack(of: unknown) == nil)
        var long = plan
        long.steps = (0..<400).map { _ in plan.steps[0] }
        #expect(predictor.wayBack(of: long) == nil)
    }

    @Test(
        "a plan on a machine that lost three cards is gone back from in thought first",
        .enabled(if: ProcessInfo.processInfo.environment["PCI_REBALANCE_LONG_TESTS"] == "1")
    )
    func lossOnAnotherKernel() throws {
        let path = "\(Self.root)/../shared/cases/50-loss-on-6.18/failed-hot-add.snapshot.json"
        guard let failed = try? topology(path) else { try Test.cancel("\(path) is not there") }
        let release = try #require(failed.kernel.release)
        let set = KernelCatalogue.behaviours(forRelease: release)
        let plan = try Planner(topology: failed, behaviour: set.first).plan(goals: [.everythingRequired])
        let predictor = TwinPredictor(initial: failed, behaviours: set, readTopology: { failed })
        predictor.triesWaysBack = true
        let answer = try #require(predictor.wayBack(of: plan))
        #expect(answer.behaviours == set.behaviours.map(\.name))
        #expect(answer.isJudged == set.isJudged)
        #expect(answer.gaps.allSatisfy { answer.behaviours.contains($0.behaviour) && !$0.losses.isEmpty })
        #expect(answer.gaps.allSatisfy { (1...plan.steps.count).contains($0.step) })
        let old = try Planner(topology: failed, behaviour: .linux7_2).plan(goals: [.everythingRequired])
        let two = BehaviourSet(
            .init(.linux7_2, reason: "test"),
            others: [.init(.linux6_18, reason: "test")],
            judgement: .none
        )
        let other = TwinPredictor(initial: failed, behaviours: two, readTopology: { failed })
        other.triesWaysBack = true
        // What it was: a plan made for 7.2, and the way back on 6.18 left these three without their BARs.
        let gap = try #require(other.wayBack(of: old)?.gaps.first { $0.behaviour == "linux-6.18" })
        #expect(gap.losses.map { String($0.prefix(12)) } == ["0000:0f:00.0", "0000:12:00.0", "0000:14:00.0"])
    }
}
