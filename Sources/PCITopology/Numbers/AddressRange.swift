// SPDX-License-Identifier: GPL-2.0-or-later

/// A range of addresses, inclusive at both ends.
///
/// Inclusive ends keep the full 64-bit space representable: `0...0xffff_ffff_ffff_ffff` is a range like any other. An
/// empty range does not exist; absence is an optional.
public struct AddressRange: Hashable, Sendable, Comparable {
    /// The first address, 0 to 2^64-1.
    public let first: UInt64
    /// The last address, `first` to 2^64-1.
    public let last: UInt64

    /// Creates the range `first...last`, or nil when `last` lies below `first`.
    @inlinable
    public init?(first: UInt64, last: UInt64) {
        guard first <= last else { return nil }
        self.first = first
        self.last = last
    }

    /// Creates the range of `size` bytes at `first`, or nil when `size` is 0 or the end lies beyond 2^64-1.
    @inlinable
    public init?(first: UInt64, size: UInt64) {
        guard size > 0 else { return nil }
        let (last, overflow) = first.addingReportingOverflow(size - 1)
        guard !overflow else { return nil }
        self.first = first
        self.last = last
    }

    /// The whole 64-bit space.
    public static let all = AddressRange(unchecked: 0, last: .max)

    @inlinable
    init(unchecked first: UInt64, last: UInt64) {
        self.first = first
        self.last = last
    }

    /// The number of bytes, or nil for the whole 64-bit space, whose size is 2^64.
    @inlinable
    public var size: UInt64? {
        let span = last - first
        return span == .max ? nil : span + 1
    }

    /// The number of bytes, with 2^64 given as 2^64-1.
    @inlinable
    public var clampedSize: UInt64 { size ?? .max }

    /// Whether `address` lies in the range.
    @inlinable
    public func contains(_ address: UInt64) -> Bool { first <= address && address <= last }

    /// Whether `other` lies wholly inside this range.
    @inlinable
    public func contains(_ other: AddressRange) -> Bool { first <= other.first && other.last <= last }

    /// Whether the two ranges share an address.
    @inlinable
    public func overlaps(_ other: AddressRange) -> Bool { first <= other.last && other.first <= last }

    /// The addresses that both ranges share, or nil.
    @inlinable
    public func intersection(_ other: AddressRange) -> AddressRange? {
        AddressRange(first: max(first, other.first), last: min(last, other.last))
    }

    /// The smallest range that holds both.
    @inlinable
    public func hull(_ other: AddressRange) -> AddressRange {
        AddressRange(unchecked: min(first, other.first), last: max(last, other.last))
    }

    /// The range moved by `offset` (two's complement), or nil when it would leave the 64-bit space.
    public func shifted(by offset: Int64) -> AddressRange? {
        if offset >= 0 {
            let (f, o1) = first.addingReportingOverflow(UInt64(offset))
            let (l, o2) = last.addingReportingOverflow(UInt64(offset))
            return o1 || o2 ? nil : AddressRange(unchecked: f, last: l)
        }
        let (f, o1) = first.subtractingReportingOverflow(offset.magnitude)
        let (l, o2) = last.subtractingReportingOverflow(offset.magnitude)
        return o1 || o2 ? nil : AddressRange(unchecked: f, last: l)
    }

    /// Orders by first address, then by last.
    @inlinable
    public static func < (a: AddressRange, b: AddressRange) -> Bool {
        (a.first, a.last) < (b.first, b.last)
    }
}

extension AddressRange: CustomStringConvertible {
    /// `0xfe800000-0xfe9fffff`, as the kernel prints a range.
    public var description: String { "\(hex(first))-\(hex(last))" }
}

extension AddressRange {
    /// The parts of this range that none of `taken` covers, in ascending order.
    ///
    /// - Parameter taken: ranges in any order; overlaps and ranges outside are allowed.
    /// - Returns: disjoint ranges, ascending; empty when everything is covered.
    /// - Complexity: O(n log n) in the number of ranges.
    public func subtracting(_ taken: [AddressRange]) -> [AddressRange] {
        var gaps: [AddressRange] = []
        var cursor = first
        for range in taken.sorted() where range.overlaps(self) {
            if range.first > cursor, let gap = AddressRange(first: cursor, last: range.first - 1) { gaps.append(gap) }
            guard range.last < last else { return gaps }
            cursor = max(cursor, range.last + 1)
        }
        if let gap = AddressRange(first: cursor, last: last) { gaps.append(gap) }
        return gaps
    }

    /// The size of the largest naturally aligned power-of-two block inside the range, 1 to 2^63.
    public var largestAlignedBlock: UInt64 {
        var block: UInt64 = 1 << 63
        while block > 1 {
            if let start = alignUp(first, block), start <= last, last - start >= block - 1 { return block }
            block >>= 1
        }
        return 1
    }
}

/// Rounds `value` up to a multiple of `alignment` (a power of two), or nil beyond 2^64-1.
@inlinable
public func alignUp(_ value: UInt64, _ alignment: UInt64) -> UInt64? {
    guard alignment > 1 else { return value }
    let (sum, overflow) = value.addingReportingOverflow(alignment - 1)
    return overflow ? nil : sum & ~(alignment - 1)
}

/// Rounds `value` down to a multiple of `alignment` (a power of two).
@inlinable
public func alignDown(_ value: UInt64, _ alignment: UInt64) -> UInt64 {
    alignment > 1 ? value & ~(alignment - 1) : value
}

/// `value` in hexadecimal with the prefix `0x`, padded with zeros to at least `width` digits.
public func hex(_ value: UInt64, width: Int = 0) -> String {
    "0x" + bareHex(value, width: width)
}

/// `value` in hexadecimal without prefix, padded with zeros to at least `width` digits.
public func bareHex(_ value: UInt64, width: Int = 0) -> String {
    let digits = String(value, radix: 16)
    return digits.count >= width ? digits : String(repeating: "0", count: width - digits.count) + digits
}

/// Rounds `value` up to a multiple of `alignment` (a power of two); the last multiple in 64 bits where that is beyond them.
///
/// Sizes that a user asks for may be anything; one that is larger than every aperture is to be found impossible, not to
/// end the program.
@inlinable
public func alignUpClamped(_ value: UInt64, _ alignment: UInt64) -> UInt64 {
    alignUp(value, alignment) ?? alignDown(.max, alignment)
}

extension UInt64 {
    /// The smallest power of two that is no less, at most 2^63; 0 for 0.
    package var roundedUpToPowerOfTwo: UInt64 {
        guard self > 1 else { return self }
        return self > 1 << 63 ? 1 << 63 : 1 << UInt64(64 - (self - 1).leadingZeroBitCount)
    }

    /// The sum, or 2^64-1 where it is beyond 64 bits.
    @inlinable
    public func saturatingAdd(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
