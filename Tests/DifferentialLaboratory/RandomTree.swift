// SPDX-License-Identifier: GPL-2.0-or-later

internal import TestSupport
public import VMLaboratory

/// A random machine: root ports, switches up to three levels, conventional and subtractive bridges, several root buses,
/// endpoints of many kinds and sizes, and words on the kernel's command line.
///
/// Every device has a fixed address, so leaving some out does not move the others.
public struct RandomTree {
    private var chance: SplitMix64
    private var serial = 0
    private var budget: Int
    private let seed: UInt64

    /// The generator of a seed.
    public init(seed: UInt64) {
        self.seed = seed
        chance = SplitMix64(state: seed)
        budget = 0
    }

    /// The machine of the seed.
    public mutating func machine() -> MachineTopology {
        let ports = Int.random(in: 1...5, using: &chance)
        budget = Int.random(in: 4...20, using: &chance)
        var devices: [Device] = []
        for slot in 2..<(2 + ports) {
            let text = String(slot, radix: 16)
            // Root ports as functions of one device share its slot.
            if chance.happens(15) {
                devices.append(rootPort(at: "\(text).0"))
                devices.append(rootPort(at: "\(text).1"))
            } else {
                devices.append(rootPort(at: text))
            }
        }
        if chance.happens(20) { devices += expander(at: "12", bus: 0x40) }
        if chance.happens(8) { devices += expander(at: "13", bus: 0x80) }
        if chance.happens(15) { devices.append(subtractive(at: "14")) }
        if chance.happens(25) { devices += endpoint(at: "10") }
        return MachineTopology(
            "seed-\(seed)",
            memory: .mib(chance.one(of: [256, 384, 512, 512, 768, 1024, 1536, 2048, 3072, 4096]) ?? 512),
            hotPlug: chance.happens(80) ? .native : .acpi,
            kernelArguments: [MachineTopology.withoutSHPC, words()].flatMap { $0 },
            devices: devices
        )
    }

    /// Words for the kernel; `earlydump` shows what the firmware left.
    private mutating func words() -> [String] {
        var options = ["earlydump"]
        if chance.happens(10) { options.append("hpmmiosize=\(size(20...26))") }
        if chance.happens(10) { options.append("hpmmioprefsize=\(size(20...30))") }
        if chance.happens(8) { options.append("hpiosize=\(chance.power(8...14))") }
        if chance.happens(10) { options.append("hpbussize=\(Int.random(in: 2...6, using: &chance))") }
        if chance.happens(3) { options += ["hpiosize=0", "hpmmiosize=0", "hpmmioprefsize=0"] }
        if chance.happens(10) { options.append(chance.happens(70) ? "realloc" : "realloc=off") }
        if chance.happens(6) { options.append("nocrs") }
        if chance.happens(4) { options.append("assign-busses") }
        if chance.happens(6) { options.append("resource_alignment=\(chance.happens(50) ? "24@" : "")00:02.0/00.0") }
        if chance.happens(4) { options.append("noari") }
        if chance.happens(4) { options.append("pcie_scan_all") }
        // Numbers given out anew with room for each port can leave a second host bridge's range, of which a reading shows
        // only that it reached that far.
        if options.contains("assign-busses") { options.removeAll { $0.hasPrefix("hpbussize=") } }
        return ["pci=" + options.joined(separator: ","), "log_buf_len=1M"]
    }

    private mutating func name(_ prefix: String) -> String {
        serial += 1
        return "\(prefix)\(serial)"
    }

    private mutating func size(_ exponents: ClosedRange<UInt64>) -> MemorySize {
        MemorySize(bytes: chance.power(exponents))
    }

    /// A second host bridge with one or two root ports.
    private mutating func expander(at address: String, bus: UInt8) -> [Device] {
        var below = [rootPort(at: "0")]
        if chance.happens(40) { below.append(rootPort(at: "1")) }
        var bridge = Device.expanderBridge(name("pxb"), bus: bus, children: below)
        bridge.address = address
        return [bridge]
    }

    private mutating func rootPort(at address: String) -> Device {
        var reserve = Device.Reserve()
        if chance.happens(15) { reserve.memory = size(20...26) }
        if chance.happens(10) {
            reserve.prefetchable64 = size(20...30)
        } else if chance.happens(8) {
            reserve.prefetchable32 = size(20...27)
        }
        if chance.happens(8) { reserve.io = .kib(chance.happens(50) ? 4 : 8) }
        let hotPlug = chance.happens(75)
        let children = below(depth: 0)
        // A reserve that is too small for what is there would make the firmware give out fewer bus numbers than it needs,
        // and the kernel then finds the rest as root buses of their own (`pcibios_fixup_peer_bridges`), which no twin mirrors.
        if chance.happens(25) {
            let bridges = children.reduce(0) { $0 + $1.bridgeCount }
            reserve.buses = bridges + UInt64.random(in: 1...10, using: &chance)
        }
        if chance.happens(12) { return Device("ioh3420", name("ioh"), at: address, children: children) }
        return .rootPort(name("rp"), at: address, hotPlug: hotPlug, reserve: reserve, children: children)
    }

    /// What is behind a link: nothing, an endpoint, a switch, a bridge to conventional PCI.
    private mutating func below(depth: Int) -> [Device] {
        guard budget > 0 else { return [] }
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<20: return []
        case 20..<(depth < 3 ? 46 : 88): return endpoint(at: "0")
        case 46..<88: return [packetSwitch(depth: depth)]
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
        var upstream = Device.upstreamPort(name("up"), children: ports)
        upstream.address = "0"
        return upstream
    }

    private mutating func conventional() -> Device {
        var bridge = Device.pcieToPCIBridge(name("pb"), children: conventionalSlots(depth: 0))
        bridge.address = "0"
        return bridge
    }

    private mutating func conventionalSlots(depth: Int) -> [Device] {
        budget -= 2
        var slots: [Device] = []
        for slot in 1...Int.random(in: 1...3, using: &chance) {
            let address = String(slot, radix: 16)
            if chance.happens(25), budget > 0, depth < 3 {
                slots.append(.pciBridge(name("br"), at: address, children: conventionalSlots(depth: depth + 1)))
            } else {
                budget -= 1
                slots.append(conventionalEndpoint(at: address))
            }
        }
        return slots
    }

    /// A bridge that forwards what nobody else claims, with a bridge or endpoints behind.
    private mutating func subtractive(at address: String) -> Device {
        Device("i82801b11-bridge", name("dmi"), at: address, children: conventionalSlots(depth: 1))
    }

    private mutating func conventionalEndpoint(at address: String) -> Device {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<55: .testDevice(name("t"), memory: chance.happens(70) ? size(12...28) : nil, at: address)
        case 55..<65: .display(name("vga"), memory: size(20...26), at: address)
        case 65..<73: Device("e1000", name("nic"), at: address)
        case 73..<80: Device("lsi53c895a", name("scsi"), at: address)
        case 80..<88: memoryHungry(at: address)
        default: .edu(name("edu"), at: address)
        }
    }

    /// Large 32-bit BARs that are not prefetchable.
    private mutating func memoryHungry(at address: String) -> Device {
        let large = chance.power(4...6)
        return Device(
            "qxl",
            name("qxl"),
            at: address,
            properties: [
                .init("ram_size_mb", .number(large)), .init("vram_size_mb", .number(chance.power(2...5))),
                .init("vram64_size_mb", .number(chance.happens(40) ? chance.power(6...7) : 0)),
            ]
        )
    }

    /// An endpoint, or several functions of one, at a device number.
    private mutating func endpoint(at slot: String) -> [Device] {
        budget -= 1
        guard chance.happens(15) else { return [single(at: slot)] }
        var functions = [single(at: "\(slot).0"), single(at: "\(slot).1")]
        if chance.happens(50) { functions.append(single(at: "\(slot).\(chance.happens(50) ? 2 : 5)")) }
        return functions
    }

    private mutating func single(at address: String) -> Device {
        switch Int.random(in: 0..<100, using: &chance) {
        case 0..<53: return .testDevice(name("t"), memory: chance.happens(85) ? size(12...31) : nil, at: address)
        case 53..<61:
            return Device.testDevice(name("rom"), memory: chance.happens(60) ? size(20...27) : nil, at: address)
                .with("romfile", .text("efi-virtio.rom")).with("romsize", .number(chance.power(18...24)))
        case 61..<67: return .edu(name("edu"), at: address)
        case 67..<72: return .networkCard(name("nic"), at: address)
        case 72..<79: return .display(name("vga"), memory: size(20...26), at: address)
        case 79..<84: return memoryHungry(at: address)
        case 84..<88:
            let kinds = ["megasas", "qemu-xhci", "vmxnet3", "sdhci-pci"]
            return Device(chance.one(of: kinds) ?? "megasas", name("dev"), at: address)
        case 88..<92:
            return Device.nvme(name("nvme"), at: address).with("cmb_size_mb", .number(chance.power(0...7)))
        default:
            let functions = chance.happens(75) ? UInt64.random(in: 1...12, using: &chance) : 0
            // VFs take the function numbers after their own.
            return .nvme(name("nvme"), virtualFunctions: address.contains(".") ? 0 : functions, at: address)
        }
    }
}

extension Device {
    /// How many bridges this device is, with all behind it.
    fileprivate var bridgeCount: UInt64 {
        let isBridge = driver != "pxb-pcie" && (!children.isEmpty || driver == "xio3130-downstream")
        return (isBridge ? 1 : 0) + children.reduce(0) { $0 + $1.bridgeCount }
    }
}
