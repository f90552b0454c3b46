// SPDX-License-Identifier: GPL-2.0-or-later

/// An array that is indexed by 32-bit numbers, as the twin's cross references are stored.
struct Table<Element: Sendable>: Sendable {
    var storage: [Element] = []

    /// The number of elements.
    var count: Int32 { Int32(truncatingIfNeeded: storage.count) }

    @inline(__always)
    subscript(_ index: Int32) -> Element {
        get { storage[Int(index)] }
        _modify { yield &storage[Int(index)] }
    }

    /// Appends an element and gives its number.
    mutating func append(_ element: Element) -> Int32 {
        storage.append(element)
        return Int32(truncatingIfNeeded: storage.count - 1)
    }
}

/// A table that remembers which of its elements were changed.
struct TrackedTable<Element: Sendable>: Sendable {
    private var storage: [Element] = []
    /// A bit for each element.
    private var marks: [UInt64] = []

    /// The number of elements.
    @inline(__always)
    var count: Int32 { Int32(truncatingIfNeeded: storage.count) }

    @inline(__always)
    subscript(_ index: Int32) -> Element {
        get { storage[Int(index)] }
        _modify {
            marks[Int(index) >> 6] |= 1 << UInt64(index & 63)
            yield &storage[Int(index)]
        }
    }

    /// Appends an element and gives its number.
    mutating func append(_ element: Element) -> Int32 {
        if storage.count & 63 == 0 { marks.append(0) }
        storage.append(element)
        marks[(storage.count - 1) >> 6] |= 1 << UInt64((storage.count - 1) & 63)
        return Int32(truncatingIfNeeded: storage.count - 1)
    }

    /// Calls `body` with the number of each element that was changed since the marks were taken away, ascending.
    func forEachChanged(_ body: (Int32) -> Void) {
        for (n, word) in marks.enumerated() {
            var rest = word
            while rest != 0 {
                body(Int32(truncatingIfNeeded: n << 6 | rest.trailingZeroBitCount))
                rest &= rest - 1
            }
        }
    }

    /// Takes the marks away.
    mutating func forgetChanges() {
        for n in marks.indices where marks[n] != 0 { marks[n] = 0 }
    }
}

/// "No such element" among 32-bit cross references.
let none: Int32 = -1

/// The arithmetic of `resource_size_t`: modulo 2^64.
///
/// The kernel computes with unsigned words that wrap, and some of its results depend on that (a range of size zero has its
/// end one below its start). Every `&+` and `&-` of the twin is this arithmetic, never an unchecked index.
enum Word {
    /// Rounds up to a power of two, wrapping past the top as the C macro `ALIGN` does; an alignment of 0 gives 0.
    @inline(__always)
    static func align(_ value: UInt64, _ alignment: UInt64) -> UInt64 {
        (value &+ (alignment &- 1)) & ~(alignment &- 1)
    }

    /// Rounds down to a power of two, as the C macro `ALIGN_DOWN` does.
    @inline(__always)
    static func alignDown(_ value: UInt64, _ alignment: UInt64) -> UInt64 { value & ~(alignment &- 1) }
}
