// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Files and links that name functions by their addresses: guests of libvirt, Xen and Proxmox, words for the next boot and for
/// modules, udev's rules and links, mounts.
///
/// Nothing is followed but what the table of places names; files and their number are bounded, and a gap says so where the
/// bounds were met or something may not be read.
enum FileNamings {
    /// The most namings of a machine.
    static let most = 4096
    /// The most files of a directory, and the largest file in bytes.
    private static let (mostFiles, largestFile) = (256, 1 << 20)

    /// How the addresses stand in a file.
    enum Grammar {
        /// `<source><address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source>`, or below `<forward>`.
        case libvirt
        /// `pci = [ '03:00.0', '0000:04:00.0,permissive=1' ]`, over any number of lines.
        case xen
        /// `hostpci0: 0000:03:00.0,pcie=1`.
        case proxmox
        /// Whole addresses with their segment anywhere but in comments: `pci-0000:03:00.0-nvme-1`, `hide=(0000:03:00.0)`.
        case text
        /// The same in the names of the directory's entries.
        case names
    }

    private struct Place {
        /// Below the root.
        var directory: String
        /// How the names of the files end; a file of its own when it begins with `=`.
        var ending: String
        var grammar: Grammar
        /// What the naming is.
        var word: String
    }

    private static let places: [Place] = [
        Place(directory: "etc/libvirt/qemu", ending: ".xml", grammar: .libvirt, word: "libvirt's guest"),
        Place(directory: "etc/libvirt/qemu/networks", ending: ".xml", grammar: .libvirt, word: "libvirt's network"),
        Place(directory: "etc/libvirt/libxl", ending: ".xml", grammar: .libvirt, word: "libvirt's guest"),
        Place(directory: "run/libvirt/qemu", ending: ".xml", grammar: .libvirt, word: "libvirt's running guest"),
        Place(directory: "etc/xen", ending: ".cfg", grammar: .xen, word: "Xen's guest"),
        Place(directory: "etc/xen/auto", ending: "", grammar: .xen, word: "Xen's guest"),
        Place(directory: "etc/pve/qemu-server", ending: ".conf", grammar: .proxmox, word: "Proxmox's guest"),
        Place(directory: "etc/modprobe.d", ending: ".conf", grammar: .text, word: "an option of a module"),
        Place(directory: "run/modprobe.d", ending: ".conf", grammar: .text, word: "an option of a module"),
        Place(directory: "etc/udev/rules.d", ending: ".rules", grammar: .text, word: "a rule of udev"),
        Place(directory: "run/udev/rules.d", ending: ".rules", grammar: .text, word: "a rule of udev"),
        Place(directory: "etc/systemd/network", ending: "", grammar: .text, word: "a network file"),
        Place(directory: "etc/driverctl.d", ending: "", grammar: .names, word: "driverctl's override"),
        Place(directory: "etc/default", ending: "=grub", grammar: .text, word: "a word for the next boot"),
        Place(directory: "etc/kernel", ending: "=cmdline", grammar: .text, word: "a word for the next boot"),
        Place(directory: "etc", ending: "=fstab", grammar: .text, word: "a mount by path"),
        Place(directory: "etc", ending: "=crypttab", grammar: .text, word: "a disk by path"),
        Place(directory: "dev/disk/by-path", ending: "", grammar: .names, word: "a link by path"),
        Place(directory: "dev/dri/by-path", ending: "", grammar: .names, word: "a link by path"),
        Place(directory: "dev/input/by-path", ending: "", grammar: .names, word: "a link by path"),
        Place(directory: "dev/serial/by-path", ending: "", grammar: .names, word: "a link by path"),
        Place(directory: "dev/snd/by-path", ending: "", grammar: .names, word: "a link by path"),
        Place(directory: "dev/v4l/by-path", ending: "", grammar: .names, word: "a link by path"),
    ]

    /// Adds what names functions of the record, each once for each place, in the order of the table.
    static func read(_ root: borrowing Directory, into record: inout MachineRecord) {
        let known = Set(record.functions.map(\.address))
        var found: [AddressWord] = []
        var seen: Set<AddressWord> = []
        var isCut = false
        var closed: [String] = []
        func take(_ addresses: [FunctionAddress], _ word: String, _ path: String) {
            for address in addresses where known.contains(address) {
                let naming = AddressWord(word: word, address: address, place: path)
                guard seen.insert(naming).inserted else { continue }
                guard found.count < most else {
                    isCut = true
                    return
                }
                found.append(naming)
            }
        }
        for place in places {
            guard let directory = Directory(in: root, name: place.directory) else {
                if root.has(place.directory) { closed.append("/" + place.directory) }
                continue
            }
            if place.grammar == .names {
                take(
                    directory.names().flatMap { wholeAddresses(Array($0.utf8)[...]) },
                    place.word,
                    "/" + place.directory
                )
                continue
            }
            let names =
                place.ending.hasPrefix("=")
                ? [String(place.ending.dropFirst())] : directory.names().filter { $0.hasSuffix(place.ending) }
            if names.count > mostFiles { isCut = true }
            for name in names.prefix(mostFiles) {
                let path = "/\(place.directory)/\(name)"
                guard let bytes = directory.contents(name, limit: largestFile) else {
                    if directory.has(name), Directory(in: directory, name: name) == nil { closed.append(path) }
                    continue
                }
                take(addresses(in: bytes, place.grammar), place.word, path)
            }
        }
        record.namings = found
        if !closed.isEmpty {
            let more = closed.count > 4 ? " and \(closed.count - 4) more" : ""
            record.gaps.append(
                ReadingGap(
                    code: "names-unseen",
                    detail:
                        "\(closed.prefix(4).joined(separator: ", "))\(more) could not be read: addresses of functions that "
                        + "stand there are not known"
                )
            )
        }
        if isCut {
            record.gaps.append(
                ReadingGap(code: "names-cut", detail: "more files name functions by address than were looked at")
            )
        }
    }

    /// The addresses that a file names.
    ///
    /// - Complexity: O(length).
    static func addresses(in bytes: [UInt8], _ grammar: Grammar) -> [FunctionAddress] {
        switch grammar {
        case .libvirt: return LibvirtText(bytes).addresses
        case .xen: return xen(bytes)
        case .proxmox:
            return TextLines(bytes).flatMap { line -> [FunctionAddress] in
                line.trimmed.starts("hostpci") ? parts(line).compactMap { FunctionAddress(parsing: $0) } : []
            }
        case .text, .names:
            return TextLines(bytes).flatMap { line -> [FunctionAddress] in
                line.trimmed.starts("#") ? [] : wholeAddresses(line)
            }
        }
    }

    /// The values of `pci`, between brackets.
    private static func xen(_ bytes: [UInt8]) -> [FunctionAddress] {
        var result: [FunctionAddress] = []
        var isInside = false
        for line in TextLines(bytes) {
            var rest = line.before("#").trimmed
            if !isInside {
                guard rest.take("pci") else { continue }
                rest.skipBlanks()
                guard rest.take("="), rest.has("[") else { continue }
                isInside = true
            }
            result += parts(rest.before("]")).compactMap { FunctionAddress(parsing: $0) }
            if rest.has("]") { isInside = false }
        }
        return result
    }

    /// The addresses of a line that name their segment.
    private static func wholeAddresses(_ line: TextBytes) -> [FunctionAddress] {
        parts(line).compactMap { part in
            part.utf8.count { $0 == UInt8(ascii: ":") } == 2 ? FunctionAddress(parsing: part) : nil
        }
    }

    /// The pieces of a line that consist of what addresses consist of, without dots and colons around them.
    private static func parts(_ line: TextBytes) -> [String] {
        func isPart(_ byte: UInt8) -> Bool { hexDigit(byte) != nil || isMark(byte) }
        func isMark(_ byte: UInt8) -> Bool { byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".") }
        return line.split { !isPart($0) }.compactMap { piece in
            var piece = piece
            while let last = piece.last, isMark(last) { piece.removeLast() }
            while let first = piece.first, isMark(first) { piece.removeFirst() }
            return piece.isEmpty ? nil : piece.string
        }
    }
}

/// The host's addresses in libvirt's XML: those of the elements `address` below `source` and `forward`. The addresses that
/// guests see stand elsewhere.
private struct LibvirtText {
    private(set) var addresses: [FunctionAddress] = []

    init(_ bytes: [UInt8]) {
        var depth = 0
        var rest = bytes[...]
        while let start = rest.firstIndex(of: UInt8(ascii: "<")) {
            rest = rest[start...]
            if rest.starts("<!--") {
                guard let end = rest.after("-->") else { return }
                rest = end
                continue
            }
            guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return }
            let tag = rest[(start + 1)..<end]
            rest = rest[(end + 1)...]
            let isOver = tag.last == UInt8(ascii: "/")
            let name = tag.prefix { !isBlank($0) && $0 != 0x0a && $0 != UInt8(ascii: "/") }
            if tag.first == UInt8(ascii: "/") {
                let closed = tag.dropFirst().trimmed
                if closed.equals("source") || closed.equals("forward") { depth = max(0, depth - 1) }
            } else if name.equals("source") || name.equals("forward") {
                if !isOver { depth += 1 }
            } else if name.equals("address"), depth > 0, let address = Self.address(tag) {
                addresses.append(address)
            }
        }
    }

    private static func address(_ tag: TextBytes) -> FunctionAddress? {
        guard let bus = number("bus", tag), let slot = number("slot", tag), let function = number("function", tag),
            let number = UInt8(exactly: bus), slot < 32, function < 8,
            let segment = UInt32(exactly: Self.number("domain", tag) ?? 0)
        else { return nil }
        return FunctionAddress(segment: segment, bus: BusNumber(number), devfn: UInt8(slot << 3 | function))
    }

    /// The value of an attribute: hexadecimal behind `0x`, octal behind another zero, else decimal; nil without one.
    private static func number(_ name: StaticString, _ tag: TextBytes) -> UInt64? {
        var rest = tag
        while let next = rest.after(name) {
            let isWord =
                next.startIndex - name.utf8CodeUnitCount > tag.startIndex
                && isBlankOrEnd(tag[next.startIndex - name.utf8CodeUnitCount - 1])
            rest = next
            guard isWord else { continue }
            var value = next
            skip(&value)
            guard value.take("=") else { continue }
            skip(&value)
            guard let quote = value.first, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else { return nil }
            let text = value.dropFirst().prefix { $0 != quote }
            if text.starts("0x") { return text.dropFirst(2).hexValue }
            guard text.first == UInt8(ascii: "0"), text.count > 1 else { return text.decimalValue }
            return text.count <= 8 ? UInt64(text.string, radix: 8) : nil
        }
        return nil
    }

    private static func isBlankOrEnd(_ byte: UInt8) -> Bool { isBlank(byte) || byte == 0x0a }

    private static func skip(_ text: inout TextBytes) {
        while let first = text.first, isBlankOrEnd(first) { text.removeFirst() }
    }
}
