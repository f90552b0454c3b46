// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

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

extension BusRecord: Codable {
    private enum Key: String, CodingKey { case bus, bridge, root }

    /// Reads a bus.
    public init(from decoder: any Decoder) throws {
        let c = try decoder.container(keyedBy: Key.self)
        let text = try c.decode(String.self, forKey: .bus)
        guard let name = Self.parse(Array(text.utf8)[...]) else {
            throw c.wrong(.bus, "expected a bus like 0000:3a, found \"\(text)\"")
        }
        let bridge = c.contains(.bridge) ? try c.address(.bridge) : nil
        let isRoot = try c.decodeIfPresent(Bool.self, forKey: .root) ?? false
        self.init(segment: name.segment, bus: name.bus, bridge: bridge, isRoot: isRoot)
    }

    /// Writes a bus.
    public func encode(to encoder: any Encoder) throws {
        var c = encoder.container(keyedBy: Key.self)
        try c.encode(busName(segment: segment, bus), forKey: .bus)
        try c.encodeIfPresent(bridge?.description, forKey: .bridge)
        if isRoot { try c.encode(true, forKey: .root) }
    }

    /// Reads `DDDD:BB`.
    static func parse(_ text: TextBytes) -> (segment: UInt32, bus: BusNumber)? {
        var rest = text
        guard let segment = rest.takeHex(), segment <= UInt64(UInt32.max), rest.take(":"), let bus = rest.takeHex(),
            bus <= 0xff, rest.isEmpty
        else { return nil }
        return (UInt32(segment), BusNumber(UInt8(bus)))
    }
}
