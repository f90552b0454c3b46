// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Addresses and registers are hexadecimal text in a record: a double loses 64-bit integers. A field that is null counts
// as absent.

extension JSONFields {
    mutating func text(_ key: String) throws(JSONError) -> String {
        try string(key, atMost: JSONLimits.record.stringBytes)
    }

    mutating func textIfPresent(_ key: String) throws(JSONError) -> String? { holds(key) ? try text(key) : nil }

    mutating func textsIfPresent(_ key: String) throws(JSONError) -> [String]? {
        guard holds(key) else { return nil }
        return try strings(key, atMost: JSONLimits.record.values, bytes: JSONLimits.record.stringBytes)
    }

    mutating func numberIfPresent(_ key: String) throws(JSONError) -> Int? {
        holds(key) ? try integer(key, in: .min ... .max) : nil
    }

    mutating func boolIfPresent(_ key: String) throws(JSONError) -> Bool? { holds(key) ? try bool(key) : nil }

    /// Takes an address, with its segment or without.
    mutating func function(_ key: String) throws(JSONError) -> FunctionAddress {
        try Self.function(text(key), at: path(key))
    }

    mutating func functionIfPresent(_ key: String) throws(JSONError) -> FunctionAddress? {
        holds(key) ? try function(key) : nil
    }

    mutating func functionsIfPresent(_ key: String) throws(JSONError) -> [FunctionAddress]? {
        let place = path(key)
        return try textsIfPresent(key)?.map { text throws(JSONError) in try Self.function(text, at: place) }
    }

    mutating func hexIfPresent<Number: FixedWidthInteger>(_ key: String) throws(JSONError) -> Number? {
        guard holds(key) else { return nil }
        return Number(truncatingIfNeeded: try hex(key, atMost: UInt64(Number.max)))
    }

    /// Takes the objects of an array, which may be absent.
    mutating func objects<Value>(
        _ key: String,
        _ read: (inout JSONFields) throws(JSONError) -> Value
    ) throws(JSONError) -> [Value] {
        guard holds(key) else { return [] }
        let place = path(key)
        var result: [Value] = []
        for (i, tree) in try array(key, atMost: JSONLimits.record.values).enumerated() {
            var fields = try JSONFields(tree, at: "\(place)[\(i)]")
            result.append(try read(&fields))
        }
        return result
    }

    private static func function(_ text: String, at place: String) throws(JSONError) -> FunctionAddress {
        guard let address = FunctionAddress(parsing: text) else {
            throw JSONError(place: place, reason: "expected an address like 0000:00:1f.2, found \(shown(text))")
        }
        return address
    }
}

extension JSONWriter {
    /// Writes an array of objects.
    mutating func objects<Value>(_ key: String, _ values: [Value], _ write: (Value, inout JSONWriter) -> Void) {
        array(key) { json in
            for value in values { json.object { write(value, &$0) } }
        }
    }

    mutating func fieldIfPresent(_ key: String, hex number: (some BinaryInteger)?, width: Int = 0) {
        if let number { field(key, hex: UInt64(number), width: width) }
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
