// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

@testable internal import LibPCIBridge

/// The readers of what people paste and attach. Each traps when its promise is broken; libFuzzer then has a finding.
extension Readers {
    /// Output of lspci, hex dumps, kernel logs: whatever is recognised makes a tree that loses no function, findings with
    /// words, and a snapshot that reads back as it was written.
    static func text(_ input: [UInt8]) -> Int32 {
        let evidence = TextEvidence(bytes: input)
        for finding in evidence.findings { precondition(!finding.detail.isEmpty, "a finding without words") }
        let record = evidence.record
        let document = SnapshotFile.encode(record)
        precondition((try? SnapshotFile.decode(document)) == record, "a snapshot that says something else")
        guard let topology = try? evidence.topology() else { return 0 }
        precondition(topology.functions.count == evidence.functions.count, "a lost function")
        for finding in Contradictions(topology).findings { precondition(!finding.detail.isEmpty) }
        _ = topology.findings()
        return 0
    }

    /// Logs sorted: no failing line is lost between lines and groups.
    static func triage(_ input: [UInt8]) -> Int32 {
        let triage = Triage(bytes: input)
        let sorted = triage.groups.reduce(0) { $0 + $1.lineCount }
        precondition(sorted == triage.failingLines, "\(sorted) of \(triage.failingLines) lines")
        precondition(!triage.lines().isEmpty)
        return 0
    }

    /// Ranges lie inside the ranges that they are shown in.
    static func iomem(_ input: [UInt8]) -> Int32 {
        let text = IomemText(bytes: input)
        for (position, node) in text.nodes.enumerated() {
            guard let parent = node.parent else { continue }
            precondition(parent < position && text.nodes[parent].range.contains(node.range))
        }
        _ = text.busNodes
        return text.nodes.isEmpty ? -1 : 0
    }

    /// A command line of the kernel: every finding has words.
    static func words(_ input: [UInt8]) -> Int32 {
        let words = BootWords(String(decoding: input, as: UTF8.self))
        for finding in words.findings { precondition(!finding.detail.isEmpty) }
        precondition(words.findings.isEmpty || !words.lines().isEmpty)
        return 0
    }

    /// An archive; with an odd first byte every header gets its right checksum, so that what lies behind is reached.
    static func archive(_ input: [UInt8]) -> Int32 {
        guard let mode = input.first else { return 0 }
        var file = Array(input.dropFirst())
        if mode & 1 == 1 { sealHeaders(&file) }
        guard let archive = Archive(file) else { return -1 }
        for (path, bytes) in archive.files where archive.find(path)?.path == path {
            precondition(archive.contents(path) == bytes, "a file that is another one when looked for")
        }
        guard let reader = SysfsDirectoryReader(archive, path: "archive"), let record = try? reader.read() else {
            return 0
        }
        if let topology = try? TopologyAssembler(record).topology() { _ = topology.findings() }
        return 0
    }

    /// A report: what is accepted makes a tree, or a clear error.
    static func report(_ input: [UInt8]) -> Int32 {
        guard let record = try? ReportFile.record(in: input) else { return 0 }
        if let topology = try? TopologyAssembler(record).topology() { _ = topology.findings() }
        return 0
    }

    private static func sealHeaders(_ file: inout [UInt8]) {
        var at = 0
        while at + 512 <= file.count {
            for i in 148..<156 { file[at + i] = 0x20 }
            let sum = file[at..<at + 512].reduce(0) { $0 + Int($1) }
            let digits = String(sum, radix: 8)
            let field = Array((String(repeating: "0", count: max(0, 6 - digits.utf8.count)) + digits).utf8.prefix(6))
            for (i, digit) in (field + [0, 0x20]).enumerated() { file[at + 148 + i] = digit }
            var size = 0
            for digit in file[at + 124..<at + 135] where (0x30...0x37).contains(digit) {
                size = min(size * 8 + Int(digit - 0x30), 1 << 32)
            }
            at += 512 + (size + 511) / 512 * 512
        }
    }
}
