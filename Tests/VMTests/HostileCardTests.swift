// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Testing
internal import VMLaboratory

/// A card that nothing can satisfy, beside cards that can be helped: events help these and name that one.
@Suite("a hostile card does not keep the others from being helped")
struct HostileCardTests {
    /// The first-light machine with one more port.
    private static let topology: MachineTopology = {
        var topology = MachineTopology.firstLight
        topology.name = "first-light-and-a-port"
        topology.devices.append(.rootPort("rp2", at: "3"))
        return topology
    }()
    private static let card = Device.testDevice("card", memory: .mib(256))
    private static let cardAddress = "0000:04:00.0"
    private static let siblingAddress = "0000:03:00.0"
    private static let hostileAddress = "0000:05:00.0"

    /// Sizing switches a BAR off whose alignment is beyond its table, and leaves its size without flags.
    @Test("a BAR of 1 PiB", arguments: [Kernel.linux6_12])
    func enormous(_ kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(Self.topology, kernel: kernel)
        try Self.allowApply(guest)
        let before = try guest.resources()
        try guest.hotPlug(.testDevice("hostile", memory: .gib(1 << 20)), behind: "rp2")
        try guest.hotPlug(Self.card, behind: "d2")
        #expect(try guest.resources()[Self.cardAddress]?[2].isAssigned == false, "the card fits without help")

        let event = try guest.run("pci-rebalance event", timeout: .seconds(240))
        let told = "\(event.output)\n\(event.errors)"
        let lines = event.lines
        let verdict = lines.last { !$0.isEmpty }
        let after = try guest.resources()
        #expect(after[Self.cardAddress].map { $0[0].isAssigned && $0[2].isAssigned } == true, "\(told)")
        #expect(after[Self.siblingAddress]?.map(\.isAssigned) == before[Self.siblingAddress]?.map(\.isAssigned))
        #expect(Set(after.keys).isSuperset(of: before.keys))
        // The verdict is the worst of what happened: one is beyond help, and it is named.
        #expect(lines.contains { $0.hasPrefix("Done: ") }, "\(told)")
        #expect(!told.contains("prediction-differs"), "\(told)")
        #expect(verdict == "PLAN: impossible reason=mmio-window-too-small", "\(told)")
        #expect(lines.contains { $0.hasPrefix("\(Self.hostileAddress) BAR 2 does not fit") }, "\(told)")

        let check = try guest.run("pci-rebalance check", timeout: .seconds(120))
        #expect(check.status == 3, "\(check.output)")
        #expect(check.lines.contains { $0.hasPrefix("problem: \(Self.hostileAddress)") })
        #expect(!check.lines.contains { $0.hasPrefix("problem: \(Self.cardAddress)") }, "\(check.output)")
        print("hostile \(kernel): \(verdict ?? "")")
    }

    private static func allowApply(_ guest: VirtualMachine) throws {
        let policy = #"{"schema": "pci-rebalance.policy/1", "mode": "apply"}"# + "\n"
        try guest.run(
            "mkdir -p /etc/pci-rebalance && cat >/etc/pci-rebalance/policy.json && chmod 644 /etc/pci-rebalance/policy.json",
            input: Array(policy.utf8)
        ).checked()
    }
}
