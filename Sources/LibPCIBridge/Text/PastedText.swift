// SPDX-License-Identifier: GPL-2.0-or-later

/// What forums, mail, terminals and editors put around a text, taken off: the text as its program printed it.
///
/// Byte by byte: UTF-16, byte order marks, quoted-printable mail, escape sequences of terminals, character references and the few tags of HTML
/// and of bulletin boards, typographic quotation marks, blanks that are none. Line by line: quotation marks of mail, line
/// numbers, the indentation of blocks of code, and the records of container runtimes and of the journal.
enum PastedText {
    /// The text in `bytes` as its program printed it.
    /// - Complexity: O(number of bytes).
    static func plain(_ bytes: [UInt8]) -> [UInt8] {
        withoutMargins(withoutMarkup(QuotedPrintable.plain(utf8(bytes))))
    }

    // MARK: Encoding

    /// The text in UTF-8, without a byte order mark. PowerShell writes what it redirects in UTF-16.
    private static func utf8(_ bytes: [UInt8]) -> [UInt8] {
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { return Array(bytes.dropFirst(3)) }
        let isLittle = bytes.starts(with: [0xff, 0xfe])
        guard isLittle || bytes.starts(with: [0xfe, 0xff]) else { return bytes }
        var units: [UInt16] = []
        units.reserveCapacity(bytes.count / 2)
        for i in stride(from: 2, to: bytes.count - 1, by: 2) {
            let first = UInt16(bytes[i])
            let second = UInt16(bytes[i + 1])
            units.append(isLittle ? second << 8 | first : first << 8 | second)
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }

    // MARK: Bytes

    private static func withoutMarkup(_ bytes: [UInt8]) -> [UInt8] {
        let hasLineFeed = bytes.contains(0x0a)
        var result: [UInt8]?
        var i = 0
        while i < bytes.count {
            guard let found = substitute(bytes[i...], hasLineFeed) else {
                result?.append(bytes[i])
                i += 1
                continue
            }
            if result == nil {
                result = Array(bytes[..<i])
                result?.reserveCapacity(bytes.count)
            }
            result?.append(contentsOf: found.text)
            i += found.length
        }
        return result ?? bytes
    }

    private typealias Substitute = (length: Int, text: [UInt8])

    /// What stands for the bytes at the start of `text`, if it is other than they; nil where they stand for themselves.
    private static func substitute(_ text: TextBytes, _ hasLineFeed: Bool) -> Substitute? {
        switch text[text.startIndex] {
        case 0x0d where !hasLineFeed: (1, [0x0a])
        case 0x1b: escape(text)
        case 0x5b: colour(text, after: 1) ?? tag(text, close: 0x5d, names: boardTags)
        case 0x3c: tag(text, close: 0x3e, names: pageTags)
        case 0x26: reference(text)
        case 0xc2 where text.starts("\u{a0}"): (2, [0x20])
        case 0xe2: punctuation(text)
        case 0xef where text.starts("\u{feff}"): (3, [])
        default: nil
        }
    }

    /// An escape sequence (ECMA-48): `ESC [ … letter`, `ESC ] … BEL`, or two bytes.
    private static func escape(_ text: TextBytes) -> Substitute {
        let head = text.prefix(256)
        guard head.count > 1 else { return (1, []) }
        let second = head[head.startIndex + 1]
        if second == 0x5b {
            let end = head.dropFirst(2).firstIndex { $0 >= 0x40 && $0 <= 0x7e || $0 == 0x0a }
            guard let end, head[end] != 0x0a else { return (2, []) }
            return (end + 1 - head.startIndex, [])
        }
        if second == 0x5d {
            let end = head.dropFirst(2).firstIndex { $0 == 0x07 || $0 == 0x0a || $0 == 0x1b }
            guard let end, head[end] == 0x07 else { return (2, []) }
            return (end + 1 - head.startIndex, [])
        }
        return second == 0x0a ? (1, []) : (2, [])
    }

    /// What forums leave of a colour after they took its escape character: `[0m`, `[1;31m`.
    private static func colour(_ text: TextBytes, after start: Int) -> Substitute? {
        let head = text.prefix(start + 9)
        guard head.count > start + 1 else { return nil }
        let end = head.dropFirst(start).firstIndex { $0 != 0x3b && ($0 < 0x30 || $0 > 0x39) }
        guard let end, end > head.startIndex + start, head[end] == 0x6d else { return nil }
        return (end + 1 - head.startIndex, [])
    }

    private static let boardTags: [StaticString] = ["code", "quote", "spoiler", "pre", "php", "font", "size", "color"]
    private static let pageTags: [StaticString] = [
        "br", "p", "pre", "code", "span", "div", "blockquote", "b", "i", "em", "strong", "tt", "li", "ul", "td", "tr",
        "font", "a", "mark", "details", "summary",
    ]

    /// A tag of a page or of a bulletin board: `<br>`, `</span>`, `[code]`, `[quote="name"]`. What lspci prints in angle
    /// brackets is none of them.
    private static func tag(_ text: TextBytes, close: UInt8, names: [StaticString]) -> Substitute? {
        var rest = text.dropFirst()
        let isEnd = rest.take("/")
        let word = rest.prefix { $0 >= 0x61 && $0 <= 0x7a || $0 >= 0x41 && $0 <= 0x5a }
        guard !word.isEmpty, word.count <= 10 else { return nil }
        let lower = word.map { $0 | 0x20 }[...]
        guard names.contains(where: { lower.equals($0) }) else { return nil }
        rest = rest.dropFirst(word.count)
        // `[size=16K]` is lspci's; only the end of such a tag is sure to be a board's.
        guard let next = rest.first, next == close || next == 0x20 || next == 0x2f || next == 0x3d,
            !lower.equals("size") || isEnd
        else { return nil }
        guard let end = rest.prefix(200).firstIndex(where: { $0 == close || $0 == 0x0a }), rest[end] == close else {
            return nil
        }
        let isBreak = lower.equals("br") || isEnd && (lower.equals("p") || lower.equals("div") || lower.equals("li"))
        return (end + 1 - text.startIndex, isBreak ? [0x0a] : [])
    }

    /// A character reference of HTML: `&gt;`, `&#39;`, `&#x27;`.
    private static func reference(_ text: TextBytes) -> Substitute? {
        for (name, byte) in references where text.starts(name) { return (name.utf8CodeUnitCount, [byte]) }
        var rest = text
        guard rest.take("&#") else { return nil }
        let value = rest.take("x") || rest.take("X") ? rest.takeHex() : rest.takeDecimal()
        guard let value, rest.first == 0x3b, let scalar = UInt32(exactly: value).flatMap(Unicode.Scalar.init) else {
            return nil
        }
        let length = rest.startIndex + 1 - text.startIndex
        return (length, value == 0xa0 ? [0x20] : Array(String(Character(scalar)).utf8))
    }

    private static let references: [(StaticString, UInt8)] = [
        ("&lt;", 0x3c), ("&gt;", 0x3e), ("&amp;", 0x26), ("&quot;", 0x22), ("&apos;", 0x27), ("&nbsp;", 0x20),
    ]

    /// Typographic punctuation, which forums make of the plain one, and blanks without width.
    private static func punctuation(_ text: TextBytes) -> Substitute? {
        if text.starts("\u{2019}") || text.starts("\u{2018}") { return (3, [0x27]) }
        if text.starts("\u{201c}") || text.starts("\u{201d}") { return (3, [0x22]) }
        if text.starts("\u{2013}") || text.starts("\u{2011}") || text.starts("\u{2010}") { return (3, [0x2d]) }
        if text.starts("\u{200b}") || text.starts("\u{2060}") { return (3, []) }
        if text.starts("\u{202f}") { return (3, [0x20]) }
        return nil
    }

    // MARK: Margins

    /// The text without quotation marks of mail, line numbers and the indentation of blocks of code.
    private static func withoutMargins(_ bytes: [UInt8]) -> [UInt8] {
        var lines = Array(TextLines(bytes))
        var isChanged = unquote(&lines)
        if unwrap(&lines) { isChanged = true }
        if takeFileName(&lines) { isChanged = true }
        if takeNumbers(&lines) { isChanged = true }
        if unindent(&lines) { isChanged = true }
        guard isChanged else { return bytes }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        for line in lines {
            result.append(contentsOf: line)
            result.append(0x0a)
        }
        return result
    }

    private static func unquote(_ lines: inout [TextBytes]) -> Bool {
        var isChanged = false
        for i in lines.indices {
            var rest = lines[i]
            while let first = rest.first, first == 0x3e || first == 0x20 && rest.prefix(3).contains(0x3e) {
                let body = rest.dropFirst()
                // `>SERR- <PERR-` and `>TAbort-` are lspci's, where a line was broken in front of them.
                if first == 0x3e, body.starts("SERR") || body.starts("TAbort") || body.starts("MAbort") { break }
                rest = body
                if first == 0x3e, rest.first == 0x20 { rest = rest.dropFirst() }
            }
            guard rest.startIndex != lines[i].startIndex, lines[i].prefix(3).contains(0x3e) else { continue }
            lines[i] = rest
            isChanged = true
        }
        return isChanged
    }

    /// Takes the kernel's line out of records that carry it as a string: `level=info msg="[ 67.4] pci …\n"` of container
    /// runtimes, `{"log":"[ 67.4] pci …\n","stream":…}` of their logs, `"MESSAGE":"pci …"` of `journalctl -o json`.
    private static func unwrap(_ lines: inout [TextBytes]) -> Bool {
        var isChanged = false
        for i in lines.indices {
            let head = lines[i].prefix(200)
            guard let quote = head.firstIndex(of: 0x22), head.contains(0x3d) || head.contains(0x3a) else { continue }
            for key in recordKeys {
                guard let body = lines[i][(head.startIndex)...].after(key), body.startIndex - lines[i].startIndex < 400,
                    body.startIndex > quote,
                    LogTextLine(body).map({ $0.isMarked || LogTextReader.matters($0.message) }) == true
                else { continue }
                lines[i] = string(body)
                isChanged = true
                break
            }
        }
        return isChanged
    }

    private static let recordKeys: [StaticString] = [
        " msg=\"", "\"log\":\"", "\"msg\":\"", "\"MESSAGE\":\"", "\"MESSAGE\" : \"", "\"message\":\"",
    ]

    /// The string that ends at the next quotation mark, without the escaped line feed at its end.
    private static func string(_ text: TextBytes) -> TextBytes {
        var end = text.startIndex
        while end < text.endIndex, text[end] != 0x22 { end += text[end] == 0x5c ? 2 : 1 }
        var body = text[..<min(end, text.endIndex)]
        while body.ends("\\n") || body.ends("\\r") { body = body.dropLast(2) }
        return body
    }

    /// Takes the name of a file off lines that all begin with the same one, as `grep` over several files prints them.
    private static func takeFileName(_ lines: inout [TextBytes]) -> Bool {
        guard let first = lines.first(where: { fileName($0) != nil }), let name = fileName(first) else { return false }
        let marked = lines.indices.filter { lines[$0].starts(with: name) }
        let count = lines.count { !$0.trimmed.isEmpty }
        guard marked.count >= 2, (count - marked.count) * 8 <= count else { return false }
        for i in marked { lines[i] = lines[i].dropFirst(name.count) }
        return true
    }

    /// `dmesg.txt:` at the start of a line: no blank in it, and more than a hexadecimal number.
    private static func fileName(_ line: TextBytes) -> TextBytes? {
        let head = line.prefix(96)
        guard let colon = head.firstIndex(where: { $0 == 0x3a || isBlank($0) }), head[colon] == 0x3a else { return nil }
        let name = head[..<colon]
        guard name.contains(where: { $0 == 0x2e || $0 == 0x2f }),
            name.contains(where: { hexDigit($0) == nil && $0 != 0x2e })
        else { return nil }
        return head[...colon]
    }

    /// Takes the numbers off lines that all have one, ascending, as `cat -n`, `grep -n` and editors print them.
    private static func takeNumbers(_ lines: inout [TextBytes]) -> Bool {
        var bodies: [(line: Int, body: TextBytes)] = []
        var last: UInt64 = 0
        var others = 0
        for i in lines.indices where !lines[i].trimmed.isEmpty {
            var rest = lines[i]
            rest.skipBlanks()
            guard let number = rest.takeDecimal(), number > last, let mark = rest.first,
                mark == 0x3a || mark == 0x09 || mark == 0x20 || mark == 0x7c
            else {
                others += 1
                if others > 8, others * 8 > bodies.count { return false }
                continue
            }
            last = number
            bodies.append((i, rest.dropFirst()))
        }
        guard bodies.count >= 3, others * 8 <= bodies.count else { return false }
        // Addresses of lspci ascend, too; behind the number of one no function's number stands.
        if bodies.allSatisfy({ LspciReader.slot(lines[$0.line]) != nil }) { return false }
        for (line, body) in bodies { lines[line] = body }
        return true
    }

    /// Takes the common indentation off blocks that begin like the output of a program at the start of a line.
    private static func unindent(_ lines: inout [TextBytes]) -> Bool {
        var isChanged = false
        var i = 0
        while i < lines.count {
            guard isIndented(lines[i]) else {
                i += 1
                continue
            }
            let start = i
            while i < lines.count, isIndented(lines[i]) || lines[i].trimmed.isEmpty { i += 1 }
            let width = lines[start..<i].filter { !$0.trimmed.isEmpty }.map(margin).min() ?? 0
            // Nested ranges of /proc/iomem stand below their outer one, and are indented for that.
            let isNested = start > 0 && IomemText.parse(lines[start - 1]) != nil
            let isOutput = lines[start..<i].contains { line in
                let body = line.dropFirst(min(width, line.count))
                return LspciReader.slot(body) != nil || !isNested && IomemText.parse(body) != nil
            }
            guard isOutput else { continue }
            for j in start..<i { lines[j] = lines[j].dropFirst(min(width, lines[j].count)) }
            isChanged = true
        }
        return isChanged
    }

    private static func isIndented(_ line: TextBytes) -> Bool {
        line.first.map(isBlank) == true && !line.trimmed.isEmpty
    }

    private static func margin(_ line: TextBytes) -> Int { line.prefix(while: isBlank).count }
}
