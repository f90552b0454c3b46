// SPDX-License-Identifier: GPL-2.0-or-later

/// The address of a function: segment (Linux: domain), bus, device, function.
public struct FunctionAddress: Hashable, Sendable, Comparable {
    /// The segment, 0 to 2^32-1. ACPI segments end at 0xffff; Linux numbers VMD and Hyper-V domains from 0x10000.
    public let segment: UInt32
    /// The bus the function sits on.
    public let bus: BusNumber
    /// Device number times 8 plus function number; with ARI the whole byte is the function number.
    public let devfn: UInt8

    /// Creates an address from its parts.
    @inlinable
    public init(segment: UInt32 = 0, bus: BusNumber, devfn: UInt8) {
        self.segment = segment
        self.bus = bus
        self.devfn = devfn
    }

    /// Creates an address from device and function numbers, or nil when `device` > 31 or `function` > 7.
    public init?(segment: UInt32 = 0, bus: UInt8, device: UInt8, function: UInt8) {
        guard device < 32, function < 8 else { return nil }
        self.init(segment: segment, bus: BusNumber(bus), devfn: device << 3 | function)
    }

    /// The device number, 0 to 31.
    @inlinable
    public var device: UInt8 { devfn >> 3 }

    /// The function number, 0 to 7.
    @inlinable
    public var function: UInt8 { devfn & 7 }

    /// Reads `DDDD:BB:DD.F` or `BB:DD.F` (segment 0), hexadecimal, segments of four to eight digits; nil for anything else.
    public init?(parsing text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2 || parts.count == 3 else { return nil }
        var segment: UInt32 = 0
        if parts.count == 3 {
            guard (1...8).contains(parts[0].utf8.count), let value = parseHex(parts[0]) else { return nil }
            segment = UInt32(truncatingIfNeeded: value)
        }
        let busText = parts[parts.count - 2]
        let slot = parts[parts.count - 1].split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(busText.utf8.count), slot.count == 2, (1...2).contains(slot[0].utf8.count),
            slot[1].utf8.count == 1, let bus = parseHex(busText), let device = parseHex(slot[0]),
            let function = parseHex(slot[1])
        else { return nil }
        guard device < 32, function < 8 else { return nil }
        self.init(segment: segment, bus: BusNumber(UInt8(bus)), devfn: UInt8(device << 3 | function))
    }

    /// Orders by segment, bus, devfn.
    @inlinable
    public static func < (a: FunctionAddress, b: FunctionAddress) -> Bool {
        (a.segment, a.bus.rawValue, a.devfn) < (b.segment, b.bus.rawValue, b.devfn)
    }
}

/// Reads hexadecimal digits only (no sign, no prefix); nil for anything else or beyond 64 bits.
func parseHex(_ text: some StringProtocol) -> UInt64? {
    var value: UInt64 = 0
    var count = 0
    for byte in text.utf8 {
        let digit: UInt64
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = UInt64(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = UInt64(byte - UInt8(ascii: "A")) + 10
        default: return nil
        }
        guard count < 16 else { return nil }
        value = value << 4 | digit
        count += 1
    }
    return count == 0 ? nil : value
}

extension FunctionAddress: CustomStringConvertible {
    /// `0000:3a:00.0`, as sysfs and the kernel log print it.
    public var description: String { "\(bareHex(UInt64(segment), width: 4)):\(short)" }

    /// `3a:00.0`, without the segment.
    public var short: String { "\(bus):\(bareHex(UInt64(device), width: 2)).\(function)" }
}

/// The place of a function in the tree, independent of bus numbers: the devfn of every function on the way from the
/// root bus, outermost first.
///
/// Bus numbers change when a bridge is renumbered; the path does not. The kernel's `resource_alignment` parameter uses
/// the same form (`0000:00:02.0/00.0/01.0`).
public struct TopologyPath: Hashable, Sendable, Comparable {
    /// The segment.
    public let segment: UInt32
    /// The number of the root bus.
    public let rootBus: BusNumber
    /// Device and function numbers from the root bus down, at least one.
    public let hops: [UInt8]

    /// Creates a path.
    public init(segment: UInt32, rootBus: BusNumber, hops: [UInt8]) {
        self.segment = segment
        self.rootBus = rootBus
        self.hops = hops
    }

    /// Orders parents before children, siblings by devfn.
    public static func < (a: TopologyPath, b: TopologyPath) -> Bool {
        if (a.segment, a.rootBus) != (b.segment, b.rootBus) {
            return (a.segment, a.rootBus) < (b.segment, b.rootBus)
        }
        return a.hops.lexicographicallyPrecedes(b.hops)
    }

    /// Whether `other` is this function or lies below it.
    public func isAncestorOrSelf(of other: TopologyPath) -> Bool {
        segment == other.segment && rootBus == other.rootBus && other.hops.starts(with: hops)
    }
}

extension TopologyPath: CustomStringConvertible {
    /// `0000:00:02.0/00.0/01.0`.
    public var description: String {
        var text = ""
        for (level, devfn) in hops.enumerated() {
            let slot = "\(bareHex(UInt64(devfn >> 3), width: 2)).\(devfn & 7)"
            text += level == 0 ? "\(bareHex(UInt64(segment), width: 4)):\(rootBus):\(slot)" : "/\(slot)"
        }
        return text
    }
}
