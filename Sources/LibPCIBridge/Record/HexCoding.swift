// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension KeyedDecodingContainer {
    /// The error of a value that has the right JSON type and does not say what it must say.
    func wrong(_ key: Key, _ sentence: String) -> DecodingError {
        DecodingError.dataCorruptedError(forKey: key, in: self, debugDescription: sentence)
    }

    func address(_ key: Key) throws -> FunctionAddress {
        let text = try decode(String.self, forKey: key)
        guard let address = FunctionAddress(parsing: text) else {
            throw wrong(key, "expected an address like 0000:00:1f.2, found \"\(text)\"")
        }
        return address
    }

    func hex<Number: FixedWidthInteger>(_ key: Key) throws -> Number {
        let text = try decode(String.self, forKey: key)
        var rest = Array(text.utf8)[...]
        guard let value = rest.takePrefixedHex(), rest.isEmpty, let number = Number(exactly: value) else {
            throw wrong(key, "expected a hexadecimal number of at most \(Number.bitWidth) bits, found \"\(text)\"")
        }
        return number
    }

    func hexIfPresent<Number: FixedWidthInteger>(_ key: Key) throws -> Number? {
        contains(key) ? try hex(key) : nil
    }
}

/// The line that `text` states, as `ResourceLine(parsing:)` and quicker.
func resourceLine(_ text: String) -> ResourceLine? {
    var copy = text
    return copy.withUTF8 { bytes in
        guard let lines = resourceLines(bytes), lines.count == 1 else { return nil }
        return lines[0]
    }
}

/// The bytes that pairs of hexadecimal digits state, or nil for anything else.
func hexBytes(_ text: String) -> [UInt8]? {
    var copy = text
    return copy.withUTF8 { digits in
        guard digits.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        var i = 0
        while i < digits.count {
            guard let high = hexDigit(digits[i]), let low = hexDigit(digits[i + 1]) else { return nil }
            bytes.append(UInt8(high) << 4 | UInt8(low))
            i += 2
        }
        return bytes
    }
}

/// Two hexadecimal digits for each byte.
func hexText(_ bytes: ArraySlice<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(unsafeUninitializedCapacity: bytes.count * 2) { buffer in
        var i = 0
        for byte in bytes {
            buffer[i] = digits[Int(byte >> 4)]
            buffer[i + 1] = digits[Int(byte & 15)]
            i += 2
        }
        return i
    }
}
