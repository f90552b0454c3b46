// SPDX-License-Identifier: GPL-2.0-or-later

/// A host bridge: a root bus and the apertures through which it decodes.
public struct HostBridge: Hashable, Sendable {
    /// The segment.
    public var segment: UInt32
    /// The root bus's numbers: the first is the root bus itself.
    public var busRange: BusRange
    /// The apertures in the kernel's list order.
    public var apertures: [Aperture]
    /// Where the apertures come from.
    public var source: Source
    /// Whether a source names the root bus. When not, the bus merely has no bridge above it in what was told: it may lie
    /// below a bridge that nobody told.
    public var isTold = true
    /// Whether a source tells where the bus range ends; else it is taken to end at the last bus in use.
    public var isBusRangeTold = true
    /// Who notices a card that is plugged into the root bus itself.
    public var slotDriver = SlotDriver.unknown

    /// Creates a host bridge.
    public init(segment: UInt32, busRange: BusRange, apertures: [Aperture], source: Source) {
        self.segment = segment
        self.busRange = busRange
        self.apertures = apertures
        self.source = source
    }

    /// Where apertures come from, best first.
    public enum Source: String, Hashable, Sendable {
        /// The kernel log's `root bus resource` lines: order, offsets and flags are known.
        case kernelLog
        /// /proc/iomem and /proc/ioports: ascending order, offsets and flags unknown.
        case iomem
        /// Nobody could tell; no aperture is listed.
        case unknown
    }

    /// The number of the root bus.
    public var rootBus: BusNumber { busRange.first }

    /// The name of its root bus: `0000:00`.
    package var name: String { busName(segment: segment, rootBus) }
}

/// A range that a host bridge decodes.
public struct Aperture: Hashable, Sendable {
    /// The CPU addresses.
    public var range: AddressRange
    /// The flags: I/O or memory, prefetchable and 64-bit where firmware says so.
    public var flags: ResourceFlags
    /// CPU address minus bus address.
    public var offset: Int64

    /// Creates an aperture.
    public init(range: AddressRange, flags: ResourceFlags, offset: Int64 = 0) {
        self.range = range
        self.flags = flags
        self.offset = offset
    }

    /// Whether it is I/O space.
    public var isIO: Bool { flags.contains(.io) }

    /// The bus addresses, or nil when the offset leaves the 64-bit space.
    public var busRange: AddressRange? {
        offset == .min ? nil : range.shifted(by: -offset)
    }

    /// The aperture as the kernel prints it: `[mem 0xc0000000-0xfebfffff window]`.
    public var kernelText: String {
        let width = isIO ? 4 : 8
        var text = "[\(isIO ? "io " : "mem") \(hex(range.first, width: width))-\(hex(range.last, width: width))"
        if flags.contains(.memory64) { text += " 64bit" }
        if flags.contains(.prefetchable) { text += " pref" }
        if flags.contains(.window) { text += " window" }
        text += "]"
        if offset != 0, let bus = busRange {
            text += " (bus address [\(hex(bus.first, width: 8))-\(hex(bus.last, width: 8))])"
        }
        return text
    }
}

/// Something inside an aperture that is not PCI and holds its addresses.
public struct Blocker: Hashable, Sendable {
    /// The CPU addresses.
    public var range: AddressRange
    /// Whether it is in I/O space.
    public var isIO: Bool
    /// The kernel's name for it: `IOAPIC 0`, `Reserved`, `PCI ECAM 0000 [bus 00-ff]`.
    public var name: String
    /// Where it was seen.
    public var source: Source

    /// Creates a blocker.
    public init(range: AddressRange, isIO: Bool, name: String, source: Source) {
        self.range = range
        self.isIO = isIO
        self.name = name
        self.source = source
    }

    /// Where a blocker was seen.
    public enum Source: String, Hashable, Sendable {
        /// A node of /proc/iomem or /proc/ioports.
        case iomem
        /// An entry of the firmware's memory map (E820) that the allocator avoids.
        case firmwareMap
    }
}
