// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Testing
internal import VMLaboratory

/// Cards that repair themselves: a Debian with systemd and udev, the package installed by dpkg, and nobody who does
/// anything but plug a card in.
@Suite("hot-plug events are answered without a hand")
struct EventTests {
    /// The failure of the first-light machine: a card for `d2` that pins of its sibling keep out.
    static let card = Device.testDevice("card", memory: .mib(256))
    static let address = "0000:04:00.0"
    static let sibling = "0000:03:00.0"
    static let port = "0000:00:02.0/00.0/01.0"

    /// On 7 the storm begins with it, on 6.12 twenty cards are repaired so and one that is asked for.
    @Test("a card that does not fit works without a hand, and its sibling is back")
    func apply() throws {
        let kernel = Kernel.linux6_1
        if let reason = EventGuest.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        try repair(try EventGuest(kernel, policy: #""mode": "apply""#), kernel)
    }

    private func repair(_ guest: EventGuest, _ kernel: Kernel) throws {
        let before = try guest.machine.resources()
        try guest.machine.deviceAdd(Self.card, behind: "d2")
        let log = try guest.awaitLog("a verdict") { $0.contains { $0.hasPrefix("APPLY: ") } }
        #expect(log.contains("APPLY: done reason=goal-reached"), "\(log.joined(separator: "\n"))")
        try guest.awaitIdle()

        let after = try guest.machine.resources()
        let placed = try #require(after[Self.address])
        #expect(placed[0].isAssigned && placed[2].isAssigned)
        #expect(after[Self.sibling]?.map(\.isAssigned) == before[Self.sibling]?.map(\.isAssigned))
        #expect(Set(after.keys).isSuperset(of: before.keys))
        let checked = try guest.machine.run("pci-rebalance check")
        #expect(checked.status == 0, "\(checked.output)")

        // Our own rescan raised events for everything that it found again: they lead to no second plan.
        let end = try guest.log()
        #expect(end.filter { $0.hasPrefix("APPLY: ") }.count == 1, "\(end.joined(separator: "\n"))")
        #expect(try guest.runCount() > 1, "the rescan raised events")
        let files = try guest.machine.output("ls /var/lib/pci-rebalance").split(separator: "\n").map(String.init)
        #expect(files.sorted() == ["events.json", "last.journal"])
        try audit(guest)
        print(try guest.timing(kernel, card: Self.address))
    }

    /// Every write is one record of the system's journal, with fields to search for; the kernel's log has the marks.
    private func audit(_ guest: EventGuest) throws {
        let lines = try guest.machine.run("journalctl -q -o json -t pci-rebalance PCI_REBALANCE_RESULT=done").lines
        let records = try lines.map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
        }
        let operations = records.compactMap { $0["PCI_REBALANCE_OPERATION"] as? String }
        #expect(operations.count == records.count && operations.count >= 2)
        #expect(operations.contains { $0.hasSuffix("/remove") } && operations.contains { $0.hasSuffix("/rescan") })
        #expect(Set(records.compactMap { $0["PCI_REBALANCE_APPLY"] as? String }).count == 1)
        let marks = try guest.machine.kernelLog().filter { $0.contains("pci-rebalance: apply") }
        #expect(marks.count == 2, "\(marks)")
    }

    @Test("as installed nothing changes; an untrusted port is held to its share, until it is trusted")
    func reportThenUntrusted() throws {
        let kernel = Kernel.linux6_12
        if let reason = EventGuest.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try EventGuest(kernel, policy: nil)
        try guest.machine.deviceAdd(Self.card, behind: "d2")
        let log = try guest.awaitLog("a verdict") { $0.contains { $0.hasPrefix("PLAN: ") } }
        #expect(log.contains { $0.hasPrefix("PLAN: act reason=") }, "\(log.joined(separator: "\n"))")
        #expect(log.contains { $0.contains("echo 1 > /sys/") }, "the steps are told")
        try guest.awaitIdle()
        try expectUntouched(guest)
        #expect(try guest.machine.run("ls /var/lib/pci-rebalance").output.isEmpty)
        #expect(try guest.machine.run("systemctl --failed --no-legend | grep pci-rebalance").output.isEmpty)

        // The administrator lets it write, but not for this port, and plugs again.
        try guest.write(policy: #""mode": "apply", "ports": [{"port": "\#(Self.port)", "trusted": false}]"#)
        try guest.machine.deviceDel("card")
        try guest.awaitIdle()
        try guest.machine.deviceAdd(Self.card, behind: "d2")
        let later = try guest.awaitLog("a refusal") { $0.contains { $0.hasPrefix("PLAN: refused reason=") } }
        #expect(later.allSatisfy { !$0.hasPrefix("APPLY: ") }, "\(later.joined(separator: "\n"))")
        try guest.awaitIdle()
        try expectUntouched(guest)

        // The administrator changes his mind, and asks.
        try guest.write(policy: #""mode": "apply""#)
        let asked = try guest.machine.run("pci-rebalance event '\(Self.port)'", timeout: .seconds(120))
        #expect(asked.status == 0, "\(asked.output)\(asked.errors)")
        #expect(try guest.machine.resources()[Self.address]?[2].isAssigned == true)
    }

    private func expectUntouched(_ guest: EventGuest) throws {
        #expect(try guest.machine.resources()[Self.address]?[2].isAssigned == false)
        #expect(try guest.machine.kernelLog().allSatisfy { !$0.contains("pci-rebalance: apply") })
    }

    @Test("a storm of unplugging and plugging ends as it began")
    func storm() throws {
        let kernel = Kernel.linux7
        if let reason = EventGuest.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        // The kernel waits five seconds after every press of the button: `make event-test` does 50 cycles.
        let cycles = ProcessInfo.processInfo.environment["PCI_REBALANCE_STORM_CYCLES"].flatMap { Int($0) } ?? 3
        let guest = try EventGuest(kernel, policy: #""mode": "apply", "appliesPerHour": 1000"#)
        try repair(guest, kernel)
        let first = try guest.machine.resources()
        let firstSize = try guest.stateSize()
        let processes = try guest.processes().count
        for _ in 0..<cycles {
            try guest.machine.deviceDel("card")
            try guest.machine.deviceAdd(Self.card, behind: "d2")
            try guest.machine.waitUntilQuiet()
        }
        try guest.awaitIdle()
        let last = try guest.machine.resources()
        for address in first.keys.sorted() { #expect(last[address] == first[address], "\(address)") }
        #expect(last.count == first.count)
        let checked = try guest.machine.run("pci-rebalance check")
        #expect(checked.status == 0, "\(checked.output)")
        #expect(try guest.ownProcesses() == [])
        // systemd starts and ends helpers as it likes, udev's workers are not counted.
        let remaining = try guest.processes()
        #expect(remaining.count <= processes + 3, "\(remaining)")
        #expect(try guest.stateSize() == firstSize)
        #expect(try guest.machine.run("pci-rebalance event --status").status == 0)
        #expect(try guest.machine.run("systemctl --failed --no-legend | grep pci-rebalance").output.isEmpty)
        let applies = try guest.log().filter { $0.hasPrefix("APPLY: ") }.count
        print("storm: \(cycles) cycles, \(applies) applies, \(try guest.runCount()) events")
        #expect(applies <= cycles + 1)
    }

    @Test("twenty cards in a burst are one plan")
    func burst() throws {
        let kernel = Kernel.linux6_12
        if let reason = EventGuest.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let ports = (0..<20).map { Device.downstreamPort("d\($0)") }
        let topology = MachineTopology(
            "twenty",
            kernelArguments: MachineTopology.withoutSHPC,
            devices: [.rootPort("rp1", at: "2", children: [.upstreamPort("up1", children: ports)])]
        )
        let guest = try EventGuest(kernel, topology: topology, policy: #""mode": "apply""#)
        for i in 0..<20 { try guest.machine.deviceAdd(.testDevice("card\(i)", memory: .mib(64)), behind: "d\(i)") }
        _ = try guest.awaitLog("the repair") { $0.contains { $0.hasPrefix("APPLY: ") } }
        try guest.awaitIdle()
        let log = try guest.log()
        #expect(
            log.filter { $0.hasPrefix("APPLY: ") } == ["APPLY: done reason=goal-reached"],
            "\(log.joined(separator: "\n"))"
        )
        let cards = try guest.machine.resources().values.filter { $0.count > 2 && $0[2].isAssigned && $0[0].isAssigned }
        #expect(cards.count >= 20)
        #expect(try guest.machine.run("pci-rebalance check -q").status == 0)
        print("burst: 20 cards, \(try guest.runCount()) events; \(log.last { $0.hasPrefix("took ") } ?? "")")
    }
}
