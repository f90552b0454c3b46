// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What pasted text tells about a machine: a partial record, in which everything not told is nil.
///
/// Made by `TextEvidence(bytes:)` from any mixture of lspci output (text and hex), kernel log, /proc/iomem and
/// /proc/ioports; several pieces of one machine are joined with `merge`.
public struct TextEvidence: Hashable, Sendable {
    /// The kernel, as far as the log says.
    public var kernel = KernelIdentity()
    /// The machine's name by DMI or device tree, or nil.
    public var machine: String?
    /// The functions in ascending address order.
    public var functions: [TextFunction] = []
    /// The root buses in the order of the log.
    public var roots: [RootFacts] = []
    /// The nodes of /proc/iomem; empty when there was none.
    public var iomem = IomemText()
    /// The nodes of /proc/ioports; empty when there was none.
    public var ioports = IomemText()
    /// The messages of the kernel log that concern PCI, the memory map or the machine, without their prefixes.
    public var messages: [KernelMessage] = []
    /// Contradictions and damage, in the order in which they were found.
    public var findings: [TextFinding] = []
    /// How many lines of each kind were read.
    public var lineCounts = LineCounts()

    /// Creates empty evidence.
    public init() {}

    /// How many lines of each kind were read.
    public struct LineCounts: Hashable, Sendable {
        /// All lines.
        public var total = 0
        /// Lines of lspci text.
        public var lspci = 0
        /// Rows of configuration space in hexadecimal.
        public var hex = 0
        /// Lines of a kernel log, about whatever.
        public var log = 0
        /// Those of them that bear the kernel's mark: a time since boot, a level, `kernel:`.
        public var kernel = 0
        /// Lines of /proc/iomem and /proc/ioports.
        public var iomem = 0
        /// Lines that are none of these and not empty.
        public var other = 0
    }

    /// The kinds of text that were recognised, in a fixed order: `lspci`, `hex`, `dmesg`, `iomem`, `ioports`.
    public var kinds: [String] {
        var result: [String] = []
        if lineCounts.lspci > 0 { result.append("lspci") }
        if lineCounts.hex > 0 { result.append("hex") }
        if !messages.isEmpty { result.append("dmesg") }
        if !iomem.nodes.isEmpty { result.append("iomem") }
        if !ioports.nodes.isEmpty { result.append("ioports") }
        return result
    }

    /// Whether anything about PCI was recognised.
    public var isEmpty: Bool {
        functions.isEmpty && roots.isEmpty && messages.isEmpty && iomem.nodes.isEmpty && ioports.nodes.isEmpty
    }

    /// Whether no identity, resource, bridge or aperture was recognised, at most addresses and lines that sound of PCI.
    var tellsOfNoHardware: Bool {
        roots.isEmpty && iomem.nodes.isEmpty && ioports.nodes.isEmpty
            && functions.allSatisfy {
                $0.vendor == nil && $0.classWord == nil && $0.resources.isEmpty && $0.bridge == nil
                    && $0.config.count == 0
            }
    }

    /// The function at `address`, or nil.
    /// - Complexity: O(log n).
    public subscript(_ address: FunctionAddress) -> TextFunction? {
        position(of: address).map { functions[$0] }
    }

    func position(of address: FunctionAddress) -> Int? {
        var low = 0
        var high = functions.count
        while low < high {
            let middle = (low + high) / 2
            if functions[middle].address < address { low = middle + 1 } else { high = middle }
        }
        return low < functions.count && functions[low].address == address ? low : nil
    }
}

/// A message of the kernel log.
public struct KernelMessage: Hashable, Sendable {
    /// Microseconds since boot, or nil.
    public var time: UInt64?
    /// The message as the kernel printed it.
    public var text: String

    /// Creates a message.
    public init(time: UInt64?, text: String) {
        self.time = time
        self.text = text
    }

    /// The message with its time as `dmesg` prints it: `[  953.367876] pci ...`; without where it is not known.
    public var line: String {
        guard let time else { return text }
        let seconds = "\(time / 1_000_000)"
        let fraction = "\(time % 1_000_000)"
        let blanks = String(repeating: " ", count: max(0, 5 - seconds.count))
        return "[\(blanks)\(seconds).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)] \(text)"
    }
}

/// A root bus and its apertures, as the log tells them.
public struct RootFacts: Hashable, Sendable {
    /// The segment.
    public var segment: UInt32
    /// The root bus.
    public var bus: BusNumber
    /// The root bus's numbers, or nil.
    public var busRange: BusRange?
    /// The apertures in list order.
    public var apertures: [Aperture]

    /// Creates a root bus.
    public init(segment: UInt32, bus: BusNumber, busRange: BusRange? = nil, apertures: [Aperture] = []) {
        self.segment = segment
        self.bus = bus
        self.busRange = busRange
        self.apertures = apertures
    }
}

/// Something odd in the text: damage, a contradiction within it or between two texts.
public struct TextFinding: Hashable, Sendable {
    /// A stable word.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// A row of hexadecimal does not have the form of `lspci -x`.
        case damagedHexRow
        /// A function is described more than once, differently; the last description counts.
        case repeatedFunction
        /// The log holds more than one boot; the last counts.
        case severalBoots
        /// The text is a comparison of two logs, as `diff -u` writes it; its newer side counts.
        case difference
        /// Texts that were to be joined are of different machines.
        case severalMachines
        /// Texts that were to be joined are of different boots.
        case severalBootsJoined
        /// Messages of the kernel log are damaged, as a serial console with lost characters leaves them.
        case damagedLog
        /// The kernel log begins after the functions that it tells of were first found, or is a choice of its lines.
        case logCutAtStart = "log-cut-at-start"
        /// The kernel log ends between the discovery of functions and the assignment of their addresses.
        case logCutAtEnd = "log-cut-at-end"
        /// A BAR lies outside the window above it.
        case outsideWindow
        /// A bridge's bus range lies outside that of the bridge above it.
        case busOutsideRange
        /// Two BARs of different functions overlap.
        case overlap
        /// A function stands in the kernel log and not in the output of lspci.
        case onlyInLog
        /// Two texts state different values.
        case disagreement
        /// An address is a bus address in one text and a CPU address in the other.
        case translated
        /// A list of capabilities loops or leaves the configuration space.
        case damagedCapabilities
        /// The function's header answers with all ones.
        case doesNotAnswer
        /// /proc/iomem was read without privilege: every address is zero.
        case zeroedIomem
        /// A BAR's number had to be counted, because the text does not name it.
        case countedIndex
    }

    /// The stable word.
    public var code: Code
    /// The function concerned, or nil.
    public var address: FunctionAddress?
    /// A lower-case sentence with what was expected and found, and the likely reason.
    public var detail: String

    /// Creates a finding.
    public init(_ code: Code, _ address: FunctionAddress?, _ detail: String) {
        self.code = code
        self.address = address
        self.detail = detail
    }
}
