// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Testing
internal import VMLaboratory

/// Plans that find hidden devices, killed or deprived of a card in their middle.
///
/// With `PCI_REBALANCE_HIDDEN_FAULTS=50` in the environment that many disturbed applies on each kernel, each from the state
/// that firmware leaves; every third has a card pulled, the others are killed and recovered. Without it two on 6.12 and 7.
@Suite("disturbed plans that find hidden devices lose nothing")
struct HiddenFaultTests {
    private static let asked = ProcessInfo.processInfo.environment["PCI_REBALANCE_HIDDEN_FAULTS"].flatMap { Int($0) }
    private static let count = asked ?? 2
    private static let kernels = ScenarioSuite.kernels.filter { asked != nil || $0 != .linux6_1 }
    private static let preload = "LD_PRELOAD=/usr/bin/guest-faults.so"
    private static let apply = "pci-rebalance apply /root/plan.json"
    /// A card that the plan stops, its vendor and device, and how many of its BARs have addresses.
    private static let pulled = (identifier: "m2", kind: "0x1af4:0x1110", addresses: 2)

    @Test("a tool that is killed, a card that is pulled", arguments: kernels)
    func disturbed(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var machine = try FaultMachine(HiddenMachine.switchBehindSwitch.topology, kernel: kernel)
        try plan(machine.guest)
        let whole = try machine.guest.run(
            "rm -f /tmp/count; \(Self.preload) FAULT_COUNT=/tmp/count \(Self.apply)",
            timeout: .seconds(300)
        )
        try #require(whole.lines.last == "APPLY: done reason=goal-reached", "\(whole.output)")
        let moments = try machine.guest.run("cat /tmp/count").lines.first.flatMap { line in
            line.split(separator: " ").first.flatMap { Int($0) }
        }
        let last = try #require(moments)
        var ends: [String: Int] = [:]
        var isAsBooted = false
        for n in 0..<Self.count {
            if !isAsBooted { try machine.cutPower() }
            let before = try HiddenDeviceTests.kinds(machine.guest)
            try plan(machine.guest)
            // Multiples of the golden ratio spread evenly, however many of them are taken.
            let moment = 1 + Int((UInt64(n) &* 0x9e37_79b9_7f4a_7c15) % UInt64(last))
            let isPull = n % 3 == 2
            let context: Comment = "\(kernel), \(isPull ? "a card pulled" : "killed") at moment \(moment) of \(last)"
            let end = try isPull ? pull(machine, moment, context) : kill(machine, moment, context)
            ends[end, default: 0] += 1
            let after = try HiddenDeviceTests.kinds(machine.guest)
            for (kind, held) in before {
                let now = after[kind] ?? (count: 0, addresses: 0)
                let isGone = isPull && kind == Self.pulled.kind
                let least = isGone ? (held.count - 1, held.addresses - Self.pulled.addresses) : held
                #expect(now.count >= least.0, "\(context): \(kind): \(held) before, \(now) after")
                #expect(now.addresses >= least.1, "\(context): \(kind): \(held) before, \(now) after")
            }
            isAsBooted = isPull
            if isPull { machine = try FaultMachine(HiddenMachine.switchBehindSwitch.topology, kernel: kernel) }
        }
        print("hidden, disturbed, \(kernel): \(ends), \(last) moments")
    }

    private func plan(_ guest: VirtualMachine) throws {
        let planned = try guest.run("pci-rebalance plan -o /root/plan.json", timeout: .seconds(180))
        try #require(planned.lines.last?.hasPrefix("PLAN: act") == true, "\(planned.output)\(planned.errors)")
    }

    /// Kills the tool, lets it recover, and tries once more.
    private func kill(_ machine: FaultMachine, _ moment: Int, _ context: Comment) throws -> String {
        let guest = machine.guest
        let killed = try guest.run("\(Self.preload) FAULT_KILL=\(moment) \(Self.apply)", timeout: .seconds(300))
        #expect(killed.status == 137, "\(context): \(killed.output)")
        let recovered = try guest.run("pci-rebalance recover", timeout: .seconds(300))
        #expect(recovered.status == 0, "\(context): \(recovered.output)\(recovered.errors)")
        try guest.waitUntilQuiet()
        return "recovered"
    }

    /// Pulls a card while the tool waits at a moment.
    private func pull(_ machine: FaultMachine, _ moment: Int, _ context: Comment) throws -> String {
        let isPaused = try machine.start(
            "\(Self.preload) FAULT_PAUSE=\(moment):/tmp/pause \(Self.apply)",
            pausing: "/tmp/pause"
        )
        let isGone = isPaused ? try machine.pull(Self.pulled.identifier, patience: .seconds(12)) : false
        let (status, lines) = try machine.finish(pausing: "/tmp/pause")
        // A port that the kernel does not know at the moment lets its card go once it is found again.
        if !isGone { #expect(try machine.pull(Self.pulled.identifier), "\(context): the card stays") }
        #expect([0, 5, 7].contains(status), "\(context): \(lines.suffix(24))")
        try machine.guest.waitUntilQuiet()
        return lines.last { $0.hasPrefix("APPLY: ") }.map { String($0.dropFirst(7)) } ?? "no end"
    }
}
