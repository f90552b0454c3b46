// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import RescueFamily
internal import TestSupport

/// Random machines of few functions on which something is wrong, or wanted; the same for the same seed.
///
/// One or two root ports, each with a device, a switch with two ports, or nothing; firmware's layout by SeaBIOS's rules or
/// the kernel's own; apertures like those of QEMU's q35, without room above 4 GiB, or cramped below it.
struct SmallMachine {
    /// What happened to the machine, and what is asked.
    enum Question: String, CaseIterable {
        /// A card was plugged and did not get all that it needs.
        case hotAdd = "failed hot-adds"
        /// Somebody removed a port and rescanned, and something did not come back.
        case rescan = "losses by remove and rescan"
        /// Room is wanted below an empty port.
        case reserve = "reserves"
    }

    var topology: Topology
    var goal: Goal

    /// The machine of a seed; nil when nothing is wrong on it.
    init?(seed: UInt64, _ question: Question, _ behaviour: KernelBehaviour) throws {
        var draw = SplitMix64(seed: seed)
        let host = Self.host(&draw)
        let cards = (1...(1 + draw.below(2))).map { device in
            CardProfile(name: "port", functions: [Self.port(&draw, devfn: UInt8(device) << 3, isRoot: true)])
        }
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: cards.map { (0, $0) },
            behaviour: behaviour,
            platform: platform
        )
        try twin.perform(.boot(platform))
        if draw.below(2) == 0 {
            let firmware = SeaBIOSPolicy().allocate(ResourceDemand(try twin.topology()))
            twin = try LinuxTwin(try firmware.applied(to: twin.topology()), behaviour: behaviour, platform: platform)
            try twin.perform(.boot(platform))
        }
        var booted = try twin.topology()
        guard booted.findings().allSatisfy({ $0.severity == .note }) else { return nil }
        for function in booted.functions where !function.isBridge && draw.below(8) == 0 {
            booted.update(function.address) {
                $0.use.evidence.append(
                    UseEvidence(code: "mounted", detail: "a disk is mounted", isProtected: true, weight: 1000)
                )
            }
        }
        let ports = booted.functions.indices.filter {
            booted.functions[$0].isHotPlugBridge && booted.children(of: $0).isEmpty
                && booted.functions[$0].bridge?.busRange != nil
        }
        goal = .everythingRequired
        twin = try LinuxTwin(booted, behaviour: behaviour, platform: platform)
        switch question {
        case .hotAdd:
            guard !ports.isEmpty else { return nil }
            let card = CardProfile(name: "card", functions: [Self.endpoint(&draw, devfn: 0, largest: 32)])
            try twin.perform(
                .hotAdd(port: booted.functions[ports[draw.below(ports.count)]].address, card: card, method: .pciehp)
            )
        case .rescan:
            let bridges = booted.functions.indices.filter {
                booted.functions[$0].isBridge && !booted.children(of: $0).isEmpty
            }
            guard !bridges.isEmpty else { return nil }
            let bridge = bridges[draw.below(bridges.count)]
            try twin.perform(.remove(booted.functions[bridge].address))
            try twin.perform(.rescan)
        case .reserve:
            guard !ports.isEmpty else { return nil }
            let size = ByteCount(draw.power(24...31))
            let room = draw.below(2) == 0 ? Headroom(prefetchable: size) : Headroom(memory: size)
            goal = .reserve(booted.functions[ports[draw.below(ports.count)]].address, room)
        }
        topology = try twin.topology()
        guard question == .reserve || topology.findings().contains(where: { $0.severity == .problem }) else {
            return nil
        }
    }

    // MARK: - Hardware

    private static func host(_ draw: inout SplitMix64) -> HostBridge {
        let memory: [ClosedRange<UInt64>] =
            switch draw.below(4) {
            case 0: [0x8000_0000...0xfebf_ffff]
            case 1: [0xc000_0000...0xc7ff_ffff, 0x1_0000_0000...0x8_ffff_ffff]
            default:
                [
                    0x4000_0000...0xafff_ffff,
                    0x1_0000_0000...(draw.below(3) == 0 ? 0x2_ffff_ffff : 0x8_ffff_ffff),
                ]
            }
        return HostBridge(io: 0xffff, memory: memory, lastBus: 255)
    }

    private static func port(_ draw: inout SplitMix64, devfn: UInt8, isRoot: Bool) -> CardFunction {
        var children: [CardFunction] = []
        switch draw.below(isRoot ? 8 : 4) {
        case 0: break
        case 1...3: children = endpoints(&draw)
        default:
            children = [
                CardFunction(
                    identity: Function.Identity(vendor: 0x104c, device: 0x8232, classCode: 0x060400),
                    bars: draw.below(5) == 0 ? [.memory(0, 8 << 20, is64Bit: true, isPrefetchable: true)] : [],
                    portType: .upstreamPort,
                    bridge: CardBridge(children: (0..<2).map { port(&draw, devfn: $0 << 3, isRoot: false) })
                )
            ]
        }
        return CardFunction(
            devfn: devfn,
            identity: Function.Identity(vendor: 0x1b36, device: isRoot ? 0x000c : 0x8233, classCode: 0x060400),
            bars: isRoot && draw.below(2) == 0 ? [.memory(0, 4096)] : [],
            portType: isRoot ? .rootPort : .downstreamPort,
            bridge: CardBridge(isHotPlug: draw.below(6) > 0, children: children)
        )
    }

    private static func endpoints(_ draw: inout SplitMix64) -> [CardFunction] {
        let count = UInt8(draw.below(4) == 0 ? 2 : 1)
        return (0..<count).map { endpoint(&draw, devfn: $0, largest: draw.below(3) == 0 ? 32 : 27) }
    }

    private static func endpoint(_ draw: inout SplitMix64, devfn: UInt8, largest: UInt64) -> CardFunction {
        var bars: [CardBAR] = []
        if draw.below(3) > 0 { bars.append(.memory(0, draw.power(12...22))) }
        if draw.below(4) == 0 { bars.append(.io(1, draw.power(5...8))) }
        if draw.below(3) > 0 || bars.isEmpty {
            bars.append(.memory(2, draw.power(16...largest), is64Bit: true, isPrefetchable: true))
        }
        return CardFunction(
            devfn: devfn,
            identity: Function.Identity(vendor: 0x1b36, device: 5, classCode: 0x02_0000),
            bars: bars,
            portType: .endpoint,
            driver: draw.below(2) == 0 ? "driver" : nil
        )
    }
}
