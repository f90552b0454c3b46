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

extension FirmwareMapEntry {
    /// Reads an entry.
    init(_ fields: inout JSONFields) throws(JSONError) {
        let start = try fields.hex("start")
        guard let range = AddressRange(first: start, last: try fields.hex("end")) else {
            throw fields.error("end", "expected an end not below the start")
        }
        self.init(range: range, type: try fields.text("type"))
    }

    /// Writes an entry.
    func write(to json: inout JSONWriter) {
        json.field("end", hex: range.last)
        json.field("start", hex: range.first)
        json.field("type", type)
    }
}
