// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// A device of QEMU with the properties that shape it, and what its configuration space then asks for.
///
/// The one place that knows which BARs an emulated device has. Checked against QEMU 7.2 (`info qtree`); the devices are the
/// same in later releases.
public struct EmulatedDevice: Hashable, Sendable {
    /// A property of a device or object.
    public struct Property: Hashable, Sendable {
        /// QEMU's name.
        public var name: String
        /// The value as the command line spells it.
        public var value: String

        /// Creates a property.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }

        /// `name=value`; commas in the value are doubled.
        var text: String { "\(name)=\(value.replacingCommas)" }
    }

    /// QEMU's name: `pci-testdev`.
    public var driver: String
    /// The properties.
    public var properties: [Property]
    /// Bytes of memory that a `memory-backend-ram` provides, and the property that names it; nil without.
    public var memory: (size: UInt64, property: String)? {
        get { backing.map { ($0.size, $0.property) } }
        set { backing = newValue.map { Backing(size: $0.size, property: $0.property) } }
    }
    /// Vendor, device, class.
    public var identity: Function.Identity
    /// The BARs.
    public var bars: [CardBAR]
    /// The kind of PCI Express port or device; nil for conventional PCI.
    public var portType: ExpressPortType?
    /// What makes it a bridge; nil for an endpoint. Its children are not set.
    public var bridge: CardBridge?
    /// The most VFs that it can have, 0 without SR-IOV; each has one 64-bit BAR of `sizeOfVF`.
    public private(set) var virtualFunctions = 0

    private struct Backing: Hashable {
        var size: UInt64
        var property: String
    }

    private var backing: Backing?

    private init(
        _ driver: String,
        _ properties: [Property] = [],
        id: (vendor: UInt16, device: UInt16, classCode: UInt32),
        bars: [CardBAR] = [],
        portType: ExpressPortType? = nil,
        bridge: CardBridge? = nil
    ) {
        self.driver = driver
        self.properties = properties
        identity = Function.Identity(vendor: id.vendor, device: id.device, classCode: id.classCode)
        self.bars = bars
        self.portType = portType
        self.bridge = bridge
    }
}

// MARK: - Virtual functions

extension EmulatedDevice {
    /// The one BAR of a VF of `nvme` with two queues and one vector: 64 bits, not prefetchable.
    static let sizeOfVF: UInt64 = 0x4000

    /// The most VFs of `nvme`.
    static let maximumVFs = 127

    /// `nvme` with SR-IOV: a 64-bit BAR 0 of 16 KiB, and a block of `count` VFs (1 to 127).
    public static func physicalFunction(_ count: Int) -> EmulatedDevice {
        let count = min(max(count, 1), maximumVFs)
        var device = EmulatedDevice(
            "nvme",
            [
                Property("serial", "reproduction"), Property("sriov_max_vfs", "\(count)"),
                Property("sriov_vq_flexible", "\(2 * count)"), Property("sriov_vi_flexible", "\(count)"),
                Property("max_ioqpairs", "\(2 * count + 2)"), Property("msix_qsize", "\(count + 2)"),
            ],
            id: (0x1b36, 0x0010, 0x010802),
            bars: [.memory(0, 0x4000, is64Bit: true)],
            portType: .endpoint
        )
        device.virtualFunctions = count
        return device
    }

    /// The SR-IOV capability; nil without.
    var sriov: CardSRIOV? {
        guard virtualFunctions > 0 else { return nil }
        return CardSRIOV(
            total: UInt16(truncatingIfNeeded: virtualFunctions),
            offset: 1,
            stride: 1,
            device: identity.device,
            bars: [.memory(0, Self.sizeOfVF, is64Bit: true)]
        )
    }

    /// All that wants room: the BARs and, as index 7, the block of the VFs.
    var blocks: [CardBAR] {
        guard virtualFunctions > 0 else { return bars }
        return bars + [.memory(7, Self.sizeOfVF * UInt64(virtualFunctions), is64Bit: true)]
    }
}

// MARK: - Endpoints

extension EmulatedDevice {
    /// BAR 0 of 4 KiB memory, BAR 1 of 256 ports and, with `size`, a 64-bit prefetchable BAR 2 of any size.
    public static func testDevice(_ size: UInt64?) -> EmulatedDevice {
        var bars: [CardBAR] = [.memory(0, 4096), .io(1, 256)]
        if let size { bars.append(.memory(2, size, is64Bit: true, isPrefetchable: true)) }
        return EmulatedDevice(
            "pci-testdev",
            size.map { [Property("membar", "\($0)")] } ?? [],
            id: (0x1b36, 0x0005, 0x00ff00),
            bars: bars
        )
    }

    /// BAR 0 of 256 bytes memory and a 64-bit prefetchable BAR 2 of any size from 4 KiB on; no ports.
    public static func sharedMemory(_ size: UInt64) -> EmulatedDevice {
        var device = EmulatedDevice(
            "ivshmem-plain",
            id: (0x1af4, 0x1110, 0x050000),
            bars: [.memory(0, 256), .memory(2, size, is64Bit: true, isPrefetchable: true)]
        )
        device.memory = (size, "memdev")
        return device
    }

    /// One 32-bit BAR of 1 MiB.
    public static let edu = EmulatedDevice("edu", id: (0x1234, 0x11e8, 0x00ff00), bars: [.memory(0, 1 << 20)])

    /// One 32-bit BAR of 4 KiB.
    public static let fourKiB = EmulatedDevice("usb-ehci", id: (0x8086, 0x24cd, 0x0c0320), bars: [.memory(0, 4096)])

    /// One 32-bit BAR of 256 bytes.
    public static let smallest = EmulatedDevice("sdhci-pci", id: (0x1b36, 0x0007, 0x080501), bars: [.memory(0, 256)])

    /// One 32-bit BAR of 16 KiB.
    public static let sixteenKiB = EmulatedDevice(
        "intel-hda",
        id: (0x8086, 0x2668, 0x040300),
        bars: [.memory(0, 0x4000)]
    )

    /// BAR 0 of 128 KiB memory, 32 bits, and BAR 1 of 64 ports.
    public static let network = EmulatedDevice(
        "e1000",
        [Property("romfile", "")],
        id: (0x8086, 0x100e, 0x020000),
        bars: [.memory(0, 0x20000), .io(1, 64)]
    )

    /// BAR 0 of 256 ports.
    public static let ports256 = EmulatedDevice("ES1370", id: (0x1274, 0x5000, 0x040100), bars: [.io(0, 256)])

    /// BAR 0 of 8 ports.
    public static let ports8 = EmulatedDevice("pci-serial", id: (0x1b36, 0x0002, 0x070002), bars: [.io(0, 8)])

    /// BAR 0 of 32 ports.
    public static let ports32 = EmulatedDevice(
        "virtio-rng-pci",
        legacyOnly,
        id: (0x1af4, 0x1005, 0x00ff00),
        bars: [.io(0, 32)]
    )

    /// BAR 0 of 64 ports.
    public static let ports64 = EmulatedDevice(
        "virtio-scsi-pci",
        legacyOnly,
        id: (0x1af4, 0x1004, 0x010000),
        bars: [.io(0, 64)]
    )

    /// A virtio device with its ports alone.
    private static let legacyOnly = [
        Property("disable-modern", "on"), Property("disable-legacy", "off"), Property("vectors", "0"),
    ]

    /// The device with a BAR of ports that is nearest to `size` from above.
    static func ports(_ size: UInt64) -> EmulatedDevice {
        switch size {
        case ...8: ports8
        case ...32: ports32
        case ...64: ports64
        default: ports256
        }
    }

    /// The numbers of queue pairs that make the registers of `nvme` as large as the key says, 16 KiB to 1 MiB.
    private static let queuePairs: [UInt64: (pairs: Int, vectors: Int)] = [
        0x4000: (64, 65), 0x8000: (1500, 65), 0x1_0000: (2000, 2048), 0x2_0000: (8192, 2048), 0x4_0000: (16384, 2048),
        0x8_0000: (32768, 2048), 0x10_0000: (65535, 2048),
    ]

    /// The sizes that the registers of `nvme` can have.
    public static var controllerSizes: [UInt64] { queuePairs.keys.sorted() }

    /// A 64-bit BAR 0 of `registers` bytes that is not prefetchable and, with the others, 64-bit prefetchable BARs 2 (in
    /// whole MiB) and 4; nil for a size of BAR 0 that is none of `controllerSizes`.
    public static func controller(
        _ registers: UInt64,
        buffer: UInt64? = nil,
        memory: UInt64? = nil
    ) -> EmulatedDevice? {
        guard let shape = queuePairs[registers] else { return nil }
        var bars: [CardBAR] = [.memory(0, registers, is64Bit: true)]
        var properties = [Property("serial", "reproduction")]
        if registers != 0x4000 {
            properties += [
                Property("max_ioqpairs", "\(shape.pairs)"), Property("msix_qsize", "\(shape.vectors)"),
            ]
        }
        if let buffer {
            guard buffer >= 1 << 20, buffer & ((1 << 20) - 1) == 0 else { return nil }
            properties.append(Property("cmb_size_mb", "\(buffer >> 20)"))
            bars.append(.memory(2, buffer, is64Bit: true, isPrefetchable: true))
        }
        if let memory { bars.append(.memory(4, memory, is64Bit: true, isPrefetchable: true)) }
        var device = EmulatedDevice(
            "nvme",
            properties,
            id: (0x1b36, 0x0010, 0x010802),
            bars: bars,
            portType: .endpoint
        )
        if let memory { device.memory = (memory, "pmrdev") }
        return device
    }

    /// A 32-bit prefetchable BAR 0 of 1 to 256 MiB and BAR 2 of 4 KiB; nil for another size.
    public static func display(_ size: UInt64) -> EmulatedDevice? {
        guard (1 << 20...1 << 28).contains(size), size & (size - 1) == 0 else { return nil }
        return EmulatedDevice(
            "secondary-vga",
            [Property("vgamem_mb", "\(size >> 20)"), Property("rombar", "0")],
            id: (0x1234, 0x1111, 0x038000),
            bars: [.memory(0, size, isPrefetchable: true), .memory(2, 4096)]
        )
    }

    /// A 32-bit BAR 0 of 16 MiB to 1 GiB that is not prefetchable, with BARs of 4 KiB, 8 KiB and 32 ports; nil for another
    /// size.
    public static func frameBuffer(_ size: UInt64) -> EmulatedDevice? {
        guard (1 << 24...1 << 30).contains(size), size & (size - 1) == 0 else { return nil }
        return EmulatedDevice(
            "qxl",
            [Property("ram_size", "\(size)"), Property("vram_size", "4096"), Property("vgamem_mb", "8")],
            id: (0x1b36, 0x0100, 0x038000),
            bars: [.memory(0, size), .memory(1, 4096), .memory(2, 8192), .io(3, 32)]
        )
    }
}

// MARK: - Bridges

extension EmulatedDevice {
    /// A root port that asks firmware for room; what is 0 is left to firmware.
    public static func rootPort(_ reserve: PortReserve) -> EmulatedDevice {
        let words: [(String, UInt64?)] = [
            ("bus-reserve", reserve.buses), ("mem-reserve", reserve.memory), ("pref64-reserve", reserve.prefetchable64),
        ]
        return EmulatedDevice(
            "pcie-root-port",
            words.compactMap { name, value in value.map { Property(name, "\($0)") } },
            id: (0x1b36, 0x000c, 0x060400),
            bars: [.memory(0, 4096)],
            portType: .rootPort,
            bridge: CardBridge(isHotPlug: true, forwardsARI: true)
        )
    }

    /// The upstream port of a switch.
    public static let upstreamPort = EmulatedDevice(
        "x3130-upstream",
        id: (0x104c, 0x8232, 0x060400),
        portType: .upstreamPort,
        bridge: CardBridge()
    )

    /// A downstream port of a switch, hot-plug capable.
    public static let downstreamPort = EmulatedDevice(
        "xio3130-downstream",
        id: (0x104c, 0x8233, 0x060400),
        portType: .downstreamPort,
        bridge: CardBridge(isHotPlug: true, forwardsARI: true)
    )

    /// A bridge from PCI Express to conventional PCI.
    public static let bridgeToPCI = EmulatedDevice(
        "pcie-pci-bridge",
        id: (0x1b36, 0x000e, 0x060400),
        bars: [.memory(0, 256, is64Bit: true)],
        portType: .bridgeToPCI,
        bridge: CardBridge()
    )

    /// Whether QEMU wants a chassis and a slot number.
    var isSlot: Bool { portType == .rootPort || portType == .downstreamPort }

    /// Where the slot's status register is in configuration space (its capability at 0x54 and 0x90); nil without a slot.
    var slotStatus: Int? {
        switch portType {
        case .rootPort?: 0x54 + 0x1a
        case .downstreamPort?: 0x90 + 0x1a
        default: nil
        }
    }
}

extension String {
    /// The text with every comma doubled, as QEMU's option syntax wants it inside a value.
    fileprivate var replacingCommas: String {
        var result = ""
        for character in self { result += character == "," ? ",," : String(character) }
        return result
    }
}
