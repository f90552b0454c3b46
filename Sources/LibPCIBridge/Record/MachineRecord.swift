// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The raw evidence of one machine at one moment.
///
/// Everything that a reading command prints derives from a record alone: a live reading is a record first, then a
/// topology. That is why a snapshot gives the same output as the machine it was taken from.
public struct MachineRecord: Hashable, Sendable {
    /// How the record came about.
    public enum Origin: String, Hashable, Sendable {
        /// Read from the running kernel.
        case live
        /// Read from a directory in the shape of sysfs.
        case directory
        /// Put together from texts.
        case text
    }

    /// How the record came about.
    public var origin: Origin
    /// The kernel that ran.
    public var kernel: KernelIdentity
    /// The functions in ascending address order.
    public var functions: [FunctionRecord]
    /// The buses that the kernel had, from /sys/class/pci_bus and the paths of functions.
    public var buses: [BusRecord]
    /// The slots below /sys/bus/pci/slots.
    public var slots: [SlotRecord]
    /// The addresses in the order of /proc/bus/pci/devices, which is the order of the kernel's device lists.
    public var deviceOrder: [FunctionAddress]
    /// The text of /proc/iomem, or nil when it could not be read.
    public var iomem: String?
    /// The text of /proc/ioports, or nil when it could not be read.
    public var ioports: String?
    /// The entries of /sys/firmware/memmap, or nil without that directory.
    public var firmwareMap: [FirmwareMapEntry]?
    /// The kernel log's lines that speak of PCI or of the firmware's memory map, or nil when it could not be read.
    public var kernelLog: [String]?
    /// The text of /sys/bus/pci/resource_alignment, or nil.
    public var resourceAlignment: String?
    /// What the reader was allowed to do, or nil when not recorded.
    public var privileges: PrivilegeRecord?
    /// What could not be read, and what follows from that.
    public var gaps: [ReadingGap]

    /// Creates an empty record.
    public init(origin: Origin, kernel: KernelIdentity = KernelIdentity()) {
        self.origin = origin
        self.kernel = kernel
        functions = []
        buses = []
        slots = []
        deviceOrder = []
        gaps = []
    }

    /// The function at `address`, or nil.
    /// - Complexity: O(n).
    public func function(at address: FunctionAddress) -> FunctionRecord? {
        functions.first { $0.address == address }
    }
}

/// The raw evidence of one function.
public struct FunctionRecord: Hashable, Sendable {
    /// The address.
    public var address: FunctionAddress
    /// Where the function sits by the kernel's own tree.
    public var placement: Placement
    /// The configuration space as far as it could be read.
    public var config: ConfigSpace
    /// The lines of the sysfs file `resource`, or nil when it could not be read.
    public var resource: [ResourceLine]?
    /// Vendor ID as the kernel holds it, or nil.
    public var vendor: UInt16?
    /// Device ID as the kernel holds it, or nil.
    public var device: UInt16?
    /// Class code (24 bits) as the kernel holds it, or nil.
    public var classCode: UInt32?
    /// Revision as the kernel holds it, or nil.
    public var revision: UInt8?
    /// Subsystem vendor ID as the kernel holds it, or nil.
    public var subsystemVendor: UInt16?
    /// Subsystem ID as the kernel holds it, or nil.
    public var subsystemDevice: UInt16?
    /// The bound driver, or nil.
    public var driver: String?
    /// The kernel's enable count, or nil.
    public var enableCount: Int?
    /// The NUMA node, or nil.
    public var numaNode: Int?
    /// The IOMMU group, or nil.
    public var iommuGroup: Int?
    /// The `removable` attribute, or nil.
    public var removable: String?
    /// The `untrusted` attribute of kernels that export it, or nil.
    public var isUntrusted: Bool?
    /// The number of VFs that are enabled, or nil without SR-IOV.
    public var enabledVFs: Int?
    /// The number of VFs that the function can have, or nil without SR-IOV.
    public var totalVFs: Int?
    /// The physical function of a VF, or nil.
    public var physicalFunction: FunctionAddress?
    /// Whether firmware showed its first picture on this function, or nil when the kernel does not say.
    public var isBootVGA: Bool?
    /// Sizes learnt by probing, by ascending index.
    public var probed: [ProbedSize]
    /// Reasons why stopping the function would hurt.
    public var use: [UseEvidence]

    /// Where a function sits.
    public enum Placement: Hashable, Sendable {
        /// Directly below this bridge.
        case below(FunctionAddress)
        /// On a root bus.
        case rootBus
        /// The source does not tell; bus numbers decide.
        case unknown
    }

    /// Creates a record that knows an address and nothing else.
    public init(address: FunctionAddress) {
        self.address = address
        placement = .unknown
        config = ConfigSpace()
        probed = []
        use = []
    }
}

/// A size that writing all ones to a register gave.
public struct ProbedSize: Hashable, Sendable {
    /// The resource.
    public var index: ResourceIndex
    /// The size; 0 when the register turned out not to be implemented.
    public var size: ByteCount
    /// The flags that the register implies; empty when it is not implemented.
    public var flags: ResourceFlags

    /// Creates a probed size.
    public init(index: ResourceIndex, size: ByteCount, flags: ResourceFlags) {
        self.index = index
        self.size = size
        self.flags = flags
    }
}

/// A bus that the kernel has.
public struct BusRecord: Hashable, Sendable, Comparable {
    /// The segment.
    public var segment: UInt32
    /// The number.
    public var bus: BusNumber
    /// The bridge above it, or nil. A bus of VFs has the bridge above their physical function.
    public var bridge: FunctionAddress?
    /// Whether it is the root bus of a host bridge.
    public var isRoot: Bool

    /// Creates a bus.
    public init(segment: UInt32, bus: BusNumber, bridge: FunctionAddress? = nil, isRoot: Bool = false) {
        self.segment = segment
        self.bus = bus
        self.bridge = bridge
        self.isRoot = isRoot
    }

    /// Orders by segment and number.
    public static func < (a: BusRecord, b: BusRecord) -> Bool { (a.segment, a.bus) < (b.segment, b.bus) }
}

/// A slot below /sys/bus/pci/slots.
public struct SlotRecord: Hashable, Sendable, Codable {
    /// The name of its directory.
    public var name: String
    /// Its `address` file: `DDDD:BB:DD`, or `DDDD:BB` of a slot that is tied to a bus.
    public var address: String
    /// Its `power` file: whether it is switched on; nil without such a file.
    public var isPowered: Bool?
    /// Its `adapter` file: whether a card is present; nil without such a file.
    public var isOccupied: Bool?

    private enum CodingKeys: String, CodingKey {
        case name, address
        case isPowered = "powered"
        case isOccupied = "occupied"
    }

    /// Creates a slot.
    public init(name: String, address: String, isPowered: Bool? = nil, isOccupied: Bool? = nil) {
        self.name = name
        self.address = address
        self.isPowered = isPowered
        self.isOccupied = isOccupied
    }
}

/// An entry of /sys/firmware/memmap.
public struct FirmwareMapEntry: Hashable, Sendable {
    /// The range.
    public var range: AddressRange
    /// The kernel's word for its type: `System RAM`, `Reserved`, …
    public var type: String

    /// Creates an entry.
    public init(range: AddressRange, type: String) {
        self.range = range
        self.type = type
    }
}

/// What the reader was allowed to do.
public struct PrivilegeRecord: Hashable, Sendable, Codable {
    /// The effective user id.
    public var effectiveUser: Int
    /// Whether CAP_SYS_ADMIN was effective.
    public var hasSysAdmin: Bool
    /// The text of /sys/kernel/security/lockdown: `[none] integrity confidentiality`, or nil.
    public var lockdown: String?

    private enum CodingKeys: String, CodingKey {
        case effectiveUser = "euid"
        case hasSysAdmin = "capSysAdmin"
        case lockdown
    }

    /// Creates a record.
    public init(effectiveUser: Int, hasSysAdmin: Bool, lockdown: String? = nil) {
        self.effectiveUser = effectiveUser
        self.hasSysAdmin = hasSysAdmin
        self.lockdown = lockdown
    }

    /// Whether the kernel refuses writes to configuration space even to root (LOCKDOWN_PCI_ACCESS).
    public var isLockedDown: Bool {
        guard let lockdown else { return false }
        return lockdown.contains("[integrity]") || lockdown.contains("[confidentiality]")
    }
}
