// SPDX-License-Identifier: GPL-2.0-or-later

/// A piece of text as bytes: a line, or part of one. Never copies.
typealias TextBytes = ArraySlice<UInt8>

extension ArraySlice<UInt8> {
    /// Whether the text begins with `prefix` (ASCII).
    func starts(_ prefix: StaticString) -> Bool {
        let length = prefix.utf8CodeUnitCount
        guard count >= length else { return false }
        return prefix.withUTF8Buffer { wanted in
            for i in 0..<length where self[startIndex + i] != wanted[i] { return false }
            return true
        }
    }

    /// Whether the text ends with `suffix` (ASCII).
    func ends(_ suffix: StaticString) -> Bool {
        let length = suffix.utf8CodeUnitCount
        guard count >= length else { return false }
        return suffix.withUTF8Buffer { wanted in
            for i in 0..<length where self[endIndex - length + i] != wanted[i] { return false }
            return true
        }
    }

    /// The index where `needle` (ASCII) first stands, or nil.
    /// - Complexity: O(n) for needles whose first byte is rare.
    func find(_ needle: StaticString) -> Int? {
        let length = needle.utf8CodeUnitCount
        guard length > 0, count >= length else { return nil }
        return withUnsafeBufferPointer { text in
            needle.withUTF8Buffer { wanted in
                let first = wanted[0]
                var i = 0
                let last = text.count - length
                while i <= last {
                    if text[i] == first {
                        var j = 1
                        while j < length, text[i + j] == wanted[j] { j += 1 }
                        if j == length { return startIndex + i }
                    }
                    i += 1
                }
                return nil
            }
        }
    }

    /// Whether `needle` (ASCII) stands anywhere in the text.
    func has(_ needle: StaticString) -> Bool { find(needle) != nil }

    /// The text after the first `needle`, or nil without one.
    func after(_ needle: StaticString) -> TextBytes? {
        find(needle).map { self[($0 + needle.utf8CodeUnitCount)...] }
    }

    /// The text before the first `needle`, or all of it.
    func before(_ needle: StaticString) -> TextBytes { find(needle).map { self[..<$0] } ?? self }

    /// The text without leading and trailing blanks, tabs and carriage returns.
    var trimmed: TextBytes {
        var a = startIndex
        var b = endIndex
        while a < b, isBlank(self[a]) { a += 1 }
        while b > a, isBlank(self[b - 1]) { b -= 1 }
        return self[a..<b]
    }

    /// The words between blanks.
    func words() -> [TextBytes] {
        split(omittingEmptySubsequences: true, whereSeparator: isBlank)
    }

    /// The text as a string; bytes that are not UTF-8 become replacement characters.
    var string: String { String(decoding: self, as: UTF8.self) }

    /// Whether the text equals `other` (ASCII).
    func equals(_ other: StaticString) -> Bool { count == other.utf8CodeUnitCount && starts(other) }

    /// Takes hexadecimal digits off the front; nil, and nothing taken, without one or with more than 16.
    mutating func takeHex() -> UInt64? {
        var value: UInt64 = 0
        var i = startIndex
        while i < endIndex, let digit = hexDigit(self[i]) {
            guard i - startIndex < 16 else { return nil }
            value = value << 4 | UInt64(digit)
            i += 1
        }
        guard i > startIndex else { return nil }
        self = self[i...]
        return value
    }

    /// Takes `0x` and hexadecimal digits off the front.
    mutating func takePrefixedHex() -> UInt64? {
        let rest = self
        guard take("0x") else { return nil }
        if let value = takeHex() { return value }
        self = rest
        return nil
    }

    /// Takes decimal digits off the front; nil, and nothing taken, without one or beyond 2^64-1.
    mutating func takeDecimal() -> UInt64? {
        var value: UInt64 = 0
        var i = startIndex
        while i < endIndex, self[i] >= 0x30, self[i] <= 0x39 {
            let (product, o1) = value.multipliedReportingOverflow(by: 10)
            let (sum, o2) = product.addingReportingOverflow(UInt64(self[i] - 0x30))
            guard !o1, !o2 else { return nil }
            value = sum
            i += 1
        }
        guard i > startIndex else { return nil }
        self = self[i...]
        return value
    }

    /// Takes `prefix` off the front; false, and nothing taken, when it does not stand there.
    mutating func take(_ prefix: StaticString) -> Bool {
        guard starts(prefix) else { return false }
        self = self[(startIndex + prefix.utf8CodeUnitCount)...]
        return true
    }

    /// Takes blanks and tabs off the front.
    mutating func skipBlanks() {
        var i = startIndex
        while i < endIndex, isBlank(self[i]) { i += 1 }
        self = self[i...]
    }

    /// The whole text as one hexadecimal number, or nil.
    var hexValue: UInt64? {
        var rest = self
        guard let value = rest.takeHex(), rest.isEmpty else { return nil }
        return value
    }

    /// The whole text as one decimal number, or nil.
    var decimalValue: UInt64? {
        var rest = self
        guard let value = rest.takeDecimal(), rest.isEmpty else { return nil }
        return value
    }
}

/// Whether `byte` is a blank, a tab or a carriage return.
func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d }

/// The value of a hexadecimal digit, or nil.
func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x61...0x66: byte - 0x61 + 10
    case 0x41...0x46: byte - 0x41 + 10
    default: nil
    }
}

/// The lines of a text, without their ends. Accepts line feed and carriage return with line feed.
struct TextLines: Sequence, IteratorProtocol {
    private let bytes: [UInt8]
    private var at = 0

    /// Creates the lines of `bytes`.
    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The next line, or nil at the end.
    mutating func next() -> TextBytes? {
        guard at < bytes.count else { return nil }
        let start = at
        var end = at
        bytes.withUnsafeBufferPointer { p in
            while end < p.count, p[end] != 0x0a { end += 1 }
        }
        at = end + 1
        if end > start, bytes[end - 1] == 0x0d { end -= 1 }
        return bytes[start..<end]
    }
}
