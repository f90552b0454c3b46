// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import PCITopology
internal import PlanExecutor
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// Wishes beside addresses, carried out: a group and a route that stay, a BAR at an address; closer packing as a plan. Every apply is
/// followed by the groups that the kernel then shows.
@Suite("wishes on groups, routes and places")
struct WishTests {
    private static let card = "0000:03:00.0"

    @Test("one machine after another wish", arguments: RepairTests.areAllCasesAsked ? Kernel.allCases : [.linux6_1])
    func wishes(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(
            .firstLight,
            kernel: kernel,
            options: .init(
                kernelArguments: ["intel_iommu=on"],
                machineArguments: ["-device", "intel-iommu,intremap=off"]
            )
        )
        // The lowest place of the aperture, to which the root port's removal brings the BAR.
        let there = try plan("--at \(Self.card):0=0x20000000", guest)
        #expect(there.verdict.line == "PLAN: act reason=address")
        try apply("--at \(Self.card):0=0x20000000", there, guest)
        #expect(try guest.resources(of: Self.card)[0].start == 0x2000_0000)

        // Everything below the root port gets the group of a port that does not isolate.
        try setAccessControl(of: "0000:00:02.0", to: 0, guest)
        try guest.output("echo 1 >/sys/bus/pci/devices/0000:01:00.0/remove; echo 1 >/sys/class/pci_bus/0000:01/rescan")
        try guest.waitUntilQuiet()
        let shared = try group(of: Self.card, guest)
        #expect(shared.contains("0000:00:02.0") && shared.count == 5, "\(shared)")
        // The card is a guest's.
        try guest.output(
            """
            modprobe vfio_pci; echo vfio-pci >/sys/bus/pci/devices/\(Self.card)/driver_override
            echo \(Self.card) >/sys/bus/pci/drivers_probe; readlink /sys/bus/pci/devices/\(Self.card)/driver
            """
        )
        try guest.hotPlug(.testDevice("card", memory: .gib(1)), behind: "d2")

        // A plan that stops the root port says what becomes of the groups; the one that keeps the group does not stop it.
        let free = try plan("", guest)
        let kept = try plan("--keep-group \(Self.card) --keep-route \(Self.card) 0000:04:00.0", guest)
        print(
            "\(kernel): free \(free.verdict.line) \(free.isolation?.regroupings.count ?? 0) regrouped;",
            kept.verdict.line
        )
        let stopsPort = free.disturbed.contains { $0.address.description == "0000:00:02.0" }
        #expect(free.isolation?.regroupings.isEmpty == !stopsPort)
        if kept.verdict.answer == .act {
            #expect(kept.isolation?.regroupings.isEmpty == true && kept.conditions.count == 2)
            try apply("--keep-group \(Self.card) --keep-route \(Self.card) 0000:04:00.0", kept, guest)
            #expect(try group(of: Self.card, guest) == shared.union(["0000:04:00.0"]))
        } else {
            #expect(kept.verdict.line == "PLAN: refused reason=condition")
            try apply("", free, guest)
        }

        // Closer: what the port then hoards would go back.
        let room = try plan("--reserve 0000:00:02.0=pref:4G", guest)
        if room.verdict.answer == .act { try apply("--reserve 0000:00:02.0=pref:4G", room, guest) }
        let compact = try plan("--compact", guest)
        print("\(kernel): room \(room.verdict.line); compact \(compact.verdict.line) \(compact.remarks)")
        #expect(compact.verdict.reason == "compact")
        guest.stop()
    }

    private func plan(_ wishes: String, _ guest: VirtualMachine) throws -> Plan {
        let result = try guest.run("pci-rebalance plan --json \(wishes)", timeout: .seconds(150))
        return try PlanDocument.decode(result.standardOutput)
    }

    private func apply(_ wishes: String, _ plan: Plan, _ guest: VirtualMachine) throws {
        let applied = try guest.run("pci-rebalance apply --yes \(wishes)", timeout: .seconds(180))
        #expect(applied.status == 0, "\(applied.output)\(applied.errors)")
        try guest.waitUntilQuiet()
        try guest.expect(plan.after)
        guard let change = plan.isolation else { return }
        let foretold = Set(change.groupsAfter.map { Set($0.map(\.description)) })
        #expect(try Set(groups(guest).values.map { $0 }) == foretold, "\(wishes)")
    }

    private func group(of address: String, _ guest: VirtualMachine) throws -> Set<String> {
        try groups(guest).values.first { $0.contains(address) } ?? []
    }

    /// The members of each IOMMU group by its number.
    private func groups(_ guest: VirtualMachine) throws -> [String: Set<String>] {
        var result: [String: Set<String>] = [:]
        for line in try guest.output("ls -d /sys/kernel/iommu_groups/*/devices/*").split(separator: "\n") {
            let parts = line.split(separator: "/").map(String.init)
            guard parts.count == 6 else { continue }
            result[parts[3], default: []].insert(parts[5])
        }
        return result
    }

    private func setAccessControl(of address: String, to value: UInt16, _ guest: VirtualMachine) throws {
        let config = ConfigSpace(try guest.configuration(of: address))
        let offset = try #require(Capabilities(config).accessControl?.offset)
        try guest.writeConfiguration(
            of: address,
            at: Int(offset) + 6,
            [UInt8(value & 0xff), UInt8(value >> 8)]
        )
    }
}
