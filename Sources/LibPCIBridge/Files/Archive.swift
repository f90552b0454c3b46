// SPDX-License-Identifier: GPL-2.0-or-later

/// The files of a tar archive, held in memory; nothing is unpacked to disk.
///
/// Read are the formats of POSIX (ustar, pax) and GNU tar. Links are followed inside the archive only.
final class Archive: Sendable {
    /// One member.
    enum Entry: Sendable {
        case directory
        case file([UInt8])
        /// A symbolic link with its target as written.
        case link(String)
    }

    /// The most members that are read.
    static let memberLimit = 1_000_000

    /// The members by path without `.` and leading slashes; every directory above a member is one too.
    private let entries: [String: Entry]
    /// The names inside each directory, sorted.
    private let names: [String: [String]]

    /// Reads the bytes of an archive; nil when they are none.
    /// - Complexity: O(number of bytes).
    init?(_ bytes: [UInt8]) {
        guard Self.isArchive(bytes[...]) else { return nil }
        var reader = TarReader(bytes)
        var entries: [String: Entry] = ["": .directory]
        var names: [String: Set<String>] = [:]
        while entries.count < Self.memberLimit, let (path, entry) = reader.next() {
            let parts = path.split(separator: "/").filter { $0 != "." }.map(String.init)
            guard !parts.isEmpty, parts.count <= 64, !parts.contains("..") else { continue }
            var above = ""
            for part in parts.dropLast() {
                names[above, default: []].insert(part)
                above = above.isEmpty ? part : "\(above)/\(part)"
                if entries[above] == nil { entries[above] = .directory }
            }
            guard let last = parts.last else { continue }
            names[above, default: []].insert(last)
            let whole = above.isEmpty ? last : "\(above)/\(last)"
            // A directory that members have made already stays one.
            if case .directory? = entries[whole], case .directory = entry { continue }
            entries[whole] = entry
        }
        self.entries = entries
        self.names = names.mapValues { $0.sorted() }
    }

    /// Whether the bytes begin with the header of a tar archive: its checksum is right.
    static func isArchive(_ bytes: ArraySlice<UInt8>) -> Bool { TarReader.isHeader(bytes.prefix(512)) }

    /// All files in ascending order of path, those too that no path leads to because a link stands above them.
    var files: [(path: String, bytes: [UInt8])] {
        entries.compactMap { path, entry in if case .file(let bytes) = entry { (path, bytes) } else { nil } }
            .sorted { $0.path < $1.path }
    }

    /// The path of the directory above `bus/pci/devices`, and how `SysfsDirectoryReader` finds that from there; nil when
    /// the archive holds no tree of sysfs. Of several the shortest path counts.
    var sysfsRoot: String? {
        var best: String?
        for (path, entry) in entries {
            guard case .directory = entry else { continue }
            var root: String?
            for ending in ["sys/bus/pci/devices", "bus/pci/devices"]
            where path == ending || path.hasSuffix("/" + ending) {
                root = String(path.dropLast(ending.utf8.count))
                break
            }
            guard var found = root else { continue }
            if found.hasSuffix("/") { found.removeLast() }
            if best == nil || (found.utf8.count, found) < (best?.utf8.count ?? 0, best ?? "") { best = found }
        }
        return best
    }

    // MARK: Looking up

    /// The member at `name`, looked up from the directory at `base`, with links followed; nil when there is none.
    func find(_ name: String, from base: String = "") -> (path: String, entry: Entry)? {
        var rest = name.split(separator: "/").map(String.init)[...]
        var here = name.hasPrefix("/") ? [] : base.split(separator: "/").map(String.init)
        var links = 0
        while let part = rest.popFirst() {
            if part == "." { continue }
            if part == ".." {
                _ = here.popLast()
                continue
            }
            here.append(part)
            guard let entry = entries[here.joined(separator: "/")] else { return nil }
            guard case .link(let target) = entry else { continue }
            links += 1
            guard links <= 40 else { return nil }
            here.removeLast()
            if target.hasPrefix("/") { here = [] }
            rest = (target.split(separator: "/").map(String.init) + rest)[...]
        }
        let path = here.joined(separator: "/")
        return entries[path].map { (path, $0) }
    }

    /// The path of the directory at `name`, or nil.
    func directory(_ name: String, from base: String = "") -> String? {
        guard let (path, entry) = find(name, from: base), case .directory = entry else { return nil }
        return path
    }

    /// The bytes of the file at `name`, or nil.
    func contents(_ name: String, from base: String = "") -> [UInt8]? {
        guard let (_, entry) = find(name, from: base), case .file(let bytes) = entry else { return nil }
        return bytes
    }

    /// What the symbolic link `name` in the directory at `base` says, or nil when it is none.
    func link(_ name: String, in base: String) -> String? {
        guard case .link(let target)? = entries[base.isEmpty ? name : "\(base)/\(name)"] else { return nil }
        return target
    }

    /// The names in the directory at `path`, sorted, without those that begin with a dot.
    func names(in path: String) -> [String] { (names[path] ?? []).filter { !$0.hasPrefix(".") } }
}

/// Reads the members of a tar archive one by one; damage ends the archive.
private struct TarReader {
    private let bytes: [UInt8]
    private var at = 0
    private var longName: String?
    private var longLink: String?

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    static func isHeader(_ block: ArraySlice<UInt8>) -> Bool {
        guard block.count == 512 else { return false }
        let start = block.startIndex
        guard let stated = octal(block[(start + 148)..<(start + 156)]) else { return false }
        var sum: UInt64 = 0
        // The checksum field itself counts as eight blanks.
        for i in 0..<512 { sum += (148..<156).contains(i) ? 0x20 : UInt64(block[start + i]) }
        return sum == stated && block[start] != 0
    }

    /// The next file, directory or symbolic link; nil at the end.
    mutating func next() -> (path: String, entry: Archive.Entry)? {
        while at + 512 <= bytes.count {
            let block = bytes[at..<(at + 512)]
            guard Self.isHeader(block), let size = Self.octal(block[(at + 124)..<(at + 136)]),
                size <= UInt64(bytes.count - at - 512)
            else { return nil }
            let data = bytes[(at + 512)..<(at + 512 + Int(size))]
            let kind = block[at + 156]
            let name = Self.text(block[at..<(at + 100)])
            let prefix = Self.text(block[(at + 345)..<(at + 500)])
            let isUstar = block[(at + 257)..<(at + 262)].elementsEqual("ustar".utf8)
            let target = Self.text(block[(at + 157)..<(at + 257)])
            // GNU archives keep times where POSIX has a prefix of the name.
            let isGNU = block[at + 262] == 0x20
            at += 512 + (Int(size) + 511) / 512 * 512
            switch kind {
            case UInt8(ascii: "L"): longName = Self.text(data)
            case UInt8(ascii: "K"): longLink = Self.text(data)
            case UInt8(ascii: "x"): readPax(data)
            case UInt8(ascii: "g"): continue
            default:
                let whole = longName ?? (isUstar && !isGNU && !prefix.isEmpty ? "\(prefix)/\(name)" : name)
                let link = longLink ?? target
                longName = nil
                longLink = nil
                switch kind {
                case UInt8(ascii: "0"), 0: return (whole, .file(Self.content(data, whole)))
                case UInt8(ascii: "5"): return (whole, .directory)
                case UInt8(ascii: "2"): return (whole, .link(link))
                // A hard link names an earlier member from the top.
                case UInt8(ascii: "1"): return (whole, .link("/" + link))
                default: continue
                }
            }
        }
        return nil
    }

    /// The content of a file: tar fills up with zeros what a file of sysfs turned out to lack of its stated size.
    private static func content(_ data: ArraySlice<UInt8>, _ path: String) -> [UInt8] {
        var end = data.endIndex
        if !path.hasSuffix("/config") {
            while end > data.startIndex, data[end - 1] == 0 { end -= 1 }
        }
        return Array(data[..<end])
    }

    /// Reads the records `27 path=…` of a pax header.
    private mutating func readPax(_ data: ArraySlice<UInt8>) {
        var rest = data
        while let length = rest.takeDecimal().flatMap({ Int(exactly: $0) }), rest.first == 0x20 {
            let digits = "\(length)".utf8.count
            guard length > digits + 2, length - digits <= rest.count else { return }
            let record = rest[(rest.startIndex + 1)..<(rest.startIndex + length - digits - 1)]
            if record.starts("path=") { longName = record.dropFirst(5).string }
            if record.starts("linkpath=") { longLink = record.dropFirst(9).string }
            rest = rest[(rest.startIndex + length - digits)...]
        }
    }

    /// The text of a field that a zero ends.
    private static func text(_ field: ArraySlice<UInt8>) -> String {
        (field.firstIndex(of: 0).map { field[..<$0] } ?? field).string
    }

    /// A number in octal digits, or in base 256 where the first bit is set; nil for anything else.
    private static func octal(_ field: ArraySlice<UInt8>) -> UInt64? {
        guard let first = field.first else { return nil }
        var value: UInt64 = 0
        if first & 0x80 != 0 {
            for (i, byte) in field.enumerated() {
                guard value >> 56 == 0 else { return nil }
                value = value << 8 | UInt64(i == 0 ? byte & 0x7f : byte)
            }
            return value
        }
        var digits = 0
        for byte in field {
            if byte == 0x20 && digits == 0 { continue }
            guard byte >= 0x30, byte <= 0x37 else { break }
            value = value << 3 | UInt64(byte - 0x30)
            digits += 1
        }
        return digits > 0 ? value : nil
    }
}
