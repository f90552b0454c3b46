// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import PCITopology
internal import PlanExecutor
internal import RebalancePlanner
internal import TestSupport
internal import Testing
internal import VMLaboratory

/// Machines whose firmware gave too few bus numbers, so that devices are behind bridges where nobody can see them: the plan
/// gives numbers, what appears gets its place, and nothing that worked is lost.
///
/// With `PCI_REBALANCE_HIDDEN_MACHINES=FIRST:COUNT` or `FIRST:COUNT:ROUNDS` in the environment random machines of these
/// seeds, not the usual one: each as firmware and a hot-add leave it, then so many times with numbers taken away from it
/// while it runs; on any kernel of the laboratory that `PCI_REBALANCE_KERNELS` names. A snapshot of each, and what was said
/// and logged, is kept in `PCI_REBALANCE_HIDDEN_RECORDS`.
@Suite("devices hidden behind bridges are found and placed")
struct HiddenDeviceTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let words = (environment["PCI_REBALANCE_HIDDEN_MACHINES"] ?? "").split(separator: ":")
        .compactMap { UInt64($0) }
    /// The seeds asked for; none for the usual machine alone.
    private static let seeds: [UInt64] = words.count >= 2 ? Array(words[0]..<(words[0] + words[1])) : []
    private static let rounds = words.count >= 3 ? Int(words[2]) : 2

    private static let kernels = environment["PCI_REBALANCE_KERNELS"].map { names in
        Kernel.everyKernel.filter { names.split(separator: ",").contains(Substring($0.rawValue)) }
    }

    @Test("a switch behind a switch and too few numbers for both", arguments: ScenarioSuite.kernels)
    func usual(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let machine = HiddenMachine.switchBehindSwitch
        let guest = try VirtualMachine(machine.topology, kernel: kernel)
        let outcome = try run(guest, expecting: machine.functions, machine.topology.name)
        #expect(outcome.hidden > 0, "\(kernel): the firmware gave numbers enough")
        #expect(outcome.isRescued, "\(kernel): \(outcome)")
    }

    @Test(
        "random machines, as firmware and hot-adds leave them, and with numbers taken away",
        arguments: kernels ?? Kernel.allCases
    )
    func random(kernel: Kernel) throws {
        if Self.seeds.isEmpty { try Test.cancel("PCI_REBALANCE_HIDDEN_MACHINES names no seeds") }
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var figures = (trees: 0, hidden: 0, rescued: 0, found: 0, stopped: 0, otherwise: 0)
        for seed in Self.seeds {
            let machine = HiddenMachine(seed: seed)
            var chance = SplitMix64(seed: seed ^ 0x6869_6464_656e)
            let options = VirtualMachine.Options(hasModules: kernel.hasModules)
            let guest = try VirtualMachine(machine.topology, kernel: kernel, options: options)
            defer { guest.stop() }
            var event = "\(machine.arrival)"
            for round in 0...Self.rounds {
                if round == 0 {
                    try guest.admit(machine.arrival)
                } else {
                    guard let change = try guest.takeNumbers(&chance) else { break }
                    event = change
                }
                let name = "hidden-\(kernel)-\(seed).\(round)"
                let outcome = try run(guest, expecting: machine.functions, name)
                guard outcome.hidden > 0 else { continue }
                figures.trees += 1
                figures.hidden += outcome.hidden
                figures.found += outcome.hidden - outcome.stillHidden
                figures.stopped += outcome.stopped
                if outcome.isRescued { figures.rescued += 1 } else { figures.otherwise += 1 }
                print("hidden \(kernel) seed \(seed).\(round), \(event): \(outcome)")
                // What comes next would be wrong of this one.
                if !outcome.isRescued { break }
            }
        }
        print("hidden \(kernel): \(figures)")
        #expect(figures.trees > 0)
    }

    /// What became of one machine.
    struct Outcome: CustomStringConvertible {
        /// Functions that QEMU has and the kernel did not show, before and after.
        var hidden: Int
        var stillHidden: Int
        /// The last line of `plan` where it did not act, else of `apply`.
        var line: String
        /// Functions in use that the plan stops, and the plans that apply carried out.
        var stopped = 0
        var rounds = 0
        var isRescued: Bool { stillHidden == 0 && line == "APPLY: done reason=goal-reached" }
        var description: String {
            "\(line), \(hidden) hidden, \(stillHidden) still, \(stopped) stopped, \(rounds) rounds"
        }
    }

    /// Plans, applies and looks at everything; `expected` functions are there beside the chipset's.
    private func run(_ guest: VirtualMachine, expecting expected: Int, _ name: String) throws -> Outcome {
        let context: Comment = "\(name)"
        try guest.waitUntilQuiet()
        let before = try guest.resources()
        let kindsBefore = try Self.kinds(guest)
        // The chipset's own functions are there whatever is behind the ports.
        let own = before.keys.filter { $0.hasPrefix("0000:00:00.") || $0.hasPrefix("0000:00:1f.") }.count
        let hidden = expected - (before.count - own)
        let snapshot = try guest.run("pci-rebalance snapshot -q", timeout: .seconds(120))
        let planned = try guest.run("pci-rebalance plan --json -o /root/plan.json", timeout: .seconds(180))
        #expect(try guest.resources() == before, "\(context): a dry run changes nothing")
        var outcome = Outcome(hidden: hidden, stillHidden: hidden, line: "")
        var said = planned.output + planned.errors
        defer {
            if hidden > 0 {
                keep(name, snapshot.standardOutput, said, try? guest.run("dmesg").output)
            }
        }
        let plan = try PlanDocument.decode(planned.standardOutput)
        guard plan.verdict.answer == .act else {
            #expect(hidden == 0 || plan.verdict.answer != .none, "\(context): \(plan.verdict.line)")
            outcome.line = plan.verdict.line
            return outcome
        }
        let applied = try guest.run("pci-rebalance apply --yes /root/plan.json", timeout: .seconds(300))
        said += applied.output + applied.errors
        #expect([0, 5].contains(applied.status), "\(context): \(applied.output)\(applied.errors)")
        let after = try guest.resources()
        outcome.stillHidden = expected - (after.count - own)
        outcome.line = applied.lines.last ?? ""
        outcome.stopped = plan.disturbed.count { $0.weight > 0 }
        outcome.rounds = 1 + applied.lines.count { $0.contains("round ") && $0.contains(": a plan of ") }
        // Nothing is lost: as many functions of every kind as before at least, and what had an address has one.
        let kindsAfter = try Self.kinds(guest)
        for (kind, held) in kindsBefore {
            let now = kindsAfter[kind] ?? (count: 0, addresses: 0)
            #expect(now.count >= held.count, "\(context): \(kind): \(held.count) before, \(now.count) after")
            #expect(now.addresses >= held.addresses, "\(context): \(kind): lost addresses")
        }
        // No driver has enabled them, and with them the bridges above.
        let enabling = "for f in /sys/bus/pci/devices/*/enable; do [ -e ${f%/*}/driver ] || echo 1 >$f; done; bar-check"
        let checked = try guest.run(enabling)
        #expect(checked.status == 0, "\(context): \(checked.output)\(checked.errors)")
        if outcome.line.hasSuffix("goal-reached") {
            let cured = try guest.run("pci-rebalance check")
            #expect(cured.status == 0, "\(context): \(cured.output)\(cured.errors)")
            said += cured.output
        }
        return outcome
    }

    private func keep(_ name: String, _ snapshot: [UInt8], _ said: String, _ log: String?) {
        guard let directory = Self.environment["PCI_REBALANCE_HIDDEN_RECORDS"] else { return }
        for (suffix, bytes) in [("snapshot", snapshot), ("said", Array(said.utf8)), ("log", Array((log ?? "").utf8))] {
            _ = FileManager.default.createFile(atPath: "\(directory)/\(name).\(suffix)", contents: Data(bytes))
        }
    }

    /// How many functions of each vendor and device there are, and how many of their BARs have an address.
    static func kinds(_ guest: VirtualMachine) throws -> [String: (count: Int, addresses: Int)] {
        let script = """
            for d in /sys/bus/pci/devices/*; do
                n=$(head -n 6 $d/resource | grep -vc '^0x0000000000000000 ')
                echo "$(cat $d/vendor):$(cat $d/device) $n"
            done
            """
        var result: [String: (count: Int, addresses: Int)] = [:]
        for line in try guest.output(script).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, let addresses = Int(words[1]) else { continue }
            let held = result[String(words[0])] ?? (count: 0, addresses: 0)
            result[String(words[0])] = (held.count + 1, held.addresses + addresses)
        }
        return result
    }
}
