// SPDX-License-Identifier: GPL-2.0-or-later

/// Writes one JSON document (RFC 8259), front to back, without building a tree first.
///
/// Fields appear in the order in which they are written; documents whose keys are to be sorted are written in sorted
/// order. A `JSONWriter` never fails: text is escaped, and there is no value that JSON cannot hold.
///
///     var json = JSONWriter(.indented)
///     json.object {
///         $0.field("address", hex: 0xfe80_0000)
///         $0.array("names") { for name in names { $0.value(name) } }
///     }
///     output.write(json.document)
public struct JSONWriter: Sendable {
    /// How the document is laid out.
    public enum Layout: Hashable, Sendable {
        /// No white space at all.
        case compact
        /// Two spaces per level, a field or element per line.
        case indented
    }

    private var bytes: [UInt8] = []
    private var depth = 0
    private var needsComma = false
    private var followsKey = false
    private let layout: Layout

    /// Creates an empty document.
    public init(_ layout: Layout = .indented) { self.layout = layout }

    /// The document so far, closed by a newline when it is indented.
    public var document: [UInt8] { layout == .indented && !bytes.isEmpty ? bytes + [UInt8(ascii: "\n")] : bytes }

    /// The number of bytes written so far.
    public var count: Int { bytes.count }

    // MARK: Containers

    /// Writes an object; `body` writes its fields.
    public mutating func object<E: Error>(_ body: (inout JSONWriter) throws(E) -> Void) throws(E) {
        open(UInt8(ascii: "{"))
        try body(&self)
        close(UInt8(ascii: "}"))
    }

    /// Writes an array; `body` writes its elements.
    public mutating func array<E: Error>(_ body: (inout JSONWriter) throws(E) -> Void) throws(E) {
        open(UInt8(ascii: "["))
        try body(&self)
        close(UInt8(ascii: "]"))
    }

    /// Writes a field that holds an object.
    public mutating func object<E: Error>(_ key: String, _ body: (inout JSONWriter) throws(E) -> Void) throws(E) {
        self.key(key)
        try object(body)
    }

    /// Writes a field that holds an array.
    public mutating func array<E: Error>(_ key: String, _ body: (inout JSONWriter) throws(E) -> Void) throws(E) {
        self.key(key)
        try array(body)
    }

    // MARK: Values

    /// Writes a string.
    public mutating func value(_ text: String) {
        separate()
        quote(text)
        needsComma = true
    }

    /// Writes an integer.
    public mutating func value(_ number: some BinaryInteger) {
        separate()
        bytes.append(contentsOf: String(number).utf8)
        needsComma = true
    }

    /// Writes `true` or `false`.
    public mutating func value(_ flag: Bool) {
        separate()
        bytes.append(contentsOf: (flag ? "true" : "false").utf8)
        needsComma = true
    }

    /// Writes `null`.
    public mutating func null() {
        separate()
        bytes.append(contentsOf: "null".utf8)
        needsComma = true
    }

    /// Writes a number as a string of hexadecimal digits after `0x`, padded with zeros to at least `width` digits.
    public mutating func value(hex number: UInt64, width: Int = 0) { value(PCITopology.hex(number, width: width)) }

    // MARK: Fields

    /// Writes the key of the next value.
    public mutating func key(_ key: String) {
        separate()
        quote(key)
        bytes.append(UInt8(ascii: ":"))
        if layout == .indented { bytes.append(UInt8(ascii: " ")) }
        needsComma = false
        followsKey = true
    }

    /// Writes a field that holds a string, or `null`.
    public mutating func field(_ key: String, _ text: String?) {
        self.key(key)
        if let text { value(text) } else { null() }
    }

    /// Writes a field that holds an integer, or `null`.
    public mutating func field(_ key: String, _ number: (some BinaryInteger)?) {
        self.key(key)
        if let number { value(number) } else { null() }
    }

    /// Writes a field that holds `true`, `false` or `null`.
    public mutating func field(_ key: String, _ flag: Bool?) {
        self.key(key)
        if let flag { value(flag) } else { null() }
    }

    /// Writes a field that holds a number as a hexadecimal string, or `null`.
    public mutating func field(_ key: String, hex number: UInt64?, width: Int = 0) {
        self.key(key)
        if let number { value(hex: number, width: width) } else { null() }
    }

    /// Writes a field that holds an array of strings.
    public mutating func field(_ key: String, _ texts: [String]) {
        array(key) { json in
            for text in texts { json.value(text) }
        }
    }

    // MARK: Layout

    private mutating func open(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
        depth += 1
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        depth -= 1
        if needsComma { newLine() }
        bytes.append(bracket)
        needsComma = true
    }

    private mutating func separate() {
        if followsKey {
            followsKey = false
            return
        }
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        if depth > 0 { newLine() }
    }

    private mutating func newLine() {
        guard layout == .indented else { return }
        bytes.append(UInt8(ascii: "\n"))
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * max(depth, 0)))
    }

    private mutating func quote(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        guard !text.unicodeScalars.contains(where: { $0.value > 0x7f && $0.isControl }) else { return quoteRare(text) }
        for byte in text.utf8 { quote(byte) }
        bytes.append(UInt8(ascii: "\""))
    }

    /// A text with characters beyond ASCII that a terminal might obey: as their numbers.
    private mutating func quoteRare(_ text: String) {
        for scalar in text.unicodeScalars {
            if scalar.value > 0x7f, scalar.isControl {
                bytes.append(contentsOf: "\\u\(bareHex(UInt64(scalar.value), width: 4))".utf8)
            } else {
                for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter { quote(byte) }
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func quote(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0x0a: bytes.append(contentsOf: "\\n".utf8)
        case 0x0d: bytes.append(contentsOf: "\\r".utf8)
        case 0x09: bytes.append(contentsOf: "\\t".utf8)
        case 0..<0x20, 0x7f: bytes.append(contentsOf: "\\u\(bareHex(UInt64(byte), width: 4))".utf8)
        default: bytes.append(byte)
        }
    }
}
