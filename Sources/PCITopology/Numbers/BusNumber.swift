// SPDX-License-Identifier: GPL-2.0-or-later

/// A bus number within a segment, 0 to 255.
public struct BusNumber: RawRepresentable, Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The number, 0 to 255.
    public let rawValue: UInt8

    /// Creates the bus number `rawValue`.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Creates the bus number `number`.
    @inlinable
    public init(_ number: UInt8) { rawValue = number }

    /// Orders by number.
    @inlinable
    public static func < (a: BusNumber, b: BusNumber) -> Bool { a.rawValue < b.rawValue }

    /// Two hexadecimal digits.
    public var description: String { bareHex(UInt64(rawValue), width: 2) }
}

/// A range of bus numbers, inclusive at both ends.
public struct BusRange: Hashable, Sendable, Comparable {
    /// The first number: a bridge's secondary bus.
    public let first: BusNumber
    /// The last number: a bridge's subordinate bus.
    public let last: BusNumber

    /// Creates the range `first...last`, or nil when `last` lies below `first`.
    public init?(first: BusNumber, last: BusNumber) {
        guard first <= last else { return nil }
        self.first = first
        self.last = last
    }

    /// Creates the range of one bus.
    public init(_ only: BusNumber) {
        first = only
        last = only
    }

    /// The number of buses, 1 to 256.
    public var count: Int { Int(last.rawValue) - Int(first.rawValue) + 1 }

    /// Whether `bus` lies in the range.
    public func contains(_ bus: BusNumber) -> Bool { first <= bus && bus <= last }

    /// Whether `other` lies wholly inside this range.
    public func contains(_ other: BusRange) -> Bool { first <= other.first && other.last <= last }

    /// Whether the two ranges share a number.
    public func overlaps(_ other: BusRange) -> Bool { first <= other.last && other.first <= last }

    /// Orders by first number, then by last.
    public static func < (a: BusRange, b: BusRange) -> Bool { (a.first, a.last) < (b.first, b.last) }
}

extension BusRange: CustomStringConvertible {
    /// `[bus 02-11]`, or `[bus 02]` for one bus, as the kernel prints it.
    public var description: String { first == last ? "[bus \(first)]" : "[bus \(first)-\(last)]" }
}

/// The name of a bus, as in sysfs and in the kernel's log: `0000:3a`.
package func busName(segment: UInt32, _ bus: BusNumber) -> String { "\(bareHex(UInt64(segment), width: 4)):\(bus)" }
