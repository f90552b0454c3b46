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

extension BusRecord {
    /// Reads a bus.
    init(_ fields: inout JSONFields) throws(JSONError) {
        let text = try fields.text("bus")
        guard let name = Self.parse(Array(text.utf8)[...]) else {
            throw fields.error("bus", "expected a bus like 0000:3a, found \(shown(text))")
        }
        let bridge = try fields.functionIfPresent("bridge")
        self.init(
            segment: name.segment,
            bus: name.bus,
            bridge: bridge,
            isRoot: try fields.boolIfPresent("root") ?? false
        )
    }

    /// Writes a bus.
    func write(to json: inout JSONWriter) {
        if let bridge { json.field("bridge", bridge.description) }
        json.field("bus", busName(segment: segment, bus))
        if isRoot { json.field("root", true) }
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
