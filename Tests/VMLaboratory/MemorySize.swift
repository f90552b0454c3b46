// SPDX-License-Identifier: GPL-2.0-or-later

/// An amount of memory in bytes.
public struct MemorySize: Sendable, Hashable, CustomStringConvertible {
    /// The amount in bytes.
    public var bytes: UInt64

    /// Creates an amount from a number of bytes.
    public init(bytes: UInt64) {
        self.bytes = bytes
    }

    /// An amount of `count` KiB; amounts beyond 64 bits saturate.
    public static func kib(_ count: UInt64) -> MemorySize { scaled(count, 1 << 10) }
    /// An amount of `count` MiB; amounts beyond 64 bits saturate.
    public static func mib(_ count: UInt64) -> MemorySize { scaled(count, 1 << 20) }
    /// An amount of `count` GiB; amounts beyond 64 bits saturate.
    public static func gib(_ count: UInt64) -> MemorySize { scaled(count, 1 << 30) }

    private static func scaled(_ count: UInt64, _ unit: UInt64) -> MemorySize {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: unit)
        return MemorySize(bytes: overflow ? .max : bytes)
    }

    /// The amount with the largest unit that divides it, as `16M`.
    public var description: String {
        for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] where bytes != 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }
}
