// SPDX-License-Identifier: GPL-2.0-or-later

/// One line of the sysfs file `resource`: start, end and flags exactly as the kernel prints them.
///
/// The common currency of readings, predictions and checks: a prediction is right when it equals these lines. A
/// function without subordinate bus prints 13 lines (7 without CONFIG_PCI_IOV), a bridge with one prints 17 (11). The
/// kernel prints windows that are disabled or unset as zeros (`resource_show`).
public struct ResourceLine: Hashable, Sendable {
    /// The first CPU address; 0 when unassigned; the alignment of an unassigned window in some kernels.
    public var start: UInt64
    /// The last CPU address, or size-1 when unassigned.
    public var end: UInt64
    /// The flag word.
    public var flags: ResourceFlags

    /// Creates a line.
    public init(start: UInt64, end: UInt64, flags: ResourceFlags) {
        self.start = start
        self.end = end
        self.flags = flags
    }

    /// The line of a resource that is not implemented, or was wiped.
    public static let zero = ResourceLine(start: 0, end: 0, flags: [])

    /// Reads `0x... 0x... 0x...`; nil for anything else.
    public init?(parsing text: some StringProtocol) {
        let words = text.split(separator: " ")
        guard words.count == 3 else { return nil }
        var values: [UInt64] = []
        for word in words {
            guard word.hasPrefix("0x"), let value = parseHex(word.dropFirst(2)) else { return nil }
            values.append(value)
        }
        self.init(start: values[0], end: values[1], flags: ResourceFlags(rawValue: values[2]))
    }
}

extension ResourceLine: CustomStringConvertible {
    /// `0x00000000fe800000 0x00000000fe9fffff 0x0000000000000200`.
    public var description: String {
        "\(hex(start, width: 16)) \(hex(end, width: 16)) \(hex(flags.rawValue, width: 16))"
    }
}
