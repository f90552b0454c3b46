// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Testing
internal import VMLaboratory

/// Cards that repair themselves: Debian's systemd-udevd runs in the guest with the packaged rule, and what systemd would
/// start for it, the packaged unit's command, is started. A campaign of its own (`make event-test`), not part of
/// `make test`: beside systemd-udevd the laboratory's serial channel sometimes loses bytes, a known defect.
@Suite(
    "hot-plug events are answered without a hand",
    .enabled(if: ProcessInfo.processInfo.environment["PCI_REBALANCE_EVENTS"] != nil, "run by make event-test")
)
struct EventTests {
    /// The failure of the first-light machine: a card for `d2` that pins of its sibling keep out.
    static let card = Device.testDevice("card", memory: .mib(256))
    static let address = "0000:04:00.0"
    static let sibling = "0000:03:00.0"

    @Test("a card that does not fit works without a hand, and its sibling is back", arguments: Kernel.allCases)
    func apply(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try EventGuest(kernel, policy: #""mode": "apply""#)
        let before = try guest.machine.resources()
        try guest.machine.deviceAdd(Self.card, behind: "d2")
        let log = try guest.awaitVerdict { $0.contains { $0.hasPrefix("APPLY: ") } }
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
        #expect(end.filter { $0.hasPrefix("started ") }.count > 1, "the rescan raised events")
        let files = try guest.machine.output("ls /var/lib/pci-rebalance").split(separator: "\n").map(String.init)
        #expect(files.sorted() == ["events.json", "last.journal"])
        print(try guest.timing(kernel).joined(separator: "\n"))
    }

    @Test("in report mode nothing changes, and what would be done is told", arguments: [Kernel.linux6_12])
    func report(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try EventGuest(kernel, policy: #""mode": "report""#)
        try guest.machine.deviceAdd(Self.card, behind: "d2")
        let log = try guest.awaitVerdict { $0.contains { $0.hasPrefix("PLAN: ") } }
        #expect(log.contains { $0.hasPrefix("PLAN: act reason=") }, "\(log.joined(separator: "\n"))")
        #expect(log.contains("ended 3"), "\(log.joined(separator: "\n"))")
        #expect(log.contains { $0.contains("echo 1 > /sys/") }, "the steps are told")
        try guest.awaitIdle()
        let resources = try guest.machine.resources()
        #expect(resources[Self.address]?[2].isAssigned == false)
        #expect(try guest.machine.kernelLog().allSatisfy { !$0.contains("pci-rebalance: apply") })
        #expect(try guest.machine.run("ls /var/lib/pci-rebalance").output.isEmpty)
    }

    @Test("an untrusted port is held to its share", arguments: [Kernel.linux6_12])
    func untrusted(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try EventGuest(
            kernel,
            policy: #""mode": "apply", "ports": [{"port": "0000:00:02.0/00.0/01.0", "trusted": false}]"#
        )
        try guest.machine.deviceAdd(Self.card, behind: "d2")
        let log = try guest.awaitVerdict { $0.contains { $0.hasPrefix("ended ") } }
        #expect(log.contains { $0.hasPrefix("PLAN: refused reason=") }, "\(log.joined(separator: "\n"))")
        #expect(log.contains("ended 4"), "\(log.joined(separator: "\n"))")
        try guest.awaitIdle()
        #expect(try guest.machine.resources()[Self.address]?[2].isAssigned == false)
        #expect(try guest.machine.kernelLog().allSatisfy { !$0.contains("pci-rebalance: apply") })
    }

    @Test("a storm of unplugging and plugging ends as it began")
    func storm() throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let words = ProcessInfo.processInfo.environment
        // The kernel waits five seconds after every press of the button: 50 cycles take six minutes.
        let cycles = words["PCI_REBALANCE_STORM_CYCLES"].flatMap { Int($0) } ?? 3
        let guest = try EventGuest(kernel, policy: #""mode": "apply""#)
        try guest.machine.deviceAdd(Self.card, behind: "d2")
        _ = try guest.awaitVerdict { $0.contains("APPLY: done reason=goal-reached") }
        try guest.awaitIdle()
        let first = try guest.machine.resources()
        let firstSize = try guest.machine.output("du -s /var/lib/pci-rebalance /run/pci-rebalance | cut -f 1")
        let processes = try guest.processCount()
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
        #expect(try guest.processCount() == processes)
        let lastSize = try guest.machine.output("du -s /var/lib/pci-rebalance /run/pci-rebalance | cut -f 1")
        #expect(lastSize == firstSize)
        #expect(try guest.machine.run("pci-rebalance event --status").status == 0)
        let applies = try guest.log().filter { $0.hasPrefix("APPLY: ") }.count
        print(
            "storm: \(cycles) cycles, \(applies) applies, \(try guest.log().filter { $0.hasPrefix("started ") }.count) events"
        )
        #expect(applies <= cycles + 1)
    }
}

/// A first-light guest with udev, the rule, the unit's command and a policy.
struct EventGuest {
    let machine: VirtualMachine

    /// The repository.
    static let root: String = {
        let parts = #filePath.split(separator: "/")
        return "/" + parts.dropLast(3).joined(separator: "/")
    }()

    init(_ kernel: Kernel, topology: MachineTopology = .firstLight, policy: String) throws {
        let rule = "\(Self.root)/Packaging/udev/70-pci-rebalance.rules"
        let unit = "\(Self.root)/Packaging/systemd/pci-rebalance@.service"
        var options = VirtualMachine.Options()
        options.files += [try Initramfs.udevadm(), rule, unit]
        machine = try VirtualMachine(topology, kernel: kernel, options: options)
        try machine.run(
            """
            mkdir -p /lib/udev/rules.d /etc/udev /etc/pci-rebalance /run/udev /usr/sbin
            ln -s /usr/bin/pci-rebalance /usr/sbin/pci-rebalance
            ln -s /usr/bin/udevadm /usr/bin/systemd-udevd
            mv /usr/bin/70-pci-rebalance.rules /lib/udev/rules.d/
            echo '{"schema": "pci-rebalance.policy/1", \(policy)}' >/etc/pci-rebalance/policy.json
            chmod 600 /etc/pci-rebalance/policy.json
            """
        ).checked()
        try machine.pushFile(Array(Self.standIn.utf8), to: "/usr/bin/stand-in", executable: true)
        try machine.run("systemd-udevd --daemon && udevadm control --ping").checked()
        try machine.run("setsid stand-in </dev/null >/run/stand-in.log 2>&1 &").checked()
        // The monitor listens when it says so.
        try machine.waitUntil("the stand-in for systemd") { try $0.run("grep -q UDEV /run/monitor").status == 0 }
    }

    /// What systemd does for a device unit: starts the instances that SYSTEMD_WANTS names, once per added device.
    private static let standIn = #"""
        #!/bin/sh
        command=$(sed -n 's/^ExecStart=//p' '/usr/bin/pci-rebalance@.service')
        start() {
            echo "started $1" >>/run/events.log
            line=$(echo "$command" | sed "s|%f|/sys$1|")
            $line >/run/event.$2 2>&1
            status=$?
            { cat /run/event.$2; echo "ended $status"; } >>/run/events.log
            rm -f /run/event.$2
        }
        udevadm monitor --udev --subsystem-match=pci --property >/run/monitor &
        number=0
        tail -n +1 -f /run/monitor | while read -r line; do
            case $line in
            ACTION=*) action=${line#*=} wants= path= tags= ;;
            DEVPATH=*) path=${line#*=} ;;
            SYSTEMD_WANTS=*) wants=${line#*=} ;;
            TAGS=*) tags=${line#*=} ;;
            "")
                case "$action $wants $tags" in
                "add pci-rebalance@.service"*:systemd:*)
                    number=$((number + 1))
                    start "$path" $number &
                    ;;
                esac
                action=
                ;;
            esac
        done

        """#

    /// The lines of all runs so far.
    func log() throws -> [String] { try machine.run("cat /run/events.log").lines }

    /// Waits until the log holds what is looked for.
    func awaitVerdict(_ isThere: @escaping ([String]) -> Bool) throws -> [String] {
        try machine.waitUntil("a verdict", timeout: .seconds(90)) { guest in
            isThere(try guest.run("cat /run/events.log").lines)
        }
        return try log()
    }

    /// Waits until every run has ended and udev has nothing left to do.
    func awaitIdle() throws {
        try machine.run("udevadm settle", timeout: .seconds(60)).checked()
        try machine.waitUntil("all runs to end", timeout: .seconds(120)) { guest in
            let lines = try guest.run("sleep 1; cat /run/events.log").lines
            return lines.count { $0.hasPrefix("started ") } == lines.count { $0.hasPrefix("ended ") }
        }
    }

    /// How many processes run, udev's own workers left out.
    func processCount() throws -> Int {
        try machine.run("udevadm settle; ps | grep -v -e udev -e kworker -e ' ps' -e grep -e cut -e '\\[' | wc -l")
            .checked().output.split(separator: "\n").first.flatMap { Int($0) } ?? -1
    }

    /// From the kernel's first complaint to the card's last address, from the kernel's log.
    func timing(_ kernel: Kernel) throws -> [String] {
        let log = try machine.kernelLog()
        func time(_ line: String) -> Double? {
            guard line.hasPrefix("["), let end = line.firstIndex(of: "]") else { return nil }
            return Double(line[line.index(after: line.startIndex)..<end].filter { $0 != " " })
        }
        let failure = log.first { $0.contains("can't assign") || $0.contains("failed to assign") }.flatMap(time)
        let begin = log.first { $0.contains("pci-rebalance: apply") && $0.contains(" begins") }.flatMap(time)
        let end = log.last { $0.contains("pci-rebalance: apply") && $0.contains(" ends") }.flatMap(time)
        let working = log.last { $0.contains(EventTests.address) && $0.contains("assigned") }.flatMap(time)
        guard let failure, let begin, let end, let working else {
            return ["timing \(kernel): marks missing in the log"]
        }
        func milliseconds(_ seconds: Double) -> Int { Int(seconds * 1000) }
        return [
            "timing \(kernel): from the failure to the apply \(milliseconds(begin - failure)) ms, to the working card "
                + "\(milliseconds(working - failure)) ms, to the end \(milliseconds(end - failure)) ms"
        ] + (try self.log().filter { $0.hasPrefix("quiet after") || $0.contains("read in") || $0.hasPrefix("planned") })
    }
}
