// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// What a kernel log tells of a boot: the state that firmware left, and where everything ended.
struct BootLog {
    struct Range: Hashable {
        var start: UInt64
        var end: UInt64
        var isIO: Bool
        var is64: Bool
        var isPrefetchable: Bool
        /// Written as `size`, without an address.
        var isSizeOnly: Bool
        var size: UInt64 { end &- start &+ 1 }
    }

    struct Device {
        var header: UInt8
        var classCode: UInt32
        var kind = ""
        var resources: [Int: Range] = [:]
        var vfTotal = 0
        /// Bus numbers by the registers; nil before a line spoke of them.
        var buses: ClosedRange<UInt64>?
        var isReconfigured = false
        var isSubtractive = false
        var isHotPlug = false
        var shadowedROM = false
        /// What the kernel said afterwards.
        var final: [Int: Range?] = [:]
        var finalWindows: Set<Range>?
    }

    var release = ""
    var commandLine = ""
    var roots: [(segment: UInt32, bus: UInt8, last: UInt8, apertures: [(Range, UInt64)])] = []
    var devices: [FunctionAddress: Device] = [:]
    var order: [FunctionAddress] = []
    var firmwareMap: [(AddressRange, String)] = []
    var ioBlockers: [AddressRange] = []
    var usesFirmwareMap = true
    /// What PNP reserved before PCI assigned.
    var reservations: [(AddressRange, isIO: Bool)] = []
    /// Where the allocator begins in an aperture that starts at 0 (`pci_mem_start`).
    var lowestMemory: UInt64?
    /// The kernel announced more than one try.
    var reallocates = false
    /// The extras that bridges asked for: I/O, memory, prefetchable.
    var extras: [FunctionAddress: [Int: UInt64]] = [:]
    /// Nothing else in the log keeps the input from being rebuilt.
    var reasons: Set<String> = []

    private enum Phase {
        case scan
        case assign
        case done
    }

    init(_ text: String) {
        var phase = Phase.scan
        var seenRoot = false
        for raw in text.utf8.split(whereSeparator: { $0 == 10 || $0 == 13 }).map({ text[$0.startIndex..<$0.endIndex] })
        {
            let line = Self.strip(raw)
            if let at = line.range(of: "Linux version ") {
                if !release.isEmpty, seenRoot { break }
                release = String(line[at.upperBound...].prefix { $0 != " " })
            }
            if let at = line.range(of: "Command line: ") { commandLine = String(line[at.upperBound...]) }
            if line.hasPrefix("BIOS-e820: ") { readMap(line) }
            if line.hasPrefix("e820: remove [mem"), let range = Self.range(line) { removeFromMap(range) }
            if line.hasPrefix("system "), line.contains("has been reserved"), let range = Self.range(line),
                let addresses = AddressRange(first: range.start, last: range.end)
            {
                reservations.append((addresses, range.isIO))
            }
            if line.contains("pci_try_num") { reallocates = true }
            if line.hasPrefix("[mem "), line.contains("available for PCI devices") {
                lowestMemory = Self.range(line)?.start
            }
            if line.hasPrefix("PCI: Ignoring E820") || line.contains("PCI: Ignoring E820") { usesFirmwareMap = false }
            guard phase != .done else {
                noteHotPlug(line)
                continue
            }
            if line.hasPrefix("PCI: Using ACPI for IRQ routing") || line.hasPrefix("PCI: pci_cache_line_size") {
                phase = .assign
                continue
            }
            if phase == .assign, line.hasPrefix("PCI: CLS ") || line.hasPrefix("pcieport ") {
                phase = .done
                noteHotPlug(line)
                continue
            }
            if line.hasPrefix("pci_bus ") {
                seenRoot = true
                if phase == .scan { readRoot(line) }
            } else if line.hasPrefix("pci ") {
                readDevice(line, phase)
            }
        }
        settle()
        if phase == .scan { reasons.insert("the log ends, or begins, in the middle") }
        if roots.isEmpty { reasons.insert("no apertures") }
    }

    private static let keys: [StaticString] = [
        "pci_bus ", "pci 0", "pcieport ", "PCI: ", "BIOS-e820: ", "Linux version ", "pci 1", "system 00", "e820: ",
        "[mem 0x",
    ]

    /// A line without time stamp, host name and log level.
    private static func strip(_ raw: Substring) -> Substring {
        for key in keys {
            guard let at = raw.range(of: key) else { continue }
            // The key must begin a word.
            if at.lowerBound == raw.startIndex || raw.utf8[raw.utf8.index(before: at.lowerBound)] == UInt8(ascii: " ") {
                return raw[at.lowerBound...]
            }
        }
        return raw
    }

    private mutating func readMap(_ line: Substring) {
        guard let range = Self.range(line), let addresses = AddressRange(first: range.start, last: range.end),
            let bracket = line.lastIndex(of: "]")
        else { return }
        firmwareMap.append((addresses, String(line[line.index(after: bracket)...].drop { $0 == " " })))
    }

    private mutating func removeFromMap(_ range: Range) {
        guard let hole = AddressRange(first: range.start, last: range.end) else { return }
        firmwareMap = firmwareMap.flatMap { entry, kind in entry.subtracting([hole]).map { ($0, kind) } }
    }

    /// Kernels without SR-IOV count windows from 7; leaves that asked for an extra are hot-plug ports.
    private mutating func settle() {
        for address in order where devices[address]?.header == 1 {
            for index in 7...9 {
                if let final = devices[address]?.final.removeValue(forKey: index) {
                    devices[address]?.final[index + 6] = final
                }
            }
            guard let own = extras[address], let buses = devices[address]?.buses else { continue }
            // What bridges below ask for is passed on; more than that is the port's own.
            var below: [Int: UInt64] = [:]
            for other in order
            where other.segment == address.segment && UInt64(other.bus.rawValue) == buses.lowerBound {
                for (index, size) in extras[other] ?? [:] { below[index, default: 0] += size }
                // Blocks of VFs are extras of the window above them, too.
                for (index, range) in devices[other]?.resources ?? [:] where (7...12).contains(index) {
                    for window in [14, 15] { below[window, default: 0] += max(range.size, 1 << 20) }
                }
            }
            if own.contains(where: { $0.value > below[$0.key] ?? 0 }) { devices[address]?.isHotPlug = true }
        }
    }

    private mutating func noteHotPlug(_ line: Substring) {
        guard line.contains("pciehp: Slot") || line.contains("HotPlug+") else { return }
        let words = line.split(separator: " ")
        guard words.count > 1,
            let address = FunctionAddress(parsing: words[1].dropLast(words[1].hasSuffix(":") ? 1 : 0))
        else { return }
        devices[address]?.isHotPlug = true
    }

    private mutating func readRoot(_ line: Substring) {
        let words = line.split(separator: " ")
        guard words.count > 3 else { return }
        let id = words[1].dropLast().split(separator: ":")
        guard id.count == 2, let segment = UInt32(id[0], radix: 16), let bus = UInt8(id[1], radix: 16) else { return }
        guard let at = line.range(of: "root bus resource [") else { return }
        var index = roots.firstIndex { $0.segment == segment && $0.bus == bus } ?? -1
        if index < 0 {
            roots.append((segment, bus, 0xff, []))
            index = roots.count - 1
        }
        let rest = line[at.upperBound...]
        if rest.hasPrefix("bus ") {
            let numbers = rest.dropFirst(4).prefix { $0 != "]" }.split(separator: "-")
            if let last = numbers.last.flatMap({ UInt8($0, radix: 16) }) { roots[index].last = last }
            return
        }
        guard let range = Self.range(line[line.index(before: at.upperBound)...]) else { return }
        if line.contains("(bus address") { reasons.insert("apertures translate addresses") }
        if !roots[index].apertures.contains(where: { $0.0 == range }) { roots[index].apertures.append((range, 0)) }
    }

    private mutating func readDevice(_ line: Substring, _ phase: Phase) {
        let body = line.dropFirst(4)
        guard let colon = body.range(of: ": "), let address = FunctionAddress(parsing: body[..<colon.lowerBound]) else {
            return
        }
        let text = body[colon.upperBound...]
        if text.hasPrefix("["), let at = text.range(of: "] type ") {
            let words = text[at.upperBound...].split(separator: " ")
            guard words.count >= 3, let header = UInt8(words[0], radix: 16) else { return }
            let code = UInt32(words[2].dropFirst(2), radix: 16) ?? 0
            if phase != .scan { return }
            if devices[address] == nil { order.append(address) }
            devices[address] = Device(header: header & 0x7f, classCode: code)
            devices[address]?.kind = words.dropFirst(3).joined(separator: " ")
            return
        }
        guard devices[address] != nil else { return }
        if phase == .scan { readScan(text, address) } else { readAssignment(text, address) }
    }

    private mutating func readScan(_ text: Substring, _ address: FunctionAddress) {
        if text.hasPrefix("reg 0x"), let register = Int(text.dropFirst(6).prefix { $0 != ":" }, radix: 16) {
            guard let range = Self.range(text) else { return }
            let isBridge = devices[address]?.header == 1
            switch register {
            case 0x30 where !isBridge, 0x38 where isBridge: devices[address]?.resources[6] = range
            case 0x10...0x24: devices[address]?.resources[(register - 0x10) / 4] = range
            default: break
            }
        } else if text.hasPrefix("BAR "), let bar = Int(text.dropFirst(4).prefix { $0.isNumber }) {
            if let range = Self.range(text), !text.contains("assigned to") { devices[address]?.resources[bar] = range }
        } else if text.hasPrefix("ROM ["), let range = Self.range(text) {
            devices[address]?.resources[6] = range
        } else if text.contains("contains BAR"), let at = text.range(of: "contains BAR") {
            let tail = text[at.upperBound...].split(whereSeparator: { !$0.isNumber }).compactMap { Int($0) }
            if tail.count >= 2, let range = Self.range(text) {
                devices[address]?.resources[7 + tail[0]] = range
                devices[address]?.vfTotal = tail[1]
            }
        } else if text.hasPrefix("PCI bridge to [bus "), let buses = Self.buses(text) {
            if devices[address]?.buses == nil { devices[address]?.buses = buses }
            if text.contains("subtractive") { devices[address]?.isSubtractive = true }
            if devices[address]?.isReconfigured == true { devices[address]?.buses = buses }
        } else if text.hasPrefix("  bridge window ["), let range = Self.range(text) {
            if text.contains("subtractive decode") { return }
            let index = range.isIO ? 13 : range.isPrefetchable ? 15 : 14
            if devices[address]?.resources[index] == nil { devices[address]?.resources[index] = range }
        } else if text.hasPrefix("bridge configuration invalid") {
            devices[address]?.isReconfigured = true
            devices[address]?.buses = nil
        } else if text.hasPrefix("Video device with shadowed ROM") {
            devices[address]?.shadowedROM = true
        } else if text.hasPrefix("quirk: [io") || text.contains("claimed by") {
            if let range = Self.range(text), let addresses = AddressRange(first: range.start, last: range.end) {
                ioBlockers.append(addresses)
            }
        } else if text.hasPrefix("enabling Extended Tags") || text.hasPrefix("PME#") {
            return
        } else if text.contains("from Enhanced Allocation") {
            reasons.insert("Enhanced Allocation")
        }
    }

    private mutating func readAssignment(_ text: Substring, _ address: FunctionAddress) {
        if text.hasPrefix("PCI bridge to [bus ") {
            devices[address]?.finalWindows = []
            return
        }
        if text.hasPrefix("  bridge window ["), let range = Self.range(text) {
            devices[address]?.finalWindows?.insert(range)
            return
        }
        if text.contains("add_size") {
            guard let range = Self.range(text), let at = text.range(of: "add_size "),
                let size = UInt64(text[at.upperBound...].prefix { $0 != " " }, radix: 16)
            else { return }
            extras[address, default: [:]][range.isIO ? 13 : range.isPrefetchable ? 15 : 14] = size
            return
        }
        guard let index = Self.resource(text), let range = Self.range(text) else {
            if text.hasPrefix("legacy IDE quirk") { reasons.insert("legacy IDE") }
            return
        }
        if text.contains("assigned") && !text.contains("not assigned") {
            devices[address]?.final[index] = .some(range)
        } else if text.contains("failed to assign") || text.contains("no space") {
            devices[address]?.final[index] = .some(nil)
        } else if text.contains("can't claim") {
            devices[address]?.final[index] = .some(nil)
        }
    }

    /// The index that a line of the assignment phase speaks of: `BAR 14:`, `BAR 0 [`, `bridge window [`, `VF BAR 1 [`.
    private static func resource(_ text: Substring) -> Int? {
        var text = text
        if text.hasPrefix("can't claim ") { text = text.dropFirst(12) }
        if text.hasPrefix("bridge window [") {
            guard let range = range(text) else { return nil }
            return range.isIO ? 13 : range.isPrefetchable ? 15 : 14
        }
        if text.hasPrefix("ROM [") || text.hasPrefix("ROM:") { return 6 }
        let isVF = text.hasPrefix("VF BAR ")
        if isVF { text = text.dropFirst(3) }
        guard text.hasPrefix("BAR "), let number = Int(text.dropFirst(4).prefix { $0.isNumber }) else { return nil }
        return isVF ? number + 7 : number
    }

    private static func buses(_ text: Substring) -> ClosedRange<UInt64>? {
        guard let at = text.range(of: "[bus ") else { return nil }
        let numbers = text[at.upperBound...].prefix { $0 != "]" }.split(separator: "-").compactMap {
            UInt64($0, radix: 16)
        }
        guard let first = numbers.first, let last = numbers.last, first <= last else { return nil }
        return first...last
    }

    /// The first `[mem 0x…-0x… 64bit pref]` or `[io  size 0x…]` of a text.
    static func range(_ text: Substring) -> Range? {
        for bracket in text.utf8.indices where text.utf8[bracket] == UInt8(ascii: "[") {
            let inner = text[text.index(after: bracket)...].prefix { $0 != "]" }
            guard inner.hasPrefix("mem ") || inner.hasPrefix("io ") else { continue }
            let words = inner.split(separator: " ")
            let is64 = words.contains("64bit")
            let pref = words.contains("pref")
            let isIO = inner.hasPrefix("io ")
            guard words.count >= 2 else { continue }
            if words[1] == "size", words.count >= 3, let size = UInt64(words[2].dropFirst(2), radix: 16), size > 0 {
                return Range(start: 0, end: size - 1, isIO: isIO, is64: is64, isPrefetchable: pref, isSizeOnly: true)
            }
            let ends = words[1].split(separator: "-").map { UInt64($0.dropFirst(2), radix: 16) }
            guard ends.count == 2, let first = ends[0], let last = ends[1] else { continue }
            return Range(start: first, end: last, isIO: isIO, is64: is64, isPrefetchable: pref, isSizeOnly: false)
        }
        return nil
    }
}

extension Substring {
    /// Where a text of ASCII letters stands first, or nil.
    func range(of needle: StaticString) -> Swift.Range<Index>? {
        needle.withUTF8Buffer { wanted in
            guard let first = wanted.first else { return nil }
            var at = utf8.startIndex
            while let candidate = utf8[at...].firstIndex(of: first) {
                if utf8[candidate...].starts(with: wanted) {
                    return candidate..<utf8.index(candidate, offsetBy: wanted.count)
                }
                at = utf8.index(after: candidate)
            }
            return nil
        }
    }

    func contains(_ needle: StaticString) -> Bool { range(of: needle) != nil }
}
