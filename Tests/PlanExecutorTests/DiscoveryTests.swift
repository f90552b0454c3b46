// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// Plans that find functions which nobody could see, on machines that a twin plays.
///
/// With `PCI_REBALANCE_HIDDEN_TREES=FIRST:COUNT` in the environment the family has these seeds, not a few.
@Suite("Plans that find what was hidden", .serialized)
struct DiscoveryTests {
    private static let seeds: [UInt64] = {
        let words = (ProcessInfo.processInfo.environment["PCI_REBALANCE_HIDDEN_TREES"] ?? "").split(separator: ":")
            .compactMap { UInt64($0) }
        return words.count == 2 ? Array(words[0]..<(words[0] + words[1])) : [1, 2, 3, 5]
    }()

    private static func release(_ behaviour: KernelBehaviour) -> String {
        let entry = KernelCatalogue.entries.last { $0.judgement != nil && $0.candidates[0].behaviour == behaviour }
        return entry?.judgement?.release ?? "none was judged"
    }

    private static func applier(_ machine: TwinMachine, _ disk: CrashingDisk) -> Applier {
        Applier(
            machine: Machine(writer: machine, observer: machine),
            disk: disk,
            lockPath: NSTemporaryDirectory() + "pci-rebalance-lock-\(UUID().uuidString)",
            audit: SilentAuditLog(),
            clock: fakeClock()
        )
    }

    private static func predictor(_ machine: TwinMachine, _ topology: Topology, _ behaviour: KernelBehaviour)
        -> TwinPredictor
    {
        TwinPredictor(
            initial: topology,
            behaviour: behaviour,
            readTopology: { try machine.topology() },
            wish: (goals: [.everythingRequired], constraints: Constraints())
        )
    }

    /// The functions of `before` that are gone from `now` or have lost an address, by place and ids.
    private static func lost(_ before: Topology, _ now: Topology) -> [String] {
        struct Key: Hashable {
            let place: TopologyPath
            let ids: UInt32
        }
        let later = Dictionary(
            TreeState(now).functions.map { (Key(place: $0.place, ids: $0.ids), $0.address) }
        ) { a, _ in a }
        var result: [String] = []
        for state in TreeState(before).functions {
            guard let address = later[Key(place: state.place, ids: state.ids)], let function = now[address] else {
                result.append("\(state.address) is gone")
                continue
            }
            for resource in before[state.address]?.resources ?? [] where resource.index.isBAR && resource.range != nil {
                if function.resource(resource.index)?.range == nil {
                    result.append("\(state.address) \(resource.index) has no address")
                }
            }
        }
        return result
    }

    private static func problems(_ topology: Topology) -> Int {
        topology.findings().filter { $0.severity == .problem }.count
    }

    @Test("nothing is lost, what is found has its place, and the end says so", arguments: KernelBehaviour.presets)
    func family(_ behaviour: KernelBehaviour) throws {
        var figures = (trees: 0, rescued: 0, partly: 0, other: 0, found: 0, hidden: 0, onward: 0)
        for seed in Self.seeds {
            guard let tree = try HiddenTree(seed: seed, behaviour: behaviour) else { continue }
            let machine = TwinMachine(tree.twin, release: Self.release(behaviour))
            let before = try machine.topology()
            guard Self.problems(before) > 0 else { continue }
            figures.trees += 1
            figures.hidden += tree.hidden
            let clock = ContinuousClock()
            let start = clock.now
            let plan = try Planner(topology: before, behaviour: behaviour).plan(goals: [.everythingRequired])
            let took = clock.now - start
            // The plan survives being written down.
            #expect(try PlanDocument.decode(PlanDocument.encode(plan)) == plan, "seed \(seed)")
            guard plan.verdict.answer == .act else {
                figures.other += 1
                print("hidden \(behaviour.name) seed \(seed): \(plan.verdict.line), \(tree.hidden) hidden, \(took)")
                continue
            }
            let report = try Self.applier(machine, CrashingDisk())
                .apply(plan, predictor: Self.predictor(machine, before, behaviour))
            let after = try machine.topology()
            let lost = Self.lost(before, after)
            #expect(lost.isEmpty, "\(behaviour.name) seed \(seed): \(lost) \(report.sentence) \(report.differences)")
            #expect([0, 5].contains(report.exitStatus), "\(behaviour.name) seed \(seed): \(report.sentence)")
            let isWhole = Self.problems(after) == 0
            if report.reason == "goal-reached" { #expect(isWhole, "\(behaviour.name) seed \(seed)") }
            if report.verdict == .done, isWhole {
                #expect(report.reason == "goal-reached", "\(behaviour.name) seed \(seed): \(report.sentence)")
            }
            figures.found += report.found.count
            if report.remarks.contains(where: { $0.contains("leads on from here") }) { figures.onward += 1 }
            if isWhole, machine.twin.unknownFunctionCount == 0 {
                figures.rescued += 1
            } else if report.verdict == .done {
                figures.partly += 1
            } else {
                figures.other += 1
            }
            print(
                "hidden \(behaviour.name) seed \(seed): \(report.line), \(tree.count) functions, \(tree.hidden) hidden, "
                    + "\(machine.twin.unknownFunctionCount) still, \(Self.problems(after)) problems, planned in \(took)"
            )
            if report.verdict != .done || !isWhole {
                print("  \(report.sentence) \(report.differences.prefix(6)) \(report.remarks.suffix(4))")
            }
        }
        print("hidden \(behaviour.name): \(figures)")
        try #require(figures.trees > 0)
        #expect(figures.rescued > 0)
    }

    @Test("what is hidden is hidden behind a bridge of which nobody knows what is behind it")
    func unseen() throws {
        var hidden = 0
        for seed in UInt64(1)...40 {
            guard let tree = try HiddenTree(seed: seed, behaviour: .linux6_12) else { continue }
            let seen = try tree.twin.topology()
            var bridges: [TopologyPath: FunctionAddress] = [:]
            for state in TreeState(seen).functions { bridges[state.place] = state.address }
            for state in TreeState(tree.whole).functions where bridges[state.place] == nil {
                hidden += 1
                var hops = state.place.hops
                var above: FunctionAddress?
                while above == nil, hops.count > 1 {
                    hops.removeLast()
                    above = bridges[TopologyPath(segment: 0, rootBus: state.place.rootBus, hops: hops)]
                }
                let bridge = try #require(above.flatMap { seen.position(of: $0) }, "seed \(seed): \(state.place)")
                #expect(
                    seen.unseenReason(behind: bridge) != nil,
                    "seed \(seed): \(state.place) is behind \(seen.functions[bridge].address)"
                )
            }
            // Where all numbers are right, everything was seen.
            #expect(tree.whole.unseenBridges.isEmpty, "seed \(seed)")
        }
        #expect(hidden > 20)
    }

    @Test("a crash at any moment of a plan that finds something is recovered from")
    func crash() throws {
        let behaviour = KernelBehaviour.linux7_2
        let seed = try #require(
            try Self.seeds.first { seed in
                guard let tree = try HiddenTree(seed: seed, behaviour: behaviour) else { return false }
                let plan = try Planner(topology: tree.twin.topology(), behaviour: behaviour)
                    .plan(goals: [.everythingRequired])
                return plan.steps.contains { !$0.mayAppearBelow.isEmpty }
            }
        )
        let tree = try #require(try HiddenTree(seed: seed, behaviour: behaviour))
        func start(_ clock: CrashClock) throws -> (TwinMachine, Topology, CrashingDisk) {
            let machine = TwinMachine(tree.twin, release: Self.release(behaviour), clock: clock)
            return (machine, try machine.topology(), CrashingDisk(clock: clock))
        }
        let counting = CrashClock()
        let (machine, before, disk) = try start(counting)
        let plan = try Planner(topology: before, behaviour: behaviour).plan(goals: [.everythingRequired])
        _ = try Self.applier(machine, disk).apply(plan)
        try #require(counting.moments > 20)
        for moment in stride(from: 1, through: counting.moments, by: 3) {
            let clock = CrashClock()
            let (machine, before, disk) = try start(clock)
            clock.crashAt = moment
            #expect(throws: SimulatedCrash.self) { try Self.applier(machine, disk).apply(plan) }
            clock.crashAt = nil
            let report = try Recovery(Self.applier(machine, disk)).run()
            #expect(report.exitStatus == 0, "moment \(moment): \(report.sentence)")
            let lost = Self.lost(before, try machine.topology())
            #expect(lost.isEmpty, "moment \(moment): \(lost)")
            #expect(disk.files[Journal.unfinishedName] == nil, "moment \(moment)")
        }
    }
}
