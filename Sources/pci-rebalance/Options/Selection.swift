// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import PCITopology

/// Which functions are meant, as `lspci -s` reads it: `[[[[<domain>]:]<bus>]:][<device>][.[<function>]]`.
///
/// A part that is left out, or `*`, means all.
struct Selection: ExpressibleByArgument, Equatable {
    var segment: UInt32?
    var bus: UInt8?
    var device: UInt8?
    var function: UInt8?

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard (1...3).contains(parts.count), !argument.isEmpty else { return nil }
        if parts.count == 3 {
            guard let part = Self.number(parts[0], most: 0xffff_ffff) else { return nil }
            segment = part.map { UInt32($0) }
        }
        if parts.count >= 2 {
            guard let part = Self.number(parts[parts.count - 2], most: 0xff) else { return nil }
            bus = part.map { UInt8($0) }
        }
        let slot = parts[parts.count - 1].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard slot.count <= 2, let first = Self.number(slot.first ?? "", most: 31) else { return nil }
        device = first.map { UInt8($0) }
        if slot.count == 2 {
            guard let second = Self.number(slot[1], most: 7) else { return nil }
            function = second.map { UInt8($0) }
        }
    }

    /// A number, `.some(nil)` for all, or nil when the text is neither.
    private static func number(_ text: String, most: UInt64) -> UInt64?? {
        if text.isEmpty || text == "*" { return .some(nil) }
        guard text.allSatisfy(\.isHexDigit), let value = UInt64(text, radix: 16), value <= most else { return nil }
        return .some(value)
    }

    /// Whether the function at `address` is meant.
    func contains(_ address: FunctionAddress) -> Bool {
        (segment ?? address.segment) == address.segment && (bus ?? address.bus.rawValue) == address.bus.rawValue
            && (device ?? address.device) == address.device && (function ?? address.function) == address.function
    }
}
