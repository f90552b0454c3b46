// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import PlanExecutor
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// A driver may leave its VFs enabled when it lets go (nvme does): a plan takes them away first, and they are there again
/// afterwards, whether the plan was carried out or the way back was taken.
@Suite("VFs on real kernels")
struct VirtualFunctionTests {
    private static let physical = "/sys/bus/pci/devices/0000:03:00.0"

    @Test("VFs survive an apply that goes back, and one that goes through", arguments: ScenarioSuite.kernels)
    func survival(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(Scenario.switchWithVFs, kernel: kernel)
        try guest.run(Scenario.enablingVFs).checked()
        try guest.hotPlug(.sharedMemory("card", size: .gib(1)), behind: "d2")
        let before = try guest.resources()
        #expect(try guest.run("pci-rebalance plan -q", timeout: .seconds(60)).status == 4, "VFs are protected")

        let planned = try guest.run("pci-rebalance plan --allow-disturb 03:00.0 --json", timeout: .seconds(60))
        let plan = try PlanDocument.decode(planned.standardOutput)
        #expect(plan.verdict.answer == .act)
        let address = try #require(FunctionAddress(parsing: "0000:03:00.0"))
        let writes = plan.steps.flatMap(\.writes)
        let away = try #require(writes.firstIndex(of: .sriovNumVFs(address, count: 0)))
        let removal = try #require(writes.firstIndex { if case .remove = $0 { true } else { false } })
        #expect(away < removal)
        #expect(plan.steps[0].purpose.contains("the VFs of 0000:03:00.0 are taken away first"))
        #expect(writes.lastIndex(of: .sriovNumVFs(address, count: 2)).map { $0 > removal } == true)

        // Whatever step turns out otherwise than predicted, the VFs are there again.
        for step in plan.steps.indices {
            var spoiled = plan
            spoiled.spoil(step)
            try guest.run("umask 077; cat >/root/plan.json", input: PlanDocument.encode(spoiled)).checked()
            let applied = try guest.run("pci-rebalance apply --yes /root/plan.json", timeout: .seconds(120))
            #expect(applied.status == 5, "\(kernel), step \(step): \(applied.output)\(applied.errors)")
            try expectVFs(guest, "\(kernel), after going back from step \(step)")
            // What came back may have come back elsewhere: the next plan is one for the machine as it is.
            guard try guest.resources() == before else { break }
        }
        let now = try guest.run("pci-rebalance plan --allow-disturb 03:00.0 --json", timeout: .seconds(60))
        let last = try PlanDocument.decode(now.standardOutput)
        if last.verdict.answer == .act {
            let applied = try guest.run("pci-rebalance apply --yes --allow-disturb 03:00.0", timeout: .seconds(120))
            #expect(applied.status == 0, "\(kernel): \(applied.output)\(applied.errors)")
            try guest.expect(last.after)
        }
        try expectVFs(guest, "\(kernel), after the apply")
        #expect(try guest.run("pci-rebalance check").status == 0)
    }

    private func expectVFs(_ guest: VirtualMachine, _ context: Comment) throws {
        let count = try guest.run("cat \(Self.physical)/sriov_numvfs; ls -d \(Self.physical)/virtfn*").checked()
        #expect(count.lines == ["2", "\(Self.physical)/virtfn0", "\(Self.physical)/virtfn1"], context)
    }
}
