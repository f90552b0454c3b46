// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// Ways beside a plan: which are named, and which room decides about firmware's settings.
@Suite("other ways than a plan")
struct OtherWayTests {
    private typealias Machine = WriteMachine
    private static let mib: UInt64 = 1 << 20

    /// A card of these BARs at a root port of a machine with these apertures, its memory BARs without an address.
    private func machine(
        _ bars: [CardBAR],
        low: UInt64,
        high: UInt64? = nil,
        hardware: HardwareDescription? = .acpi,
        losing lost: [Int] = [],
        isHotPlug: Bool = true
    ) throws -> Topology {
        let card = CardFunction(
            identity: Function.Identity(vendor: 0x1234, device: 1, classCode: 0xff_0000),
            bars: bars
        )
        let port = CardFunction(
            devfn: 8,
            identity: Function.Identity(vendor: 0x1b36, device: 0xc, classCode: 0x06_0400),
            portType: .rootPort,
            bridge: CardBridge(isHotPlug: isHotPlug, children: [card])
        )
        var apertures: [Aperture] = []
        func add(_ range: AddressRange?, _ flags: ResourceFlags) {
            if let range { apertures.append(Aperture(range: range, flags: flags)) }
        }
        add(AddressRange(first: 0x1000, last: 0xffff), .io)
        add(AddressRange(first: 0x8000_0000, size: low), .memory)
        if let high { add(AddressRange(first: 1 << 32, size: high), .memory) }
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(15))),
            apertures: apertures,
            source: .kernelLog
        )
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: [(0, CardProfile(name: "card", functions: [port]))],
            behaviour: .linux6_12,
            platform: platform
        )
        try twin.perform(.boot(platform))
        var topology = try twin.topology()
        topology.kernel.hardwareDescription = hardware
        topology.kernel.release = "6.12.1"
        topology.update(FunctionAddress(bus: BusNumber(1), devfn: 0)) { function in
            for n in lost {
                function.lines[n] = .zero
                for r in function.resources.indices where function.resources[r].index == .bar(n) {
                    function.resources[r].assignment = .wiped
                }
            }
        }
        return topology
    }

    private func hasRoom(_ goal: Goal, _ topology: Topology) -> Bool {
        Planner(topology: topology, behaviour: .linux6_12).hasRoom(for: [goal])
    }

    /// A switch of eight hot-plug ports, two of them with a card of 1 MiB, on a machine with a low aperture of this size;
    /// the kernel keeps 2 MiB at each port for cards to come.
    private func crowded(low: UInt64) throws -> Topology {
        func port(_ n: UInt8) -> CardFunction {
            let card = CardFunction(
                identity: Function.Identity(vendor: 0x1234, device: 1, classCode: 0xff_0000),
                bars: [.memory(0, Self.mib)]
            )
            return CardFunction(
                devfn: n << 3,
                identity: Function.Identity(vendor: 0x104c, device: 0x8233, classCode: 0x06_0400),
                portType: .downstreamPort,
                bridge: CardBridge(isHotPlug: true, children: n < 2 ? [card] : [])
            )
        }
        let upstream = CardFunction(
            identity: Function.Identity(vendor: 0x104c, device: 0x8232, classCode: 0x06_0400),
            portType: .upstreamPort,
            bridge: CardBridge(isHotPlug: false, children: (0..<8).map(port))
        )
        let root = CardFunction(
            devfn: 8,
            identity: Function.Identity(vendor: 0x1b36, device: 0xc, classCode: 0x06_0400),
            portType: .rootPort,
            bridge: CardBridge(isHotPlug: false, children: [upstream])
        )
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(63))),
            apertures: [
                Aperture(range: try #require(AddressRange(first: 0x8000_0000, size: low)), flags: .memory),
                Aperture(range: try #require(AddressRange(first: 1 << 32, size: 1 << 36)), flags: .memory),
            ],
            source: .kernelLog
        )
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: [(0, CardProfile(name: "crowded", functions: [root]))],
            behaviour: .linux6_12,
            platform: platform
        )
        try twin.perform(.boot(platform))
        var topology = try twin.topology()
        topology.kernel.hardwareDescription = .acpi
        topology.kernel.release = "6.12.1"
        return topology
    }

    @Test("what a boot keeps for cards to come takes the place of cards that are there: it is withheld by a word")
    func withheld() throws {
        let full = try crowded(low: 4 * Self.mib)
        #expect(full.problemShortfalls.count == 2)
        let advice = try BootAdvice(full, goals: [.plan(.everythingRequired)], behaviour: .linux6_12)
        #expect(advice.best?.words.contains("hpmmiosize=0") == true, "\(advice)")
        #expect(advice.smaller.allSatisfy { !$0.isGood })
        let ways = Planner(topology: full, behaviour: .linux6_12).otherWays(to: [.everythingRequired])
        #expect(ways.contains(.parameter(advice.parameter)))
        // Both cards fit, and the ports have their 2 MiB.
        let wide = try crowded(low: 32 * Self.mib)
        #expect(wide.problemShortfalls.isEmpty)
    }

    @Test("every way in words")
    func words() {
        let table: [(OtherWay, String)] = [
            (.reboot, "a reboot by itself: the boot places everything"),
            (
                .parameter(nil),
                "one reboot without a pci= parameter on the kernel command line (pci-rebalance cmdline says why)"
            ),
            (
                .parameter("pci=realloc"),
                "one reboot with pci=realloc on the kernel command line (pci-rebalance cmdline says why)"
            ),
            (
                .kexec(functions: 1),
                "one restart by kexec with 1 function programmed by hand: pci-rebalance plan --kexec writes the script"
            ),
            (
                .kexec(functions: 2),
                "one restart by kexec with 2 functions programmed by hand: pci-rebalance plan --kexec writes the script"
            ),
            (
                .kernel(placedBy: ["5.10", "6.1"]),
                "another kernel: 5.10 to 6.1 would place it, this kernel's rule is the obstacle (pci-rebalance upgrade "
                    + "says by which decision)"
            ),
            (
                .kernel(placedBy: ["6.12"], rules: ["one rule", "another"]),
                "another kernel: 6.12 would place it; the obstacle is this kernel's rule: one rule; another"
            ),
            (
                .firmware(.above4G),
                "firmware's setup: Above 4G Decoding on; no aperture above 4 GiB is declared"
            ),
        ]
        let adjacent = KernelUpgrade.Release.known.map(\.name).prefix(2)
        for (way, text) in table {
            if case .kernel = way, Array(adjacent) != ["5.10", "6.1"] { continue }
            #expect(way.description == text)
        }
        #expect(OtherWay.firmware(.largerAperture).description.contains("a larger window for devices"))
        #expect(OtherWay.firmware(.deviceTree).description.hasPrefix("the device tree: larger ranges"))
        #expect(OtherWay.Setting.allCases.map(\.rawValue) == ["above-4g", "larger-aperture", "device-tree"])
    }

    @Test("subjects and placements of goals")
    func goals() {
        let at = Machine.card
        let table: [(Goal, FunctionAddress?, Bool)] = [
            (.everythingRequired, nil, true), (.compact, nil, false),
            (.restore(SavedLayout(fingerprint: 0, places: [])), nil, false), (.place(at), at, true),
            (.resize(at, bar: 0, size: nil), at, false), (.located(at, bar: 0, address: 0), at, false),
            (.reserve(at, Headroom()), at, false), (.virtualFunctions(at, count: 1), at, false),
        ]
        for (goal, subject, isPlacement) in table {
            #expect(goal.subject == subject && goal.isPlacement == isPlacement, "\(goal)")
        }
    }

    @Test("releases in a row are spoken of as one, others apart")
    func spoken() {
        let all = ["a", "b", "c", "d", "e"]
        let table: [([String], String)] = [
            ([], ""), (["a"], "a"), (["a", "b"], "a to b"), (["a", "b", "c"], "a to c"), (["a", "c"], "a and c"),
            (["a", "b", "d", "e"], "a to b and d to e"), (["a", "c", "e"], "a, c and e"), (["x"], "x"),
            (["b", "x", "c"], "b, x and c"), (["b", "a"], "b and a"),
        ]
        for (names, text) in table { #expect(KernelUpgrade.spoken(names, of: all) == text, "\(names)") }
    }

    @Test("a resize has room up to the largest free aligned place below 4 GiB, or above for a wide prefetchable BAR")
    func resizeRoom() throws {
        let wide = CardBAR.memory(0, 2 * Self.mib, is64Bit: true, isPrefetchable: true, resizable: 0xfff0)
        let narrow = CardBAR.memory(2, 2 * Self.mib, is64Bit: true, resizable: 0xfff0)
        let card = FunctionAddress(bus: BusNumber(1), devfn: 0)
        let small = try machine([wide], low: 256 * Self.mib)
        func fits(_ bar: Int, _ size: UInt64?, _ topology: Topology) -> Bool {
            hasRoom(.resize(card, bar: bar, size: size.map { ByteCount($0) }), topology)
        }
        // The window of the port occupies part of the aperture of 256 MiB: half of it in one piece is free.
        #expect(fits(0, 128 * Self.mib, small))
        #expect(!fits(0, 512 * Self.mib, small) && !fits(0, 1 << 30, small))
        // To the largest: 32 GiB are more than there is.
        #expect(!fits(0, nil, small))
        let large = try machine([wide], low: 256 * Self.mib, high: 64 << 30)
        #expect(fits(0, 512 * Self.mib, large) && fits(0, 32 << 30, large))
        #expect(!fits(0, 128 << 30, large))
        // Behind a bridge a BAR that is not prefetchable stays below 4 GiB, however wide it is.
        let plain = try machine([narrow], low: 256 * Self.mib, high: 64 << 30)
        #expect(fits(2, 128 * Self.mib, plain) && !fits(2, 512 * Self.mib, plain))
    }

    @Test("a reserve has room for its largest block: memory below 4 GiB, prefetchable anywhere")
    func reserveRoom() throws {
        let port = FunctionAddress(bus: BusNumber(0), devfn: 8)
        let topology = try machine([.memory(0, Self.mib)], low: 256 * Self.mib, high: 4 << 30)
        func fits(_ room: Headroom) -> Bool { hasRoom(.reserve(port, room), topology) }
        #expect(fits(Headroom(memory: ByteCount(128 * Self.mib))))
        // Above half of the aperture in one block, nothing.
        #expect(!fits(Headroom(memory: ByteCount(256 * Self.mib))))
        #expect(fits(Headroom(prefetchable: ByteCount(256 * Self.mib))))
        #expect(fits(Headroom(prefetchable: ByteCount(2 << 30))) && !fits(Headroom(prefetchable: ByteCount(8 << 30))))
        #expect(!fits(Headroom(memory: ByteCount(256 * Self.mib), prefetchable: ByteCount(Self.mib))))
        // A goal that is a placement is no question of room.
        #expect(!hasRoom(.everythingRequired, topology) && !hasRoom(.restore(SavedLayout(topology)), topology))
    }

    private func ways(_ goals: [Goal], _ topology: Topology, _ constraints: Constraints = Constraints()) -> [OtherWay] {
        Planner(topology: topology, behaviour: .linux6_12).otherWays(to: goals, constraints: constraints)
    }

    @Test("firmware is named where memory lacks, by what is declared: nothing above 4 GiB, too little, a device tree")
    func firmware() throws {
        let huge = CardBAR.memory(0, 512 * Self.mib, is64Bit: true, isPrefetchable: true)
        let none = try machine([huge], low: 256 * Self.mib)
        #expect(ways([.everythingRequired], none) == [.firmware(.above4G)])
        let little = try machine([huge], low: 256 * Self.mib, high: 256 * Self.mib)
        #expect(ways([.everythingRequired], little) == [.firmware(.largerAperture)])
        let tree = try machine([huge], low: 256 * Self.mib, hardware: .deviceTree)
        #expect(ways([.everythingRequired], tree) == [.firmware(.deviceTree)])
    }

    @Test("a refused plan is no matter of firmware or of another kernel")
    func refused() throws {
        let topology = try machine(
            [.memory(0, 512 * Self.mib, is64Bit: true, isPrefetchable: true)],
            low: 256 * Self.mib
        )
        let planner = Planner(topology: topology, behaviour: .linux6_12)
        var plan = try planner.plan(goals: [.everythingRequired])
        plan.verdict = Plan.Verdict(.refused, reason: "protected", sentence: "no")
        #expect(planner.otherWays(to: [.everythingRequired], beside: plan) == [])
        plan.verdict = Plan.Verdict(.impossible, reason: "mmio-window-too-small", sentence: "no")
        #expect(planner.otherWays(to: [.everythingRequired], beside: plan) == [.firmware(.above4G)])
    }

    @Test("a boot that places everything is named first; with an address limit or tiers nothing that ignores them")
    func reboot() throws {
        let topology = try machine([.memory(0, 16 * Self.mib)], low: 256 * Self.mib, losing: [0])
        let all = ways([.everythingRequired], topology)
        #expect(all.first == .reboot)
        #expect(all.contains { if case .kexec = $0 { true } else { false } })
        // A limit below the aperture: no reboot and no restart keeps to it.
        let low = ways([.everythingRequired], topology, Constraints(highestAddress: 0x7fff_ffff))
        #expect(!low.contains(.reboot) && !low.contains { if case .kexec = $0 { true } else { false } })
        let limited = ways([.everythingRequired], topology, Constraints(highestAddress: .max))
        #expect(!limited.contains(.reboot) && limited.contains { if case .kexec = $0 { true } else { false } })
        let tiers = ways([.everythingRequired], topology, Constraints(tiers: OptionalTiers(required: [.rom])))
        #expect(!tiers.contains(.reboot) && !tiers.contains { if case .kexec = $0 { true } else { false } })
    }
}
