// SPDX-License-Identifier: GPL-2.0-or-later

/// A function: an endpoint's or a bridge's, as kernel and registers hold it.
public struct Function: Hashable, Sendable {
    /// The address at present.
    public var address: FunctionAddress
    /// Who made it and what it is.
    public var identity: Identity
    /// The configuration space as far as it could be read.
    public var config: ConfigSpace
    /// The capabilities decoded from `config`.
    public var capabilities: Capabilities
    /// The lines of the sysfs file `resource`, exactly as the kernel prints them; empty when there was no such file.
    public var lines: [ResourceLine]
    /// The implemented resources in ascending index order.
    public var resources: [Resource]
    /// The bridge's side of the function; nil for an endpoint.
    public var bridge: Bridge?
    /// The bridge above, or nil on a root bus.
    public var parent: FunctionAddress?
    /// The physical function of a VF, or nil.
    public var physicalFunction: FunctionAddress?
    /// What the system knows about its use.
    public var use: Use
    /// The position in the kernel's device list (/proc/bus/pci/devices); nil when not known. Orders the list of a bus.
    public var discoveryOrder: Int?
    /// How much of the function was told, and by which sources.
    public var knowledge = FunctionKnowledge.whole

    /// Creates a function.
    public init(
        address: FunctionAddress,
        identity: Identity,
        config: ConfigSpace = ConfigSpace(),
        lines: [ResourceLine] = [],
        resources: [Resource] = [],
        bridge: Bridge? = nil,
        parent: FunctionAddress? = nil,
        physicalFunction: FunctionAddress? = nil,
        use: Use = Use(),
        discoveryOrder: Int? = nil
    ) {
        self.address = address
        self.identity = identity
        self.config = config
        capabilities = Capabilities(config)
        self.lines = lines
        self.resources = resources
        self.bridge = bridge
        self.parent = parent
        self.physicalFunction = physicalFunction
        self.use = use
        self.discoveryOrder = discoveryOrder
    }

    /// Vendor, device, class.
    public struct Identity: Hashable, Sendable {
        /// Vendor ID.
        public var vendor: UInt16
        /// Device ID.
        public var device: UInt16
        /// Subsystem vendor ID, 0 when it has none.
        public var subsystemVendor: UInt16
        /// Subsystem ID, 0 when it has none.
        public var subsystemDevice: UInt16
        /// Base class, sub-class, programming interface: 24 bits.
        public var classCode: UInt32
        /// Revision ID.
        public var revision: UInt8
        /// The name in the ID database, or nil.
        public var name: String?

        /// Whether a source told the class: what texts leave out reads as ones.
        public var isKindTold: Bool { classWord != 0xff00 || vendor != .max }

        /// Creates an identity.
        public init(
            vendor: UInt16,
            device: UInt16,
            subsystemVendor: UInt16 = 0,
            subsystemDevice: UInt16 = 0,
            classCode: UInt32 = 0,
            revision: UInt8 = 0,
            name: String? = nil
        ) {
            self.vendor = vendor
            self.device = device
            self.subsystemVendor = subsystemVendor
            self.subsystemDevice = subsystemDevice
            self.classCode = classCode
            self.revision = revision
            self.name = name
        }

        /// Base class and sub-class, as lspci prints it: 0x0604.
        public var classWord: UInt16 { UInt16(truncatingIfNeeded: classCode >> 8) }
        /// The base class.
        public var baseClass: UInt8 { UInt8(truncatingIfNeeded: classCode >> 16) }
    }

    /// What the kernel holds for a bridge beyond its windows.
    public struct Bridge: Hashable, Sendable {
        /// The kernel's bus range; nil when the bridge has no bus ("No bus number available").
        public var busRange: BusRange?
        /// The registers; nil when they could not be read.
        public var registers: BridgeRegisters?
        /// Whether the bridge forwards everything that no other claims (programming interface 1).
        public var isSubtractive: Bool

        /// Creates a bridge.
        public init(busRange: BusRange?, registers: BridgeRegisters?, isSubtractive: Bool = false) {
            self.busRange = busRange
            self.registers = registers
            self.isSubtractive = isSubtractive
        }
    }

    /// What the system knows about a function's use.
    public struct Use: Hashable, Sendable {
        /// The bound driver, or nil.
        public var driver: String?
        /// The kernel's enable count, or nil when not readable.
        public var enableCount: Int?
        /// The IOMMU group, or nil.
        public var iommuGroup: Int?
        /// The NUMA node, or nil (sysfs -1).
        public var numaNode: Int?
        /// The `removable` attribute: `fixed`, `removable`, or nil when the kernel does not say.
        public var removable: String?
        /// The `untrusted` mark of the port above, or nil when the kernel does not say.
        public var isUntrusted: Bool?
        /// The physical slot's name below /sys/bus/pci/slots that leads to this function, or nil.
        public var slot: String?
        /// Of a bridge: who notices a card that is plugged in behind it.
        public var slotDriver = SlotDriver.unknown
        /// SR-IOV: the number of VFs that are enabled now, or nil.
        public var enabledVFs: Int?
        /// Reasons why stopping the function would hurt.
        public var evidence: [UseEvidence]

        /// Creates a record of use; everything unknown by default.
        public init(
            driver: String? = nil,
            enableCount: Int? = nil,
            iommuGroup: Int? = nil,
            numaNode: Int? = nil,
            removable: String? = nil,
            isUntrusted: Bool? = nil,
            slot: String? = nil,
            enabledVFs: Int? = nil,
            evidence: [UseEvidence] = []
        ) {
            self.driver = driver
            self.enableCount = enableCount
            self.iommuGroup = iommuGroup
            self.numaNode = numaNode
            self.removable = removable
            self.isUntrusted = isUntrusted
            self.slot = slot
            self.enabledVFs = enabledVFs
            self.evidence = evidence
        }
    }
}

/// A reason why stopping a function would hurt.
public struct UseEvidence: Hashable, Sendable {
    /// A stable word: `mounted`, `swap`, `default-route`, `console`, `vfio`, `usb-root`, `driver-bound`, …
    public var code: String
    /// A sentence for a person: `/dev/nvme0n1p2 is mounted on /`.
    public var detail: String
    /// Whether plans must leave the function alone unless the user lifts it.
    public var isProtected: Bool
    /// The weight added to the cost of a disturbance, 0 and up.
    public var weight: Int

    /// Creates a reason.
    public init(code: String, detail: String, isProtected: Bool, weight: Int) {
        self.code = code
        self.detail = detail
        self.isProtected = isProtected
        self.weight = weight
    }
}

extension Function {
    /// Whether the function is a PCI-to-PCI bridge (header layout 1).
    public var isBridge: Bool { bridge != nil }

    /// Whether the function is a VF.
    public var isVirtual: Bool { physicalFunction != nil }

    /// The resource at `index`, or nil when it is not implemented.
    public func resource(_ index: ResourceIndex) -> Resource? { resources.first { $0.index == index } }

    /// Whether the kernel treats the bridge as hot-plug capable: a PCIe port with a slot and the Hot-Plug Capable bit
    /// (`set_pcie_hotplug_bridge`), or the HINT bridge that a header quirk marks (`quirk_hotplug_bridge`).
    public var isHotPlugBridge: Bool {
        guard isBridge else { return false }
        if let express = capabilities.express {
            return express.isSlotImplemented && express.slotCapabilities?.contains(.hotPlugCapable) == true
        }
        return identity.vendor == 0x3388 && identity.device == 0x0020
    }

    /// What a person calls it: `root port`, `upstream port`, `downstream port`, `bridge`, `endpoint`, `VF`.
    public var roleText: String {
        if isVirtual { return "VF" }
        guard isBridge else { return "endpoint" }
        switch capabilities.express?.portType {
        case .rootPort: return "root port"
        case .upstreamPort: return "upstream port"
        case .downstreamPort: return "downstream port"
        case .bridgeToPCI: return "PCIe-to-PCI bridge"
        case .bridgeToExpress: return "PCI-to-PCIe bridge"
        default: return "PCI bridge"
        }
    }
}
