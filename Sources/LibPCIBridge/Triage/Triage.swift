// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A kernel log's failures to place PCI resources, sorted by what they mean for the user.
///
/// The kernel retries, so that one window that does not fit prints up to ten lines, and most such lines concern I/O
/// windows, ROMs and reserves for cards that are not there. Triage follows every resource to the end of the log,
/// groups its lines, and says whether something is lost.
public struct Triage: Hashable, Sendable {
    /// What a group means for the user.
    public enum Severity: String, Hashable, Sendable, Comparable, CaseIterable {
        /// A device does not work, or cannot be reached.
        case fatal
        /// A device works with less than it could have.
        case degraded
        /// Something was not given, and the log does not tell whether anything needs it.
        case untold
        /// Nothing is lost.
        case harmless

        private var rank: Int {
            switch self {
            case .fatal: 0
            case .degraded: 1
            case .untold: 2
            case .harmless: 3
            }
        }

        /// Orders the worst first.
        public static func < (a: Severity, b: Severity) -> Bool { a.rank < b.rank }
    }

    /// All lines about one resource of one function, or about one bus, or about the host.
    public struct Group: Hashable, Sendable {
        /// What it means.
        public var severity: Severity
        /// A stable word for the reason: `bar-unassigned`, `io-window-unused`, `rom`, `buses-exhausted`, …
        public var code: String
        /// The function concerned, or nil.
        public var address: FunctionAddress?
        /// What of it: `BAR 2`, `ROM`, `pref window`, `bus numbers`, `SR-IOV`.
        public var resource: String
        /// What happened, translated, as a sentence without its first capital and full stop.
        public var summary: String
        /// Why, or nil when the log does not tell.
        public var cause: String?
        /// What to do next, or nil when there is nothing to do.
        public var nextStep: String?
        /// The number of failing lines.
        public var lineCount: Int
        /// When the first line was printed, microseconds since boot, or nil.
        public var firstTime: UInt64?
        /// The last failing line as the kernel printed it.
        public var sample: String
        /// The message with which the kernel did not accept an address of the same resource, or nil.
        public var claim: String?
        /// For a bus of which no bridge is told: where the first function on it would stand; else nil.
        public var firstUnreachable: FunctionAddress?
        /// For a window: the function behind it that goes without, whose own group tells the rest; else nil.
        public var consequenceFor: FunctionAddress?
        /// For a resize that was refused: the size that the kernel found no room for, where the log tells.
        public var refused: RefusedSize?
        /// The BARs that a driver reports to be without an address, in words; empty for every other group.
        var reported = ""

        /// The group where the texts show every BAR of the function with an address.
        func contradicted() -> Group {
            var group = self
            group.severity = .degraded
            group.code = "driver-report-contradicted"
            group.summary =
                "its driver reports that \(reported) has no address, and the texts show every BAR of it with one"
            group.cause =
                "the texts are of another moment, or the driver asks for something else than an address: its kind, or the "
                + "second half of a 64-bit BAR"
            group.nextStep = "sudo lspci -vvxxx and sudo dmesg of the same moment; then the driver, not addresses"
            return group
        }
    }

    /// The groups, worst first, then in the order of the log.
    public private(set) var groups: [Group] = []
    /// The number of failing lines that were sorted.
    public private(set) var failingLines = 0
    /// Lines that sound like a failure about PCI and are of no known form.
    public private(set) var unclassified: [String] = []
    /// What the log tells of the machine; of several boots in it the last.
    public private(set) var evidence: TextEvidence

    /// Sorts the failures in the bytes of a log.
    /// - Complexity: O(number of bytes + failing lines times functions).
    public init(bytes: [UInt8]) { self.init(TextEvidence(bytes: bytes)) }

    /// Sorts the failures in a log.
    /// - Complexity: O(number of bytes + failing lines times functions).
    public init(_ text: String) { self.init(TextEvidence(text)) }

    /// Sorts the failures in the log that `evidence` was read from; other texts in it help to tell what is lost.
    /// - Complexity: O(failing lines times functions).
    public init(_ evidence: TextEvidence) {
        self.evidence = evidence
        var course = TriageCourse()
        for message in evidence.messages {
            let bytes = Array(message.text.utf8)[...]
            guard var line = TriageLine(bytes) else {
                if TriageLine.soundsLikeFailure(bytes), LogTextReader.matters(bytes) {
                    unclassified.append(message.text)
                }
                continue
            }
            if line.kind != .assigned, line.kind != .releasing { failingLines += 1 }
            if let window = Self.oldWindow(line, evidence) { line.target = .window(window) }
            if let index = Self.oldClaim(line, evidence) { line.target = .resource(index) }
            if line.kind == .driverReport, line.address == nil {
                line.address = Self.onlyNVIDIA(
                    evidence.functions.map { ($0.address, $0.vendor, $0.name, $0.classWord) }
                )
            }
            course.add(line, message)
        }
        course.foldDriverReports()
        course.foldBuses()
        let judge = TriageJudge(evidence: evidence, course: course)
        var ranked: [(Severity, Int, Group)] = []
        for (place, entry) in course.entries.enumerated() where entry.failures > 0 {
            let group = judge.judge(entry)
            ranked.append((group.severity, place, group))
        }
        ranked.sort { ($0.0, $0.1) < ($1.0, $1.1) }
        groups = ranked.map(\.2)
    }

    /// The window that a line means by a number from 7 to 9, or nil.
    private static func oldWindow(_ line: TriageLine, _ evidence: TextEvidence) -> ResourceKind? {
        guard case .resource(let index) = line.target, index.isVFBAR, !line.namesVFBAR else { return nil }
        let isBridge = line.address.flatMap { evidence[$0] }?.headerLayout == 1
        // Of a line that ends inside its brackets the beginning tells the space, and the number the window.
        let cut: ResourceKind? =
            line.detail.starts("[io")
            ? .io
            : line.detail.starts("[mem") ? (index.rawValue == 9 ? .prefetchable : .memory) : nil
        return OldResourceNumber.window(index, line.resource?.kind ?? cut, isBridge: isBridge)
    }

    /// The only display of NVIDIA, of which its driver speaks when it names nobody; nil where there are others.
    static func onlyNVIDIA(
        _ functions: [(address: FunctionAddress, vendor: UInt16?, name: String?, classWord: UInt16?)]
    ) -> FunctionAddress? {
        let all = functions.filter {
            ($0.vendor == 0x10de || $0.name?.hasPrefix("NVIDIA") == true) && $0.classWord.map { $0 >> 8 } == 3
        }
        return all.count == 1 ? all[0].address : nil
    }

    /// The resource that a claim without a number means, by its kind and size; nil where several may be meant.
    private static func oldClaim(_ line: TriageLine, _ evidence: TextEvidence) -> ResourceIndex? {
        guard line.kind == .cannotClaim, line.target == .device, let claimed = line.resource, let size = claimed.size,
            let facts = line.address.flatMap({ evidence[$0] })
        else { return nil }
        let alike = facts.resources.filter { one in
            one.size == size && one.flags.contains(.io) == (claimed.kind == .io) && !one.index.isVFBAR
        }
        return alike.count == 1 ? alike[0].index : nil
    }

    /// The number of groups of `severity`.
    public func count(of severity: Severity) -> Int { groups.filter { $0.severity == severity }.count }

    /// Whether anything fatal or degraded was found.
    public var hasProblems: Bool { groups.contains { $0.severity == .fatal || $0.severity == .degraded } }

    /// What a log means: something is lost, nothing is, or it does not tell.
    public enum Verdict: String, Hashable, Sendable {
        /// A fatal or degraded group.
        case problems
        /// No such group, in a log that tells of PCI.
        case harmless
        /// No such group, and the log is none, tells nothing of PCI, is damaged, or does not tell what a group means.
        case cannotTell = "cannot-tell"
    }

    /// The verdict.
    public var verdict: Verdict { hasProblems ? .problems : notTold == nil ? .harmless : .cannotTell }

    /// Whether what the kernel's buffer has forgotten is missing: then only the journal tells.
    var cutAtStart: Bool { cut != nil && evidence.findings.contains { $0.code == .logCutAtStart } }

    /// What part of the boot the log does not cover, where it is all that is known.
    var cut: TextFinding? {
        guard evidence.isLogAlone else { return nil }
        return evidence.findings.first { $0.code == .logCutAtEnd }
            ?? evidence.findings.first { $0.code == .logCutAtStart }
    }

    /// What a verdict of harmlessness would need and is not told, as a lower-case sentence; nil when nothing.
    public var notTold: String? {
        if evidence.messages.isEmpty { return "no message of the kernel log about PCI is in this input" }
        if let damage = evidence.findings.first(where: { $0.code == .damagedLog }) { return damage.detail }
        if let group = groups.first(where: { $0.severity == .untold }) {
            let name = (group.address.map { "\($0) " } ?? "") + group.resource
            if group.code == "summary-untold" { return "what the kernel left unassigned is not in these lines" }
            if group.code == "window-kind-untold", let port = group.address {
                return "what lacks a place behind \(port) is not in this log"
            }
            return group.code == "claim-untold"
                ? "what became of \(name) is not in this log" : "what \(name) is needed for is not in this log"
        }
        // Failing lines mean what they mean, and functions that were found are told, whatever else the log said.
        guard failingLines == 0, let cut else { return nil }
        return cut.code == .logCutAtEnd || !evidence.functions.contains(where: \.isDiscovered) ? cut.detail : nil
    }
}

/// What the log says about every resource, from its first line to its last.
struct TriageCourse {
    /// One resource of one function, one bus, or the host.
    struct Key: Hashable {
        var address: FunctionAddress?
        var segment: UInt32
        var bus: BusNumber?
        var target: TriageLine.Target
    }

    /// Everything that the log says about one key.
    struct Entry {
        var key: Key
        var failures = 0
        var firstTime: UInt64?
        var kinds: [TriageLine.Kind] = []
        /// The last failing message.
        var sample = ""
        /// What was asked for at the last failure that names a size.
        var wanted: RangeText?
        /// Where it is since the last failure, or nil.
        var placed: RangeText?
        /// Text behind the resource in the last failing message, for the reason.
        var reason = ""
        /// Where it was when the kernel last took its address away, or nil.
        var released: RangeText?
        /// The size that it was to have, where the kernel took the old one away for it and found no room.
        var refusedSize: ByteCount?
        /// The bus that the kernel cut the range at, after it refused it.
        var lastBus: UInt64?
        /// The last message that did not accept an address.
        var claim = ""
        /// Whether only drivers, not the kernel itself, failed.
        var onlyDrivers = true

        /// The BARs that its driver reports to be without an address, in the order of the log.
        var reported: [ResourceIndex] = []

        /// The sizes that a function with a driver was refused.
        var sizesTried = SizesTried()

        func has(_ kind: TriageLine.Kind) -> Bool { kinds.contains(kind) }
    }

    private(set) var entries: [Entry] = []
    private var places: [Key: Int] = [:]

    mutating func add(_ line: TriageLine, _ message: KernelMessage) {
        let key = Key(
            address: line.address,
            segment: line.bus?.segment ?? line.address?.segment ?? 0,
            bus: line.bus?.bus,
            target: line.target
        )
        let place: Int
        if let known = places[key] {
            place = known
        } else {
            place = entries.count
            places[key] = place
            entries.append(Entry(key: key))
        }
        if line.kind == .releasing {
            entries[place].released = line.resource
            return
        }
        if line.kind == .assigned {
            // `BAR 1: assigned to efifb` says who uses it, not where it is.
            guard line.resource != nil || line.target == .buses else { return }
            entries[place].placed = line.resource
            if var rest = line.detail.after("end is updated to ") { entries[place].lastBus = rest.takeHex() }
            return
        }
        entries[place].failures += 1
        entries[place].firstTime = entries[place].firstTime ?? message.time
        if !entries[place].kinds.contains(line.kind) { entries[place].kinds.append(line.kind) }
        entries[place].sample = message.text
        entries[place].reason = line.detail.string
        if line.isCore { entries[place].onlyDrivers = false }
        switch line.kind {
        case .noSpace:
            entries[place].placed = nil
            if let wanted = line.resource, wanted.kind != nil { entries[place].wanted = wanted }
            if let old = entries[place].released?.size, let size = line.resource?.size, size > old {
                entries[place].refusedSize = size
            }
        case .resizeRefused where line.resource?.size != nil:
            // The kernel's own line of the same size tells its kind, too.
            if line.resource?.kind != nil || entries[place].wanted?.size != line.resource?.size {
                entries[place].wanted = line.resource
            }
            guard let size = line.resource?.size,
                entries[place].sizesTried.undoes(refusalOf: size, old: entries[place].released?.size)
            else { break }
            entries[place].kinds.append(.noSpace)
            entries[place].onlyDrivers = false
            entries[place].placed = nil
        case .cannotClaim, .resizeRefused, .cannotEnable, .notClaimed, .hostConflict, .unaligned:
            if line.kind == .cannotClaim || line.kind == .notClaimed { entries[place].claim = message.text }
            if let wanted = line.resource, wanted.kind != nil { entries[place].wanted = wanted }
        case .driverReport:
            if let bar = line.reportedBAR, !entries[place].reported.contains(bar) {
                entries[place].reported.append(bar)
            }
        default: break
        }
    }

    /// Counts a driver's report that names no function with the one that does, and one about a function of which a BAR went
    /// without an address with that BAR.
    mutating func foldDriverReports() {
        foldNamelessResizes()
        foldNamelessReports()
        for i in entries.indices where entries[i].key.target == .device && entries[i].failures > 0 {
            guard entries[i].has(.driverReport) || entries[i].has(.cannotEnable),
                let bar = entries.firstIndex(where: { one in
                    guard case .resource(let index) = one.key.target, index.isBAR else { return false }
                    let isLost = (one.has(.noSpace) || one.has(.notClaimed)) && one.placed == nil
                    let isNamed = entries[i].reported.isEmpty || entries[i].reported.contains(index)
                    return one.key.address == entries[i].key.address && isLost && isNamed
                })
            else { continue }
            fold(i, into: bar)
        }
    }

    /// Counts what the kernel says of a bus that it could not insert with what it says of the bridge to it:
    /// `devices behind bridge are unusable because [bus 43] cannot be assigned for them`.
    mutating func foldBuses() {
        for i in entries.indices where entries[i].key.target == .buses && entries[i].failures > 0 {
            guard let bus = entries[i].key.bus, entries[i].has(.busRefused),
                let bridge = entries.firstIndex(where: { one in
                    guard one.key.address != nil, one.key.segment == entries[i].key.segment, one.has(.unreachable),
                        var rest = Array(one.sample.utf8)[...].after(" are unusable because ")
                    else { return false }
                    return RangeText.takeBuses(&rest)?.first == bus.rawValue
                })
            else { continue }
            entries[bridge].failures += entries[i].failures
            entries[bridge].reason = entries[i].sample
            entries[i].failures = 0
        }
    }

    private mutating func foldNamelessReports() {
        guard let nameless = entries.firstIndex(where: { $0.key.address == nil && $0.has(.driverReport) }),
            let named = entries.firstIndex(where: { $0.key.address != nil && $0.has(.driverReport) })
        else { return }
        fold(nameless, into: named)
    }

    /// Counts a refused resize that names no function with the one that does, where it is one; else with the largest BAR that
    /// was released, where one function's were.
    private mutating func foldNamelessResizes() {
        guard let nameless = entries.firstIndex(where: { $0.key.address == nil && $0.has(.resizeRefused) }) else {
            return
        }
        let named = entries.indices.filter {
            entries[$0].key.address != nil && (entries[$0].has(.resizeRefused) || entries[$0].refusedSize != nil)
        }
        if named.isEmpty {
            let released = entries.indices.filter {
                if case .resource(let index) = entries[$0].key.target {
                    index.isBAR && entries[$0].released != nil
                } else {
                    false
                }
            }
            guard Set(released.map { entries[$0].key.address }).count == 1,
                let largest = released.max(by: { sizeReleased($0) < sizeReleased($1) })
            else { return }
            entries[largest].kinds.append(.resizeRefused)
            fold(nameless, into: largest)
        } else if Set(named.map { entries[$0].key.address }).count == 1 {
            fold(nameless, into: named[0])
        }
    }

    /// Counts the failures of one entry with another.
    private mutating func fold(_ one: Int, into other: Int) {
        entries[other].failures += entries[one].failures
        if entries[other].sample.isEmpty { entries[other].sample = entries[one].sample }
        entries[other].firstTime = entries[other].firstTime ?? entries[one].firstTime
        entries[one].failures = 0
    }

    private func sizeReleased(_ i: Int) -> UInt64 { entries[i].released?.size?.rawValue ?? 0 }

    /// The entry of a function's resource, or nil.
    func entry(_ address: FunctionAddress, _ target: TriageLine.Target) -> Entry? {
        places[Key(address: address, segment: address.segment, bus: nil, target: target)].map { entries[$0] }
    }
}
