// SPDX-License-Identifier: GPL-2.0-or-later

/// A number of bytes, 0 to 2^64-1.
public struct ByteCount: RawRepresentable, Hashable, Sendable, Comparable {
    /// The number of bytes.
    public let rawValue: UInt64

    /// Creates a count of `rawValue` bytes.
    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Creates a count of `bytes` bytes.
    @inlinable
    public init(_ bytes: UInt64) { rawValue = bytes }

    /// No bytes.
    public static let zero = ByteCount(0)

    /// Orders by number of bytes.
    @inlinable
    public static func < (a: ByteCount, b: ByteCount) -> Bool { a.rawValue < b.rawValue }

    /// Reads a size as users write it: `16G`, `16GiB`, `512M`, `4K`, `0x400000000`, `4096`.
    ///
    /// Units are powers of 1024; K, M, G, T, P, E with an optional `iB` or `B`, in any case. Nil for anything else and
    /// for a value beyond 2^64-1.
    public init?(parsing text: String) {
        let lowered = text.lowercased()
        if lowered.hasPrefix("0x") {
            guard let value = UInt64(lowered.dropFirst(2), radix: 16), !lowered.dropFirst(2).hasPrefix("+") else {
                return nil
            }
            rawValue = value
            return
        }
        let digits = lowered.prefix { $0 >= "0" && $0 <= "9" }
        guard let value = UInt64(digits) else { return nil }
        var unit = lowered.dropFirst(digits.count)
        if unit.hasSuffix("ib") { unit = unit.dropLast(2) } else if unit.hasSuffix("b") { unit = unit.dropLast() }
        let shift: UInt64
        switch unit {
        case "": shift = 0
        case "k": shift = 10
        case "m": shift = 20
        case "g": shift = 30
        case "t": shift = 40
        case "p": shift = 50
        case "e": shift = 60
        default: return nil
        }
        if shift == 0, unit.isEmpty, lowered.count > digits.count, lowered.hasSuffix("ib") { return nil }
        let (product, overflow) = value.multipliedReportingOverflow(by: 1 << shift)
        guard !overflow else { return nil }
        rawValue = product
    }
}

extension ByteCount: CustomStringConvertible {
    /// The size in the largest unit that states it exactly, else with one decimal: `4K`, `16M`, `1.5G`, `17 bytes`.
    public var description: String {
        let units: [(UInt64, String)] = [
            (60, "E"), (50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K"),
        ]
        for (shift, name) in units {
            let unit: UInt64 = 1 << shift
            guard rawValue >= unit else { continue }
            if rawValue % unit == 0 { return "\(rawValue / unit)\(name)" }
            // One decimal, unless a smaller unit gives a short exact figure (288M rather than 0.3G never arises here).
            let smaller: UInt64 = 1 << (shift - 10)
            if rawValue % smaller == 0, rawValue / smaller < 10_000, shift > 10 {
                return "\(rawValue / smaller)\(units.first { $0.0 == shift - 10 }?.1 ?? "")"
            }
            let tenths = (rawValue % unit) / (unit / 10)
            return "\(rawValue / unit).\(min(tenths, 9))\(name)"
        }
        return "\(rawValue)"
    }
}
