// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
internal import TestSupport

/// Random machines in which a card was just plugged and did not get all that it needs; the same for the same seed.
///
/// Root ports with devices, switches and switches behind switches; firmware's layout by SeaBIOS's rules or the kernel's own;
/// apertures like those of QEMU's q35, without room above 4 GiB, or cramped below it. Endpoints with and without driver,
/// some of them protected. The card is an endpoint, or a switch with endpoints.
public struct RescueCase: Sendable {
    /// The number that the case follows from.
    public var seed: UInt64
    /// The machine after the failed hot-add.
    public var topology: Topology
    /// The port that the card went into.
    public var port: FunctionAddress
    /// The kernel.
    public var behaviour: KernelBehaviour

    /// The case of a seed; nil when the card simply fits.
    public init?(seed: UInt64, behaviour: KernelBehaviour) throws {
        var draw = SplitMix64(seed: seed)
        let host = Self.host(&draw)
        var cards: [CardProfile] = []
        for device in 1...(1 + draw.below(3)) {
            let port = Self.port(&draw, devfn: UInt8(device) << 3, type: .rootPort, depth: 0)
            cards.append(CardProfile(name: "port", functions: [port]))
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
        guard !ports.isEmpty else { return nil }
        let port = booted.functions[ports[draw.below(ports.count)]].address
        twin = try LinuxTwin(booted, behaviour: behaviour, platform: platform)
        try twin.perform(.hotAdd(port: port, card: Self.card(&draw), method: .pciehp))
        let plugged = try twin.topology()
        guard plugged.findings().contains(where: { $0.severity == .problem }) else { return nil }
        self.seed = seed
        topology = plugged
        self.port = port
        self.behaviour = behaviour
    }

    // MARK: - Hardware

    private static func host(_ draw: inout SplitMix64) -> HostBridge {
        let io: UInt64 = draw.below(3) == 0 ? 0x5fff : 0xffff
        let memory: [ClosedRange<UInt64>] =
            switch draw.below(4) {
            case 0: [0x8000_0000...0xfebf_ffff]
            case 1: [0xc000_0000...0xc7ff_ffff, 0x1_0000_0000...0x8_ffff_ffff]
            default:
                [
                    0x4000_0000...0xafff_ffff, 0xc000_0000...0xfebf_ffff,
                    0x1_0000_0000...(draw.below(3) == 0 ? 0x1_ffff_ffff : 0x8_ffff_ffff),
                ]
            }
        return HostBridge(io: io, memory: memory, lastBus: draw.below(4) == 0 ? 15 : 255)
    }

    private static func port(_ draw: inout SplitMix64, devfn: UInt8, type: ExpressPortType, depth: Int) -> CardFunction
    {
        var children: [CardFunction] = []
        switch draw.below(10) {
        case 0...2: break
        case 3...6: children = endpoint(&draw)
        default: if depth < 2 { children = packetSwitch(&draw, depth: depth + 1) } else { children = endpoint(&draw) }
        }
        let isRoot = type == .rootPort
        return CardFunction(
            devfn: devfn,
            identity: Function.Identity(vendor: 0x1b36, device: isRoot ? 0x000c : 0x8233, classCode: 0x060400),
            bars: isRoot && draw.below(2) == 0 ? [.memory(0, 4096)] : [],
            portType: type,
            bridge: CardBridge(isHotPlug: draw.below(6) > 0, children: children)
        )
    }

    private static func packetSwitch(_ draw: inout SplitMix64, depth: Int) -> [CardFunction] {
        let ports = (0..<UInt8(2 + draw.below(3))).map {
            port(&draw, devfn: $0 << 3, type: .downstreamPort, depth: depth)
        }
        return [
            CardFunction(
                identity: Function.Identity(vendor: 0x104c, device: 0x8232, classCode: 0x060400),
                bars: draw.below(5) == 0 ? [.memory(0, 8 << 20, is64Bit: true, isPrefetchable: true)] : [],
                portType: .upstreamPort,
                bridge: CardBridge(children: ports)
            )
        ]
    }

    private static func endpoint(_ draw: inout SplitMix64) -> [CardFunction] {
        let count = draw.below(6) == 0 ? 2 : 1
        return (0..<UInt8(count)).map { number in
            CardFunction(
                devfn: number,
                identity: Function.Identity(vendor: 0x1b36, device: 5, classCode: 0x02_0000),
                bars: bars(&draw, largest: 27),
                portType: .endpoint,
                driver: draw.below(2) == 0 ? "driver" : nil
            )
        }
    }

    private static func bars(_ draw: inout SplitMix64, largest: UInt64) -> [CardBAR] {
        var bars: [CardBAR] = []
        if draw.below(3) > 0 { bars.append(.memory(0, draw.power(12...22))) }
        if draw.below(3) == 0 { bars.append(.io(1, draw.power(5...8))) }
        if draw.below(3) > 0 || bars.isEmpty {
            bars.append(.memory(2, draw.power(16...largest), is64Bit: true, isPrefetchable: true))
        }
        return bars
    }

    private static func card(_ draw: inout SplitMix64) -> CardProfile {
        func function() -> CardFunction {
            CardFunction(
                identity: Function.Identity(vendor: 0x10de, device: 0x2230, classCode: 0x03_0000),
                bars: bars(&draw, largest: 31),
                portType: .endpoint
            )
        }
        guard draw.below(4) == 0 else { return CardProfile(name: "card", functions: [function()]) }
        let ports = (0..<UInt8(1 + draw.below(3))).map {
            CardProfile.downstreamPort(device: $0, isHotPlug: draw.below(2) == 0, children: [function()])
        }
        return .packetSwitch(name: "card", downstream: ports)
    }
}
