// SPDX-License-Identifier: GPL-2.0-or-later

/// One line of a kernel log, freed of what dmesg, journald, syslog, pstore or a mail put in front of it.
struct LogTextLine {
    /// Microseconds since boot, when the line says so.
    var time: UInt64?
    /// What the kernel printed.
    var message: TextBytes
    /// Whether anything in front marked the line as a log line.
    var isMarked: Bool

    /// Takes the prefix off `line`; nil when the line belongs to another program.
    ///
    /// Accepted, also in sequence: quotation marks of mail, `<6>`, `[   12.345678]` (also with a delta or a caller id),
    /// `[      T1]`, `[  +0,000004]`, `[Mar24 07:10]`, `[Tue Mar 24 07:10:54 2026]` in any language, `kern  :info  :`,
    /// `6,123,456789,-;`, ISO dates alone, ISO and syslog dates and stamps with host name and `kernel:`,
    /// `2024-12-17 22:46:52,123 DEBUG:`.
    init?(_ line: TextBytes) {
        var rest = line
        var marked = false
        var seconds: UInt64?
        while let byte = rest.first, byte == 0x3e || byte == 0x20 || byte == 0x09 || byte == 0x60 {
            rest = rest.dropFirst()
        }
        if rest.startIndex > line.startIndex, rest.last == 0x60 { rest = rest.dropLast() }
        // A numbered list: `  5. pci_bus 0000:00: ...`.
        var item = rest
        if item.takeDecimal() != nil, item.take(". ") {
            item.skipBlanks()
            if item.starts("pci") || item.first == 0x5b { rest = item }
        }
        // A comparison of two logs: what begins with a minus is the other log.
        if let byte = rest.first, byte == 0x2b || byte == 0x2d {
            let body = rest.dropFirst()
            if body.starts("pci") || body.starts("[ ") || LogTextReader.takeSubject(body) != nil {
                guard byte == 0x2b else { return nil }
                rest = body
            }
        }
        // A date, a host name and the word kernel: everything in front of `kernel:` goes.
        if let end = Self.syslogPrefix(rest) {
            rest = rest[end...]
            marked = true
        } else if Self.isOtherProgram(rest) {
            return nil
        }
        var round = 0
        while round < 6 {
            round += 1
            let before = rest.startIndex
            if let level = Self.levelMark(rest) {
                rest = rest[level...]
                marked = true
            }
            if let (end, time) = Self.bracketMark(rest) {
                rest = rest[end...]
                seconds = seconds ?? time
                marked = true
            }
            if let end = Self.isoMark(rest) {
                rest = rest[end...]
                marked = true
            }
            // A stamp may stand in front of the host, too: `[    3.350743] localhost kernel: `.
            if marked, let blank = rest.prefix(64).firstIndex(of: 0x20), blank > rest.startIndex,
                !rest[..<blank].contains(0x3a), rest[(blank + 1)...].starts("kernel: ")
            {
                rest = rest[(blank + 1)...]
            }
            if rest.take("kernel: ") { marked = true }
            if rest.startIndex == before { break }
        }
        time = seconds
        message = rest
        isMarked = marked
    }

    /// The end of `<date> <host> kernel: `, or nil.
    private static func syslogPrefix(_ text: TextBytes) -> Int? {
        guard let first = text.first, first != 0x5b, first != 0x3c else { return nil }
        let head = text.prefix(120)
        if let at = head.find("kernel: ") {
            // Only a date, a host and the like may stand in front; brackets would be part of a message.
            let front = text[..<at]
            return front.contains(0x5d) || front.has("pci") ? nil : at + 8
        }
        if let at = head.find(" DEBUG:\t"), startsWithDigit(head) { return at + 8 }
        return nil
    }

    private static func startsWithDigit(_ text: TextBytes) -> Bool {
        guard let first = text.first else { return false }
        return first >= 0x30 && first <= 0x39
    }

    /// Whether the line has the form `<date> <host> <program>[<pid>]: ` of another program.
    private static func isOtherProgram(_ text: TextBytes) -> Bool {
        let head = text.prefix(110)
        guard let at = head.find("]: ") else { return false }
        guard let open = head[..<at].lastIndex(of: 0x5b), open > head.startIndex else { return false }
        let inside = head[(open + 1)..<at]
        guard !inside.isEmpty, inside.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return false }
        // A clock time in front tells a syslog line from a kernel message with a number in brackets.
        var colons = 0
        for i in head.startIndex..<open where head[i] == 0x3a { colons += 1 }
        return colons >= 2 && !head[..<open].contains(0x5b)
    }

    /// The end of `<6>`, `kern  :info  : ` or `6,123,456789,-;`, or nil.
    private static func levelMark(_ text: TextBytes) -> Int? {
        var rest = text
        if rest.take("<") {
            guard rest.takeDecimal() != nil, rest.take(">") else { return nil }
            return rest.startIndex
        }
        if startsWithDigit(text) {
            guard rest.takeDecimal() != nil, rest.take(","), rest.takeDecimal() != nil, rest.take(","),
                rest.takeDecimal() != nil, rest.take(","), let end = rest.prefix(16).firstIndex(of: 0x3b)
            else { return nil }
            return end + 1
        }
        for facility: StaticString in ["kern", "user", "daemon", "syslog"] where rest.take(facility) {
            rest.skipBlanks()
            guard rest.take(":") else { return nil }
            guard let end = rest.prefix(10).firstIndex(of: 0x3a) else { return nil }
            rest = rest[(end + 1)...]
            rest.skipBlanks()
            return rest.startIndex
        }
        return nil
    }

    /// The end of `2026-03-24T07:10:54,123456+00:00 `, or nil.
    private static func isoMark(_ text: TextBytes) -> Int? {
        guard let blank = text.prefix(40).firstIndex(of: 0x20), blank - text.startIndex >= 19 else { return nil }
        let marks: [(Int, UInt8)] = [(4, 0x2d), (7, 0x2d), (10, 0x54), (13, 0x3a), (16, 0x3a)]
        for i in 0..<19 {
            let byte = text[text.startIndex + i]
            guard marks.first(where: { $0.0 == i }).map({ $0.1 == byte }) ?? (byte >= 0x30 && byte <= 0x39) else {
                return nil
            }
        }
        return blank + 1
    }

    /// The end of `[   12.345678] `, `[   T1] `, `[  +0,000004] `, `[Mar24 07:10] ` or `[Tue Mar 24 07:10:54 2026] `, with the
    /// time since the boot in microseconds.
    private static func bracketMark(_ text: TextBytes) -> (Int, UInt64?)? {
        guard text.first == 0x5b else { return nil }
        let head = text.prefix(64)
        guard let close = head.firstIndex(of: 0x5d) else { return nil }
        var inside = head[(head.startIndex + 1)..<close]
        inside.skipBlanks()
        guard let first = inside.first else { return nil }
        var time: UInt64?
        if first >= 0x30 && first <= 0x39 {
            var number = inside
            guard let seconds = number.takeDecimal(), number.take(".") else { return nil }
            var micro: UInt64 = 0
            var digits = 0
            while let byte = number.first, byte >= 0x30, byte <= 0x39 {
                if digits < 6 { micro = micro * 10 + UInt64(byte - 0x30) }
                digits += 1
                number = number.dropFirst()
            }
            while digits < 6 {
                micro *= 10
                digits += 1
            }
            number.skipBlanks()
            // An initcall or show-delta figure may follow: `<    0.000123>`.
            guard number.isEmpty || number.first == 0x3c else { return nil }
            time = seconds < 1 << 40 ? seconds * 1_000_000 + micro : nil
        } else if first == 0x54 || first == 0x43 {
            // A caller id: T123 or C0. `Tue`, `Thu` fall through to the date below.
            let number = inside.dropFirst()
            let isCaller = !number.isEmpty && number.allSatisfy { $0 >= 0x30 && $0 <= 0x39 || isBlank($0) }
            guard isCaller || isDate(inside) else { return nil }
        } else if first == 0x2b {
            // The time since the line before, in the language's own way.
            guard inside.dropFirst().allSatisfy({ $0 >= 0x30 && $0 <= 0x39 || $0 == 0x2c || $0 == 0x2e }) else {
                return nil
            }
        } else {
            guard isDate(inside) || isMinute(inside) else { return nil }
        }
        var end = close + 1
        if end < text.endIndex, text[end] == 0x20 { end += 1 }
        return (end, time)
    }

    /// Whether the text is a day and a clock time without seconds: `Mär24 07:10`.
    private static func isMinute(_ text: TextBytes) -> Bool {
        let parts = text.words()
        guard parts.count == 2, let day = parts[0].last, day >= 0x30, day <= 0x39, parts[1].count == 5 else {
            return false
        }
        return parts[1][parts[1].startIndex + 2] == 0x3a && startsWithDigit(parts[1])
    }

    /// Whether the text holds a clock time and ends in a year: `Di Mär 24 07:10:54 2026`.
    private static func isDate(_ text: TextBytes) -> Bool {
        let parts = text.words()
        guard parts.count >= 4, let year = parts.last?.decimalValue, year >= 1970, year < 3000 else { return false }
        return parts.contains { word in
            word.count == 8 && word[word.startIndex + 2] == 0x3a && word[word.startIndex + 5] == 0x3a
        }
    }
}
