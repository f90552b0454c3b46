// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

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

extension FirmwareMapEntry: Codable {
    private enum Key: String, CodingKey { case start, end, type }

    /// Reads an entry.
    public init(from decoder: any Decoder) throws {
        let c = try decoder.container(keyedBy: Key.self)
        let start: UInt64 = try c.hex(.start)
        let end: UInt64 = try c.hex(.end)
        guard let range = AddressRange(first: start, last: end) else {
            throw c.wrong(.end, "expected an end not below the start")
        }
        self.init(range: range, type: try c.decode(String.self, forKey: .type))
    }

    /// Writes an entry.
    public func encode(to encoder: any Encoder) throws {
        var c = encoder.container(keyedBy: Key.self)
        try c.encode(PCITopology.hex(range.first), forKey: .start)
        try c.encode(PCITopology.hex(range.last), forKey: .end)
        try c.encode(type, forKey: .type)
    }
}
