// SPDX-License-Identifier: GPL-2.0-or-later

/// The encoding quoted-printable of mail (RFC 2045, 6.7).
enum QuotedPrintable {
    /// The text decoded where it is the source of such a mail, else as it is.
    /// - Complexity: O(number of bytes).
    static func plain(_ bytes: [UInt8]) -> [UInt8] { isUsed(in: bytes) ? decoded(bytes) : bytes }

    /// Whether the text is the source of a mail in the encoding quoted-printable (RFC 2045, 6.7): it says so, or two lines
    /// as long as the encoding cuts them end with its soft line break.
    private static func isUsed(in bytes: [UInt8]) -> Bool {
        var cut = 0
        for line in TextLines(bytes) {
            if line.last == 0x3d, (64...76).contains(line.count) { cut += 1 }
            if cut == 2 || line.starts("Content-Transfer-Encoding: quoted-printable") { return true }
        }
        return false
    }

    /// A quoted-printable text decoded; what is no escape stays as it is.
    private static func decoded(_ bytes: [UInt8]) -> [UInt8] {
        func digit(_ byte: UInt8) -> UInt8? {
            // Only capitals are escapes; a log is full of lower-case hexadecimal behind equals signs.
            (0x61...0x66).contains(byte) ? nil : hexDigit(byte)
        }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var i = 0
        while i < bytes.count {
            guard bytes[i] == 0x3d else {
                result.append(bytes[i])
                i += 1
                continue
            }
            if i + 1 < bytes.count, bytes[i + 1] == 0x0a {
                i += 2
            } else if i + 2 < bytes.count, bytes[i + 1] == 0x0d, bytes[i + 2] == 0x0a {
                i += 3
            } else if i + 2 < bytes.count, let high = digit(bytes[i + 1]), let low = digit(bytes[i + 2]) {
                result.append(high << 4 | low)
                i += 3
            } else {
                result.append(0x3d)
                i += 1
            }
        }
        return result
    }
}
