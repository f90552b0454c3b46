// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension TextEvidence {
    /// Reads `text`: any mixture of lspci output, kernel log, /proc/iomem and /proc/ioports, recognised line by line.
    /// - Complexity: O(number of bytes).
    public init(_ text: String) { self.init(bytes: Array(text.utf8)) }

    /// Reads the bytes of a text: any mixture of lspci output, kernel log, /proc/iomem and /proc/ioports.
    ///
    /// Never fails: what is not recognised is counted in `lineCounts.other`, what is damaged is named in `findings`.
    /// - Complexity: O(number of bytes).
    public init(bytes: [UInt8]) {
        self.init()
        var lspci = LspciReader()
        var log = LogTextReader()
        var memory = ProcSection()
        var io = ProcSection()
        let bytes = Self.plainBlanks(Self.isQuotedPrintable(bytes) ? Self.decoded(bytes) : bytes)
        let isDifference = Self.isDifference(bytes)
        for line in TextLines(bytes) {
            lineCounts.total += 1
            guard let first = line.first else { continue }
            // What stands on the older side only is not so on the newer one.
            if isDifference, first == UInt8(ascii: "-") {
                lineCounts.other += 1
                continue
            }
            // A line of lspci: a title, an indented line, a row of hex.
            switch lspci.read(line) {
            case .text:
                lineCounts.lspci += 1
                continue
            case .hex:
                lineCounts.hex += 1
                continue
            case .none: break
            }
            // A line of /proc/iomem or /proc/ioports.
            if hexDigit(first) != nil || first == 0x20, let node = IomemText.parse(line) {
                lspci.finishFunction()
                lineCounts.iomem += 1
                if node.digits == 4 { io.add(node) } else { memory.add(node) }
                continue
            }
            // A message of the kernel.
            if let message = LogTextLine(line) {
                let known = message.isMarked || LogTextReader.matters(message.message)
                if known {
                    lspci.finishFunction()
                    lineCounts.log += 1
                    _ = log.read(message)
                    continue
                }
                if log.isWaiting {
                    log.readRest(line)
                    lineCounts.log += 1
                    continue
                }
                if !line.trimmed.isEmpty {
                    if log.read(message) { lineCounts.log += 1 } else { lineCounts.other += 1 }
                }
            } else {
                lineCounts.log += 1
            }
        }
        lspci.finish()
        log.finish()
        take(lspci: lspci, log: log, memory: memory, io: io)
        if isDifference {
            findings.append(
                TextFinding(.difference, nil, "the text is a comparison of two texts (diff); its newer side (+) counts")
            )
        }
    }

    /// Whether the text is what `diff -u` writes: a line that names the older side, and one that names the newer.
    private static func isDifference(_ bytes: [UInt8]) -> Bool {
        var isBegun = false
        for line in TextLines(bytes) {
            if isBegun, line.starts("+++ ") { return true }
            isBegun = line.starts("--- ")
        }
        return false
    }

    /// Whether the text is the source of a mail in the encoding quoted-printable (RFC 2045, 6.7): it says so, or two lines
    /// as long as the encoding cuts them end with its soft line break.
    private static func isQuotedPrintable(_ bytes: [UInt8]) -> Bool {
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

    /// The text with every non-breaking blank (U+00A0), which mail software puts in, made a plain one.
    private static func plainBlanks(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8]?
        var i = 0
        while i + 1 < bytes.count {
            if bytes[i] == 0xc2, bytes[i + 1] == 0xa0 {
                if result == nil { result = Array(bytes[..<i]) }
                result?.append(0x20)
                i += 2
                continue
            }
            result?.append(bytes[i])
            i += 1
        }
        if i < bytes.count { result?.append(bytes[i]) }
        return result ?? bytes
    }

    private mutating func take(lspci: LspciReader, log: LogTextReader, memory: ProcSection, io: ProcSection) {
        kernel = log.kernel
        machine = log.machine
        roots = log.roots
        messages = log.messages
        iomem = memory.finished()
        ioports = io.finished()
        findings = lspci.findings + log.findings
        if iomem.isZeroed {
            findings.append(
                TextFinding(.zeroedIomem, nil, "every address of /proc/iomem is zero: it was read without privilege")
            )
        }
        functions = lspci.functions.sorted { $0.address < $1.address }
        let logged = log.functions.values.sorted { $0.address < $1.address }
        guard functions.isEmpty else {
            var other = TextEvidence()
            other.functions = logged
            merge(other)
            return
        }
        functions = logged
        for address in log.firmwareDumps.keys.sorted() where self[address] == nil {
            var function = TextFunction(address: address)
            function.config = ConfigSpace(log.firmwareDumps[address] ?? [])
            function.takeFacts(from: function.config)
            functions.append(function)
        }
        functions.sort { $0.address < $1.address }
    }

    /// One of the /proc files in a text that may hold several; the last whole one counts.
    private struct ProcSection {
        private var text = IomemText()
        private var builder = IomemText.Builder()
        private var lastTop: UInt64 = 0

        mutating func add(_ line: IomemText.Line) {
            if line.indent == 0 {
                if line.range.first < lastTop {
                    text = IomemText()
                    builder = IomemText.Builder()
                }
                lastTop = line.range.first
            }
            text.append(line, with: &builder)
        }

        func finished() -> IomemText {
            var copy = text
            copy.noteZeroed()
            return copy
        }
    }
}
