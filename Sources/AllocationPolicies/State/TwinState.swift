// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Hardware and kernel of one machine, as flat tables: the value that every operation changes.
///
/// A function has one number: its facts, its registers and what the kernel holds for it stand at the same index. The two
/// resource trees, the apertures, everything in the way and the bus numbers are nodes of `resources`.
struct TwinState: Sendable {
    var behaviour: KernelBehaviour
    var platform: Platform
    /// What `resource` files look like; without VF BARs the kernel does not know SR-IOV (CONFIG_PCI_IOV).
    var fileShape = ResourceFileShape.current
    var hosts: [TwinHost] = []
    var facts = Table<FunctionFacts>()
    var registers = TrackedTable<FunctionRegisters>()
    var devices = TrackedTable<KernelDevice>()
    var resources = TrackedTable<KernelResource>()
    /// The function that each resource belongs to, none for apertures, blockers and bus numbers.
    var owners = Table<Int32>()
    var buses = Table<KernelBus>()
    /// Buses that were removed and whose numbers may be used again.
    var freeBuses: [Int32] = []
    /// The buses by host bridge and number.
    var numbered = NumberedBuses()
    /// The firmware's memory map where the allocator avoids it (`remove_e820_regions`), in map order.
    var firmwareMap: [AddressRange] = []
    /// What is in the way and not PCI; nodes are made when it enters the trees.
    var blockers: [TwinBlocker] = []
    /// Whether any aperture translates addresses; most machines have none.
    var translates = false
    /// The bus-number roots by segment.
    var segments: [SegmentNumbers] = []
    /// The text in /sys/bus/pci/resource_alignment.
    var alignmentRequests = "" {
        didSet { alignmentEntries = AlignmentEntry.entries(of: alignmentRequests) }
    }
    /// What that text says.
    private(set) var alignmentEntries: [AlignmentEntry] = []
    /// /sys/bus/pci/drivers_autoprobe.
    var probesDrivers = true
    /// Firmware addresses that boot may fall back on (`pcibios_save_fw_addr`): resource to address.
    var firmwareAddresses: [Int32: UInt64] = [:]
    /// How deep the bus scan is; numbers written at random can lead it in a circle, where the kernel would not return.
    var scanDepth = 0
    var records = true
    var events: [TwinEvent] = []

    /// The root of the memory tree (`iomem_resource`).
    static let memoryRoot: Int32 = 0
    /// The root of the I/O tree (`ioport_resource`).
    static let ioRoot: Int32 = 1

    struct SegmentNumbers: Sendable {
        var segment: UInt32
        var node: Int32
    }

    init(behaviour: KernelBehaviour, platform: Platform) {
        self.behaviour = behaviour
        self.platform = platform
        _ = appendResource(KernelResource(start: 0, end: .max, flags: Flag.memory), owner: none)
        _ = appendResource(KernelResource(start: 0, end: 0xffff, flags: Flag.io), owner: none)
    }

    mutating func appendResource(_ resource: KernelResource, owner: Int32) -> Int32 {
        _ = owners.append(owner)
        return resources.append(resource)
    }

    /// The node of the segment's bus numbers (`get_pci_domain_busn_res`).
    mutating func numbersRoot(segment: UInt32) -> Int32 {
        if let known = segments.first(where: { $0.segment == segment }) { return known.node }
        let node = appendResource(KernelResource(start: 0, end: 0xff, flags: Flag.bus), owner: none)
        segments.append(SegmentNumbers(segment: segment, node: node))
        return node
    }
}

// Addresses and messages.
extension TwinState {
    /// The address of a function that the kernel knows.
    func address(_ device: Int32) -> FunctionAddress {
        let held = devices[device]
        guard held.bus != none else {
            return FunctionAddress(segment: 0, bus: BusNumber(0), devfn: facts[device].devfn)
        }
        let bus = buses[held.bus]
        return FunctionAddress(
            segment: hosts[Int(bus.host)].segment,
            bus: BusNumber(bus.number),
            devfn: held.devfn
        )
    }

    mutating func note(_ event: TwinEvent) {
        if records { events.append(event) }
    }

    /// The kernel's index of a resource within its function.
    @inline(__always)
    func index(_ resource: Int32, of device: Int32) -> Int32 { resource &- facts[device].firstResource }

    func resourceIndex(_ resource: Int32, of device: Int32) -> ResourceIndex {
        ResourceIndex(Int(index(resource, of: device))) ?? .rom
    }

    func range(_ resource: Int32) -> AddressRange {
        AddressRange(first: resources[resource].start, last: resources[resource].end)
            ?? AddressRange(first: resources[resource].start, last: resources[resource].start) ?? .all
    }

    @inline(__always)
    func isAssigned(_ resource: Int32) -> Bool { resources[resource].parent != none }

    /// `pci_is_enabled`.
    @inline(__always)
    func isEnabled(_ device: Int32) -> Bool { devices[device].enableCount > 0 }

    /// `pci_is_bridge`.
    @inline(__always)
    func isBridge(_ device: Int32) -> Bool { facts[device].isBridge }

    @inline(__always)
    func isWindow(_ index: Int32) -> Bool { index >= 13 }

    @inline(__always)
    func isVFBAR(_ index: Int32) -> Bool { index >= 7 && index <= 12 }
}

// Windows of a bus.
extension TwinState {
    /// How many entries `busResource` has; some of the first four may be none.
    @inline(__always)
    func busResourceCount(_ bus: Int32) -> Int32 { 4 &+ Int32(truncatingIfNeeded: buses[bus].extra.count) }

    /// Entry `n` of `pci_bus_for_each_resource`: four windows, then apertures or what a transparent bridge passes on.
    @inline(__always)
    func busResource(_ bus: Int32, _ n: Int32) -> Int32 {
        if n < 4 {
            let windows = buses[bus].windows
            return windows == none ? none : windows &+ n
        }
        return buses[bus].extra[Int(n &- 4)]
    }

    /// `pci_resource_alignment`: the alignment that a resource asks for; 0 when it states none.
    func alignment(_ resource: Int32, of device: Int32) -> UInt64 {
        let index = index(resource, of: device)
        if isVFBAR(index) {
            guard devices[device].isPhysicalFunction else { return 0 }
            return vfAlignment(registers[device].vfSizes[Int(index) - 7], of: device)
        }
        let held = resources[resource]
        if devices[device].classWord == 0x0607 {
            if held.flags & Flag.io != 0 { return 256 }
            return held.flags & Flag.memory != 0 ? 64 << 20 : 0
        }
        switch held.flags & (Flag.sizeAlign | Flag.startAlign) {
        case Flag.sizeAlign: return held.size
        case Flag.startAlign: return held.start
        default: return 0
        }
    }
}
