// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// A machine with one of everything that a plan's writes reach, as the kernel boots it.
///
///     00:01.0 -> 01:00.0 -+- 02:00.0 -> 03:00.0 network card with a driver, resizable BAR 2, 4 VFs (2 enabled)
///                         |             03:00.1 its second function
///                         `- 02:01.0    empty, hot-plug
///     00:02.0 -> a card without driver; the prefetchable window decodes 32 bits
///     00:03.0    a device on the root bus
struct WriteMachine {
    let topology: Topology
    let state: SearchState

    static let sibling = FunctionAddress(bus: BusNumber(3), devfn: 1)
    static let card = FunctionAddress(bus: BusNumber(3), devfn: 0)
    static let full = FunctionAddress(bus: BusNumber(2), devfn: 0)
    static let empty = FunctionAddress(bus: BusNumber(2), devfn: 8)
    static let upstream = FunctionAddress(bus: BusNumber(1), devfn: 0)
    static let root = FunctionAddress(bus: BusNumber(0), devfn: 8)
    static let narrow = FunctionAddress(bus: BusNumber(0), devfn: 16)

    init(
        enabledVFs: Int = 2,
        constraints: Constraints = Constraints(),
        _ change: (inout Topology) -> Void = { _ in }
    ) throws {
        func bridge(_ devfn: UInt8, _ type: ExpressPortType, _ bridge: CardBridge) -> CardFunction {
            CardFunction(
                devfn: devfn,
                identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x06_0400),
                portType: type,
                bridge: bridge
            )
        }
        func endpoint(_ devfn: UInt8, _ bars: [CardBAR], driver: String?, sriov: CardSRIOV? = nil) -> CardFunction {
            CardFunction(
                devfn: devfn,
                identity: Function.Identity(vendor: 0x8086, device: 0x1572, classCode: 0x02_0000),
                bars: bars,
                portType: .endpoint,
                sriov: sriov,
                driver: driver
            )
        }
        let card = endpoint(
            0,
            [
                .memory(0, 1 << 20), .io(1, 256),
                .memory(2, 64 << 20, is64Bit: true, isPrefetchable: true, resizable: 0x3e0),
            ],
            driver: "nic",
            sriov: CardSRIOV(
                total: 4,
                offset: 2,
                stride: 1,
                device: 0x154c,
                bars: [.memory(0, 1 << 16, is64Bit: true, isPrefetchable: true)]
            )
        )
        let inner = bridge(
            0,
            .upstreamPort,
            CardBridge(
                children: [
                    bridge(
                        0,
                        .downstreamPort,
                        CardBridge(isHotPlug: true, children: [card, endpoint(1, [.memory(0, 4096)], driver: "nic")])
                    ),
                    bridge(8, .downstreamPort, CardBridge(isHotPlug: true)),
                ]
            )
        )
        let pref32 = endpoint(0, [.memory(0, 16 << 20, isPrefetchable: true)], driver: nil)
        let cards = [
            bridge(8, .rootPort, CardBridge(isHotPlug: true, children: [inner])),
            bridge(16, .rootPort, CardBridge(hasPrefetchable64: false, children: [pref32])),
            endpoint(24, [.memory(0, 4096)], driver: "board"),
        ]
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(63))),
            apertures: [
                (AddressRange(first: 0x1000, last: 0xffff), .io),
                (AddressRange(first: 0x8000_0000, size: 0x1000_0000), .memory),
                (AddressRange(first: 1 << 32, size: 1 << 34), .memory),
            ]
            .compactMap { (range: AddressRange?, flags: ResourceFlags) in
                range.map { Aperture(range: $0, flags: flags) }
            },
            source: .kernelLog
        )
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: cards.map { (0, CardProfile(name: "card", functions: [$0])) },
            behaviour: .linux6_12,
            platform: platform
        )
        try twin.perform(.boot(platform))
        if enabledVFs > 0 { try twin.perform(.setVFs(Self.card, enabledVFs)) }
        var topology = try twin.topology()
        change(&topology)
        self.topology = topology
        let weights = DisturbanceWeights(topology, constraints: constraints)
        state = SearchState(
            SearchContext(topology, weights: weights),
            try TwinSimulation(topology, behaviour: .linux6_12)
        )
    }

    /// The number of a function.
    func number(_ address: FunctionAddress) throws -> Int { try #require(topology.position(of: address)) }

    /// The stage that empties the bus behind the root port and searches it again.
    func emptying(_ change: (inout Stage) throws -> Void = { _ in }) throws -> Stage {
        var stage = Stage(
            roots: [try number(Self.upstream)],
            rescans: [.bus(behind: try number(Self.root))]
        )
        try change(&stage)
        return stage
    }
}
