// SPDX-License-Identifier: GPL-2.0-or-later

internal import Testing
internal import VMLaboratory

/// A service that holds a device, and a hook by which it lets go of it and takes it back.
@Suite("hooks in a guest: a veto, letting go, taking back")
struct HookGuestTests {
    private static let card = Device.testDevice("card", memory: .mib(256))
    private static let cardAddress = "0000:04:00.0"
    private static let sibling = "0000:03:00.0"

    /// The service is a process that has a BAR of the sibling open; the hook stops and starts it, and notes what it is told.
    private static let hook = """
        #!/bin/sh
        echo "$1 $2 $PCI_REBALANCE_OLD_ADDRESS ${PCI_REBALANCE_RESULT:--} $PCI_REBALANCE_PRESENT" >>/tmp/told
        [ "$PCI_REBALANCE_OLD_ADDRESS" = \(sibling) ] || exit 0
        if [ "$1" = before ]; then
            [ ! -e /tmp/busy ] || { echo "the service is busy"; exit 1; }
            kill "$(cat /tmp/service)"
        elif ! kill -0 "$(cat /tmp/service)" 2>/dev/null; then
            start-service "$2"
        fi
        """
    private static let service = """
        #!/bin/sh
        setsid sleep 10000 3</sys/bus/pci/devices/$1/resource0 </dev/null >/dev/null 2>&1 &
        echo $! >/tmp/service
        """

    @Test("the service is asked before a stop, can refuse, and has its device again", arguments: [Kernel.linux6_12])
    func service(_ kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(.firstLight, kernel: kernel)
        func install(_ path: String, _ text: String) throws {
            let command = "mkdir -p $(dirname \(path)) && cat >\(path) && chmod 755 \(path)"
            try guest.run(command, input: Array((text + "\n").utf8)).checked()
        }
        try install("/usr/bin/start-service", Self.service)
        try install("/etc/pci-rebalance/hooks.d/50-service", Self.hook)
        try guest.run("start-service \(Self.sibling)").checked()
        try guest.hotPlug(Self.card, behind: "d2")
        let before = try guest.resources()
        #expect(before[Self.cardAddress]?[2].isAssigned == false, "the card fits without help")

        // Nobody agreed to stop what is in use.
        let refused = try guest.run("pci-rebalance plan", timeout: .seconds(120))
        #expect(refused.status == 4 && refused.lines.last == "PLAN: refused reason=protected", "\(refused.output)")

        // Somebody did, and the service does not.
        let apply = "rm -f /tmp/told; pci-rebalance apply --yes --allow-disturb \(Self.sibling)"
        let vetoed = try guest.run(": >/tmp/busy; \(apply)", timeout: .seconds(180))
        #expect(vetoed.status == 4, "\(vetoed.output)\(vetoed.errors)")
        #expect(vetoed.lines.last == "APPLY: failed reason=vetoed", "\(vetoed.output)")
        #expect(vetoed.output.contains("the service is busy"), "\(vetoed.output)")
        #expect(try guest.resources() == before)
        // Nobody else was asked; whoever was is told how it ended.
        let asked = try told(guest)
        #expect(asked.filter { $0.hasPrefix("before ") } == ["before \(Self.sibling) \(Self.sibling) - 1"], "\(asked)")
        #expect(asked.contains("after \(Self.sibling) \(Self.sibling) failed 1"), "\(asked)")
        #expect(try holder(guest) == 1)

        let done = try guest.run("rm /tmp/busy; \(apply)", timeout: .seconds(180))
        #expect(done.lines.last == "APPLY: done reason=goal-reached", "\(done.output)\(done.errors)")
        let after = try guest.resources()
        #expect(after[Self.cardAddress].map { $0[0].isAssigned && $0[2].isAssigned } == true, "\(done.output)")
        // The card had cost the sibling its I/O BAR.
        #expect(after[Self.sibling]?.prefix(3).allSatisfy(\.isAssigned) == true, "\(after)")
        let told = try told(guest)
        #expect(told.contains("before \(Self.sibling) \(Self.sibling) - 1"), "\(told)")
        #expect(told.contains("after \(Self.sibling) \(Self.sibling) done 1"), "\(told)")
        #expect(told.lastIndex { $0.hasPrefix("before ") } ?? .max < told.firstIndex { $0.hasPrefix("after ") } ?? 0)
        #expect(try holder(guest) == 1)
        print("hooks \(kernel): \(told)")
    }

    private func told(_ guest: VirtualMachine) throws -> [String] { try guest.run("cat /tmp/told").lines }

    /// How many processes have a BAR of the sibling open.
    private func holder(_ guest: VirtualMachine) throws -> Int {
        let text = "for f in /proc/[0-9]*/fd/*; do readlink $f; done 2>/dev/null | grep -c '\(Self.sibling)/resource0$'"
        return try guest.run(text).lines.first.flatMap { Int($0) } ?? 0
    }
}
