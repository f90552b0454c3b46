// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc

/// What a path holds, told by its content and never by its name.
public struct Evidence: Hashable, Sendable {
    /// The kinds that this module reads itself; text readers add theirs.
    public enum Kind: Hashable, Sendable {
        /// A directory in the shape of sysfs.
        case sysfsDirectory
        /// A document of the schema `pci-rebalance.snapshot/1` or a later one.
        case snapshot
        /// A kind that a registered recogniser named.
        case text(String)
    }

    /// A further kind: a name, and the question whether the first bytes of a file are of that kind.
    public struct Recogniser: Sendable {
        /// The name of the kind: `lspci-hex`, `dmesg`, …
        public var name: String
        /// Whether the bytes, the first 64 KiB of a file at most, are of that kind.
        public var matches: @Sendable ([UInt8]) -> Bool

        /// Creates a recogniser.
        public init(name: String, matches: @escaping @Sendable ([UInt8]) -> Bool) {
            self.name = name
            self.matches = matches
        }
    }

    /// The path.
    public var path: String
    /// What it holds.
    public var kind: Kind

    /// Looks at `path`; `recognisers` are asked in order after the kinds that this module knows.
    ///
    /// - Throws: `ReadError` when the path is missing, unreadable, or holds nothing that anybody recognises.
    public init(path: String, recognisers: [Recogniser] = []) throws(ReadError) {
        self.path = path
        if case .directory = FileKind(path) {
            guard SysfsDirectoryReader.busPath(below: path) != nil else {
                throw ReadError(
                    .badInput,
                    path: path,
                    "\(path) is no sysfs directory: expected devices/, bus/pci/devices/ or sys/bus/pci/devices/ in it"
                )
            }
            kind = .sysfsDirectory
            return
        }
        let head = try Self.head(of: path)
        if Self.looksLikeSnapshot(head) {
            kind = .snapshot
            return
        }
        for recogniser in recognisers where recogniser.matches(head) {
            kind = .text(recogniser.name)
            return
        }
        throw ReadError(.badInput, path: path, "\(path) is not in a recognised format: \(Self.guess(head))")
    }

    /// The first bytes of a file.
    static func head(of path: String) throws(ReadError) -> [UInt8] {
        let fd = openInput(path)
        guard fd >= 0 else { throw .system(errno, path: path, doing: "open") }
        defer { close(fd) }
        var head = [UInt8](repeating: 0, count: 65_536)
        var count = 0
        while count < head.count {
            let n = head.withUnsafeMutableBytes { readInput(fd, UnsafeMutableRawBufferPointer(rebasing: $0[count...])) }
            guard n >= 0 else { throw .system(errno, path: path, doing: "read") }
            if n == 0 { break }
            count += n
        }
        return Array(head[..<count])
    }

    static func looksLikeSnapshot(_ head: [UInt8]) -> Bool {
        let text = head[...].trimmedLines
        // Keys are sorted, so a large document may name its schema beyond the first bytes.
        return text.starts("{") && (text.has("\"pci-rebalance.snapshot/") || text.has("\"functions\""))
            || text.starts("{") && text.has("\"buses\"") && text.has("\"deviceOrder\"")
    }

    /// Why bytes that nobody recognises are nothing, or what would be.
    static func guess(_ head: [UInt8]) -> String {
        if head.isEmpty { return "it is empty" }
        if let compression = Compression(head) { return "it is compressed with \(compression)" }
        if head[...].trimmedLines.starts("{") { return "it is JSON, but no snapshot" }
        let lines = head[...]
        for part: StaticString in ["Region 0: ", "Region 1: ", "LnkSta:", "Memory at ", "Kernel driver in use: "]
        where lines.has(part) {
            return "it looks like a part of lspci's output, and no line of it names the function; lspci -vv names each"
        }
        return "expected a snapshot, a sysfs directory, or the output of lspci, dmesg or /proc/iomem"
    }
}
