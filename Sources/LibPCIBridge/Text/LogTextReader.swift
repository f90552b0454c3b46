// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Reads the kernel's messages about PCI into the last state that they tell, line by line.
///
/// Both generations of messages are known: `BAR 14: no space for [mem size 0x200000]` (up to 6.8; window numbers 13-15,
/// or 7-9 without CONFIG_PCI_IOV) and `bridge window [mem size 0x200000]: can't assign; no space` (from 6.9).
struct LogTextReader {
    /// The functions that exist at the end of the log, in no order.
    private(set) var functions: [FunctionAddress: TextFunction] = [:]
    /// The root buses in the order of the log.
    private(set) var roots: [RootFacts] = []
    /// The messages that matter.
    private(set) var messages: [KernelMessage] = []
    /// Damage and oddities.
    private(set) var findings: [TextFinding] = []
    /// The kernel's identity.
    private(set) var kernel = KernelIdentity()
    /// The machine's name.
    private(set) var machine: String?

    /// BARs that held nothing when they were found, and of which nothing was said since.
    var yetToCome: [FunctionAddress: Set<ResourceIndex>] = [:]
    /// Whether the kernel numbers the windows of bridges from 7.
    var hasOldWindowNumbers = false
    /// The sizes that BARs of functions with drivers were refused.
    private var sizesTried: [FunctionAddress: [ResourceIndex: SizesTried]] = [:]
    /// The segments whose root bus only the dump of buses told.
    private var dumpedRoots: Set<UInt32> = []
    private var boots = 0
    private var earlierMachines = Set<String>()
    private var coverage = LogCoverage()
    private var damagedLines = 0
    private var byBus: [UInt64: [FunctionAddress]] = [:]
    private var rootPlaces: [UInt64: Int] = [:]
    private var translatedRoots: [UInt64: Int] = [:]
    private var dump: (address: FunctionAddress, bytes: [UInt8])?
    private var lastBridge: FunctionAddress?
    private var pending: (time: UInt64?, bytes: [UInt8])?

    init() {}

    /// Whether a message waits for the rest that mail software put on the next line.
    var isWaiting: Bool { pending != nil }

    /// Reads one line of which the prefix has been taken off; gives whether it matters here.
    mutating func read(_ line: LogTextLine) -> Bool {
        flush()
        coverage.lines += 1
        let message = line.message
        if Self.isCut(message), Self.matters(message) {
            pending = (line.time, Array(message))
            return true
        }
        return take(message, at: line.time)
    }

    /// Reads the rest of a message whose line was broken.
    mutating func readRest(_ text: TextBytes) {
        guard var waiting = pending else { return }
        waiting.bytes.append(0x20)
        waiting.bytes.append(contentsOf: text.trimmed)
        pending = nil
        if Self.isCut(waiting.bytes[...]), waiting.bytes.count < 400 {
            pending = waiting
        } else {
            _ = take(waiting.bytes[...], at: waiting.time)
        }
    }

    /// Reads what still waits for its rest, as it is.
    mutating func flush() {
        guard let waiting = pending else { return }
        pending = nil
        _ = take(waiting.bytes[...], at: waiting.time)
    }

    /// Ends the log.
    mutating func finish() {
        flush()
        endDump()
        settleOldNumbers()
        if !coverage.isAssigned { forgetResetBuses(segment: coverage.lastSegment) }
        if coverage.mayEndInAssignment { forgetWhatIsYetToCome() }
        // One odd line may be a new wording; several are a console that lost characters.
        if damagedLines >= 3 {
            findings.append(
                TextFinding(
                    .damagedLog,
                    nil,
                    "\(damagedLines) messages about PCI have lost characters, as on a serial console: what they said is "
                        + "not known"
                )
            )
        }
        findings += coverage.findings(
            hasRoots: roots.contains { !dumpedRoots.contains($0.segment) },
            hasMessages: !messages.isEmpty
        )
        if boots > 1 {
            let names = machine.map { earlierMachines.subtracting([$0]).sorted() } ?? []
            let others =
                names.isEmpty ? "" : ", and earlier ones are of another machine (\(names.joined(separator: "; ")))"
            findings.append(
                TextFinding(.severalBoots, nil, "the log holds \(boots) boots; the last one counts\(others)")
            )
        }
    }

    /// Whether a message ends inside brackets, or in a word after which more must come.
    private static func isCut(_ text: TextBytes) -> Bool {
        guard text.count > 20 else { return false }
        var depth = 0
        for byte in text {
            if byte == 0x5b || byte == 0x28 { depth += 1 }
            if byte == 0x5d || byte == 0x29 { depth -= 1 }
        }
        if depth > 0 { return true }
        let end = text.trimmed
        if text.has(": VF(") && end.ends("]") || text.has(": contains") && !text.has(" VFs") { return true }
        return end.ends(": no") || end.ends(": address") || end.ends(" conflicts with") || end.ends("]: can't")
            || end.ends("]:") && !end.ends("kernel]:")
    }

    /// Whether a message can concern PCI at all; cheap, for the many that do not.
    static func matters(_ text: TextBytes) -> Bool {
        guard let first = text.first else { return false }
        switch first {
        case UInt8(ascii: "p"): return text.starts("pci")
        case UInt8(ascii: "P"): return text.starts("PCI")
        default: return takeSubject(text) != nil
        }
    }

    /// The driver's name and the function that a message begins with, and what follows.
    static func takeSubject(_ text: TextBytes) -> (address: FunctionAddress, rest: TextBytes)? {
        let head = text.prefix(64)
        guard let blank = head.firstIndex(of: 0x20), blank > head.startIndex else { return nil }
        var rest = text[(blank + 1)...]
        guard let first = rest.first, hexDigit(first) != nil, let address = takeAddress(&rest) else { return nil }
        // A service of a port: `pciehp 0000:02:05.0:pcie24: `.
        if rest.starts(":pcie"), let end = rest.prefix(16).find(": ") { rest = rest[end...] }
        guard rest.take(": ") else { return nil }
        // `FW_BUG`, `FW_WARN` and `FW_INFO` of linux/printk.h.
        if !rest.take("[Firmware Bug]: "), !rest.take("[Firmware Warn]: ") { _ = rest.take("[Firmware Info]: ") }
        return (address, rest)
    }

    /// Whether the kernel's own code speaks, not a function's driver: it names functions without driver, and ports, so.
    static func isCore(_ text: TextBytes) -> Bool {
        let driver = text.before(" ")
        return driver.equals("pci") || driver.equals("pcieport") || driver.equals("shpchp")
    }

    // MARK: Messages

    private mutating func take(_ message: TextBytes, at time: UInt64?) -> Bool {
        if dump != nil, readDumpRow(message) { return true }
        endDump()
        if Self.isDamaged(message) { damagedLines += 1 }
        guard readMessage(message) || message.before(":").has("pci") && CauseSign.area(of: message) != nil else {
            return false
        }
        messages.append(KernelMessage(time: time, text: message.string))
        return true
    }

    private mutating func readMessage(_ text: TextBytes) -> Bool {
        if let subject = Self.takeSubject(text) {
            let isBusCode = text.starts("pci ")
            coverage.note(
                subject.rest,
                isBusCode: isBusCode,
                isRootKnown: hasRoot(subject.address.segment),
                segment: subject.address.segment
            )
            // A driver that asks for another size and is refused keeps what it had, without a word of the kernel.
            if Self.isCore(text) || !Self.isRefusal(subject.rest) || refusesOldSize(subject.rest, of: subject.address) {
                readFunctionMessage(subject.rest, of: subject.address)
            }
            return true
        }
        guard let first = text.first else { return false }
        if kernel.hardwareDescription == nil, Self.isDeviceTreeHost(text) {
            kernel.hardwareDescription = .deviceTree
        }
        switch first {
        case UInt8(ascii: "p"):
            var rest = text
            if rest.take("pci_bus "), let bus = takeBus(&rest), rest.take(": ") {
                coverage.note(bus: rest)
                if let dumped = text.after("pci_bus ").flatMap({ BusResourceText($0) }) { readDumped(dumped) }
                readBusMessage(rest, segment: bus.segment, bus: bus.bus)
                return true
            }
            return text.starts("pci") || text.starts("pnp ")
        case UInt8(ascii: "P"):
            if var rest = text.after("PCI host bridge to bus "), let bus = takeBus(&rest) {
                root(segment: bus.segment, bus: bus.bus)
                return true
            }
            return text.starts("PCI")
        case UInt8(ascii: "L"):
            var rest = text
            guard rest.take("Linux version ") else { return false }
            startBoot(release: rest.before(" ").string)
            return true
        case UInt8(ascii: "C"), UInt8(ascii: "K"):
            if let words = text.after("ommand line: "), text.starts("C") || text.starts("Kernel c") {
                kernel.commandLine = words.trimmed.string
                return true
            }
            return false
        case UInt8(ascii: "D"), UInt8(ascii: "M"), UInt8(ascii: "H"):
            for word: StaticString in ["DMI: ", "Machine model: ", "Hardware name: "] {
                var rest = text
                if rest.take(word) {
                    machine = machine ?? rest.trimmed.string
                    // POWER names the machine description last (`dump_stack_set_arch_desc`).
                    let isPowerNV = rest.trimmed.ends(" PowerNV")
                    if isPowerNV || rest.trimmed.ends(" pSeries") {
                        kernel.architecture = kernel.architecture ?? "ppc64le"
                        if isPowerNV { kernel.hardwareDescription = .opal }
                    }
                    return true
                }
            }
            return false
        case UInt8(ascii: "A"):
            if var rest = text.after("PCI Root Bridge ["), text.starts("ACPI: ") {
                kernel.hardwareDescription = .acpi
                readRootBridge(&rest)
                return true
            }
            return text.starts("ACPI: MCFG") || text.starts("ACPI: bus type PCI")
        case UInt8(ascii: "B"):
            if text.starts("BIOS-e820: ") {
                kernel.architecture = kernel.architecture ?? "x86_64"
                return true
            }
            if var rest = text.after("Booting Linux on physical CPU 0x"), text.starts("Booting") {
                let start = rest.startIndex
                _ = rest.takeHex()
                // 64-bit kernels print ten digits, 32-bit ones as many as there are.
                kernel.architecture = rest.startIndex - start >= 10 ? "aarch64" : "armv7l"
                return true
            }
            return false
        case UInt8(ascii: "U"):
            guard text.starts("Using PowerNV machine") || text.starts("Using pSeries machine") else { return false }
            kernel.architecture = kernel.architecture ?? "ppc64le"
            if text.starts("Using PowerNV") { kernel.hardwareDescription = .opal }
            return true
        case UInt8(ascii: "["):
            // `[mem 0x…-0x…] available for PCI devices`; amdgpu before 6.1 names no device.
            return text.has("available for PCI devices") || text.has("PCI address space for a large BAR")
                || text.starts("[drm]") && text.has("resizing BAR")
        case UInt8(ascii: "a"): return text.starts("acpi PNP0A0")
        case UInt8(ascii: "e"): return text.starts("e820: ") || text.starts("efi: Remove mem")
        case UInt8(ascii: "N"):
            return text.starts("NVRM: ") && (text.has("NVIDIA device is invalid") || text.has("0M @ 0x0"))
        case UInt8(ascii: "E"), UInt8(ascii: "r"):
            // `resource: Expanded resource Reserved due to conflict with PCI Bus 0000:00`
            return text.has("due to conflict with PCI Bus")
        case UInt8(ascii: "S"): return text.starts("Some PCI device resources are unassigned")
        default: return false
        }
    }

    /// `rockchip-pcie f8000000.pcie: host bridge /pcie@f8000000 ranges:`, `brcm-pcie fd500000.pcie: PCI host bridge to bus
    /// 0000:00`: the device is named by a unit address of the device tree.
    private static func isDeviceTreeHost(_ text: TextBytes) -> Bool {
        // A host's node in `/` alone names a device tree, whatever the device is called (`mvebu-pcie soc:pcie: …`).
        if text.prefix(128).has(": host bridge /") { return true }
        guard let colon = text.prefix(96).firstIndex(of: 0x3a) else { return false }
        var rest = text[(colon + 1)...]
        guard rest.take(" PCI host bridge to bus ") else { return false }
        var name = text[..<colon]
        guard let blank = name.lastIndex(of: 0x20) else { return false }
        name = name[(blank + 1)...]
        let start = name.startIndex
        _ = name.takeHex()
        return name.startIndex > start && name.first == 0x2e
    }

    /// Whether a message of the PCI core has lost characters: its address or its range is none.
    private static func isDamaged(_ text: TextBytes) -> Bool {
        if text.starts("pci 0") || text.starts("pcieport 0") {
            // PowerNV names partitionable endpoints by bus: `pci 0030:01     : [PE# 1fd] …` (`pe_level_printk`).
            guard let subject = takeSubject(text) else { return !text.has(": [PE# ") }
            guard let open = subject.rest.firstIndex(of: 0x5b) else { return false }
            var bracket = subject.rest[open...]
            guard bracket.starts("[mem ") || bracket.starts("[io ") else { return false }
            // An empty resource (end before start) is printed so.
            if bracket.before("]").has("-0xffffffffffffffff") { return false }
            return RangeText.take(&bracket) == nil
        }
        var rest = text
        guard rest.take("pci_bus 0") else { return false }
        rest = text
        _ = rest.take("pci_bus ")
        return takeBus(&rest) == nil
    }

    static func isRefusal(_ text: TextBytes) -> Bool {
        text.has("can't assign") || text.has("failed to assign") || text.has("no space for") || text.has("releasing")
    }

    /// Whether a message about a function with a driver refuses a BAR the size that it had, after another was refused: then
    /// the old place could not be given back either, and the BAR has none.
    private mutating func refusesOldSize(_ text: TextBytes, of address: FunctionAddress) -> Bool {
        var rest = text
        guard rest.take("BAR "), let number = rest.takeDecimal(), number <= 5, !rest.has("releasing"),
            let index = ResourceIndex(Int(number)), let open = rest.firstIndex(of: 0x5b)
        else { return false }
        rest = rest[open...]
        guard let size = RangeText.take(&rest)?.size else { return false }
        let old = functions[address]?.resource(index)?.size
        return sizesTried[address, default: [:]][index, default: SizesTried()].undoes(refusalOf: size, old: old)
    }

    private mutating func startBoot(release: String) {
        boots += 1
        // A second banner soon after the first is the same boot printed twice; with functions it is a new boot.
        guard boots > 1, !functions.isEmpty || !roots.isEmpty else {
            boots = 1
            kernel.release = release
            kernel.architecture = Self.architecture(ofRelease: release) ?? kernel.architecture
            return
        }
        functions = [:]
        yetToCome = [:]
        coverage = LogCoverage()
        byBus = [:]
        roots = []
        rootPlaces = [:]
        translatedRoots = [:]
        messages = []
        kernel = KernelIdentity(release: release, architecture: Self.architecture(ofRelease: release))
        if let machine { earlierMachines.insert(machine) }
        machine = nil
    }

    /// The architecture that distributions name at the end of a release, or nil.
    private static func architecture(ofRelease release: String) -> String? {
        for (ending, name) in [
            ("-amd64", "x86_64"), ("x86_64", "x86_64"), ("-arm64", "aarch64"), ("aarch64", "aarch64"),
            ("ppc64le", "ppc64le"), ("powerpc64le", "ppc64le"), ("ppc64", "ppc64"), ("riscv64", "riscv64"),
        ] where release.hasSuffix(ending) {
            return name
        }
        return nil
    }

    // MARK: Root buses

    private func hasRoot(_ segment: UInt32) -> Bool { roots.contains { $0.segment == segment } }

    @discardableResult
    private mutating func root(segment: UInt32, bus: BusNumber) -> Int {
        let key = UInt64(segment) << 8 | UInt64(bus.rawValue)
        if let i = rootPlaces[key] { return i }
        rootPlaces[key] = roots.count
        roots.append(RootFacts(segment: segment, bus: bus))
        return roots.count - 1
    }

    private mutating func readRootBridge(_ rest: inout TextBytes) {
        guard var domain = rest.after("(domain "), let segment = domain.takeHex(), segment <= UInt64(UInt32.max),
            domain.take(" "), let buses = RangeText.takeBuses(&domain),
            let range = BusRange(first: BusNumber(buses.first), last: BusNumber(buses.last))
        else { return }
        let i = root(segment: UInt32(segment), bus: range.first)
        roots[i].busRange = range
    }

    private mutating func readBusMessage(_ text: TextBytes, segment: UInt32, bus: BusNumber) {
        var rest = text
        if rest.take("root bus resource ") {
            let i = root(segment: segment, bus: bus)
            if let buses = RangeText.takeBuses(&rest) {
                roots[i].busRange = BusRange(first: BusNumber(buses.first), last: BusNumber(buses.last))
                return
            }
            guard let resource = RangeText.take(&rest), let range = resource.range else { return }
            var offset: Int64 = 0
            if var translated = rest.after("(bus address [0x"), let start = translated.takeHex() {
                // Two's complement: the difference is taken modulo 2^64.
                offset = Int64(bitPattern: range.first &- start)
            }
            var flags = resource.flags
            flags.remove(.disabled)
            let aperture = Aperture(range: range, flags: flags, offset: offset)
            // No host bridge has more apertures than firmware tables have room for; damage may claim so.
            guard roots[i].apertures.count < 256, !roots[i].apertures.contains(aperture) else { return }
            roots[i].apertures.append(aperture)
            if offset != 0 { translatedRoots[UInt64(segment) << 8 | UInt64(bus.rawValue)] = i }
        } else if rest.take("busn_res: ") {
            guard let buses = RangeText.takeBuses(&rest) else { return }
            if rest.starts(" is released") {
                removeBus(segment: segment, bus: bus)
            } else if var end = rest.after("end is updated to "), let last = end.takeHex(), last <= 0xff,
                let i = rootPlaces[UInt64(segment) << 8 | UInt64(bus.rawValue)]
            {
                // Of a root bus only: a bridge's subordinate number is printed with its windows.
                roots[i].busRange = BusRange(first: BusNumber(buses.first), last: BusNumber(UInt8(last)))
            }
        }
    }

    /// Takes the apertures of a root bus that no other line tells.
    private mutating func readDumped(_ dumped: BusResourceText) {
        if !dumpedRoots.contains(dumped.segment) {
            guard dumped.isFirstOfRoot, !hasRoot(dumped.segment) else { return }
            dumpedRoots.insert(dumped.segment)
            root(segment: dumped.segment, bus: dumped.bus)
        }
        guard let aperture = dumped.aperture,
            let i = rootPlaces[UInt64(dumped.segment) << 8 | UInt64(dumped.bus.rawValue)],
            roots[i].apertures.count < 256, !roots[i].apertures.contains(aperture)
        else { return }
        roots[i].apertures.append(aperture)
    }

    private mutating func removeBus(segment: UInt32, bus: BusNumber) {
        for address in byBus.removeValue(forKey: UInt64(segment) << 8 | UInt64(bus.rawValue)) ?? [] {
            functions[address] = nil
        }
    }

    // MARK: Early dump

    private mutating func readDumpRow(_ text: TextBytes) -> Bool {
        guard var open = dump else { return false }
        var rest = text
        let start = rest.startIndex
        guard let offset = rest.takeHex(), rest.startIndex - start == 8, rest.take(": "),
            Int(offset) == open.bytes.count
        else { return false }
        for word in rest.words() {
            guard word.count == 2, let value = word.hexValue else { return false }
            open.bytes.append(UInt8(value))
        }
        dump = open
        if open.bytes.count >= 256 { endDump() }
        return true
    }

    private mutating func endDump() {
        guard let done = dump else { return }
        dump = nil
        guard done.bytes.count >= 64 else { return }
        // The state that firmware left, before the kernel touched it: kept only while nothing else is known.
        firmwareDumps[done.address] = done.bytes
    }

    /// What `pci=earlydump` printed: configuration spaces as firmware left them.
    private(set) var firmwareDumps: [FunctionAddress: [UInt8]] = [:]

    mutating func beginDump(of address: FunctionAddress) { dump = (address, []) }

    /// CPU address minus bus address at a CPU address, by the apertures that the log has named so far.
    func offset(of address: UInt64, isIO: Bool, segment: UInt32) -> Int64 {
        guard !translatedRoots.isEmpty else { return 0 }
        // At most 256 root buses have a segment.
        for bus in 0..<UInt64(256) {
            guard let i = translatedRoots[UInt64(segment) << 8 | bus] else { continue }
            for aperture in roots[i].apertures where aperture.isIO == isIO && aperture.range.contains(address) {
                return aperture.offset
            }
        }
        return 0
    }

    mutating func change(_ address: FunctionAddress, _ body: (inout TextFunction) -> Void) {
        noteBus(of: address)
        body(&functions[address, default: TextFunction(address: address)])
    }

    mutating func replace(_ address: FunctionAddress, with function: TextFunction) {
        noteBus(of: address)
        functions[address] = function
    }

    private mutating func noteBus(of address: FunctionAddress) {
        guard functions[address] == nil else { return }
        byBus[UInt64(address.segment) << 8 | UInt64(address.bus.rawValue), default: []].append(address)
    }
}
