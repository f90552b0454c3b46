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
        var tree = LspciTree()
        var log = LogTextReader()
        var memory = ProcSection()
        var io = ProcSection()
        let bytes = PastedText.plain(bytes)
        let isDifference = Self.isDifference(bytes)
        for line in TextLines(bytes) {
            lineCounts.total += 1
            guard let first = line.first else { continue }
            if tree.read(line) {
                lspci.finishFunction()
                lineCounts.lspci += 1
                continue
            }
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
                if message.isMarked { lineCounts.kernel += 1 }
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
        take(lspci: lspci, tree: tree, log: log, memory: memory, io: io)
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

    private mutating func take(
        lspci: LspciReader,
        tree: LspciTree,
        log: LogTextReader,
        memory: ProcSection,
        io: ProcSection
    ) {
        kernel = log.kernel
        if lspci.isDeviceTree, kernel.hardwareDescription == nil { kernel.hardwareDescription = .deviceTree }
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
        if !tree.functions.isEmpty {
            var drawn = TextEvidence()
            drawn.functions = tree.functions.sorted { $0.address < $1.address }
            // A listing, too: what one of the two leaves out is not gone.
            drawn.lineCounts.lspci = 1
            merge(drawn)
            lineCounts.lspci -= 1
        }
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
