// SPDX-License-Identifier: GPL-2.0-or-later

/// Finds the place where a text stops being JSON (RFC 8259). Only asked after a decoder has refused the text.
struct JSONSyntax {
    private let bytes: [UInt8]
    private var at = 0
    private var depth = 0

    /// A place and what was expected there.
    struct Fault: Error {
        var offset: Int
        var expected: String
    }

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// `line 2, column 13: expected a value, found "t"`, or nil when the text is JSON.
    static func fault(in bytes: [UInt8]) -> String? {
        var parser = JSONSyntax(bytes)
        do throws(Fault) {
            try parser.value()
            parser.blanks()
            guard parser.at == bytes.count else { throw parser.expected("the end") }
            return nil
        } catch {
            let head = bytes[..<min(error.offset, bytes.count)]
            let line = 1 + head.count { $0 == 0x0a }
            let column = error.offset - (head.lastIndex(of: 0x0a) ?? -1)
            return "line \(line), column \(column): expected \(error.expected), found \(parser.found(error.offset))"
        }
    }

    private func found(_ offset: Int) -> String {
        guard offset < bytes.count else { return "the end" }
        let byte = bytes[offset]
        return byte > 0x20 && byte < 0x7f ? "\"\(Character(Unicode.Scalar(byte)))\"" : "byte \(byte)"
    }

    private func expected(_ what: String) -> Fault { Fault(offset: at, expected: what) }

    private mutating func blanks() {
        while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x0a || bytes[at] == 0x0d || bytes[at] == 0x09 {
            at += 1
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    private mutating func value() throws(Fault) {
        blanks()
        guard at < bytes.count else { throw expected("a value") }
        switch bytes[at] {
        case UInt8(ascii: "{"): try object()
        case UInt8(ascii: "["): try list()
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
        default:
            for word in ["true", "false", "null"] where bytes[at...].starts(with: word.utf8) {
                at += word.utf8.count
                return
            }
            throw expected("a value")
        }
    }

    private mutating func enter() throws(Fault) {
        depth += 1
        guard depth <= 512 else { throw expected("at most 512 levels") }
        at += 1
    }

    private mutating func object() throws(Fault) {
        try enter()
        blanks()
        if !take(UInt8(ascii: "}")) {
            while true {
                blanks()
                guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw expected("a key or \"}\"") }
                try string()
                blanks()
                guard take(UInt8(ascii: ":")) else { throw expected("\":\"") }
                try value()
                blanks()
                if take(UInt8(ascii: "}")) { break }
                guard take(UInt8(ascii: ",")) else { throw expected("\",\" or \"}\"") }
            }
        }
        depth -= 1
    }

    private mutating func list() throws(Fault) {
        try enter()
        blanks()
        if !take(UInt8(ascii: "]")) {
            while true {
                try value()
                blanks()
                if take(UInt8(ascii: "]")) { break }
                guard take(UInt8(ascii: ",")) else { throw expected("\",\" or \"]\"") }
            }
        }
        depth -= 1
    }

    private mutating func string() throws(Fault) {
        at += 1
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                at += 1
                return
            }
            guard byte >= 0x20 else { throw expected("text without control characters") }
            at += byte == UInt8(ascii: "\\") ? 2 : 1
        }
        throw expected("the end of the text")
    }

    private mutating func number() throws(Fault) {
        _ = take(UInt8(ascii: "-"))
        let start = at
        while at < bytes.count, Self.isNumberByte(bytes[at]) { at += 1 }
        guard at > start else { throw expected("a digit") }
    }

    private static func isNumberByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"),
            UInt8(ascii: "+"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
