// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import RebalancePlanner
internal import TestSupport
internal import Testing
internal import VMLaboratory

/// Paths of the model of journal and recovery, on real kernels: a write is refused, hangs, is done while something else
/// changes, a card comes or goes; the process lives, is killed before or after, or the power is cut; the same again while it
/// is recovered.
///
/// The usual tests follow one on one kernel. `make path-test` follows 60, dealt out to the three kernels, as
/// `PCI_REBALANCE_PATHS=60` asks for; `PCI_REBALANCE_KERNELS=6.12` follows the part of these kernels alone.
@Suite("paths of the journal's model hold on real kernels")
struct JournalPathTests {
    private static let asked = ProcessInfo.processInfo.environment["PCI_REBALANCE_PATHS"].flatMap { Int($0) }
    static let kernels = asked == nil ? [Kernel.linux6_12] : FaultTests.kernels

    /// The numbers of the paths of a kernel; usually one, on which a card is pulled in the middle of a plan.
    private static func numbers(_ kernel: Kernel) -> [Int] {
        guard let asked else { return [5] }
        let turn = Kernel.allCases.firstIndex(of: kernel) ?? 0
        return (0..<asked).filter { $0 * Kernel.allCases.count / asked == turn }
    }

    @Test("nothing that worked is gone, and a second recovery has nothing to do", arguments: kernels)
    func paths(_ kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var campaign = try FaultCampaign(kernel: kernel)
        let answers = campaign.last.answers
        try #require(answers.values.count { $0 == "ok" } == 4, "three cards and a disk work before: \(answers)")
        var followed = 0
        var bad = 0
        var happened = (apply: 0, recovery: 0)
        for number in Self.numbers(kernel) {
            // The next scenario that this kernel has a plan for.
            let scenarios = FaultScenario.all.indices.map { FaultScenario.all[($0 + number) % FaultScenario.all.count] }
            var story = "path \(number)"
            do {
                for scenario in scenarios {
                    guard let plan = try campaign.plan(scenario, round: number) else { continue }
                    let path = JournalPath(number: number, writes: plan.steps.reduce(0) { $0 + $1.writes.count })
                    story = "\(kernel), path \(number), \(scenario): \(path)"
                    let problems = try campaign.apply(plan, .path(path))
                    followed += 1
                    if !problems.isEmpty { bad += 1 }
                    #expect(problems.isEmpty, "\(story): \(problems)")
                    print("\(story): \(problems.isEmpty ? "held" : "DID NOT HOLD")")
                    break
                }
            } catch {
                Issue.record("\(story): \(error)")
                bad += 1
                happened.apply += campaign.happened.apply
                happened.recovery += campaign.happened.recovery
                campaign = try FaultCampaign(kernel: kernel)
            }
        }
        happened.apply += campaign.happened.apply
        happened.recovery += campaign.happened.recovery
        let names = Self.asked == nil ? ["TSTP", "TERM"] : ["TSTP", "TTIN", "TERM", "XFSZ"]
        for name in names { try signal(name, campaign, kernel) }
        print(
            "journal paths, \(kernel): \(followed) followed, \(bad) with problems; disturbed: \(happened.apply) applies, "
                + "\(happened.recovery) recoveries"
        )
        #expect(followed == Self.numbers(kernel).count && happened.apply > 0)
    }

    /// A signal after the first write: what would stop the process in its middle does not, what would end it makes it go back.
    private func signal(_ name: String, _ campaign: FaultCampaign, _ kernel: Kernel) throws {
        let plan = FaultScenario.all.lazy.compactMap { try? campaign.plan($0, round: 0) }
            .first { $0.steps.reduce(0) { $0 + $1.writes.count } > 1 }
        let problems = try campaign.apply(try #require(plan), .signal(name))
        #expect(problems.isEmpty, "\(kernel), SIG\(name): \(problems)")
    }
}
