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
        let guest = try machine(kernel)
        #expect(try guest.run("pci-rebalance plan -q", timeout: .seconds(60)).status == 4, "VFs are protected")
        let plan = try plan(guest)
        #expect(plan.verdict.answer == .act)
        let address = try #require(FunctionAddress(parsing: "0000:03:00.0"))
        let writes = plan.steps.flatMap(\.writes)
        let away = try #require(writes.firstIndex(of: .sriovNumVFs(address, count: 0)))
        let removal = try #require(writes.firstIndex { if case .remove = $0 { true } else { false } })
        #expect(away < removal)
        #expect(plan.steps[0].purpose.contains("the VFs of 0000:03:00.0 are taken away first"))
        #expect(writes.lastIndex(of: .sriovNumVFs(address, count: 2)).map { $0 > removal } == true)
        let applied = try guest.run("pci-rebalance apply --yes --allow-disturb 03:00.0", timeout: .seconds(120))
        #expect(applied.status == 0, "\(kernel): \(applied.output)\(applied.errors)")
        try guest.expect(plan.after)
        try expectVFs(guest, "\(kernel), after the apply")
        #expect(try guest.run("pci-rebalance check").status == 0)

        // A step that turns out otherwise than predicted: on each kernel another one.
        let step = kernel == .linux6_1 ? 0 : kernel == .linux6_12 ? 1 : plan.steps.count - 1
        let other = try machine(kernel)
        var spoiled = try self.plan(other)
        spoiled.spoil(step)
        try other.run("umask 077; cat >/tmp/plan.json", input: PlanDocument.encode(spoiled)).checked()
        let undone = try other.run("pci-rebalance apply --yes /tmp/plan.json", timeout: .seconds(180))
        #expect(undone.status == 5, "\(kernel), step \(step): \(undone.output)\(undone.errors)")
        try expectVFs(other, "\(kernel), after going back from step \(step)")
        #expect(try !other.run("dmesg").output.contains("left SR-IOV enabled"))
    }

    /// A switch with two VFs behind it, and a card that found no room.
    private func machine(_ kernel: Kernel) throws -> VirtualMachine {
        let guest = try VirtualMachine(Scenario.switchWithVFs, kernel: kernel)
        try Scenario.crowdVFs(guest)
        return guest
    }

    private func plan(_ guest: VirtualMachine) throws -> Plan {
        let planned = try guest.run("pci-rebalance plan --allow-disturb 03:00.0 --json", timeout: .seconds(60))
        return try PlanDocument.decode(planned.standardOutput)
    }

    private func expectVFs(_ guest: VirtualMachine, _ context: Comment) throws {
        let count = try guest.run("cat \(Self.physical)/sriov_numvfs; ls -d \(Self.physical)/virtfn*").checked()
        #expect(count.lines == ["2", "\(Self.physical)/virtfn0", "\(Self.physical)/virtfn1"], context)
    }
}
