// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc
internal import PCITopology

/// One machine's evidence from files of any kind, joined: snapshots, sysfs-shaped directories, lspci output, kernel
/// logs, /proc/iomem and /proc/ioports, each told by its content.
public struct RecordedInput: Sendable {
    /// What the files hold together.
    public private(set) var record: MachineRecord
    /// What the texts among the files tell; empty without texts.
    public private(set) var texts = TextEvidence()
    /// How many values the texts state alike and differently.
    public private(set) var agreement = TextEvidence.Agreement()
    /// What each file was taken for, in the order given: `snapshot`, `sysfs`, `lspci+dmesg`, …
    public private(set) var kinds: [String] = []

    /// The largest text that is read, in bytes.
    public static let maximumTextSize = 64 << 20
    /// The largest compressed file or archive that is read, in bytes.
    ///
    /// It stands in memory with its members beside it: twice the size, 256 MiB.
    public static let maximumArchiveSize = 128 << 20

    /// Reads `paths` in their order; `-` is standard input. At most one snapshot or tree of sysfs may be among them; where
    /// several texts speak of the same, the first counts.
    ///
    /// Files compressed with gzip, xz, zstd or bzip2 are unpacked in memory; an archive of tar is read as the tree of sysfs
    /// that it holds, or else as the texts and snapshots in it.
    /// - Throws: `ReadError`: a file is missing or unreadable, holds nothing known, or two of them are whole records.
    public init(paths: [String]) throws(ReadError) {
        var whole: MachineRecord?
        var all = TextEvidence()
        var isFirstText = true
        var foreign: [ForeignText] = []
        for path in paths {
            for part in try Self.parts(of: path) {
                kinds.append(part.kind)
                switch part.content {
                case .record(let record):
                    guard whole == nil else {
                        throw ReadError(
                            .badInput,
                            path: path,
                            "\(path) is a second whole record: expected at most one snapshot or sysfs directory, and texts"
                        )
                    }
                    whole = record
                case .foreign(let text): foreign.append(text)
                case .texts(let evidence):
                    if isFirstText {
                        all = evidence
                        isFirstText = false
                    } else {
                        let more = all.merge(evidence)
                        agreement.equal += more.equal
                        agreement.different += more.different
                    }
                }
            }
        }
        texts = all
        if var record = whole {
            Self.complete(&record, with: all)
            self.record = record
        } else {
            record = all.record
        }
        // Beside evidence of the machine such a text is nothing that is missing.
        if whole == nil, all.isEmpty { record.gaps += foreign.map(\.gap) }
    }

    /// The kernel log in a file, or in standard input for `-`: a log as it is, unpacked where it is compressed; the log that
    /// a snapshot, a report or a tree of sysfs holds; the texts of an archive, one behind the other.
    /// - Throws: `ReadError` for a file that is missing, unreadable or damaged. Text of any content is a log.
    public static func log(at path: String) throws(ReadError) -> [UInt8] {
        if path != "-", case .directory = FileKind(path) {
            return joined(try SysfsDirectoryReader(path: path).read().kernelLog)
        }
        var content = try bytes(of: path, limit: maximumArchiveSize)
        if let compression = Compression(content.prefix(8)) {
            content = try compression.expanded(content, path: path)
        }
        if let archive = Archive(content) {
            if let reader = SysfsDirectoryReader(archive, path: path) { return joined(try reader.read().kernelLog) }
            return archive.files.reduce(into: []) { $0 += $1.bytes + [0x0a] }
        }
        let isSnapshot = Evidence.looksLikeSnapshot(Array(content.prefix(1 << 16)))
        guard isSnapshot || ReportFile.isReport(content) else { return content }
        let record = try located(path) { () throws(ReadError) in
            try isSnapshot ? SnapshotFile.decode(content) : ReportFile.record(in: content)
        }
        return joined(record.kernelLog)
    }

    /// The bytes of a document that the tool wrote itself: of a file, or of standard input for `-`; at most 16 MiB.
    /// - Throws: `ReadError` for a file that is missing, unreadable or larger.
    public static func document(at path: String) throws(ReadError) -> [UInt8] {
        try bytes(of: path, limit: JSONLimits.strict.bytes)
    }

    private static func joined(_ lines: [String]?) -> [UInt8] { Array((lines ?? []).joined(separator: "\n").utf8) }

    // MARK: What a path holds

    /// A record or a text in a file, with what it was taken for.
    private struct Part {
        enum Content {
            case record(MachineRecord)
            case texts(TextEvidence)
            case foreign(ForeignText)
        }

        var kind: String
        var content: Content
    }

    private static func parts(of path: String) throws(ReadError) -> [Part] {
        if path != "-", case .directory = FileKind(path) {
            return [Part(kind: "sysfs", content: .record(try SysfsDirectoryReader(path: path).read()))]
        }
        // What comes through a pipe comes once.
        var isPipe = path == "-"
        if case .other = FileKind(path) { isPipe = true }
        let head = isPipe ? nil : try Evidence.head(of: path)
        if let head, Compression(head) == nil, !Archive.isArchive(head[...]) {
            let isRecord = Evidence.looksLikeSnapshot(head) || ReportFile.isReport(head)
            return [try part(try bytes(of: path, limit: isRecord ? maximumArchiveSize : maximumTextSize), path)]
        }
        var content = try bytes(of: path, limit: maximumArchiveSize)
        var packing = ""
        if let compression = Compression(content.prefix(8)) {
            content = try compression.expanded(content, path: path)
            packing = "\(compression) "
        }
        guard let archive = Archive(content) else {
            var part = try part(content, path)
            part.kind = packing + part.kind
            return [part]
        }
        if let reader = SysfsDirectoryReader(archive, path: path) {
            return [Part(kind: "\(packing)tar sysfs", content: .record(try reader.read()))]
        }
        var result: [Part] = []
        for (name, member) in archive.files {
            guard member.count <= maximumTextSize, var part = try? part(member, "\(path):\(name)") else { continue }
            part.kind = "\(packing)tar \(part.kind)"
            result.append(part)
        }
        guard !result.isEmpty else {
            throw ReadError(
                .badInput,
                path: path,
                "\(path) is an archive that holds nothing known: expected sys/bus/pci/devices, a snapshot, or the output "
                    + "of lspci, dmesg or /proc/iomem in it"
            )
        }
        return result
    }

    /// What the bytes of a file are, compression and archives apart.
    private static func part(_ bytes: [UInt8], _ path: String) throws(ReadError) -> Part {
        if Evidence.looksLikeSnapshot(Array(bytes.prefix(1 << 16))) {
            return Part(
                kind: "snapshot",
                content: .record(
                    try located(path) { () throws(ReadError) in
                        try SnapshotFile.decode(bytes)
                    }
                )
            )
        }
        if ReportFile.isReport(bytes) {
            return Part(
                kind: "report",
                content: .record(
                    try located(path) { () throws(ReadError) in
                        try ReportFile.record(in: bytes)
                    }
                )
            )
        }
        guard bytes.count <= maximumTextSize else { throw tooLarge(path, maximumTextSize) }
        let evidence = TextEvidence(bytes: bytes)
        if evidence.tellsOfNoHardware, let foreign = ForeignText(bytes) {
            return Part(kind: "\(foreign)", content: .foreign(foreign))
        }
        guard evidence.isRecognised else {
            throw ReadError(.badInput, path: path, "\(path) is not in a recognised format: \(Evidence.guess(bytes))")
        }
        return Part(kind: evidence.kinds.joined(separator: "+"), content: .texts(evidence))
    }

    /// What `decode` gives; its errors name `path`.
    private static func located(
        _ path: String,
        _ decode: () throws(ReadError) -> MachineRecord
    ) throws(ReadError) -> MachineRecord {
        do {
            return try decode()
        } catch {
            throw ReadError(error.code, path: path, errno: error.errno, "\(path): \(error.description)")
        }
    }

    private static func tooLarge(_ path: String, _ limit: Int) -> ReadError {
        ReadError(.badInput, path: path, "\(path) is too large: expected at most \(limit >> 20) MiB")
    }

    /// The bytes of a file or of standard input.
    static func bytes(of path: String, limit: Int = maximumTextSize) throws(ReadError) -> [UInt8] {
        let descriptor = path == "-" ? 0 : openInput(path)
        guard descriptor >= 0 else { throw ReadError.system(errno, path: path, doing: "open") }
        defer { if path != "-" { close(descriptor) } }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { readInput(descriptor, $0) }
            guard count >= 0 else { throw ReadError.system(errno, path: path, doing: "read") }
            if count == 0 { return result }
            guard result.count + count <= limit else { throw tooLarge(path, limit) }
            result.append(contentsOf: chunk[..<count])
        }
    }

    /// Adds to a whole record what only texts tell.
    ///
    /// The record's own values count; texts of another boot or another machine are left out and named.
    private static func complete(_ record: inout MachineRecord, with texts: TextEvidence) {
        if let mine = record.kernel.release, let theirs = texts.kernel.release, mine != theirs {
            let detail = "the files are of two boots: kernel \(mine) and kernel \(theirs); the texts are left out"
            record.gaps.append(ReadingGap(code: "several-boots-joined", detail: detail))
            return
        }
        let others = record.functions.filter { f in
            guard let facts = texts[f.address], let a = f.vendor, let b = facts.vendor, let c = f.device,
                let d = facts.device
            else { return false }
            return a != b || c != d
        }
        if others.count >= 3, others.count * 2 > record.functions.count {
            let detail =
                "the files are of two machines: other devices sit at \(others.count) addresses; the texts are left out"
            record.gaps.append(ReadingGap(code: "several-machines", detail: detail))
            return
        }
        record.gaps += texts.findings.compactMap { finding in
            switch finding.code {
            case .severalMachines: ReadingGap(code: "several-machines", detail: finding.detail)
            case .severalBootsJoined: ReadingGap(code: "several-boots-joined", detail: finding.detail)
            case .damagedLog: ReadingGap(code: "damaged-log", detail: finding.detail)
            default: nil
            }
        }
        if record.kernel.release == nil { record.kernel.release = texts.kernel.release }
        if record.kernel.commandLine == nil { record.kernel.commandLine = texts.kernel.commandLine }
        if record.kernel.architecture == nil { record.kernel.architecture = texts.kernel.architecture }
        if record.kernel.hardwareDescription == nil {
            record.kernel.hardwareDescription = texts.kernel.hardwareDescription
        }
        if record.kernelLog == nil, !texts.messages.isEmpty {
            record.kernelLog = texts.messages.map(\.line)
            record.gaps.removeAll { $0.code == "no-kernel-log" }
        }
        let isZeroed = record.iomem.map { IomemText($0).isZeroed } ?? true
        if isZeroed, !texts.iomem.nodes.isEmpty, !texts.iomem.isZeroed {
            record.iomem = texts.iomem.fileText(width: 8)
            record.gaps.removeAll { $0.code == "iomem-zeroed" || $0.code == "no-iomem" }
        }
        if record.ioports == nil, !texts.ioports.nodes.isEmpty { record.ioports = texts.ioports.fileText(width: 4) }
        let fromText = Dictionary(
            texts.functions.isEmpty ? [] : texts.record.functions.map { ($0.address, $0) },
            uniquingKeysWith: { first, _ in first }
        )
        for i in record.functions.indices {
            guard let facts = texts[record.functions[i].address] else { continue }
            // A dump by root holds more than the 64 bytes that everybody may read, if it is of the same device.
            let same =
                facts.vendor == nil || record.functions[i].vendor == nil || facts.vendor == record.functions[i].vendor
            if same, facts.config.count > record.functions[i].config.count { record.functions[i].config = facts.config }
            if record.functions[i].driver == nil { record.functions[i].driver = facts.driver }
            guard same, let told = fromText[record.functions[i].address] else { continue }
            // A directory that lacks a file, as one that was copied by hand, loses nothing of what the texts tell.
            let hadConfig = record.functions[i].config.count >= 64
            let hadLines = record.functions[i].resource != nil
            if !hadConfig { record.functions[i].config = told.config }
            if !hadLines {
                record.functions[i].resource = told.resource
                record.functions[i].unsized = told.unsized
            }
            if !hadConfig || !hadLines, var knowledge = told.knowledge {
                knowledge.sources.insert(.kernel, at: 0)
                if hadConfig {
                    knowledge.registers = .seen
                    knowledge.settings = .seen
                }
                if hadLines { knowledge.resources = .seen }
                record.functions[i].knowledge = knowledge
            }
        }
    }
}
