// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The words of a kernel command line that concern PCI, checked against what the kernel really reads.
///
/// The kernel says little about a word that it does not know and nothing about one that has no effect; people copy both
/// from guides. Nothing here is ever written anywhere.
public struct BootWords: Hashable, Sendable {
    /// One word as it stands on the command line.
    public struct Word: Hashable, Sendable {
        /// The parameter before the equals sign: `pci`, `pcie_ports`.
        public var parameter: String
        /// The word behind it without its value: `hpmmiosize`; equal to `parameter` for parameters of their own.
        public var name: String
        /// The value, or nil.
        public var value: String?

        /// The word as it is written: `hpmmiosize=16M`.
        public var text: String { value.map { "\(name)=\($0)" } ?? name }
    }

    /// What is wrong with a word.
    public struct Finding: Hashable, Sendable {
        /// A stable word.
        public enum Code: String, Hashable, Sendable, CaseIterable {
            /// The kernel does not know the word.
            case unknown
            /// This release or architecture does not know the word.
            case unsupported
            /// The value is not what the kernel reads.
            case badValue
            /// The word is known and changes nothing on this machine.
            case ineffective
            /// The value cannot fit the host bridges' apertures or bus numbers.
            case cannotFit
            /// A later word takes it back.
            case overridden
            /// The word stands outside `pci=`.
            case misplaced
            /// The word is known to cost more than it gives.
            case risky
        }

        /// The stable word.
        public var code: Code
        /// The word concerned.
        public var word: Word
        /// A sentence for a person.
        public var detail: String
        /// What to write instead, or nil.
        public var suggestion: String?
    }

    /// The words about PCI in the order of the command line.
    public private(set) var words: [Word] = []
    /// What is wrong, in the order of the words.
    public private(set) var findings: [Finding] = []

    private let release: Int?
    private let isX86: Bool?
    private let topology: Topology?

    /// Checks the words of `commandLine`.
    ///
    /// - Parameters:
    ///   - commandLine: the text of /proc/cmdline, or a part of it.
    ///   - kernel: release and architecture, as far as known; unknown ones refuse nothing.
    ///   - topology: the machine, or nil; without it nothing is said about effects and room.
    /// - Complexity: O(number of words).
    public init(_ commandLine: String, kernel: KernelIdentity = KernelIdentity(), topology: Topology? = nil) {
        release = kernel.release.flatMap(Self.number(ofRelease:))
        isX86 = kernel.isX86
        self.topology = topology
        let bytes = Array(commandLine.utf8)[...]
        for parameter in Self.split(bytes) { read(parameter) }
        checkOrder()
    }

    /// Splits at blanks outside quotation marks.
    private static func split(_ text: TextBytes) -> [TextBytes] {
        var result: [TextBytes] = []
        var start = text.startIndex
        var isQuoted = false
        for i in text.indices {
            if text[i] == 0x22 { isQuoted.toggle() }
            guard !isQuoted, isBlank(text[i]) || text[i] == 0x0a else { continue }
            if i > start { result.append(text[start..<i]) }
            start = i + 1
        }
        if start < text.endIndex { result.append(text[start...]) }
        return result
    }

    private mutating func read(_ parameter: TextBytes) {
        var rest = parameter
        if rest.first == 0x22 { rest = rest.dropFirst() }
        if rest.last == 0x22 { rest = rest.dropLast() }
        if rest.take("pci=") {
            for piece in rest.split(separator: 0x2c) { readWord(piece) }
            return
        }
        let name = rest.before("=")
        if name.starts("pcie_"), !name.contains(0x2e) {
            readParameter(rest)
            return
        }
        // `hpmmiosize=16M` by itself goes to user space unread.
        guard let entry = Self.entry(rest, in: BootWordTable.words), case .value = entry.match else { return }
        let word = Self.word("", rest)
        words.append(word)
        note(.misplaced, word, "stands by itself; the kernel reads it only behind pci=", "pci=\(word.text)")
    }

    private static func word(_ parameter: String, _ text: TextBytes) -> Word {
        guard let equals = text.firstIndex(of: 0x3d) else {
            return Word(parameter: parameter, name: text.string, value: nil)
        }
        return Word(parameter: parameter, name: text[..<equals].string, value: text[(equals + 1)...].string)
    }

    private mutating func note(_ code: Finding.Code, _ word: Word, _ detail: String, _ suggestion: String? = nil) {
        findings.append(Finding(code: code, word: word, detail: detail, suggestion: suggestion))
    }

    /// The entry that the kernel would take for `text`.
    private static func entry(_ text: TextBytes, in table: [BootWordTable.Entry]) -> BootWordTable.Entry? {
        let name = text.before("=")
        let hasValue = name.count < text.count
        for entry in table {
            switch entry.match {
            case .exact: if text.equals(entry.word) { return entry }
            case .prefix: if text.starts(entry.word) { return entry }
            case .value: if hasValue, name.equals(entry.word) { return entry }
            }
        }
        return nil
    }

    // MARK: Words behind pci=

    private mutating func readWord(_ piece: TextBytes) {
        guard !piece.isEmpty else { return }
        let word = Self.word("pci", piece)
        words.append(word)
        guard let entry = Self.entry(piece, in: BootWordTable.words) else {
            noteUnknown(piece, word)
            return
        }
        if let release, release < entry.since {
            note(
                .unsupported,
                word,
                "is known from \(entry.since / 1000).\(entry.since % 1000) on; this kernel is older"
            )
        }
        if entry.isX86, isX86 == false { note(.unsupported, word, "is known on x86 only") }
        switch entry.match {
        case .exact: break
        case .prefix:
            let length = entry.word.utf8CodeUnitCount
            if piece.count > length, !entry.word.description.hasPrefix("pcie_bus") || word.value != nil {
                note(.badValue, word, "is read as \(entry.word), and the rest is ignored", entry.word.description)
            }
        case .value(let kind): checkValue(kind, word, entry)
        }
        checkEffect(word, entry)
    }

    private mutating func noteUnknown(_ piece: TextBytes, _ word: Word) {
        var suggestion: String?
        let name = piece.before("=")
        for (written, meant) in BootWordTable.meant where name.equals(written) { suggestion = meant.description }
        if suggestion == nil {
            var best = 4
            for entry in BootWordTable.words {
                let known = entry.word.withUTF8Buffer { Array($0) }
                let limit = min(best - 1, max(known.count / 4, 1))
                if let distance = editDistance(Array(name), known, limit: limit), distance < best {
                    best = distance
                    suggestion = entry.word.description
                }
            }
        }
        // A comma ends resource_alignment; the second device arrives here as a word of its own.
        var rest = piece
        if words.dropLast().last?.name == "resource_alignment", takeAddress(&rest) != nil || piece.contains(0x40) {
            note(
                .badValue,
                word,
                "is cut off from resource_alignment: a comma ends the list, devices are separated by semicolons",
                "resource_alignment=\(words.dropLast().last?.value ?? "");\(piece.string)"
            )
            return
        }
        let value = word.value.map { "=\($0)" } ?? ""
        note(
            .unknown,
            word,
            "is no word of the kernel, which says so once (PCI: Unknown option) and goes on without it",
            suggestion.map { "\($0)\(value)" }
        )
    }

    private mutating func checkValue(_ kind: BootWordTable.Value, _ word: Word, _ entry: BootWordTable.Entry) {
        let text = Array((word.value ?? "").utf8)[...]
        switch kind {
        case .size:
            guard let (size, rest) = Self.memparse(text) else {
                note(.badValue, word, "has no number, which the kernel reads as 0")
                return
            }
            if rest.first == 0x2e || rest.first == 0x2c {
                note(.badValue, word, "is read as \(size) bytes: the kernel knows no fractions and ignores the rest")
            } else if !rest.isEmpty, !rest.equals("B"), !rest.equals("iB"), !rest.equals("b") {
                note(.badValue, word, "is read as \(ByteCount(size)), and the rest (\(rest.string)) is ignored")
            }
        case .number:
            guard let number = Self.number(text) else {
                note(.badValue, word, "has no number, which the kernel reads as 0")
                return
            }
            if entry.word.description == "hpbussize", number > 0xff {
                note(.badValue, word, "is more than 255, for which the kernel takes its default of 1", "hpbussize=255")
            }
        case .onOff:
            if !text.starts("on"), !text.starts("off") {
                note(.badValue, word, "is neither on nor off, and changes nothing", "realloc=on")
            }
        case .oneOf(let choices):
            if !choices.contains(where: { text.starts($0) }) {
                note(
                    .badValue,
                    word,
                    "is none of \(choices.map(\.description).joined(separator: ", ")), and changes nothing"
                )
            }
        case .alignments: checkAlignments(text, word)
        case .devices, .text: break
        }
    }

    private mutating func checkAlignments(_ text: TextBytes, _ word: Word) {
        for part in text.split(separator: 0x3b) {
            var rest = part
            if part.contains(0x40) {
                guard let order = rest.takeDecimal(), rest.take("@") else {
                    note(.badValue, word, "\(part.string): expected order@device, order a decimal exponent of two")
                    continue
                }
                if order > 63 {
                    note(
                        .badValue,
                        word,
                        "\(part.string): the order is an exponent of two and at most 63; page size is taken"
                    )
                }
            }
            if rest.starts("pci:") { continue }
            guard takeAddress(&rest) != nil, rest.isEmpty || rest.first == 0x2f else {
                note(.badValue, word, "\(part.string): expected a device like 0000:03:00.0 or pci:vendor:device")
                continue
            }
        }
    }

    // MARK: Parameters of their own

    private mutating func readParameter(_ text: TextBytes) {
        let word = Word(
            parameter: text.before("=").string,
            name: text.before("=").string,
            value: text.after("=")?.string
        )
        words.append(word)
        guard let entry = Self.entry(text, in: BootWordTable.parameters) else {
            if word.name == "pcie_acs_override" {
                note(.unknown, word, "comes from a patch that is in no stock kernel; a stock kernel ignores it")
            } else if Self.entry(text, in: BootWordTable.words) != nil {
                note(.misplaced, word, "stands by itself; the kernel reads it only behind pci=", "pci=\(word.text)")
            } else {
                note(.unknown, word, "is no parameter of the kernel, which ignores it")
            }
            return
        }
        if case .value(let kind) = entry.match { checkValue(kind, word, entry) }
    }

    // MARK: Numbers

    /// A number and unit as the kernel's `memparse` reads them, and what it leaves.
    static func memparse(_ text: TextBytes) -> (UInt64, TextBytes)? {
        var rest = text
        guard let number = takeNumber(&rest) else { return nil }
        let shift: UInt64
        switch rest.first.map({ $0 & ~0x20 }) {
        case UInt8(ascii: "K"): shift = 10
        case UInt8(ascii: "M"): shift = 20
        case UInt8(ascii: "G"): shift = 30
        case UInt8(ascii: "T"): shift = 40
        case UInt8(ascii: "P"): shift = 50
        case UInt8(ascii: "E"): shift = 60
        default: return (number, rest)
        }
        // The kernel shifts without a check; bits beyond 64 are lost.
        return (number << shift, rest.dropFirst())
    }

    private static func number(_ text: TextBytes) -> UInt64? {
        var rest = text
        return takeNumber(&rest)
    }

    private static func takeNumber(_ text: inout TextBytes) -> UInt64? {
        if text.starts("0x") || text.starts("0X") {
            text = text.dropFirst(2)
            return text.takeHex()
        }
        if text.first == 0x30, text.count > 1 {
            var value: UInt64 = 0
            while let byte = text.first, byte >= 0x30, byte <= 0x37 {
                let (product, overflow) = value.multipliedReportingOverflow(by: 8)
                guard !overflow else { return nil }
                value = product | UInt64(byte - 0x30)
                text = text.dropFirst()
            }
            return value
        }
        return text.takeDecimal()
    }

    private static func number(ofRelease text: String) -> Int? {
        var rest = Array(text.utf8)[...]
        guard let major = rest.takeDecimal(), rest.take("."), let minor = rest.takeDecimal(), major < 1000, minor < 1000
        else { return nil }
        return Int(major) * 1000 + Int(minor)
    }

    // MARK: Order and effect

    private mutating func checkOrder() {
        func last(_ names: [String]) -> Int? { words.lastIndex { $0.parameter == "pci" && names.contains($0.name) } }
        // hpmemsize sets both sizes when it is read, so that a later one takes back what an earlier one set.
        if let both = last(["hpmemsize"]) {
            for (i, word) in words.enumerated() where i < both && word.parameter == "pci" {
                guard word.name == "hpmmiosize" || word.name == "hpmmioprefsize" else { continue }
                note(.overridden, word, "is taken back by hpmemsize, which comes later and sets both sizes")
            }
        }
        var lastWithValue: [String: Int] = [:]
        for (i, word) in words.enumerated() where word.parameter == "pci" && word.value != nil {
            lastWithValue[word.name] = i
        }
        for (i, word) in words.enumerated() where word.parameter == "pci" && word.value != nil {
            if let last = lastWithValue[word.name], last > i {
                note(.overridden, word, "is taken back by a later \(word.name)")
            }
        }
    }

    private mutating func checkEffect(_ word: Word, _ entry: BootWordTable.Entry) {
        if word.name == "assign-busses" {
            note(
                .risky,
                word,
                "numbers every bus anew: addresses of devices change, and some machines do not boot with it"
            )
        }
        guard let topology else { return }
        let ports = topology.functions.indices.filter { topology.functions[$0].isHotPlugBridge }
        let isKnown = topology.functions.allSatisfy { !$0.isBridge || $0.capabilities.isComplete }
        if entry.needsHotPlug, ports.isEmpty, isKnown {
            note(
                .ineffective,
                word,
                "reserves behind hot-plug ports only, and this machine has none (no slot with HotPlug+)"
            )
            return
        }
        guard let value = word.value, let (size, _) = Self.memparse(Array(value.utf8)[...]) else { return }
        // Ports without hot-plug ports below them: each asks for the size by itself.
        let leaves = ports.filter { port in
            !topology.subtree(of: port).dropFirst().contains { topology.functions[$0].isHotPlugBridge }
        }
        checkRoom(word, size: size, leaves: leaves, topology: topology)
    }

    private mutating func checkRoom(_ word: Word, size: UInt64, leaves: [Int], topology: Topology) {
        for (h, host) in topology.hostBridges.enumerated() {
            let count = UInt64(leaves.filter { topology.host(of: $0) == h }.count)
            guard count > 0 else { continue }
            if word.name == "hpbussize" {
                let (need, overflow) = size.multipliedReportingOverflow(by: count)
                guard size <= 0xff, overflow || need > UInt64(host.busRange.count) else { continue }
                note(
                    .cannotFit,
                    word,
                    "\(count) hot-plug ports below bus \(host.rootBus) would take \(need) bus numbers; there are "
                        + "\(host.busRange.count)"
                )
                continue
            }
            let isIO = word.name == "hpiosize"
            guard isIO || word.name == "hpmmiosize" || word.name == "hpmmioprefsize" || word.name == "hpmemsize",
                host.source != .unknown
            else { continue }
            // Non-prefetchable windows end below 4 GiB.
            let limit: UInt64 = word.name == "hpmmioprefsize" ? .max : 0xffff_ffff
            let room =
                host.apertures.filter { $0.isIO == isIO && $0.range.first <= limit }
                .map { min($0.range.clampedSize, limit &- $0.range.first) }.max() ?? 0
            let (need, overflow) = size.multipliedReportingOverflow(by: count)
            guard overflow || need > room else { continue }
            note(
                .cannotFit,
                word,
                "\(count) hot-plug ports below bus \(host.rootBus) would take \(overflow ? "too much" : "\(ByteCount(need))"); "
                    + "the largest aperture for it is \(ByteCount(room))",
                room / count > 0 ? "\(word.name)=\(Self.rounded(room / count))" : nil
            )
        }
    }

    /// The largest power of two that is at most `size`, as the kernel reads it.
    private static func rounded(_ size: UInt64) -> String {
        ByteCount(1 << UInt64(63 - size.leadingZeroBitCount)).description
    }
}

extension BootWords {
    /// The result as text: one line for each word, and what is wrong with it; a word that stands there several times, and
    /// what is said of it, is written once.
    /// - Returns: lines without line feeds.
    /// - Complexity: O(number of words).
    public func lines() -> [String] {
        guard !words.isEmpty else { return ["no word about PCI on the command line"] }
        let findings = Dictionary(grouping: findings, by: \.word)
        var result: [String] = []
        var written: Set<Word> = []
        for word in words where written.insert(word).inserted {
            let own = findings[word] ?? []
            let front = word.parameter == "pci" ? "pci=" : ""
            if own.isEmpty { result.append("ok       \(front)\(word.text)") }
            var said: Set<Finding> = []
            for finding in own where said.insert(finding).inserted {
                result.append("\(finding.code.rawValue): \(front)\(word.text) \(finding.detail)")
                if let suggestion = finding.suggestion { result.append("         write: \(suggestion)") }
            }
        }
        return result
    }
}
