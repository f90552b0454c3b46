// SPDX-License-Identifier: GPL-2.0-or-later

extension Unicode.Scalar {
    /// Whether a terminal may take the scalar as an order instead of showing it: C0 and C1 control characters, DEL, the
    /// marks that change the direction of text, and those that no document may hold.
    ///
    /// A line end and a tabulator are such characters too; who prints lines lets them pass.
    public var isControl: Bool {
        switch value {
        case 0x00...0x1f, 0x7f...0x9f, 0x061c, 0x200e, 0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfff9...0xfffb,
            0xfffe, 0xffff:
            true
        default: false
        }
    }
}

extension StringProtocol {
    /// The text on one line, with a question mark in place of every character that `Unicode.Scalar.isControl` names.
    /// - Complexity: O(length).
    public var printable: String {
        guard unicodeScalars.contains(where: \.isControl) else { return String(self) }
        var result = String.UnicodeScalarView()
        for scalar in unicodeScalars { result.append(scalar.isControl ? "?" : scalar) }
        return String(result)
    }
}

/// Makes bytes fit for a terminal: what is UTF-8 and no control character passes, every other character or byte becomes
/// a question mark; line ends and tabulators pass.
///
/// - Parameters:
///   - bytes: text in UTF-8, or what is meant to be.
///   - passes: bytes that this program put in itself, and how they are to read: looked for at every ESC.
/// - Returns: `bytes` in UTF-8 without anything that `Unicode.Scalar.isControl` names but those two.
/// - Complexity: O(number of bytes).
public func printableBytes(_ bytes: [UInt8], passing passes: [UInt8] = []) -> [UInt8] {
    // Nearly everything is plain ASCII.
    guard bytes.contains(where: { $0 < 0x20 && $0 != 0x0a && $0 != 0x09 || $0 >= 0x7f }) else { return bytes }
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var at = 0
    while at < bytes.count {
        let byte = bytes[at]
        if byte == 0x1b, !passes.isEmpty, bytes[(at + 1)...].starts(with: passes) {
            result.append(byte)
            at += 1 + passes.count
        } else if byte < 0x80 {
            // Lines of comma-separated values end in CR LF (RFC 4180); a CR elsewhere writes over its line.
            let isLineEnd = byte == 0x0d && at + 1 < bytes.count && bytes[at + 1] == 0x0a
            let isPlain = byte >= 0x20 && byte != 0x7f || byte == 0x0a || byte == 0x09 || isLineEnd
            result.append(isPlain ? byte : UInt8(ascii: "?"))
            at += 1
        } else {
            let length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
            let part = bytes[at..<min(at + length, bytes.count)]
            if let text = String(validating: part, as: UTF8.self), let scalar = text.unicodeScalars.first,
                text.unicodeScalars.count == 1
            {
                if scalar.isControl { result.append(UInt8(ascii: "?")) } else { result += part }
                at += length
            } else {
                result.append(UInt8(ascii: "?"))
                at += 1
            }
        }
    }
    return result
}
