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

    /// Reads `paths` in their order; `-` is standard input. At most one snapshot or directory may be among them; where
    /// several texts speak of the same, the first counts.
    ///
    /// - Throws: `ReadError`: a file is missing or unreadable, holds nothing known, or two of them are whole records.
    public init(paths: [String]) throws(ReadError) {
        var whole: MachineRecord?
        var all = TextEvidence()
        var isFirstText = true
        for path in paths {
            if path != "-", let record = try Self.wholeRecord(path, &kinds) {
                guard whole == nil else {
                    throw ReadError(
                        .badInput,
                        path: path,
                        "\(path) is a second whole record: expected at most one snapshot or sysfs directory, and texts"
                    )
                }
                whole = record
                continue
            }
            let evidence = TextEvidence(bytes: try Self.bytes(of: path))
            guard !evidence.isEmpty else {
                throw ReadError(
                    .badInput,
                    path: path,
                    "\(path) is nothing that can be read: expected a snapshot, a sysfs directory, or the output of lspci, "
                        + "dmesg or /proc/iomem"
                )
            }
            kinds.append(evidence.kinds.joined(separator: "+"))
            if isFirstText {
                all = evidence
                isFirstText = false
            } else {
                let more = all.merge(evidence)
                agreement.equal += more.equal
                agreement.different += more.different
            }
        }
        texts = all
        if var record = whole {
            Self.complete(&record, with: all)
            self.record = record
        } else {
            record = all.record
        }
    }

    /// A snapshot's or directory's record; nil when the path is a text.
    private static func wholeRecord(_ path: String, _ kinds: inout [String]) throws(ReadError) -> MachineRecord? {
        let kind: Evidence.Kind
        do {
            kind = try Evidence(path: path, recognisers: [TextEvidence.recogniser]).kind
        } catch {
            // The first bytes may hold nothing about PCI and the rest a log.
            if error.code == .badInput, isRegularFile(path) { return nil }
            throw error
        }
        switch kind {
        case .sysfsDirectory:
            kinds.append("sysfs")
            return try SysfsDirectoryReader(path: path).read()
        case .snapshot:
            kinds.append("snapshot")
            return try SnapshotFile(path: path).read()
        case .text: return nil
        }
    }

    private static func isRegularFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFDIR
    }

    /// The bytes of a file or of standard input.
    static func bytes(of path: String) throws(ReadError) -> [UInt8] {
        let descriptor = path == "-" ? 0 : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ReadError.system(errno, path: path, doing: "open") }
        defer { if path != "-" { close(descriptor) } }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw ReadError.system(errno, path: path, doing: "read")
            }
            if count == 0 { return result }
            guard result.count + count <= maximumTextSize else {
                throw ReadError(
                    .badInput,
                    path: path,
                    "\(path) is too large: expected at most \(maximumTextSize >> 20) MiB of text"
                )
            }
            result.append(contentsOf: chunk[..<count])
        }
    }

    /// Adds to a whole record what only texts tell.
    private static func complete(_ record: inout MachineRecord, with texts: TextEvidence) {
        if record.kernel.release == nil { record.kernel.release = texts.kernel.release }
        if record.kernel.commandLine == nil { record.kernel.commandLine = texts.kernel.commandLine }
        if record.kernel.architecture == nil { record.kernel.architecture = texts.kernel.architecture }
        if record.kernelLog == nil, !texts.messages.isEmpty {
            record.kernelLog = texts.messages.map(\.text)
            record.gaps.removeAll { $0.code == "no-kernel-log" }
        }
        let isZeroed = record.iomem.map { IomemText($0).isZeroed } ?? true
        if isZeroed, !texts.iomem.nodes.isEmpty, !texts.iomem.isZeroed {
            record.iomem = texts.iomem.fileText(width: 8)
            record.gaps.removeAll { $0.code == "iomem-zeroed" || $0.code == "no-iomem" }
        }
        if record.ioports == nil, !texts.ioports.nodes.isEmpty { record.ioports = texts.ioports.fileText(width: 4) }
        for i in record.functions.indices {
            guard let facts = texts[record.functions[i].address] else { continue }
            // A dump by root holds more than the 64 bytes that everybody may read, if it is of the same device.
            let same =
                facts.vendor == nil || record.functions[i].vendor == nil || facts.vendor == record.functions[i].vendor
            if same, facts.config.count > record.functions[i].config.count { record.functions[i].config = facts.config }
            if record.functions[i].driver == nil { record.functions[i].driver = facts.driver }
        }
    }
}
