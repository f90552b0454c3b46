// SPDX-License-Identifier: GPL-2.0-or-later

internal import TestSupport
public import VMLaboratory

/// A random machine of root ports and switches up to two levels deep, filled by firmware as tightly as it does, with ports
/// left empty, and the cards that go into them; the same for the same seed.
public struct RescueTree {
    /// A card and the port that it goes into.
    public struct Plug: Sendable, Hashable {
        /// The card.
        public var card: LabCard
        /// The port, by QEMU's name.
        public var port: String

        /// A card for a port.
        public init(_ card: LabCard, port: String) {
            self.card = card
            self.port = port
        }
    }

    /// The machine.
    public private(set) var machine: MachineTopology
    /// The cards in the order in which they are plugged.
    public private(set) var plugs: [Plug] = []
    private var chance: SplitMix64
    private var serial = 0

    /// The tree of a seed and at most so many cards; with `isAny`, the machine is one of `RandomTree`'s: every kind of
    /// bridge, device and kernel word, and not always hot-plug by the port itself.
    public init(seed: UInt64, plugs count: Int, isAny: Bool = false) {
        chance = SplitMix64(state: seed ^ 0x7265_7363)
        if isAny {
            var tree = RandomTree(seed: seed)
            machine = tree.machine()
        } else {
            machine = MachineTopology(
                "rescue-\(seed)",
                memory: .mib(chance.one(of: [512, 512, 1024, 2048]) ?? 512),
                kernelArguments: MachineTopology.withoutSHPC
            )
            for slot in 2..<(2 + Int.random(in: 2...4, using: &chance)) {
                machine.devices.append(rootPort(at: String(slot, radix: 16)))
            }
        }
        for port in machine.emptyPorts.shuffled(using: &chance).prefix(count) {
            plugs.append(Plug(card(), port: port))
        }
    }

    private mutating func name(_ prefix: String) -> String {
        serial += 1
        return "\(prefix)\(serial)"
    }

    private mutating func size(_ exponents: ClosedRange<UInt64>) -> MemorySize {
        MemorySize(bytes: chance.power(exponents))
    }

    private mutating func rootPort(at address: String) -> Device {
        var reserve = Device.Reserve()
        if chance.happens(25) { reserve.prefetchable64 = size(25...28) }
        if chance.happens(10) { reserve.memory = size(21...25) }
        let children = below(depth: 0)
        if chance.happens(20) { reserve.buses = 12 }
        return .rootPort(name("rp"), at: address, reserve: reserve, children: children)
    }

    private mutating func below(depth: Int) -> [Device] {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<25: return []
        case 25..<(depth == 0 ? 40 : depth == 1 ? 80 : 100): return [endpoint()]
        default:
            var ports: [Device] = []
            for index in 0..<Int.random(in: 2...4, using: &chance) {
                let children = below(depth: depth + 1)
                ports.append(.downstreamPort(name("d"), at: String(index, radix: 16), children: children))
            }
            var upstream = Device.upstreamPort(name("u"), children: ports)
            upstream.address = "0"
            return [upstream]
        }
    }

    private mutating func endpoint() -> Device {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<60: .testDevice(name("t"), memory: size(20...28), at: "0")
        case 60..<75: .sharedMemory(name("m"), size: size(20...26), at: "0")
        case 75..<85: .edu(name("edu"), at: "0")
        case 85..<92: .networkCard(name("nic"), at: "0")
        default: .testDevice(name("t"), at: "0")
        }
    }

    private mutating func card() -> LabCard {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<8: LabCard([.upstreamPort])
        case 8..<14: LabCard([.bridge])
        case 14..<24: LabCard([.display(size(22...27))])
        case 24..<34: LabCard([.testDevice(size(26...29)), .edu])
        default: LabCard([.testDevice(size(25...31))])
        }
    }
}
