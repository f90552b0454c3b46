// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import RescueFamily
import Testing

/// Random failed hot-adds on twins of every kernel of the laboratory, repaired by the whole of `apply`.
///
/// With `PCI_REBALANCE_RESCUE_TREES=FIRST:COUNT` in the environment the family has these seeds, not a few.
@Suite("Failed hot-adds on twins of every kernel")
struct RescueFamilyTests {
    private static let seeds: Range<UInt64> = {
        let words = (ProcessInfo.processInfo.environment["PCI_REBALANCE_RESCUE_TREES"] ?? "").split(separator: ":")
            .compactMap { UInt64($0) }
        return words.count == 2 ? words[0]..<(words[0] + words[1]) : 1..<6
    }()

    /// How many repairs ended how.
    private struct Figures: CustomStringConvertible {
        var trees = 0
        var rescued = 0
        var inPart = 0
        var untouched = 0
        var wentBack = 0
        var description: String {
            "\(trees) failed hot-adds, \(rescued) rescued, \(inPart) in part, \(untouched) untouched, \(wentBack) went back"
        }
    }

    @Test(
        "a kernel that does as its preset: nothing is lost, and every step ends as predicted",
        arguments: KernelBehaviour.everyPreset
    )
    func judged(_ behaviour: KernelBehaviour) throws {
        let set = BehaviourSet(.init(behaviour, reason: "it is the twin's"), judgement: .itself)
        let figures = try repair(as: behaviour, knowing: set, allowingUnjudged: true)
        print("rescue \(behaviour.name): \(figures)")
        #expect(figures.rescued > 0)
        #expect(figures.wentBack == 0)
    }

    /// The series whose kernel nobody knew, with what such a kernel does.
    static let series: [(KernelRelease.Series, KernelBehaviour)] = KernelBehaviour.everyPreset.compactMap { behaviour in
        let entry = KernelCatalogue.entries.last { $0.judgement != nil && $0.candidates[0].behaviour == behaviour }
        return entry.map { ($0.first, behaviour) }
    }

    /// Ways back are tried in thought under ten behaviours: minutes each in a debug build.
    @Test(
        "a kernel that nobody knew: nothing is lost",
        .enabled(if: ProcessInfo.processInfo.environment["PCI_REBALANCE_RESCUE_TREES"] != nil),
        arguments: series.map(\.1)
    )
    func leftOut(_ behaviour: KernelBehaviour) throws {
        let series = try #require(Self.series.first { $0.1 == behaviour }?.0)
        let release = "\(series).0-unknown"
        let set = try #require(KernelCatalogue.behaviours(forRelease: release, without: series))
        #expect(KernelCatalogue.obstacle(toWritingOn: release) != nil)
        let figures = try repair(as: behaviour, knowing: set, release: release)
        print("rescue \(behaviour.name), left out: \(figures)")
        #expect(figures.trees > 0)
    }

    /// Repairs the machines of the family, whose kernel does as `behaviour`, knowing a set of behaviours.
    private func repair(
        as behaviour: KernelBehaviour,
        knowing set: BehaviourSet,
        release: String = "",
        allowingUnjudged: Bool = false
    ) throws -> Figures {
        var figures = Figures()
        for seed in Self.seeds {
            guard let one = try RescueCase(seed: seed, behaviour: behaviour) else { continue }
            var topology = one.topology
            topology.kernel.release = release
            let machine = TwinMachine(try LinuxTwin(topology, behaviour: behaviour), release: release)
            let before = try machine.topology()
            var planner = Planner(topology: before, behaviour: set.first)
            planner.others = Array(set.behaviours.dropFirst())
            let plan = try planner.plan(goals: [.everythingRequired])
            figures.trees += 1
            guard plan.verdict.answer == .act else {
                figures.untouched += 1
                continue
            }
            var applier = Applier(
                machine: Machine(writer: machine, observer: machine),
                disk: CrashingDisk(),
                lockPath: NSTemporaryDirectory() + "pci-rebalance-lock-\(UUID().uuidString)",
                audit: SilentAuditLog(),
                clock: fakeClock()
            )
            applier.allowsUnjudgedKernel = allowingUnjudged
            let predictor = TwinPredictor(
                initial: before,
                behaviours: set,
                readTopology: { try machine.topology() },
                wish: (goals: [.everythingRequired], constraints: Constraints())
            )
            predictor.triesWaysBack = true
            let report = try applier.apply(plan, predictor: predictor)
            let after = try machine.topology()
            let name = "\(behaviour.name) seed \(seed), plan for \(plan.behaviour)"
            let losses = RescueJudge(before).losses(in: after, allowsLarger: report.exitStatus == 5)
            #expect(losses.isEmpty, "\(name): \(losses) \(report.sentence)")
            #expect([0, 4, 5].contains(report.exitStatus), "\(name): \(report.sentence)")
            switch (report.verdict, report.reason) {
            case (.done, "goal-reached"):
                figures.rescued += 1
                #expect(RescueJudge(before).isCured(after), "\(name): \(report.sentence)")
            case (.done, _): figures.inPart += 1
            case (.rolledBack, _):
                figures.wentBack += 1
                print("  \(name): \(report.sentence) \(report.differences.prefix(4))")
            default:
                figures.untouched += 1
                #expect(report.writes == 0, "\(name): \(report.sentence)")
            }
        }
        return figures
    }
}
