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
/// With `PCI_REBALANCE_HIDDEN_MACHINES=FIRST:COUNT` in the environment random machines of these seeds, not the usual one.
@Suite("devices hidden behind bridges are found and placed")
struct HiddenDeviceTests {
    /// The seeds asked for; none for the usual machine alone.
    private static let seeds: [UInt64] = {
        let words = (ProcessInfo.processInfo.environment["PCI_REBALANCE_HIDDEN_MACHINES"] ?? "").split(separator: ":")
            .compactMap { UInt64($0) }
        return words.count == 2 ? Array(words[0]..<(words[0] + words[1])) : []
    }()

    @Test("a switch behind a switch and too few numbers for both", arguments: ScenarioSuite.kernels)
    func usual(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let outcome = try run(HiddenMachine.switchBehindSwitch, on: kernel)
        #expect(outcome.hidden > 0, "\(kernel): the firmware gave numbers enough")
        #expect(outcome.stillHidden == 0, "\(kernel): \(outcome)")
        #expect(outcome.line == "APPLY: done reason=goal-reached", "\(kernel): \(outcome)")
    }

    @Test("random machines, some with a card plugged in", arguments: ScenarioSuite.kernels)
    func random(kernel: Kernel) throws {
        if Self.seeds.isEmpty { try Test.cancel("PCI_REBALANCE_HIDDEN_MACHINES names no seeds") }
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        var figures = (machines: 0, hidden: 0, rescued: 0, found: 0, otherwise: 0)
        for seed in Self.seeds {
            let machine = HiddenMachine(seed: seed)
            let outcome = try run(machine, on: kernel)
            guard outcome.hidden > 0 else { continue }
            figures.machines += 1
            figures.hidden += outcome.hidden
            figures.found += outcome.hidden - outcome.stillHidden
            let isRescued = outcome.stillHidden == 0 && outcome.line.hasSuffix("goal-reached")
            if isRescued { figures.rescued += 1 } else { figures.otherwise += 1 }
            print("hidden \(kernel) seed \(seed): \(outcome)")
        }
        print("hidden \(kernel): \(figures)")
        #expect(figures.machines > 0)
    }

    /// What became of one machine.
    struct Outcome: CustomStringConvertible {
        /// Functions that QEMU has and the kernel did not show, before and after.
        var hidden: Int
        var stillHidden: Int
        /// The last line of `plan` where it did not act, else of `apply`.
        var line: String
        var description: String { "\(line), \(hidden) hidden, \(stillHidden) still" }
    }

    /// Boots, plugs, plans, applies and looks at everything.
    private func run(_ machine: HiddenMachine, on kernel: Kernel) throws -> Outcome {
        let context: Comment = "\(kernel), \(machine.topology.name)"
        let guest = try VirtualMachine(machine.topology, kernel: kernel)
        var expected = machine.functions
        if let (card, port) = machine.plug {
            try guest.hotPlug(card, behind: port)
            expected += 1
        }
        let before = try guest.resources()
        let kindsBefore = try Self.kinds(guest)
        // The chipset's own functions are there whatever is behind the ports.
        let own = try Self.builtIn(guest)
        let hidden = expected - (before.count - own)
        let planned = try guest.run("pci-rebalance plan --json -o /root/plan.json", timeout: .seconds(180))
        #expect(try guest.resources() == before, "\(context): a dry run changes nothing")
        let plan = try PlanDocument.decode(planned.standardOutput)
        guard plan.verdict.answer == .act else {
            #expect(hidden == 0 || plan.verdict.answer != .none, "\(context): \(plan.verdict.line)")
            return Outcome(hidden: hidden, stillHidden: hidden, line: plan.verdict.line)
        }
        let applied = try guest.run("pci-rebalance apply --yes /root/plan.json", timeout: .seconds(300))
        #expect([0, 5].contains(applied.status), "\(context): \(applied.output)\(applied.errors)")
        let after = try guest.resources()
        // Nothing is lost: as many functions of every kind as before at least, and what had an address has one.
        for (kind, held) in kindsBefore {
            let now = try Self.kinds(guest)[kind] ?? (count: 0, addresses: 0)
            #expect(now.count >= held.count, "\(context): \(kind): \(held.count) before, \(now.count) after")
            #expect(now.addresses >= held.addresses, "\(context): \(kind): lost addresses")
        }
        let checked = try guest.run("bar-check")
        #expect(checked.status == 0, "\(context): \(checked.output)\(checked.errors)")
        let cured = try guest.run("pci-rebalance check")
        let line = applied.lines.last ?? ""
        if line.hasSuffix("goal-reached") {
            #expect(cured.status == 0, "\(context): \(cured.output)\(cured.errors)")
        }
        return Outcome(hidden: hidden, stillHidden: expected - (after.count - own), line: line)
    }

    /// How many functions of each vendor and device there are, and how many of their BARs have an address.
    private static func kinds(_ guest: VirtualMachine) throws -> [String: (count: Int, addresses: Int)] {
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

    /// The functions of the chipset: bus 0, devices 0 and 31 of q35.
    private static func builtIn(_ guest: VirtualMachine) throws -> Int {
        try guest.resources().keys.filter { $0.hasPrefix("0000:00:00.") || $0.hasPrefix("0000:00:1f.") }.count
    }
}

/// A machine with root ports of which the first has fewer bus numbers than there are bridges behind it.
struct HiddenMachine {
    var topology: MachineTopology
    /// The functions that QEMU has beside the chipset's.
    var functions: Int
    /// A card that is plugged in after the boot, and where.
    var plug: (Device, String)?

    /// A root port with five numbers, a switch with two ports, a switch behind the first of them with four ports and two
    /// cards, and a second root port beside it.
    static let switchBehindSwitch: HiddenMachine = {
        let inner = Device.upstreamPort(
            "up2",
            children: [
                .downstreamPort("e1", children: [.sharedMemory("m1", size: .mib(16))]), .downstreamPort("e2"),
                .downstreamPort("e3", children: [.testDevice("t1")]), .downstreamPort("e4"),
            ]
        )
        let outer = Device.upstreamPort(
            "up1",
            children: [
                .downstreamPort("d1", children: [inner]),
                .downstreamPort("d2", children: [.sharedMemory("m2", size: .mib(4))]),
            ]
        )
        return HiddenMachine(
            "switch-behind-switch",
            [
                .rootPort("rp1", at: "2", reserve: .init(buses: 3), children: [outer]),
                .rootPort("rp2", at: "3", children: [.testDevice("t2")]),
            ]
        )
    }()

    private init(_ name: String, _ devices: [Device], plug: (Device, String)? = nil) {
        topology = ScenarioMachine.with(name, devices)
        functions = devices.reduce(0) { $0 + Self.count($1) }
        self.plug = plug
    }

    /// The machine of a seed; the same for the same seed.
    init(seed: UInt64) {
        var chance = SplitMix64(seed: seed)
        var names = 0
        func name(_ kind: String) -> String {
            names += 1
            return "\(kind)\(names)"
        }
        func card() -> Device {
            switch chance.below(4) {
            case 0: .testDevice(name("t"))
            case 1: .testDevice(name("t"), memory: .mib(UInt64(1) << UInt64(chance.below(6))))
            case 2: .sharedMemory(name("m"), size: .mib(UInt64(1) << UInt64(chance.below(6))))
            default: .nvme(name("n"))
            }
        }
        var empty: [String] = []
        func packetSwitch(_ depth: Int) -> Device {
            let ports = (0..<(2 + chance.below(3))).map { _ -> Device in
                let port = name("d")
                switch chance.below(depth == 0 ? 6 : 8) {
                case 0, 1:
                    empty.append(port)
                    return .downstreamPort(port)
                case 2, 3, 4: return .downstreamPort(port, children: [card()])
                case 5: return .downstreamPort(port, children: [.pcieToPCIBridge(name("b"))])
                default: return .downstreamPort(port, children: [packetSwitch(depth - 1)])
                }
            }
            return .upstreamPort(name("u"), children: ports)
        }
        let behind = packetSwitch(1 + chance.below(2))
        let needed = Self.bridges(behind)
        var devices: [Device] = [
            .rootPort(
                "rp1",
                at: "2",
                reserve: .init(buses: UInt64(1 + chance.below(max(1, needed - 1)))),
                children: [behind]
            )
        ]
        switch chance.below(3) {
        case 0:
            empty.append("rp2")
            devices.append(.rootPort("rp2", at: "3"))
        case 1: devices.append(.rootPort("rp2", at: "3", children: [card()]))
        default: devices.append(.rootPort("rp2", at: "3", children: [packetSwitch(0)]))
        }
        let plug = chance.below(2) == 0 && empty.contains("rp2") ? (card(), "rp2") : nil
        self.init("hidden-\(seed)", devices, plug: plug)
    }

    /// The functions of a device and of everything behind it.
    private static func count(_ device: Device) -> Int { device.children.reduce(1) { $0 + count($1) } }

    /// The bridges among them.
    private static func bridges(_ device: Device) -> Int {
        let isBridge = ["x3130-upstream", "xio3130-downstream", "pcie-pci-bridge"].contains(device.driver)
        return device.children.reduce(isBridge ? 1 : 0) { $0 + bridges($1) }
    }
}
