// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What text tells about one function. Nil means that the text does not say.
public struct TextFunction: Hashable, Sendable {
    /// The address.
    public var address: FunctionAddress
    /// Vendor ID.
    public var vendor: UInt16?
    /// Device ID.
    public var device: UInt16?
    /// Subsystem vendor ID.
    public var subsystemVendor: UInt16?
    /// Subsystem ID.
    public var subsystemDevice: UInt16?
    /// Base class and sub-class.
    public var classWord: UInt16?
    /// Programming interface.
    public var programmingInterface: UInt8?
    /// Revision ID.
    public var revision: UInt8?
    /// The header layout: 0 endpoint, 1 bridge, 2 CardBus.
    public var headerLayout: UInt8?
    /// The name in the ID database.
    public var name: String?
    /// The configuration space of a hex dump; empty without one. Its addresses are bus addresses.
    public var config = ConfigSpace()
    /// COMMAND, I/O space enabled.
    public var decodesIO: Bool?
    /// COMMAND, memory space enabled.
    public var decodesMemory: Bool?
    /// BARs, ROM and VF BARs in ascending index order. Addresses are CPU addresses.
    public var resources: [ResourceFacts] = []
    /// A bridge's numbers and windows; nil when the text does not show a bridge.
    public var bridge: BridgeFacts?
    /// PCI Express facts; nil when the text shows no such capability.
    public var express: ExpressFacts?
    /// The Resizable BAR capability's entries.
    public var resizableBARs: [ResizableBAR] = []
    /// The VF Resizable BAR capability's entries.
    public var resizableVFBARs: [ResizableBAR] = []
    /// SR-IOV facts; nil when the text shows no such capability.
    public var sriov: SRIOVFacts?
    /// The capabilities that the text lists: identifier and offset, in list order.
    public var capabilities: [CapabilityOffset] = []
    /// The extended capabilities that the text lists, in list order.
    public var extendedCapabilities: [CapabilityOffset] = []
    /// Whether the text shows capabilities: false when lspci had no access, nil when the text has no such part.
    public var showsCapabilities: Bool?
    /// Registers of capabilities that the text spells out (ACS, ATS, payload size): the value by offset.
    public var settings: [UInt16: UInt16] = [:]
    /// The bound driver.
    public var driver: String?
    /// The NUMA node.
    public var numaNode: Int?
    /// The IOMMU group.
    public var iommuGroup: Int?
    /// The physical slot's name.
    public var slot: String?
    /// Whether lspci described the function (`-v` or more): a BAR that it does not list is none.
    public var isDescribed = false
    /// Whether lspci lists the function at all.
    public var isListed = false
    /// Whether the log holds the message of its discovery, which every BAR of it follows.
    public var isDiscovered = false
    /// Whether the log ends where it tells of the function: BARs, windows or numbers that it does not name are not told.
    public var isCut = false
    /// BARs that the log found, and ends before telling what became of them.
    public var untold: Set<ResourceIndex> = []
    /// Whether the text says that the function does not answer (`rev ff`, header type 7f).
    public var doesNotAnswer = false

    /// Creates evidence of the function at `address`.
    public init(address: FunctionAddress) { self.address = address }

    /// Whether the text spells out the settings of every capability whose settings count here: `lspci -vv` does.
    public var tellsSettings: Bool {
        guard showsCapabilities == true else { return false }
        let places = extendedCapabilities.filter { [0x0d, 0x0f, 0x13, 0x1b].contains($0.id) }.map {
            $0.offset + ($0.id == 0x13 ? 4 : 6)
        }
        let control = express?.offset.map { [$0 + 8] } ?? []
        return (places + control).allSatisfy { settings[$0] != nil }
    }

    /// Whether the text tells every BAR: what follows the message of the discovery, a description by lspci, registers.
    public var tellsBARs: Bool { isDiscovered && !isCut || isDescribed || config.count >= 64 && !config.isAllOnes }

    /// The resource at `index`, or nil.
    public func resource(_ index: ResourceIndex) -> ResourceFacts? { resources.first { $0.index == index } }

    /// Puts `resource` in its place, replacing one of the same index.
    public mutating func set(_ resource: ResourceFacts) {
        if let i = resources.firstIndex(where: { $0.index >= resource.index }) {
            if resources[i].index == resource.index {
                resources[i] = resource
            } else {
                resources.insert(resource, at: i)
            }
        } else {
            resources.append(resource)
        }
    }
}

/// What text tells about a BAR, a ROM or a VF BAR.
public struct ResourceFacts: Hashable, Sendable {
    /// Which resource.
    public var index: ResourceIndex
    /// Space and attributes.
    public var flags: ResourceFlags
    /// The CPU address, or nil when it has none.
    public var start: UInt64?
    /// The size, or nil when the text does not say. VF BARs: the whole block when `vfCount` is set, else one VF's.
    public var size: ByteCount?
    /// The number of VFs that the size covers, or nil.
    public var vfCount: Int?
    /// How the text shows the resource.
    public var state: State

    /// How the text shows a resource.
    public enum State: String, Hashable, Sendable {
        /// With an address.
        case placed
        /// With an address that lspci marks `[virtual]`: the register holds none, the kernel does.
        case virtual
        /// Without address: `<unassigned>`, `[mem size …]`, `failed to assign`.
        case unassigned
        /// `<ignored>`: the register holds something, and the kernel gives no address. Of ports that is how a machine without
        /// I/O space looks; memory that the kernel gives no address is not there for a driver.
        case ignored
        /// With an address that the kernel could not claim.
        case unclaimed
    }

    /// Creates evidence of a resource.
    public init(
        index: ResourceIndex,
        flags: ResourceFlags,
        start: UInt64?,
        size: ByteCount?,
        vfCount: Int? = nil,
        state: State
    ) {
        self.index = index
        self.flags = flags
        self.start = start
        self.size = size
        self.vfCount = vfCount
        self.state = state
    }

    /// Whether it counts as not implemented: ports that the kernel left out.
    public var isLeftOut: Bool { state == .ignored && flags.contains(.io) }

    /// Whether the text says no more of a BAR than that it is one in memory and has no address.
    var isNamedOnly: Bool {
        index.isBAR && (state == .ignored || state == .unassigned) && size == nil && flags.contains(.memory)
    }

    /// The addresses, or nil when start or size is not known.
    public var range: AddressRange? {
        guard let start, let size else { return nil }
        return AddressRange(first: start, size: size.rawValue)
    }
}

/// What text tells about a bridge.
public struct BridgeFacts: Hashable, Sendable {
    /// Primary bus number.
    public var primary: BusNumber?
    /// Secondary bus number.
    public var secondary: BusNumber?
    /// Subordinate bus number.
    public var subordinate: BusNumber?
    /// The I/O window.
    public var io: WindowFacts?
    /// The memory window.
    public var memory: WindowFacts?
    /// The prefetchable window.
    public var prefetchable: WindowFacts?
    /// Whether the bridge forwards what nobody else claims.
    public var isSubtractive: Bool?

    /// Creates evidence of a bridge.
    public init() {}

    /// The window of `kind`.
    public subscript(kind: ResourceKind) -> WindowFacts? {
        get {
            switch kind {
            case .io: io
            case .memory: memory
            case .prefetchable: prefetchable
            }
        }
        set {
            switch kind {
            case .io: io = newValue
            case .memory: memory = newValue
            case .prefetchable: prefetchable = newValue
            }
        }
    }

    /// The bus range, or nil when not known or when the numbers are no range.
    public var busRange: BusRange? {
        guard let secondary, let subordinate else { return nil }
        return BusRange(first: secondary, last: subordinate)
    }
}

/// What text tells about a bridge window.
public enum WindowFacts: Hashable, Sendable {
    /// Open, with CPU addresses. Width: 16, 32 or 64 bit, or nil when the text does not say.
    case open(AddressRange, width: Int?)
    /// Closed. Width as above. Old lspci shows a window that is not implemented in the same way.
    case closed(width: Int?)
    /// Wanted and not assigned, with the size that the kernel asked for.
    case unassigned(ByteCount, width: Int?)

    /// The range, or nil.
    public var range: AddressRange? {
        if case .open(let range, _) = self { return range }
        return nil
    }

    /// The width in bits, or nil.
    public var width: Int? {
        switch self {
        case .open(_, let width), .closed(let width), .unassigned(_, let width): width
        }
    }
}

/// What text tells about a PCI Express capability.
public struct ExpressFacts: Hashable, Sendable {
    /// The offset of the capability, or nil.
    public var offset: UInt16?
    /// The kind of port.
    public var portType: ExpressPortType?
    /// Whether the link leads to a slot.
    public var hasSlot: Bool?
    /// Slot capability: hot-plug capable.
    public var isHotPlugCapable: Bool?
    /// Slot capability: surprise removal.
    public var isSurpriseCapable: Bool?
    /// Slot capability: power controller.
    public var hasPowerControl: Bool?
    /// Slot capability: attention button.
    public var hasAttentionButton: Bool?
    /// The physical slot number.
    public var slotNumber: Int?
    /// Slot status: a card is present.
    public var isCardPresent: Bool?
    /// Whether ARI forwarding is supported.
    public var supportsARIForwarding: Bool?
    /// Whether ARI forwarding is switched on.
    public var isARIForwardingEnabled: Bool?

    /// Creates evidence.
    public init() {}
}

/// What text tells about an SR-IOV capability.
public struct SRIOVFacts: Hashable, Sendable {
    /// The offset of the capability, or nil.
    public var offset: UInt16?
    /// Whether VFs are enabled.
    public var isEnabled: Bool?
    /// Whether the hierarchy is marked ARI capable.
    public var isARICapableHierarchy: Bool?
    /// InitialVFs.
    public var initialVFs: Int?
    /// TotalVFs.
    public var totalVFs: Int?
    /// NumVFs.
    public var numVFs: Int?
    /// First VF Offset.
    public var firstOffset: Int?
    /// VF Stride.
    public var stride: Int?
    /// VF Device ID.
    public var deviceID: UInt16?
    /// System Page Size in bytes.
    public var systemPageSize: UInt64?

    /// Creates evidence.
    public init() {}
}
