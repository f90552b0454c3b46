// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What one function asks for.
public struct FunctionDemand: Hashable, Sendable {
    /// The place in the tree, independent of bus numbers.
    public var path: TopologyPath
    /// The address at present.
    public var today: FunctionAddress
    /// Vendor, device, class.
    public var identity: Function.Identity
    /// The function above, or nil on a root bus.
    public var parent: Int?
    /// The functions below, by devfn.
    public var children: [Int] = []
    /// The host bridge.
    public var host: Int
    /// BARs, ROM and VF BARs, by index.
    public var requests: [ResourceRequest] = []
    /// The bridge's abilities; nil for an endpoint.
    public var bridge: BridgeAbility?
    /// Bus numbers beyond its own that the function's VFs need (first offset and stride, PCIe 6.0 §9.3.3).
    public var extraBuses: Int

    init(_ function: Function, path: TopologyPath, parent: Int?, host: Int) {
        self.path = path
        today = function.address
        identity = function.identity
        self.parent = parent
        self.host = host
        bridge = function.isBridge ? BridgeAbility(function) : nil
        extraBuses = 0
        if let sriov = function.capabilities.sriov, sriov.initialVFs > 0 {
            let last = sriov.routingID(
                ofVF: sriov.initialVFs - 1,
                bus: BusNumber(0),
                devfn: function.address.devfn
            )
            extraBuses = min(max(last >> 8, 0), 255)
        }
    }

    /// Whether the function is on a root bus.
    public var isOnRootBus: Bool { parent == nil }
}

/// One request of a function for address space.
public struct ResourceRequest: Hashable, Sendable {
    /// Which resource of the function it is.
    public var index: ResourceIndex
    /// The kind of space.
    public var kind: ResourceKind
    /// The size in bytes, 1 and up. VF BARs: the block of all VFs.
    public var size: UInt64
    /// The alignment in bytes, a power of two. VF BARs: the size of one VF's BAR.
    public var alignment: UInt64
    /// Whether a 64-bit address may be written.
    public var is64Bit: Bool
    /// Whether the function needs it to work: BARs.
    public var isRequired: Bool
    /// The bus addresses that it must keep (Enhanced Allocation, legacy ranges), or nil.
    public var fixed: AddressRange?
    /// The sizes in bytes that the Resizable BAR capability offers, ascending; empty without it.
    public var sizes: [UInt64]
    /// The CPU addresses that it holds at present, or nil.
    public var today: AddressRange?

    init?(_ resource: Resource, of function: Function, in host: HostBridge) {
        guard let kind = resource.kind, let size = resource.size?.rawValue, size > 0 else { return nil }
        index = resource.index
        // The kernel flags ROMs prefetchable; to the registers, and to firmware, a ROM is memory.
        self.kind = resource.index.isROM ? .memory : kind
        self.size = size
        var alignment = resource.alignment?.rawValue ?? size
        // A size that is no power of two (VF blocks of 7.x aside) aligns to its largest power of two.
        if alignment == 0 || alignment & (alignment - 1) != 0 { alignment = 1 << UInt64(size.trailingZeroBitCount) }
        self.alignment = alignment
        is64Bit = resource.is64Bit
        isRequired = resource.isRequired
        today = resource.range
        fixed = nil
        if resource.isFixed, let range = resource.shownRange {
            let offset = host.apertures.first { $0.range.contains(range) }?.offset ?? 0
            fixed = offset == .min ? range : range.shifted(by: -offset) ?? range
        }
        sizes = []
        if resource.index.isBAR {
            let number = Int(resource.index.rawValue)
            if let entry = function.capabilities.resizableBARs.first(where: { $0.bar == number }) {
                sizes = entry.exponents.compactMap { ResizableBAR.size(ofExponent: $0)?.rawValue }
            }
        }
    }
}

/// What a bridge's hardware can do.
public struct BridgeAbility: Hashable, Sendable {
    /// Whether there is an I/O window, and how wide: 0 none, 16, 32.
    public var ioBits: Int
    /// Whether there is a prefetchable window, and how wide: 0 none, 32, 64.
    public var prefetchableBits: Int
    /// Whether the bridge forwards what no other claims.
    public var isSubtractive: Bool
    /// The kind of PCI Express port, or nil for a conventional bridge.
    public var portType: ExpressPortType?
    /// Whether the link leads to a slot (PCI Express capabilities register, Slot Implemented).
    public var hasSlot: Bool
    /// Whether the slot is hot-plug capable.
    public var isHotPlugCapable: Bool
    /// Whether the bridge carries a standard hot-plug controller (capability 0x0c).
    public var hasStandardHotPlugController: Bool
    /// The reserve that a virtual machine asks for, or nil.
    public var reserveHint: ReserveHint?
    /// The bus range at present, or nil.
    public var busRangeToday: BusRange?
    /// The windows at present, CPU addresses, by resource index 13 to 15.
    public var windowsToday: [ResourceIndex: AddressRange]

    init(_ function: Function) {
        let registers = function.bridge?.registers
        let hasIO = function.resource(.ioWindow) != nil
        let hasPrefetchable = function.resource(.prefetchableWindow) != nil
        ioBits = hasIO ? (registers?.io.type == 1 ? 32 : 16) : 0
        prefetchableBits = hasPrefetchable ? (registers?.prefetchable.type == 0 ? 32 : 64) : 0
        isSubtractive = function.bridge?.isSubtractive ?? false
        portType = function.capabilities.express?.portType
        hasSlot = function.capabilities.express?.isSlotImplemented ?? false
        isHotPlugCapable = function.isHotPlugBridge
        hasStandardHotPlugController = function.capabilities.standard.contains { $0.id == 0x0c }
        reserveHint = ReserveHint(function)
        busRangeToday = function.bridge?.busRange
        windowsToday = [:]
        for resource in function.resources where resource.index.isWindow {
            if let range = resource.range { windowsToday[resource.index] = range }
        }
    }

    /// Whether cards come and go below: a hot-plug capable slot or a standard hot-plug controller.
    public var isHotPlug: Bool { isHotPlugCapable || hasStandardHotPlugController }

    /// Whether the port can have a slot of its own: a root port or a downstream port.
    public var isDownstreamPort: Bool { portType == .rootPort || portType == .downstreamPort }
}

/// The reserve that QEMU's bridges ask firmware for: the Red Hat vendor capability of type 1 (QEMU,
/// docs/pcie_pci_bridge.txt). A field is nil where the capability says all ones: "not specified".
public struct ReserveHint: Hashable, Sendable {
    /// Bus numbers.
    public var buses: UInt64?
    /// I/O bytes.
    public var io: UInt64?
    /// Non-prefetchable bytes.
    public var memory: UInt64?
    /// Prefetchable bytes below 4 GiB.
    public var prefetchable32: UInt64?
    /// Prefetchable bytes anywhere.
    public var prefetchable64: UInt64?
    /// The vendor and device of the bridge: 1b36:000c root port, 1b36:0001 conventional bridge.
    public var device: UInt16

    init?(_ function: Function) {
        guard function.identity.vendor == 0x1b36 else { return nil }
        let config = function.config
        for capability in function.capabilities.standard where capability.id == 0x09 {
            let at = Int(capability.offset)
            guard config.byte(at + 3) == 1, let length = config.byte(at + 2), length >= 32 else { continue }
            func field32(_ offset: Int) -> UInt64? {
                guard let value = config.long(at + offset), value != .max else { return nil }
                return UInt64(value)
            }
            func field64(_ offset: Int) -> UInt64? {
                guard let low = config.long(at + offset), let high = config.long(at + offset + 4) else { return nil }
                let value = UInt64(high) << 32 | UInt64(low)
                return value == .max ? nil : value
            }
            buses = field32(4)
            io = field64(8)
            memory = field32(16)
            prefetchable32 = field32(20)
            prefetchable64 = field64(24)
            device = function.identity.device
            return
        }
        return nil
    }
}
