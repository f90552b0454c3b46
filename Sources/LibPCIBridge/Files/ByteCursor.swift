// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// A place in the bytes of a small file. Never outlives the buffer that it looks at.
struct ByteCursor {
    private let bytes: UnsafeBufferPointer<UInt8>
    private(set) var at = 0

    /// Starts at the first byte.
    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// Whether all bytes are used up.
    var isAtEnd: Bool { at >= bytes.count }

    /// Skips blanks, but not line ends.
    mutating func skipBlanks() { while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x09 { at += 1 } }

    /// Takes one line end; false when none stands here.
    mutating func lineEnd() -> Bool {
        guard at < bytes.count, bytes[at] == 0x0a else { return false }
        at += 1
        return true
    }

    /// Takes `0x` and up to 16 hexadecimal digits; nil, and the place undefined, for anything else.
    mutating func prefixedHex() -> UInt64? {
        guard at + 2 < bytes.count, bytes[at] == 0x30, bytes[at + 1] == 0x78 else { return nil }
        at += 2
        return hex()
    }

    /// Takes 1 to 16 hexadecimal digits; nil, and the place undefined, for anything else.
    mutating func hex() -> UInt64? {
        var value: UInt64 = 0
        var count = 0
        while at < bytes.count, let digit = hexDigit(bytes[at]) {
            guard count < 16 else { return nil }
            value = value << 4 | UInt64(digit)
            count += 1
            at += 1
        }
        return count > 0 ? value : nil
    }

    /// Takes the bytes up to `stop` and `stop` itself, or to the end.
    mutating func take(upTo stop: UInt8) -> UnsafeBufferPointer<UInt8> {
        let start = at
        while at < bytes.count, bytes[at] != stop { at += 1 }
        let taken = UnsafeBufferPointer(rebasing: bytes[start..<at])
        if at < bytes.count { at += 1 }
        return taken
    }
}

/// The lines of a sysfs file `resource`, or nil when a line has another form.
func resourceLines(_ bytes: UnsafeBufferPointer<UInt8>) -> [ResourceLine]? {
    var lines: [ResourceLine] = []
    lines.reserveCapacity(bytes.count / 57 + 1)
    var cursor = ByteCursor(bytes)
    while !cursor.isAtEnd {
        guard lines.count < 24, let start = cursor.prefixedHex() else { return nil }
        cursor.skipBlanks()
        guard let end = cursor.prefixedHex() else { return nil }
        cursor.skipBlanks()
        guard let flags = cursor.prefixedHex() else { return nil }
        guard cursor.lineEnd() || cursor.isAtEnd else { return nil }
        lines.append(ResourceLine(start: start, end: end, flags: ResourceFlags(rawValue: flags)))
    }
    return lines
}

/// The decimal number at the front of `bytes`, with sign, or nil.
func decimal(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    var i = 0
    let isNegative = bytes.first == 0x2d
    if isNegative { i = 1 }
    var value = 0
    let start = i
    while i < bytes.count, bytes[i] >= 0x30, bytes[i] <= 0x39 {
        let (product, o1) = value.multipliedReportingOverflow(by: 10)
        let (sum, o2) = product.addingReportingOverflow(Int(bytes[i] - 0x30))
        guard !o1, !o2 else { return nil }
        value = sum
        i += 1
    }
    guard i > start else { return nil }
    return isNegative ? -value : value
}

/// The text of `bytes` without blanks and line ends around it.
func trimmedText(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
    var a = 0
    var b = bytes.count
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0a || byte == 0x09 || byte == 0x0d || byte == 0 }
    while a < b, isSpace(bytes[a]) { a += 1 }
    while b > a, isSpace(bytes[b - 1]) { b -= 1 }
    return String(decoding: bytes[a..<b], as: UTF8.self)
}

/// Whether `bytes` begin with `prefix` (ASCII).
func begins(_ bytes: UnsafeBufferPointer<UInt8>, _ prefix: StaticString) -> Bool {
    let length = prefix.utf8CodeUnitCount
    guard bytes.count >= length else { return false }
    return prefix.withUTF8Buffer { wanted in
        for i in 0..<length where bytes[i] != wanted[i] { return false }
        return true
    }
}
