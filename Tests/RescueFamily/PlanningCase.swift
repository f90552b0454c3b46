// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
public import RebalancePlanner
internal import TestSupport

/// A random small machine with everything that the writes of a plan reach, and something to be planned on it; the same for
/// the same seed.
///
/// Root ports with devices, switches or nothing behind them; network cards with VFs enabled, I/O BARs, Resizable BARs, second
/// functions, drivers and none, uses that weigh and uses that protect; windows narrow and wide, buses scarce and plenty.
public struct PlanningCase: Sendable {
    /// What is planned.
    public enum Question: String, CaseIterable, Sendable {
        /// A card was plugged and did not get all that it needs.
        case hotAdd
        /// Somebody removed a port and rescanned, and something did not come back.
        case rescan
        /// Room is wanted below a port: I/O, memory, prefetchable memory, bus numbers.
        case reserve
        /// A Resizable BAR is to have another size.
        case resize
        /// A card is to be able to enable more VFs.
        case virtualFunctions
    }

    /// The number that the case follows from.
    public var seed: UInt64
    /// What is planned.
    public var question: Question
    /// The machine.
    public var topology: Topology
    /// The kernel.
    public var behaviour: KernelBehaviour
    /// What is asked for.
    public var goal: Goal
    /// What may be done for it.
    public var constraints: Constraints

    /// The case of a seed; nil where the question does not arise on its machine.
    public init?(seed: UInt64, _ question: Question, behaviour: KernelBehaviour) throws {
        var draw = SplitMix64(seed: seed)
        let cards = (1...(1 + draw.below(2))).map { device in
            CardProfile(name: "port", functions: [Self.port(&draw, devfn: UInt8(device) << 3, isRoot: true)])
        }
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [Self.host(&draw)],
            cards: cards.map { (0, $0) },
            behaviour: behaviour,
            platform: platform
        )
        try twin.perform(.boot(platform))
        for function in try twin.topology().functions {
            guard let sriov = function.capabilities.sriov, draw.below(3) > 0 else { continue }
            let count = 1 + draw.below(Int(sriov.totalVFs))
            if function.resource(.vfBAR(0) ?? .rom)?.range != nil {
                _ = try? twin.perform(.setVFs(function.address, count))
            }
        }
        var machine = try twin.topology()
        for function in machine.functions where !function.isBridge && !function.isVirtual {
            let weight = draw.below(3) == 0 ? 1 + draw.below(40) : 0
            let isProtected = draw.below(12) == 0
            guard weight > 0 || isProtected else { continue }
            machine.update(function.address) {
                $0.use.evidence.append(
                    UseEvidence(code: "use", detail: "it is used", isProtected: isProtected, weight: weight)
                )
            }
        }
        twin = try LinuxTwin(machine, behaviour: behaviour, platform: platform)
        let ports = machine.functions.indices.filter {
            machine.functions[$0].isHotPlugBridge && machine.functions[$0].bridge?.busRange != nil
        }
        let empty = ports.filter { machine.children(of: $0).isEmpty }
        goal = .everythingRequired
        switch question {
        case .hotAdd:
            guard !empty.isEmpty else { return nil }
            let port = machine.functions[empty[draw.below(empty.count)]].address
            let card = CardProfile(name: "card", functions: Self.device(&draw, largest: 29))
            try twin.perform(.hotAdd(port: port, card: card, method: .pciehp))
            if draw.below(2) == 0 { goal = .place(port) }
        case .rescan:
            let bridges = machine.functions.filter { $0.isBridge && $0.bridge?.busRange != nil }
            guard !bridges.isEmpty else { return nil }
            guard (try? twin.perform(.remove(bridges[draw.below(bridges.count)].address))) != nil else { return nil }
            try twin.perform(.rescan)
        case .reserve:
            guard !ports.isEmpty else { return nil }
            var room = Headroom()
            switch draw.below(4) {
            case 0: room.io = ByteCount(0x1000 << UInt64(draw.below(3)))
            case 1: room.memory = ByteCount(draw.power(20...25))
            case 2: room.prefetchable = ByteCount(draw.power(20...30))
            default: room.buses = 1 + draw.below(6)
            }
            goal = .reserve(machine.functions[ports[draw.below(ports.count)]].address, room)
        case .resize:
            let all = machine.functions.filter { !$0.capabilities.resizableBARs.isEmpty && !$0.isVirtual }
            guard !all.isEmpty else { return nil }
            let function = all[draw.below(all.count)]
            guard let entry = function.capabilities.resizableBARs.first else { return nil }
            let sizes = entry.exponents.compactMap { ResizableBAR.size(ofExponent: $0) }
            let size = sizes[draw.below(sizes.count)]
            guard size != entry.currentSize else { return nil }
            goal = .resize(function.address, bar: entry.bar, size: draw.below(4) == 0 ? nil : size)
        case .virtualFunctions:
            guard !empty.isEmpty else { return nil }
            let port = machine.functions[empty[draw.below(empty.count)]].address
            var function = Self.endpoint(&draw, devfn: 0, largest: 22)
            function.sriov = Self.virtual(&draw)
            try twin.perform(
                .hotAdd(port: port, card: CardProfile(name: "card", functions: [function]), method: .pciehp)
            )
            guard let bus = twin.busRange(of: port)?.first, let total = function.sriov?.total else { return nil }
            goal = .virtualFunctions(FunctionAddress(bus: bus, devfn: 0), count: 1 + draw.below(Int(total)))
        }
        topology = try twin.topology()
        topology.kernel.release = behaviour == .linux6_1 ? "6.1.0" : behaviour == .linux6_12 ? "6.12.1" : "7.2.1"
        if question == .hotAdd || question == .rescan {
            guard topology.findings().contains(where: { $0.severity == .problem }) else { return nil }
        }
        constraints = Constraints()
        if draw.below(4) > 0 {
            constraints.allowDisturb = Set(
                topology.functions.filter { $0.use.enabledVFs ?? 0 > 0 }.map(\.address)
            )
        }
        if draw.below(8) == 0, let highest = topology.hostBridges[0].apertures.map(\.range.last).max() {
            constraints.highestAddress = highest - (draw.power(20...24) - 1)
        }
        self.seed = seed
        self.question = question
        self.behaviour = behaviour
    }

    /// The plan for the case.
    public func plan() throws -> Plan {
        try Planner(topology: topology, behaviour: behaviour).plan(goals: [goal], constraints: constraints)
    }

    // MARK: - Hardware

    private static func host(_ draw: inout SplitMix64) -> HostBridge {
        let io: UInt64 = [0x3fff, 0x7fff, 0xffff][draw.below(3)]
        let memory: [ClosedRange<UInt64>] =
            switch draw.below(4) {
            case 0: [0x8000_0000...0x9fff_ffff]
            case 1: [0xc000_0000...0xc5ff_ffff, 0x1_0000_0000...0x2_ffff_ffff]
            default:
                [
                    0xc000_0000...0xdfff_ffff,
                    0x1_0000_0000...(draw.below(2) == 0 ? 0x1_3fff_ffff : 0x8_ffff_ffff),
                ]
            }
        return HostBridge(io: io, memory: memory, lastBus: [15, 31, 255][draw.below(3)])
    }

    private static func port(_ draw: inout SplitMix64, devfn: UInt8, isRoot: Bool) -> CardFunction {
        var children: [CardFunction] = []
        switch draw.below(isRoot ? 8 : 4) {
        case 0: break
        case 1...3: children = device(&draw, largest: 26)
        default:
            children = [
                CardFunction(
                    identity: Function.Identity(vendor: 0x104c, device: 0x8232, classCode: 0x060400),
                    portType: .upstreamPort,
                    bridge: CardBridge(
                        children: (0..<(2 + UInt8(draw.below(2)))).map { port(&draw, devfn: $0 << 3, isRoot: false) }
                    )
                )
            ]
        }
        return CardFunction(
            devfn: devfn,
            identity: Function.Identity(vendor: 0x1b36, device: isRoot ? 0x000c : 0x8233, classCode: 0x060400),
            portType: isRoot ? .rootPort : .downstreamPort,
            bridge: CardBridge(
                isHotPlug: draw.below(6) > 0,
                hasPrefetchable64: !isRoot || draw.below(6) > 0,
                children: children
            )
        )
    }

    private static func device(_ draw: inout SplitMix64, largest: UInt64) -> [CardFunction] {
        var first = endpoint(&draw, devfn: 0, largest: largest)
        guard draw.below(3) == 0 else { return [first] }
        if first.sriov?.offset == 1 { first.sriov?.offset = 2 }
        return [first, endpoint(&draw, devfn: 1, largest: 20)]
    }

    private static func endpoint(_ draw: inout SplitMix64, devfn: UInt8, largest: UInt64) -> CardFunction {
        var bars: [CardBAR] = []
        var sriov: CardSRIOV?
        let isNetwork = devfn == 0 && draw.below(3) == 0
        if draw.below(3) > 0 { bars.append(.memory(0, draw.power(12...22))) }
        if draw.below(3) == 0 { bars.append(.io(1, draw.power(5...8))) }
        if draw.below(3) > 0 || bars.isEmpty {
            let size = draw.power(20...largest)
            // This size, one larger and one smaller, where there are such.
            let sizes: UInt64 = draw.below(2) == 0 ? 0 : (0b111 << UInt64((size >> 20).trailingZeroBitCount)) >> 1
            bars.append(.memory(2, size, is64Bit: true, isPrefetchable: true, resizable: sizes))
        }
        if isNetwork {
            sriov = virtual(&draw)
        }
        var function = CardFunction(
            devfn: devfn,
            identity: Function.Identity(vendor: 0x8086, device: 0x1572, classCode: isNetwork ? 0x02_0000 : 0x01_0802),
            bars: bars,
            portType: .endpoint,
            driver: draw.below(3) > 0 ? "driver\(draw.below(3))" : nil
        )
        function.sriov = sriov
        return function
    }

    /// VFs on the card's own bus, or on the next one.
    private static func virtual(_ draw: inout SplitMix64) -> CardSRIOV {
        CardSRIOV(
            total: UInt16(2 + draw.below(6)),
            offset: draw.below(3) == 0 ? 256 : 1,
            stride: 1,
            device: 0x154c,
            bars: [.memory(0, draw.power(14...20), is64Bit: true, isPrefetchable: true)]
        )
    }
}
