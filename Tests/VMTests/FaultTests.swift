// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// Applies on real kernels that are killed, refused, deceived and starved; afterwards nothing is missing.
///
/// The portion in `make test` is a fixed spread over every kind. `make fault-test` does the whole campaign: with
/// `PCI_REBALANCE_FAULTS=200` in the environment that many disturbed applies on each kernel, with `all` every one, with
/// `PCI_REBALANCE_KERNELS=6.1,7` on these kernels. `PCI_REBALANCE_TOOL` names another build of the tool,
/// `PCI_REBALANCE_FAULT="emptied bus found again, write late: 2"` the faults to be tried.
@Suite("disturbed applies lose nothing")
struct FaultTests {
    private static let environment = ProcessInfo.processInfo.environment
    static let kernels = Kernel.allCases.filter { kernel in
        environment["PCI_REBALANCE_KERNELS"].map { $0.split(separator: ",").contains("\(kernel)") } ?? true
    }

    @Test("kill, cut power, refuse, hang, deceive, pull, plug, starve", arguments: kernels)
    func campaign(_ kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var campaign = try FaultCampaign(kernel: kernel)
        let answers = campaign.last.answers
        try #require(answers.values.count { $0 == "ok" } == 4, "three cards and a disk work before: \(answers)")

        var faults: [(scenario: FaultScenario, fault: Fault)] = []
        var scenarios = 0
        for scenario in FaultScenario.all {
            // Where the kernel would leave something without room there is no such plan.
            guard let plan = try campaign.plan(scenario, round: 0) else { continue }
            scenarios += 1
            let (moments, journaledWrites, problems) = try campaign.measure(plan)
            #expect(problems.isEmpty, "\(kernel), \(scenario), undisturbed: \(problems)")
            faults += Self.faults(scenario.name, plan, moments, journaledWrites, kernel).map { (scenario, $0) }
        }
        try #require(scenarios >= 5)

        var counts: [String: Int] = [:]
        var lost = 0
        for (round, (scenario, fault)) in Self.chosen(faults, kernel).enumerated() {
            do {
                guard let plan = try campaign.plan(scenario, round: round + 1) else { continue }
                let problems = try campaign.apply(plan, fault)
                counts[fault.kind, default: 0] += 1
                if !problems.isEmpty { lost += 1 }
                #expect(problems.isEmpty, "\(kernel), \(scenario), \(fault): \(problems)")
            } catch {
                Issue.record("\(kernel), \(scenario), \(fault): \(error)")
                lost += 1
                campaign = try FaultCampaign(kernel: kernel)
            }
            let sum = counts.values.reduce(0, +)
            if sum % 50 == 0 { print("\(kernel): \(sum) disturbed applies so far, \(lost) with problems") }
        }
        let sum = counts.values.reduce(0, +)
        let kinds = counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        print("\(kernel): \(sum) disturbed applies of \(scenarios) plans, \(lost) with problems (\(kinds))")
        #expect(sum > 0)
    }

    /// Every way to disturb a plan. A power cut costs a boot: each kernel takes every third moment, together all.
    private static func faults(
        _ scenario: String,
        _ plan: Plan,
        _ moments: Int,
        _ journaledWrites: Int,
        _ kernel: Kernel
    )
        -> [Fault]
    {
        let turn = Kernel.allCases.firstIndex(of: kernel) ?? 0
        var result: [Fault] = []
        for moment in 1...max(1, moments) {
            result.append(.kill(moment: moment))
            if moment % 4 == 0 { result.append(.killTwice(moment: moment, second: moment % 11 + 1)) }
            if moment % 3 == turn { result.append(.powerCut(moment: moment)) }
            if moment % 12 == 7 { result.append(.vanish(moment: moment)) }
            if moment % 12 == 1 { result.append(.appear(moment: moment)) }
        }
        for journaled in 1...max(1, journaledWrites) {
            result += [.refuse(journaled: journaled), .late(journaled: journaled)]
        }
        result += plan.steps.indices.map { .wrongPrediction(step: $0) }
        result += [.two, .fullDisk]
        if scenario == "device beside found again" { result += [.held(seconds: 5), .held(seconds: 70)] }
        return result
    }

    /// The portion that is asked for: a spread with at least one of every kind; in the usual tests the kernels share the
    /// kinds, each takes every third of them and others beside.
    private static func chosen(
        _ faults: [(scenario: FaultScenario, fault: Fault)],
        _ kernel: Kernel
    ) -> [(FaultScenario, Fault)] {
        let wanted: Int
        if let words = environment["PCI_REBALANCE_FAULT"] {
            return faults.filter { "\($0.scenario), \($0.fault)".contains(words) }.map { ($0.scenario, $0.fault) }
        }
        switch environment["PCI_REBALANCE_FAULTS"] {
        case "all": return faults.map { ($0.scenario, $0.fault) }
        case let text: wanted = text.flatMap { Int($0) } ?? 5
        }
        // Multiples of the golden ratio modulo 2^64 spread evenly, however many of them are taken.
        let spread = faults.enumerated().sorted { a, b in
            UInt64(a.offset) &* 0x9e37_79b9_7f4a_7c15 < UInt64(b.offset) &* 0x9e37_79b9_7f4a_7c15
        }.map(\.element).filter {
            // A driver that hangs for good takes two minutes of waiting.
            if case .held(seconds: 70) = $0.fault, environment["PCI_REBALANCE_FAULTS"] == nil { false } else { true }
        }
        var kinds: Set<String> = []
        var first = spread.filter { kinds.insert($0.fault.kind).inserted }
        if environment["PCI_REBALANCE_FAULTS"] == nil {
            let turn = Kernel.allCases.firstIndex(of: kernel) ?? 0
            // By name: in the order of the spread, which is another on every kernel, a kind might be nobody's.
            first = first.sorted { $0.fault.kind < $1.fault.kind }.enumerated().filter { $0.offset % 3 == turn % 3 }
                .map(\.element)
        }
        let rest = spread.filter { entry in
            !first.contains { $0.scenario.name == entry.scenario.name && $0.fault == entry.fault }
        }
        return (first + rest).prefix(wanted).map { ($0.scenario, $0.fault) }
    }
}
