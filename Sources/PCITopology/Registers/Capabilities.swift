// SPDX-License-Identifier: GPL-2.0-or-later

/// The capabilities of a function that matter for address space and bus numbers, decoded from its configuration space.
///
/// A capability beyond the bytes that could be read is absent here; `isComplete` tells whether everything was readable.
public struct Capabilities: Hashable, Sendable {
    /// Where each capability of the standard list stands, in list order.
    public var standard: [CapabilityOffset] = []
    /// Where each extended capability stands, in list order.
    public var extended: [CapabilityOffset] = []
    /// The PCI Express capability, or nil for a conventional function.
    public var express: ExpressCapability?
    /// The Resizable BAR capability's entries, empty without the capability.
    public var resizableBARs: [ResizableBAR] = []
    /// The VF Resizable BAR capability's entries, empty without the capability.
    public var resizableVFBARs: [ResizableBAR] = []
    /// The SR-IOV capability.
    public var sriov: SRIOVCapability?
    /// The Enhanced Allocation capability's entries: fixed ranges that never move.
    public var enhancedAllocation: [EnhancedAllocationEntry] = []
    /// Whether the ARI capability is present.
    public var hasARI = false
    /// Whether the ACS capability is present.
    public var hasACS = false
    /// The ACS capability's registers; nil without the capability, and where they could not be read.
    public var accessControl: AccessControl?
    /// The ATS capability.
    public var addressTranslation: AddressTranslation?
    /// The Page Request capability.
    public var pageRequests: PageRequests?
    /// The PASID capability.
    public var processAddressSpaces: ProcessAddressSpaces?
    /// The DPC capability.
    public var portContainment: PortContainment?
    /// What the CXL capabilities tell; nil where there are none.
    public var computeExpressLink: ComputeExpressLink?
    /// Whether the list could be followed to its end: false when only 64 bytes were readable, or a list is damaged.
    public var isComplete = true

    /// Creates an empty set.
    public init() {}

    /// Decodes the capability lists of `config`.
    ///
    /// A list that loops or points below 0x40 ends where it goes wrong and sets `isComplete` to false.
    /// - Complexity: O(number of capabilities), at most 48 standard and 960 extended ones.
    public init(_ config: ConfigSpace) {
        guard config.hasHeader else {
            isComplete = false
            return
        }
        if (config.word(0x06) ?? 0) & 0x10 != 0 { walkStandard(config) }
        if config.count > 0x100 { walkExtended(config) } else if express != nil { isComplete = false }
    }

    private mutating func walkStandard(_ config: ConfigSpace) {
        let start = config.headerLayout == 2 ? 0x14 : 0x34
        var offset = Int(config.byte(start) ?? 0) & 0xfc
        var seen = 0
        while offset != 0 {
            guard offset >= 0x40, seen < 48, let id = config.byte(offset), let next = config.byte(offset + 1) else {
                isComplete = false
                return
            }
            guard id != 0xff else { return }
            standard.append(CapabilityOffset(id: UInt16(id), offset: UInt16(offset)))
            switch id {
            case 0x10: express = ExpressCapability(config, at: offset)
            case 0x14: decodeEnhancedAllocation(config, at: offset)
            default: break
            }
            offset = Int(next) & 0xfc
            seen += 1
        }
    }

    private mutating func walkExtended(_ config: ConfigSpace) {
        var offset = 0x100
        var seen = 0
        while offset != 0 {
            guard offset >= 0x100, seen < 960, let header = config.long(offset) else {
                isComplete = false
                return
            }
            guard header != 0, header != .max else { return }
            let id = UInt16(truncatingIfNeeded: header)
            extended.append(CapabilityOffset(id: id, offset: UInt16(offset)))
            switch id {
            case 0x0d:
                hasACS = true
                accessControl = AccessControl(config, at: offset)
            case 0x0e: hasARI = true
            case 0x0f: addressTranslation = AddressTranslation(config, at: offset)
            case 0x13: pageRequests = PageRequests(config, at: offset)
            case 0x1b: processAddressSpaces = ProcessAddressSpaces(config, at: offset)
            case 0x1d: portContainment = PortContainment(config, at: offset)
            case 0x23: decodeVendorSpecific(config, at: offset)
            case 0x10: sriov = SRIOVCapability(config, at: offset)
            case 0x15: resizableBARs = ResizableBAR.entries(config, at: offset)
            case 0x24: resizableVFBARs = ResizableBAR.entries(config, at: offset)
            default: break
            }
            offset = Int(header >> 20) & 0xffc
            seen += 1
        }
    }

    /// Whether the extended capability `id` is there: 0x01 AER, 0x12 multicast, 0x2e DOE, …
    public func hasExtended(_ id: UInt16) -> Bool { extended.contains { $0.id == id } }

    private mutating func decodeVendorSpecific(_ config: ConfigSpace, at offset: Int) {
        guard config.word(offset + 4) == 0x1e98, let identifier = config.word(offset + 8) else { return }
        var link = computeExpressLink ?? ComputeExpressLink()
        link.take(config, at: offset, identifier: identifier)
        computeExpressLink = link
    }

    private mutating func decodeEnhancedAllocation(_ config: ConfigSpace, at offset: Int) {
        guard let count = config.byte(offset + 2) else { return }
        var entry = offset + 4
        if config.headerLayout == 1 { entry += 4 }
        for _ in 0..<(Int(count) & 0x3f) {
            guard let header = config.long(entry) else { return }
            if let decoded = EnhancedAllocationEntry(config, at: entry, header: header) {
                enhancedAllocation.append(decoded)
            }
            entry += (Int(header & 7) + 1) * 4
        }
    }
}

/// The place of one capability.
public struct CapabilityOffset: Hashable, Sendable {
    /// The capability identifier.
    public let id: UInt16
    /// The offset of its header in configuration space.
    public let offset: UInt16

    /// Creates an entry.
    public init(id: UInt16, offset: UInt16) {
        self.id = id
        self.offset = offset
    }
}

/// The kind of a PCI Express port or device (PCIe 6.0 §7.5.3.2, Device/Port Type).
public enum ExpressPortType: UInt8, Hashable, Sendable {
    /// An endpoint.
    case endpoint = 0
    /// A legacy endpoint.
    case legacyEndpoint = 1
    /// A root port of a root complex.
    case rootPort = 4
    /// The upstream port of a switch.
    case upstreamPort = 5
    /// A downstream port of a switch.
    case downstreamPort = 6
    /// A bridge from PCI Express to PCI.
    case bridgeToPCI = 7
    /// A bridge from PCI to PCI Express.
    case bridgeToExpress = 8
    /// An endpoint integrated in the root complex.
    case integratedEndpoint = 9
    /// A root complex event collector.
    case eventCollector = 10
}

/// The part of the PCI Express capability that matters here.
public struct ExpressCapability: Hashable, Sendable {
    /// The offset of the capability in configuration space.
    public var offset: UInt16
    /// The kind of port, or nil for a reserved value.
    public var portType: ExpressPortType?
    /// Bit 8 of the capabilities register: the link leads to a slot.
    public var isSlotImplemented: Bool
    /// The slot capabilities register, or nil when the port has no slot registers.
    public var slotCapabilities: SlotCapabilities?
    /// The slot status register, or nil.
    public var slotStatus: UInt16?
    /// The slot control register, or nil.
    public var slotControl: UInt16?
    /// The link status register, or nil.
    public var linkStatus: UInt16?
    /// Device Control 2, bit 5: ARI forwarding is enabled on this port.
    public var isARIForwardingEnabled: Bool
    /// Device Capabilities 2, bit 5: the port can forward ARI requests.
    public var supportsARIForwarding: Bool
    /// Device Control: Max_Payload_Size in bytes.
    public var maxPayloadSize: Int
    /// Device Capabilities: the largest Max_Payload_Size that the function can do, in bytes.
    public var maxPayloadSupported: Int
    /// Device Control, or nil when it was not read.
    public var deviceControl: UInt16?

    /// Decodes the capability at `offset`, or nil when its first register was not readable.
    public init?(_ config: ConfigSpace, at offset: Int) {
        guard let capabilities = config.word(offset + 2) else { return nil }
        self.offset = UInt16(truncatingIfNeeded: offset)
        portType = ExpressPortType(rawValue: UInt8(capabilities >> 4 & 0xf))
        isSlotImplemented = capabilities & 0x100 != 0
        let hasSlotRegisters = portType == .rootPort || portType == .downstreamPort
        slotCapabilities = hasSlotRegisters ? config.long(offset + 0x14).map(SlotCapabilities.init(rawValue:)) : nil
        slotStatus = hasSlotRegisters ? config.word(offset + 0x1a) : nil
        slotControl = hasSlotRegisters ? config.word(offset + 0x18) : nil
        linkStatus = config.word(offset + 0x12)
        let version = capabilities & 0xf
        let control2 = version >= 2 ? config.word(offset + 0x28) ?? 0 : 0
        let capabilities2 = version >= 2 ? config.long(offset + 0x24) ?? 0 : 0
        isARIForwardingEnabled = control2 & 0x20 != 0
        supportsARIForwarding = capabilities2 & 0x20 != 0
        deviceControl = config.word(offset + 8)
        maxPayloadSize = 128 << Int((deviceControl ?? 0) >> 5 & 7)
        maxPayloadSupported = 128 << Int((config.word(offset + 4) ?? 0) & 7)
    }

    /// Device Control: Max_Read_Request_Size in bytes, or nil when it was not read.
    public var maxReadRequestSize: Int? { deviceControl.map { 128 << Int($0 >> 12 & 7) } }
    /// Device Control, bit 8: tags of eight bits.
    public var isExtendedTagOn: Bool? { deviceControl.map { $0 & 0x100 != 0 } }
    /// Device Control, bit 4: requests may be marked for relaxed ordering.
    public var isRelaxedOrderingOn: Bool? { deviceControl.map { $0 & 0x10 != 0 } }
    /// Device Control, bit 11: requests may be marked as not to be snooped.
    public var isNoSnoopOn: Bool? { deviceControl.map { $0 & 0x800 != 0 } }

    /// The slot has a power controller and it is off (Slot Control, bit 10): what is in the slot does not answer.
    public var isSlotPowerOff: Bool {
        slotCapabilities?.contains(.powerController) == true && (slotControl ?? 0) & 0x400 != 0
    }

    /// Whether the slot's hot-plug interrupt is on (Slot Control, bit 5), which pciehp keeps so; nil when nobody read it.
    public var isHotPlugInterruptOn: Bool? { slotControl.map { $0 & 0x20 != 0 } }
}

/// The slot capabilities register (PCIe 6.0 §7.5.3.9).
public struct SlotCapabilities: OptionSet, Hashable, Sendable {
    /// The register value.
    public let rawValue: UInt32
    /// Creates a register value.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// An attention button is present.
    public static let attentionButton = SlotCapabilities(rawValue: 1 << 0)
    /// Power can be switched by software.
    public static let powerController = SlotCapabilities(rawValue: 1 << 1)
    /// The card may be taken out without notice.
    public static let hotPlugSurprise = SlotCapabilities(rawValue: 1 << 5)
    /// The slot is hot-plug capable. The corresponding C constant is `PCI_EXP_SLTCAP_HPC`.
    public static let hotPlugCapable = SlotCapabilities(rawValue: 1 << 6)

    /// The physical slot number, 0 to 8191.
    public var physicalSlotNumber: Int { Int(rawValue >> 19) }
}

/// One entry of the Resizable BAR or VF Resizable BAR capability (PCIe 6.0 §7.8.6, §7.8.7).
public struct ResizableBAR: Hashable, Sendable {
    /// The BAR index, 0 to 5.
    public var bar: Int
    /// Supported sizes: bit n set means 2^n MiB, n 0 to 43.
    public var supportedSizes: UInt64
    /// The size in force, as the exponent n of 2^n MiB.
    public var currentExponent: Int
    /// The offset of the entry's control register in configuration space.
    public var controlOffset: UInt16

    /// Creates an entry.
    public init(bar: Int, supportedSizes: UInt64, currentExponent: Int, controlOffset: UInt16) {
        self.bar = bar
        self.supportedSizes = supportedSizes
        self.currentExponent = currentExponent
        self.controlOffset = controlOffset
    }

    /// The size in force in bytes, or nil for an exponent beyond 43.
    public var currentSize: ByteCount? { Self.size(ofExponent: currentExponent) }

    /// The size 2^(20+n) for exponent n, or nil when n is outside 0 to 43.
    public static func size(ofExponent exponent: Int) -> ByteCount? {
        (0...43).contains(exponent) ? ByteCount(1 << UInt64(20 + exponent)) : nil
    }

    /// The exponents that the capability offers, ascending.
    public var exponents: [Int] { (0...43).filter { supportedSizes >> UInt64($0) & 1 == 1 } }

    static func entries(_ config: ConfigSpace, at offset: Int) -> [ResizableBAR] {
        guard let firstControl = config.long(offset + 8) else { return [] }
        let count = min(Int(firstControl >> 5 & 7), 6)
        var entries: [ResizableBAR] = []
        for i in 0..<count {
            guard let capability = config.long(offset + 4 + 8 * i), let control = config.long(offset + 8 + 8 * i) else {
                break
            }
            // Capability bits 4-31 are 1 MiB to 128 TiB; control bits 16-31 continue with 256 TiB and up.
            let sizes = UInt64(capability >> 4) | UInt64(control >> 16) << 28
            entries.append(
                ResizableBAR(
                    bar: Int(control & 7),
                    supportedSizes: sizes,
                    currentExponent: Int(control >> 8 & 0x3f),
                    controlOffset: UInt16(truncatingIfNeeded: offset + 8 + 8 * i)
                )
            )
        }
        return entries.filter { $0.bar < 6 }
    }
}

/// The SR-IOV capability (PCIe 6.0 §9.3.3).
public struct SRIOVCapability: Hashable, Sendable {
    /// The offset of the capability in configuration space.
    public var offset: UInt16
    /// VF Enable, control bit 0.
    public var isEnabled: Bool
    /// ARI Capable Hierarchy, control bit 4.
    public var isARICapableHierarchy: Bool
    /// InitialVFs.
    public var initialVFs: Int
    /// TotalVFs.
    public var totalVFs: Int
    /// NumVFs.
    public var numVFs: Int
    /// First VF Offset.
    public var firstOffset: Int
    /// VF Stride.
    public var stride: Int
    /// VF Device ID.
    public var deviceID: UInt16
    /// The six VF BAR registers.
    public var barRegisters: [UInt32]
    /// System Page Size, in bytes.
    public var systemPageSize: UInt64

    /// Decodes the capability at `offset`, or nil when it was not readable.
    public init?(_ config: ConfigSpace, at offset: Int) {
        guard let control = config.word(offset + 0x08), config.long(offset + 0x38) != nil else { return nil }
        func word(_ o: Int) -> Int { Int(config.word(offset + o) ?? 0) }
        self.offset = UInt16(truncatingIfNeeded: offset)
        isEnabled = control & 1 != 0
        isARICapableHierarchy = control & 0x10 != 0
        initialVFs = word(0x0c)
        totalVFs = word(0x0e)
        numVFs = word(0x10)
        firstOffset = word(0x14)
        stride = word(0x16)
        deviceID = config.word(offset + 0x1a) ?? 0
        systemPageSize = UInt64(config.long(offset + 0x20) ?? 1) << 12
        barRegisters = (0..<6).map { config.long(offset + 0x24 + 4 * $0) ?? 0 }
    }

    /// The routing id (bus times 256 plus devfn) of VF `index` (0-based) of a physical function at `bus`, `devfn`.
    public func routingID(ofVF index: Int, bus: BusNumber, devfn: UInt8) -> Int {
        Int(bus.rawValue) << 8 + Int(devfn) + firstOffset + stride * index
    }
}

/// One entry of the Enhanced Allocation capability (PCIe 6.0 §7.8.5): a range that is fixed in hardware.
public struct EnhancedAllocationEntry: Hashable, Sendable {
    /// BAR equivalent indicator: 0-5 BAR, 6 behind a bridge, 7 not a BAR, 8 ROM, 9-14 VF BAR.
    public var barEquivalent: Int
    /// Primary properties byte.
    public var properties: UInt8
    /// Whether the entry is enabled.
    public var isEnabled: Bool
    /// The range, bus addresses.
    public var range: AddressRange

    init?(_ config: ConfigSpace, at offset: Int, header: UInt32) {
        guard let base = config.long(offset + 4), let length = config.long(offset + 8) else { return nil }
        var start = UInt64(base & ~3)
        // The low two bits of MaxOffset are not stored; they are ones.
        var span = UInt64(length | 3)
        var next = offset + 12
        if base & 2 != 0 {
            guard let high = config.long(next) else { return nil }
            start |= UInt64(high) << 32
            next += 4
        }
        if length & 2 != 0 {
            guard let high = config.long(next) else { return nil }
            span |= UInt64(high) << 32
        }
        let (last, overflow) = start.addingReportingOverflow(span)
        guard !overflow, let range = AddressRange(first: start, last: last) else { return nil }
        barEquivalent = Int(header >> 4 & 0xf)
        properties = UInt8(truncatingIfNeeded: header >> 8)
        isEnabled = header & 0x8000_0000 != 0
        self.range = range
    }
}
