// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology

/// Whether a record that is given away is made anonymous first.
struct AnonymityOptions: ParsableArguments {
    @Flag(
        help: """
            Leave out serial numbers, network addresses, the host's name in logs, the kernel command line beyond pci=, and \
            the names of what is in use.
            """
    )
    var anonymize = false

    /// The record as it may be given away.
    func applied(to record: MachineRecord) -> MachineRecord { anonymize ? record.anonymized() : record }
}

extension MachineRecord {
    /// The record without what tells one machine from another of its kind: device serial numbers, network
    /// addresses and the host's name in logs, the command line beyond what concerns PCI, the names of file systems,
    /// interfaces and addresses in use.
    ///
    /// Addresses, ids and registers stay: without them nothing could be replayed.
    func anonymized() -> MachineRecord {
        var copy = self
        copy.kernel.commandLine = kernel.commandLine.map(Self.withoutPrivateWords)
        for i in copy.functions.indices {
            copy.functions[i].config = Self.withoutSerialNumber(copy.functions[i].config)
            for j in copy.functions[i].use.indices {
                copy.functions[i].use[j].detail = copy.functions[i].use[j].code
            }
        }
        // Files are named after guests and hosts.
        copy.namings = namings.map { naming in
            var naming = naming
            if let place = naming.place, let end = place.lastIndex(of: "/") { naming.place = String(place[..<end]) }
            return naming
        }
        copy.kernelLog = kernelLog.map { lines in
            lines.map { original in
                let line = AnonymousLine(original).text
                guard let start = Self.commandLineStart(line) else { return line }
                return line[..<start] + Self.withoutPrivateWords(String(line[start...]))
            }
        }
        return copy
    }

    private static func withoutPrivateWords(_ line: String) -> String {
        let kept = [
            "pci=", "pcie_", "pci.", "pciehp.", "acpi=", "iommu=", "intel_iommu=", "amd_iommu=", "efi=", "memmap=",
        ]
        return line.split(separator: " ").filter { word in kept.contains { word.hasPrefix($0) } }
            .joined(separator: " ")
    }

    /// Where the kernel's own report of its command line begins in a log line.
    private static func commandLineStart(_ line: String) -> String.Index? {
        let mark = "ommand line: "
        var start = line.startIndex
        while start < line.endIndex {
            if line[start...].hasPrefix(mark) { return line.index(start, offsetBy: mark.count) }
            start = line.index(after: start)
        }
        return nil
    }

    /// The configuration space with the Device Serial Number capability (PCIe 6.0 §7.9.3) zeroed.
    private static func withoutSerialNumber(_ config: ConfigSpace) -> ConfigSpace {
        var copy = config
        for capability in Capabilities(config).extended where capability.id == 0x0003 {
            copy.write(0, at: Int(capability.offset) + 4, width: 4)
            copy.write(0, at: Int(capability.offset) + 8, width: 4)
        }
        return copy
    }
}

/// A line of a kernel log without the host's name, hardware addresses of networks, and serial numbers.
struct AnonymousLine {
    /// The line.
    private(set) var text: String

    /// Reads a line in any form that loggers give it.
    /// - Complexity: O(length).
    init(_ line: String) {
        text = Self.withoutHardwareAddresses(Self.withoutHost(line))
        for mark in ["SerialNumber: ", "Serial Number: ", "serial number "] {
            guard let range = text.firstRange(of: mark) else { continue }
            text.replaceSubrange(range.upperBound..., with: "-")
        }
    }

    /// `Nov 25 10:00:00 NAME kernel: …` and `2026-11-25T10:00:00+00:00 NAME kernel: …`: the word before `kernel:`.
    private static func withoutHost(_ line: String) -> String {
        guard let mark = line.firstRange(of: " kernel: ") else { return line }
        let start = line[..<mark.lowerBound].lastIndex(of: " ").map { line.index(after: $0) }
        guard let start, line[..<start].contains(where: \.isNumber) else { return line }
        return line[..<start] + "host" + line[mark.lowerBound...]
    }

    /// Six bytes in hexadecimal with colons between them, and no seventh.
    private static func withoutHardwareAddresses(_ line: String) -> String {
        var bytes = Array(line.utf8)
        func isHex(_ i: Int) -> Bool { Character(Unicode.Scalar(bytes[i])).isHexDigit }
        var i = 0
        while i < bytes.count {
            var end = i
            while end < bytes.count, isHex(end) || bytes[end] == UInt8(ascii: ":") { end += 1 }
            // A colon behind the address belongs to the sentence.
            var stop = end
            while stop > i, bytes[stop - 1] == UInt8(ascii: ":") { stop -= 1 }
            if stop - i == 17, (0..<17).allSatisfy({ ($0 % 3 == 2) == (bytes[i + $0] == UInt8(ascii: ":")) }) {
                for j in i..<stop where (j - i) % 3 != 2 { bytes[j] = UInt8(ascii: "0") }
            }
            i = max(end, i + 1)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
