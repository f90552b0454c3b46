// SPDX-License-Identifier: GPL-2.0-or-later

internal import VMLaboratory

/// A random machine: root ports, switches up to three levels, conventional bridges, endpoints of many sizes.
struct RandomTree {
    private var chance: Chance
    private var serial = 0
    private var budget: Int
    private let seed: UInt64

    init(seed: UInt64) {
        self.seed = seed
        chance = Chance(seed: seed)
        budget = 0
    }

    /// The machine of the seed.
    mutating func machine() -> MachineTopology {
        let ports = Int.random(in: 1...5, using: &chance)
        budget = Int.random(in: 4...22, using: &chance)
        var devices: [Device] = []
        for port in 0..<ports {
            devices.append(rootPort(at: String(port + 2, radix: 16)))
        }
        if chance.happens(12) {
            let below = [rootPort(at: nil)]
            devices.append(.expanderBridge(name("pxb"), bus: 0x80, children: below))
        }
        if chance.happens(20) { devices.append(.testDevice(name("t"), memory: size(12...22), at: "10")) }
        return MachineTopology(
            "seed-\(seed)",
            memory: .mib(chance.one(of: [256, 512, 768, 1024, 1536, 2048]) ?? 512),
            hotPlug: chance.happens(80) ? .native : .acpi,
            kernelArguments: MachineTopology.withoutSHPC,
            devices: devices
        )
    }

    private mutating func name(_ prefix: String) -> String {
        serial += 1
        return "\(prefix)\(serial)"
    }

    private mutating func size(_ exponents: ClosedRange<UInt64>) -> MemorySize {
        MemorySize(bytes: chance.power(exponents))
    }

    private mutating func rootPort(at address: String?) -> Device {
        var reserve = Device.Reserve()
        if chance.happens(25) { reserve.buses = UInt64.random(in: 1...12, using: &chance) }
        if chance.happens(15) { reserve.memory = size(20...26) }
        if chance.happens(15) { reserve.prefetchable64 = size(20...30) }
        if chance.happens(8) { reserve.io = .kib(chance.happens(50) ? 4 : 8) }
        let hotPlug = chance.happens(75)
        let children = below(depth: 0)
        return .rootPort(name("rp"), at: address, hotPlug: hotPlug, reserve: reserve, children: children)
    }

    /// What is behind a link: nothing, an endpoint, a switch, a bridge to conventional PCI.
    private mutating func below(depth: Int) -> [Device] {
        guard budget > 0 else { return [] }
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<18: return []
        case 18..<(depth < 3 ? 45 : 90): return [endpoint()]
        case 45..<90: return [packetSwitch(depth: depth)]
        default: return [conventional()]
        }
    }

    private mutating func packetSwitch(depth: Int) -> Device {
        budget -= 2
        let count = Int.random(in: 1...4, using: &chance)
        var ports: [Device] = []
        for index in 0..<count {
            budget -= 1
            let children = below(depth: depth + 1)
            let port = Device.downstreamPort(name("dn"), at: String(index, radix: 16), children: children)
            ports.append(chance.happens(70) ? port : port.with("hotplug", .flag(false)))
        }
        return .upstreamPort(name("up"), children: ports)
    }

    private mutating func conventional() -> Device {
        budget -= 2
        var slots: [Device] = []
        for slot in 1...Int.random(in: 1...3, using: &chance) {
            if chance.happens(25), budget > 0 {
                budget -= 1
                let inner = [Device.testDevice(name("t"), memory: size(12...27), at: "1")]
                slots.append(.pciBridge(name("br"), at: String(slot, radix: 16), children: inner))
            } else {
                slots.append(.testDevice(name("t"), memory: chance.happens(70) ? size(12...27) : nil, at: String(slot)))
            }
        }
        return .pcieToPCIBridge(name("pb"), children: slots)
    }

    private mutating func endpoint() -> Device {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<62: .testDevice(name("t"), memory: chance.happens(85) ? size(12...31) : nil)
        case 62..<72: .edu(name("edu"))
        case 72..<80: .networkCard(name("nic"))
        case 80..<90: .sharedMemory(name("shm"), size: size(20...26))
        default:
            .nvme(name("nvme"), virtualFunctions: chance.happens(60) ? UInt64.random(in: 1...8, using: &chance) : 0)
        }
    }
}
