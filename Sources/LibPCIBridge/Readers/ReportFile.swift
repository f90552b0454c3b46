// SPDX-License-Identifier: GPL-2.0-or-later

/// The form of the files that `report` writes: sections of text for people, and the record at the end for replay.
public enum ReportFile {
    /// The first line of every report.
    public static let title = "pci-rebalance report 1"
    /// The line after which the record stands, to the end of the file.
    public static let snapshotMark = "== snapshot =="

    /// Whether the bytes, the first of a file, are those of a report.
    public static func isReport(_ head: some Collection<UInt8>) -> Bool { head.starts(with: (title + "\n").utf8) }

    /// The record in a report.
    /// - Throws: `ReadError` with code `badInput` when the record is missing or damaged.
    public static func record(in bytes: [UInt8]) throws(ReadError) -> MachineRecord {
        let mark = Array("\n\(snapshotMark)\n".utf8)
        var i = bytes.count - mark.count
        while i >= 0 {
            if bytes[i] == 0x0a, bytes[i..<(i + mark.count)].elementsEqual(mark) {
                return try SnapshotFile.decode(Array(bytes[(i + mark.count)...]))
            }
            i -= 1
        }
        throw ReadError(.badInput, "a report without its record: expected the line \(snapshotMark)")
    }
}
