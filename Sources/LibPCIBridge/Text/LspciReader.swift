// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Reads what `lspci` prints: names and numbers, `-v` to `-vvv` text and `-x` to `-xxxx` hex, of every generation of
/// pciutils, in one pass, line by line.
///
/// A function begins with its address at the start of a line and ends where a line belongs to nothing of lspci's.
struct LspciReader {
    /// The functions in the order of the text; a repeated address stands once, with its last description.
    private(set) var functions: [TextFunction] = []
    /// Damage.
    private(set) var findings: [TextFinding] = []

    /// Whether a line names a node of a device tree.
    private(set) var isDeviceTree = false

    private var current: TextFunction?
    private var bytes: [UInt8] = []
    var part = Part.head
    var nextCountedBAR = 0
    private var titleLines = 0
    private var title: [UInt8] = []
    private var isVerbose = false
    private var hasCounted = false
    private var cutLine: [UInt8] = []
    private var repeated: [FunctionAddress] = []
    private var positions: [FunctionAddress: Int] = [:]

    enum Part {
        case head, otherCapability, express, sriov, resizable, resizableVF
    }

    /// What a line was.
    enum Verdict { case text, hex, none }

    init() {}

    /// Whether a function has begun and not ended.
    var isInside: Bool { current != nil }

    /// Reads one line.
    mutating func read(_ line: TextBytes) -> Verdict {
        if let address = Self.slot(line) {
            finishFunction()
            begin(address.address, rest: address.rest)
            return .text
        }
        guard current != nil else { return .none }
        guard let first = line.first else { return .text }
        let isDetail = first == 0x09 || first == 0x20 || Self.isDetail(line)
        if !isDetail, hexDigit(first) != nil, line.prefix(4).contains(0x3a) { return readHex(line) }
        if isDetail {
            titleLines = 0
            let text = line.trimmed
            let lacksSize = (text.starts("Region ") || text.starts("Expansion ROM at ")) && !text.has("[size=")
            cutLine = lacksSize || text.ends("behind bridge:") ? Array(text) + [0x20] : []
            readText(line)
            return .text
        }
        // A line that mail software broke: the rest of the title, or of a window.
        if titleLines > 0, titleLines < 4, first != 0x5b || line.ends(")"), LogTextLine(line)?.isMarked != true {
            titleLines += 1
            title += [0x20] + line
            readTitle(title[...], isContinuation: true)
            return .text
        }
        if !cutLine.isEmpty, first != 0x5b || line.starts("[size=") || line.starts("[disabled]") {
            let whole = cutLine + line
            cutLine = []
            readText(whole[...])
            return .text
        }
        return .none
    }

    /// Whether a line without indentation, as forums leave it, is one of those that lspci indents.
    private static func isDetail(_ line: TextBytes) -> Bool {
        let head = line.prefix(28)
        guard let end = head.firstIndex(where: { $0 == 0x3a || $0 == 0x23 }) else {
            return details.contains { line.starts($0) }
        }
        let word = head[...end]
        return labels.contains { word.equals($0) } || details.contains { line.starts($0) }
    }

    /// What stands up to the first colon of an indented line.
    private static let labels: [StaticString] = [
        "Subsystem:", "Control:", "Status:", "Latency:", "Interrupt:", "Capabilities:", "Flags:", "Bus:",
        "Physical Slot:", "Device tree node:",
        "NUMA node:", "IOMMU group:", "Secondary status:", "BridgeCtl:", "I/O behind bridge:", "Memory behind bridge:",
        "DeviceName:", "Kernel driver in use:", "Kernel modules:", "DevCap:", "DevCtl:", "DevSta:", "LnkCap:",
        "LnkCtl:",
        "LnkSta:", "SltCap:", "SltCtl:", "SltSta:", "RootCap:", "RootCtl:", "RootSta:", "DevCap2:", "DevCtl2:",
        "LnkCap2:",
        "LnkCtl2:", "LnkSta2:", "IOVCap:", "IOVCtl:", "IOVSta:", "Initial VFs:", "VF offset:", "Supported Page Size:",
        "VF Migration:", "ARICap:", "ARICtl:", "Slot #", "Address:", "Masking:", "Vector table:", "PBA:",
    ]

    /// How indented lines without such a label begin.
    private static let details: [StaticString] = [
        "Region ", "Expansion ROM at ", "Memory at ", "I/O ports at ", "[virtual] ",
        "Prefetchable memory behind bridge: ",
        "!!! ", "BAR 0: current size: ", "BAR 1: current size: ", "BAR 2: current size: ", "BAR 3: current size: ",
        "BAR 4: current size: ", "BAR 5: current size: ",
    ]

    /// Ends the function that was begun.
    mutating func finishFunction() {
        guard var function = current else { return }
        current = nil
        let isDumped = bytes.count >= 64
        if !bytes.isEmpty { takeConfig(into: &function) }
        bytes = []
        function.isListed = true
        function.isDescribed = function.isDescribed || isVerbose || isDumped
        // A verbose description without a line of capabilities is of a function that has none.
        if isVerbose, function.showsCapabilities == nil { function.showsCapabilities = true }
        if let old = positions[function.address] {
            if functions[old] != function { repeated.append(function.address) }
            functions[old] = function
        } else {
            positions[function.address] = functions.count
            functions.append(function)
        }
    }

    private mutating func takeConfig(into function: inout TextFunction) {
        function.config = ConfigSpace(bytes)
        guard !function.config.isAllOnes else {
            findings.append(
                TextFinding(
                    .doesNotAnswer,
                    function.address,
                    "its configuration space reads all ones: it does not answer"
                )
            )
            return
        }
        function.takeFacts(from: function.config)
        if function.config.count >= 4096, !Capabilities(function.config).isComplete {
            findings.append(
                TextFinding(
                    .damagedCapabilities,
                    function.address,
                    "a list of capabilities loops or leaves the configuration space; what stands behind is not read"
                )
            )
        }
    }

    /// Notes that BARs were numbered by counting.
    mutating func noteCounting() {
        guard !hasCounted, let address = current?.address else { return }
        hasCounted = true
        findings.append(
            TextFinding(
                .countedIndex,
                address,
                "lspci -v does not number BARs: here and in what follows they are numbered in their order; -vv tells"
            )
        )
    }

    /// Ends the text.
    mutating func finish() {
        finishFunction()
        guard let first = repeated.first else { return }
        let count = Set(repeated).count
        findings.append(
            TextFinding(
                .repeatedFunction,
                count == 1 ? first : nil,
                "\(count == 1 ? "the function is" : "\(count) functions are") described more than once and differently; "
                    + "the last description counts"
            )
        )
        repeated = []
    }

    // MARK: Title

    /// The address at the start of a title line, and what follows it.
    static func slot(_ line: TextBytes) -> (address: FunctionAddress, rest: TextBytes)? {
        guard let first = line.first, hexDigit(first) != nil, line.count >= 7 else { return nil }
        var rest = line
        let start = rest.startIndex
        guard let a = rest.takeHex() else { return nil }
        let width = rest.startIndex - start
        guard width == 2 || width >= 4, rest.first == 0x3a else { return nil }
        rest = line
        guard let address = takeAddress(&rest) else { return nil }
        // With a segment the first number has four digits or more, without one it has two and is a bus.
        if width == 2, address.segment != 0 { return nil }
        _ = a
        // A network card that has no name yet says `0000:00:00.0 (uninitialized): `.
        guard rest.isEmpty || rest.first == 0x20, !rest.starts(" (") else { return nil }
        // A title names the class and, behind a colon, the device; a sentence may begin with an address, too.
        guard rest.has(": ") || rest.starts(" \"") || rest.words().count < 3 else { return nil }
        return (address, rest)
    }

    private mutating func begin(_ address: FunctionAddress, rest: TextBytes) {
        current = TextFunction(address: address)
        part = .head
        nextCountedBAR = 0
        titleLines = 1
        isVerbose = false
        cutLine = []
        title = Array(rest.trimmed)
        readTitle(title[...], isContinuation: false)
    }

    /// Reads `PCI bridge [0604]: Vendor Device [8086:2f02] (rev 02) (prog-if 00 [Normal decode])` and `0604: 8086:2f02`.
    private mutating func readTitle(_ text: TextBytes, isContinuation: Bool) {
        guard var function = current else { return }
        var body = text
        if !isContinuation {
            if let colon = text.find(": ") {
                var name = text[..<colon]
                body = text[(colon + 2)...]
                if name.take("Class ") { name = name.trimmed }
                if name.ends("]"), let open = name.lastIndex(of: 0x5b),
                    let word = name[(open + 1)...].dropLast().hexValue, word <= 0xffff
                {
                    function.classWord = UInt16(word)
                } else if let word = name.hexValue, name.count == 4 {
                    function.classWord = UInt16(truncatingIfNeeded: word)
                } else {
                    function.classWord = ClassNames.word(name.trimmed)
                }
            }
        }
        let numbers = body.before(" (rev ").before(" (prog-if ")
        if let ids = Self.lastIDs(numbers) ?? Self.plainIDs(numbers) {
            function.vendor = ids.0
            function.device = ids.1
        }
        if !isContinuation, function.name == nil {
            let name = numbers.trimmed
            if !name.isEmpty, Self.plainIDs(name) == nil { function.name = Self.withoutIDs(name).string }
        }
        if var rest = body.after(" (rev "), let value = rest.takeHex(), value <= 0xff {
            function.revision = UInt8(value)
            // Revision and programming interface of all ones: lspci read nothing. A short listing has the revision alone.
            if value == 0xff, !body.has("(prog-if ") || body.has("(prog-if ff") { function.doesNotAnswer = true }
        }
        if var rest = body.after("(prog-if "), let value = rest.takeHex(), value <= 0xff {
            function.programmingInterface = UInt8(value)
        }
        current = function
    }

    /// The last `[vvvv:dddd]` of the text.
    static func lastIDs(_ text: TextBytes) -> (UInt16, UInt16)? {
        guard let open = text.lastIndex(of: 0x5b) else { return nil }
        var rest = text[(open + 1)...]
        let start = rest.startIndex
        // Names have brackets of their own (`[6:0]`); ids have four digits each.
        guard let vendor = rest.takeHex(), rest.startIndex - start == 4, rest.take(":"), let device = rest.takeHex(),
            rest.startIndex - start == 9, rest.take("]"), vendor <= 0xffff, device <= 0xffff
        else { return nil }
        return (UInt16(vendor), UInt16(device))
    }

    /// `vvvv:dddd` as the whole text.
    static func plainIDs(_ text: TextBytes) -> (UInt16, UInt16)? {
        var rest = text.trimmed
        guard rest.count == 9, let vendor = rest.takeHex(), rest.take(":"), let device = rest.takeHex(), rest.isEmpty,
            vendor <= 0xffff, device <= 0xffff
        else { return nil }
        return (UInt16(vendor), UInt16(device))
    }

    static func withoutIDs(_ text: TextBytes) -> TextBytes {
        guard lastIDs(text) != nil, let open = text.lastIndex(of: 0x5b) else { return text }
        return text[..<open].trimmed
    }

    // MARK: Hex

    private mutating func readHex(_ line: TextBytes) -> Verdict {
        var rest = line
        let start = rest.startIndex
        guard let offset = rest.takeHex() else { return .none }
        let width = rest.startIndex - start
        guard width == 2 || width == 3, rest.take(":"), rest.isEmpty || isBlank(rest[rest.startIndex]) else {
            return .none
        }
        var row: [UInt8] = []
        row.reserveCapacity(16)
        rest.skipBlanks()
        while !rest.isEmpty, row.count < 16 {
            let at = rest.startIndex
            guard rest.count >= 2, let high = hexDigit(rest[at]), let low = hexDigit(rest[at + 1]),
                rest.count == 2 || isBlank(rest[at + 2])
            else { break }
            row.append(high << 4 | low)
            rest = rest[(at + 2)...]
            rest.skipBlanks()
        }
        let isWhole = rest.isEmpty && offset % 16 == 0 && Int(offset) == bytes.count && row.count == 16
        guard isWhole else {
            damage(offset: offset, row: row, left: rest)
            return .hex
        }
        bytes.append(contentsOf: row)
        return .hex
    }

    private mutating func damage(offset: UInt64, row: [UInt8], left: TextBytes) {
        let what: String
        if offset % 16 != 0 {
            what = "its offset is \(hex(offset)), expected a multiple of 0x10"
        } else if Int(offset) != bytes.count {
            what = "its offset is \(hex(offset)), expected \(hex(UInt64(bytes.count)))"
        } else if !left.isEmpty {
            what = "it holds \(row.count) bytes and then other text, expected 16 bytes"
        } else {
            what = "it holds \(row.count) bytes, expected 16"
        }
        findings.append(
            TextFinding(
                .damagedHexRow,
                current?.address,
                "a row of hexadecimal is damaged (\(what)); what follows it is left out"
            )
        )
        // Nothing after a damaged row can be trusted to stand where it belongs.
        if Int(offset) == bytes.count { bytes.append(contentsOf: row.prefix(row.count / 4 * 4)) }
        if let function = current {
            var copy = function
            if !bytes.isEmpty { takeConfig(into: &copy) }
            current = copy
            bytes = []
            finishFunction()
        }
    }
}

extension LspciReader {
    // MARK: Text

    private mutating func readText(_ line: TextBytes) {
        guard var function = current else { return }
        let text = line.trimmed
        guard let first = text.first else { return }
        readSettings(text, of: &function)
        switch first {
        case UInt8(ascii: "C"):
            var rest = text
            if rest.take("Control: I/O") {
                isVerbose = true
                function.decodesIO = rest.first == 0x2b
                if let memory = rest.after("Mem") { function.decodesMemory = memory.first == 0x2b }
            } else if rest.take("Capabilities: ") {
                readCapability(rest, of: &function)
            }
        case UInt8(ascii: "S"): readS(text, of: &function)
        case UInt8(ascii: "R"), UInt8(ascii: "["), UInt8(ascii: "M"), UInt8(ascii: "I"), UInt8(ascii: "P"),
            UInt8(ascii: "E"):
            readAddresses(text, of: &function)
        case UInt8(ascii: "B"): readB(text, of: &function)
        case UInt8(ascii: "N"):
            var rest = text
            if rest.take("NUMA node: ") { function.numaNode = rest.takeDecimal().flatMap { Int(exactly: $0) } }
        case UInt8(ascii: "K"):
            var rest = text
            if rest.take("Kernel driver in use: ") { function.driver = rest.trimmed.string }
        case UInt8(ascii: "D"), UInt8(ascii: "F"), UInt8(ascii: "A"):
            if text.starts("Flags: ") { isVerbose = true }
            if text.starts("Device tree node: ") { isDeviceTree = true }
            readARI(text, of: &function)
        case UInt8(ascii: "V"): readVF(text, of: &function)
        case UInt8(ascii: "!"):
            if text.has("Unknown header type 7f") { function.doesNotAnswer = true }
        case UInt8(ascii: "T"):
            if part == .express { readARI(text, of: &function) }
        default: break
        }
        current = function
    }

    private func readS(_ text: TextBytes, of function: inout TextFunction) {
        var rest = text
        if rest.take("Subsystem: ") {
            if let ids = Self.lastIDs(rest) ?? Self.plainIDs(rest) {
                function.subsystemVendor = ids.0
                function.subsystemDevice = ids.1
            }
        } else if rest.take("SltCap:") {
            var express = function.express ?? ExpressFacts()
            express.isHotPlugCapable = Self.sign(rest, after: "HotPlug") ?? express.isHotPlugCapable
            express.isSurpriseCapable = Self.sign(rest, after: "Surprise") ?? express.isSurpriseCapable
            express.hasPowerControl = Self.sign(rest, after: "PwrCtrl") ?? express.hasPowerControl
            express.hasAttentionButton = Self.sign(rest, after: "AttnBtn") ?? express.hasAttentionButton
            function.express = express
        } else if rest.take("SltSta:") {
            function.express?.isCardPresent = Self.sign(rest, after: "PresDet")
        } else if rest.take("Slot #"), part == .express {
            function.express?.slotNumber = rest.takeDecimal().flatMap { Int(exactly: $0) }
        } else if rest.take("Supported Page Size: "), part == .sriov {
            if let size = rest.after("System Page Size: ")?.hexValue, size <= 1 << 40 {
                function.sriov?.systemPageSize = size << 12
            }
        } else if text.starts("SltCap") || part == .express {
            readARI(text, of: &function)
        }
    }

    /// The `+` or `-` after `word`.
    static func sign(_ text: TextBytes, after word: StaticString) -> Bool? {
        guard let rest = text.after(word), let mark = rest.first else { return nil }
        return mark == 0x2b ? true : mark == 0x2d ? false : nil
    }

    private func readARI(_ text: TextBytes, of function: inout TextFunction) {
        guard part == .express, let value = Self.sign(text, after: "ARIFwd") else { return }
        // Capabilities print it before control; both may stand on continuation lines.
        if text.starts("DevCap2:") || (text.starts("FRS") && function.express?.supportsARIForwarding == nil) {
            function.express?.supportsARIForwarding = value
        } else if text.starts("DevCtl2:") || function.express?.supportsARIForwarding != nil {
            function.express?.isARIForwardingEnabled = value
        }
    }

    private func readB(_ text: TextBytes, of function: inout TextFunction) {
        var rest = text
        if rest.take("Bus: primary=") {
            var bridge = function.bridge ?? BridgeFacts()
            bridge.primary = rest.takeHex().flatMap { UInt8(exactly: $0) }.map(BusNumber.init(_:))
            if var second = rest.after("secondary=") {
                bridge.secondary = second.takeHex().flatMap { UInt8(exactly: $0) }.map(BusNumber.init(_:))
            }
            if var third = rest.after("subordinate=") {
                bridge.subordinate = third.takeHex().flatMap { UInt8(exactly: $0) }.map(BusNumber.init(_:))
            }
            if function.programmingInterface == 1 { bridge.isSubtractive = true }
            function.bridge = bridge
            if function.headerLayout == nil { function.headerLayout = function.classWord == 0x0607 ? 2 : 1 }
        } else if rest.take("BAR "), part == .resizable || part == .resizableVF {
            readResizable(rest, of: &function)
        }
    }

    /// Reads `0: current size: 8GB, supported: 256MB 512MB`.
    private func readResizable(_ text: TextBytes, of function: inout TextFunction) {
        var rest = text
        guard let bar = rest.takeDecimal(), bar < 6, rest.take(": current size: "),
            let current = Self.exponent(&rest)
        else { return }
        var sizes: UInt64 = 0
        if let list = rest.after("supported:") {
            for word in list.words() {
                var one = word
                if let n = Self.exponent(&one), n < 64 { sizes |= 1 << UInt64(n) }
            }
        }
        let entry = ResizableBAR(bar: Int(bar), supportedSizes: sizes, currentExponent: current, controlOffset: 0)
        if part == .resizable {
            function.resizableBARs.append(entry)
        } else {
            function.resizableVFBARs.append(entry)
        }
    }

    /// Takes `8GB` off the front and gives 13, the exponent over 1 MiB.
    private static func exponent(_ text: inout TextBytes) -> Int? {
        guard let number = text.takeDecimal(), number > 0, number & (number - 1) == 0 else { return nil }
        let base: Int
        if text.take("MB") {
            base = 0
        } else if text.take("GB") {
            base = 10
        } else if text.take("TB") {
            base = 20
        } else if text
            .take("PB")
        {
            base = 30
        } else {
            return nil
        }
        return base + number.trailingZeroBitCount
    }

    private func readVF(_ text: TextBytes, of function: inout TextFunction) {
        guard part == .sriov else { return }
        var rest = text
        if rest.take("VF offset: ") {
            function.sriov?.firstOffset = rest.takeDecimal().flatMap { Int(exactly: $0) }
            if var stride = rest.after("stride: ") {
                function.sriov?.stride = stride.takeDecimal().flatMap { Int(exactly: $0) }
            }
            if var device = rest.after("Device ID: ") {
                function.sriov?.deviceID = device.takeHex().flatMap { UInt16(exactly: $0) }
            }
        }
    }
}
