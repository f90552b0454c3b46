// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// Applies on real kernels that are killed, refused, deceived and starved; afterwards nothing is missing.
///
/// `PCI_REBALANCE_FAULTS=200` in the environment asks for that many disturbed applies per kernel; `PCI_REBALANCE_TOOL`
/// names another build of the tool.
@Suite("disturbed applies lose nothing")
struct FaultTests {
    private var wanted: Int {
        ProcessInfo.processInfo.environment["PCI_REBALANCE_FAULTS"].flatMap { Int($0) } ?? 12
    }

    @Test("kill, refuse, delay, deceive, starve", arguments: Kernel.allCases)
    func campaign(_ kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let probed = ["0000:00:02.0/00.0/00.0/00.0"]
        var campaign = try FaultCampaign(.firstLight, kernel: kernel, probed: probed)
        let answers = campaign.last.answers.values
        try #require(answers.count == 1 && answers.first != "0xFF", "the test device answers before anything is done")

        var faults: [(scenario: FaultCampaign.Scenario, fault: FaultCampaign.Fault)] = []
        var scenarios = 0
        for scenario in FaultCampaign.Scenario.firstLight {
            // Where the kernel would leave something without room there is no such plan.
            guard let plan = try campaign.plan(scenario, round: 0) else { continue }
            scenarios += 1
            let (moments, deeds, problems) = try campaign.measure(plan)
            #expect(problems.isEmpty, "\(scenario.name), undisturbed: \(problems)")
            for moment in 1...moments {
                faults.append((scenario, .kill(moment: moment)))
                if moment % 4 == 0 { faults.append((scenario, .killTwice(moment: moment, second: moment % 11 + 1))) }
                if moment % 9 == 0 { faults.append((scenario, .powerCut(moment: moment))) }
            }
            for deed in 1...deeds { faults += [(scenario, .refuse(deed: deed)), (scenario, .hang(deed: deed))] }
            for step in plan.steps.indices { faults.append((scenario, .wrongPrediction(step: step))) }
            faults += [(scenario, .two), (scenario, .fullDisk)]
        }

        #expect(scenarios >= 5)

        // A spread over all of them when fewer are wanted; another round over all when more are.
        var disturbed = 0
        var round = 1
        for i in 0..<wanted {
            let step = max(1, faults.count / max(1, wanted))
            let (scenario, fault) = faults[(i * step + round) % faults.count]
            do {
                guard let plan = try campaign.plan(scenario, round: round) else { continue }
                round += 1
                let problems = try campaign.apply(plan, fault)
                disturbed += 1
                #expect(problems.isEmpty, "\(kernel), \(scenario.name), \(fault): \(problems)")
            } catch let error as LaboratoryError {
                // The line to the guest broke, as it may on a busy host: that apply does not count.
                print("\(kernel): a new guest after: \(error)")
                campaign = try FaultCampaign(.firstLight, kernel: kernel, probed: probed)
            }
            if disturbed % 25 == 0 { print("\(kernel): \(disturbed) disturbed applies so far") }
        }
        print("\(kernel): \(disturbed) disturbed applies of \(faults.count) kinds")
        #expect(disturbed >= wanted * 9 / 10)
    }
}
