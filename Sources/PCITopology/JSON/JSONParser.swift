// SPDX-License-Identifier: GPL-2.0-or-later

/// How large a JSON document may be before it is refused.
public struct JSONLimits: Hashable, Sendable {
    /// The number of bytes of the whole text.
    public var bytes: Int
    /// How deep containers may stand inside one another.
    public var depth: Int
    /// The number of values in the whole document.
    public var values: Int
    /// The number of bytes of one string, after its escapes are resolved.
    public var stringBytes: Int

    /// Creates limits.
    public init(bytes: Int, depth: Int, values: Int, stringBytes: Int) {
        self.bytes = bytes
        self.depth = depth
        self.values = values
        self.stringBytes = stringBytes
    }

    /// 16 MiB, 16 levels, half a million values, strings of 64 KiB: for files from elsewhere.
    public static let strict = JSONLimits(bytes: 16 << 20, depth: 16, values: 500_000, stringBytes: 64 << 10)
    /// 64 MiB, 32 levels, two million values, strings of 16 MiB: for records of whole machines.
    public static let record = JSONLimits(bytes: 64 << 20, depth: 32, values: 2_000_000, stringBytes: 16 << 20)
}

/// Reads JSON text (RFC 8259) strictly and within limits.
///
/// Refused beyond what the RFC forbids: a key that occurs twice in an object, numbers that are not integers of at most
/// 63 bits, a byte order mark, text after the document, ill-formed UTF-8, unpaired surrogates, and whatever exceeds the
/// limits. The parser never traps and never looks ahead of the bytes that it was given.
public struct JSONParser: Sendable {
    private let text: [UInt8]
    private let limits: JSONLimits
    private var position = 0
    private var depth = 0
    private var values = 0

    private init(_ text: [UInt8], limits: JSONLimits) {
        self.text = text
        self.limits = limits
    }

    /// The document that `text` holds.
    ///
    /// - Throws: `JSONError` with the place of the first byte that cannot be accepted.
    /// - Complexity: O(n log n) in the number of bytes at worst (the search for repeated keys), O(n) otherwise.
    public static func parse(_ text: [UInt8], limits: JSONLimits = .strict) throws(JSONError) -> JSONTree {
        guard text.count <= limits.bytes else {
            throw JSONError(place: "", reason: "expected at most \(limits.bytes) bytes, found \(text.count)")
        }
        var parser = JSONParser(text, limits: limits)
        let tree = try parser.value()
        parser.skipSpace()
        guard parser.position == text.count else { throw parser.error("expected the end, found more text") }
        return tree
    }

    // MARK: Values

    private mutating func value() throws(JSONError) -> JSONTree {
        skipSpace()
        values += 1
        guard values <= limits.values else { throw error("expected at most \(limits.values) values, found more") }
        guard let byte = peek else { throw error("expected a value, found the end") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"):
            try literal("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try literal("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try literal("null")
            return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .integer(try integer())
        default: throw error("expected a value, found \(name(byte))")
        }
    }

    private mutating func object() throws(JSONError) -> [JSONMember] {
        try enter()
        var members: [JSONMember] = []
        skipSpace()
        if peek == UInt8(ascii: "}") {
            leave()
            return members
        }
        while true {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw error("expected a key, found \(name(peek))") }
            let key = try string()
            skipSpace()
            try take(UInt8(ascii: ":"), "a colon")
            members.append(JSONMember(key: key, value: try value()))
            skipSpace()
            if peek == UInt8(ascii: ",") {
                position += 1
                continue
            }
            guard peek == UInt8(ascii: "}") else { throw error("expected a comma or }, found \(name(peek))") }
            leave()
            try refuseRepeatedKeys(members)
            return members
        }
    }

    private mutating func array() throws(JSONError) -> [JSONTree] {
        try enter()
        var elements: [JSONTree] = []
        skipSpace()
        if peek == UInt8(ascii: "]") {
            leave()
            return elements
        }
        while true {
            elements.append(try value())
            skipSpace()
            if peek == UInt8(ascii: ",") {
                position += 1
                continue
            }
            guard peek == UInt8(ascii: "]") else { throw error("expected a comma or ], found \(name(peek))") }
            leave()
            return elements
        }
    }

    private mutating func integer() throws(JSONError) -> Int64 {
        let isNegative = peek == UInt8(ascii: "-")
        if isNegative { position += 1 }
        guard let first = peek, isDigit(first) else { throw error("expected a digit, found \(name(peek))") }
        var number: Int64 = 0
        let start = position
        while let byte = peek, isDigit(byte) {
            if position > start, text[start] == UInt8(ascii: "0") {
                throw error("expected a number without leading zero")
            }
            let digit = Int64(byte - UInt8(ascii: "0"))
            let (product, o1) = number.multipliedReportingOverflow(by: 10)
            let (sum, o2) = product.addingReportingOverflow(digit)
            guard !o1, !o2 else { throw error("expected an integer below 2^63, found a larger one") }
            number = sum
            position += 1
        }
        if let byte = peek, byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e") {
            throw error("expected an integer, found a fraction or an exponent")
        }
        return isNegative ? -number : number
    }

    // MARK: Strings

    private mutating func string() throws(JSONError) -> String {
        position += 1
        let start = position
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        guard peek == UInt8(ascii: "\\") else {
            guard peek == UInt8(ascii: "\"") else {
                throw error("expected the end of a string, found \(name(peek))")
            }
            let content = text[start..<position]
            try checkLength(content.count)
            guard let string = String(validating: content, as: UTF8.self) else { throw error("expected UTF-8 text") }
            position += 1
            return string
        }
        var content = Array(text[start..<position])
        while true {
            try checkLength(content.count)
            guard let byte = peek else { throw error("expected the end of a string, found the end") }
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: content, as: UTF8.self) else {
                    throw error("expected UTF-8 text")
                }
                position += 1
                return string
            case UInt8(ascii: "\\"): try escape(into: &content)
            case 0..<0x20: throw error("expected an escaped control character, found \(name(byte))")
            default:
                content.append(byte)
                position += 1
            }
        }
    }

    private mutating func escape(into content: inout [UInt8]) throws(JSONError) {
        position += 1
        guard let byte = peek else { throw error("expected an escape, found the end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0c)
        case UInt8(ascii: "n"): content.append(0x0a)
        case UInt8(ascii: "r"): content.append(0x0d)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"):
            var scalar = try fourDigits()
            if (0xd800..<0xdc00).contains(scalar) {
                try take(UInt8(ascii: "\\"), "a second surrogate")
                try take(UInt8(ascii: "u"), "a second surrogate")
                let low = try fourDigits()
                guard (0xdc00..<0xe000).contains(low) else { throw error("expected a second surrogate") }
                // Both are below 2^16, so the sum stays below 2^21.
                scalar = 0x1_0000 + (scalar - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let unicode = Unicode.Scalar(scalar) else { throw error("expected a Unicode scalar") }
            content.append(contentsOf: String(Character(unicode)).utf8)
        default: throw error("expected an escape, found \(name(byte))")
        }
    }

    private mutating func fourDigits() throws(JSONError) -> UInt32 {
        var result: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = hexDigit(byte) else {
                throw error("expected four hexadecimal digits, found \(name(peek))")
            }
            result = result << 4 | digit
            position += 1
        }
        return result
    }

    private func hexDigit(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }

    private func checkLength(_ count: Int) throws(JSONError) {
        guard count <= limits.stringBytes else {
            throw error("expected a string of at most \(limits.stringBytes) bytes, found a longer one")
        }
    }

    // MARK: Bytes

    private var peek: UInt8? { position < text.count ? text[position] : nil }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ byte: UInt8, _ what: String) throws(JSONError) {
        guard peek == byte else { throw error("expected \(what), found \(name(peek))") }
        position += 1
    }

    private mutating func literal(_ word: StaticString) throws(JSONError) {
        for expected in String(describing: word).utf8 {
            guard peek == expected else { throw error("expected \(word), found \(name(peek))") }
            position += 1
        }
    }

    private mutating func enter() throws(JSONError) {
        depth += 1
        guard depth <= limits.depth else { throw error("expected at most \(limits.depth) levels, found more") }
        position += 1
    }

    private mutating func leave() {
        depth -= 1
        position += 1
    }

    private func refuseRepeatedKeys(_ members: [JSONMember]) throws(JSONError) {
        if members.count <= 16 {
            for (i, member) in members.enumerated() where members[..<i].contains(where: { $0.key == member.key }) {
                throw error("expected each key once, found \(shown(member.key)) twice")
            }
            return
        }
        let keys = members.map(\.key).sorted()
        for i in 1..<keys.count where keys[i] == keys[i - 1] {
            throw error("expected each key once, found \(shown(keys[i])) twice")
        }
    }

    private func error(_ reason: String) -> JSONError {
        let head = text[..<min(position, text.count)]
        let line = 1 + head.count { $0 == 0x0a }
        let column = position - (head.lastIndex(of: 0x0a) ?? -1)
        return JSONError(place: "line \(line), column \(column)", reason: reason)
    }

    private func name(_ byte: UInt8?) -> String {
        guard let byte else { return "the end" }
        return byte > 0x20 && byte < 0x7f
            ? String(Character(Unicode.Scalar(byte))) : "byte \(hex(UInt64(byte), width: 2))"
    }
}
