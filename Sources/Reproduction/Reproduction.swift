// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// An emulated machine in which the same fails as in a report, and what is known about how near it comes.
public struct Reproduction: Sendable {
    /// How much of the failure is rebuilt.
    public enum Verdict: String, Hashable, Sendable, CaseIterable {
        /// All that fails is rebuilt as it is, and fails by the prediction.
        case whole
        /// Something is left out or replaced; `remarks` and `leftOut` say what.
        case part
        /// Nothing fails in the report.
        case nothing
        /// Something fails that no emulated machine shows.
        case impossible
        /// The report does not tell what fails, or what it wants.
        case cannotTell = "cannot-tell"
    }

    /// A line that has to appear in the emulated machine's log.
    public struct Line: Hashable, Sendable {
        /// The function of the report.
        public var report: FunctionAddress
        /// The resource of the report; nil for bus numbers.
        public var reportIndex: ResourceIndex?
        /// What the report's resource asks for: `[mem size 0x40000000 64bit pref]`; empty for bus numbers.
        public var reportText: String
        /// The function in the emulated machine.
        public var guest: FunctionAddress
        /// Its resource; nil for bus numbers.
        public var guestIndex: ResourceIndex?
        /// What it asks for.
        public var guestText: String
        /// How the two differ, a clause; nil when they do not.
        public var difference: String?

        /// What run.sh looks for: `0000:04:00.0 BAR 2 [mem size 0x40000000 64bit pref]`, `0000:01:00.0 bus`.
        public var key: String {
            guard let guestIndex else { return "\(guest) bus" }
            return "\(guest) \(guestIndex) \(guestText)"
        }

        /// The line of the report in the same form.
        public var reportKey: String {
            guard let reportIndex else { return "\(report) bus" }
            return "\(report) \(reportIndex) \(reportText)"
        }
    }

    /// What is predicted on a kernel.
    public struct Kernel: Hashable, Sendable {
        /// Its series: `6.12`.
        public var series: String
        /// How many of the lines fail.
        public var failing: Int
    }

    /// How much is rebuilt.
    public let verdict: Verdict
    /// A stable word for why.
    public let reason: String
    /// The machine; nil when there is none.
    public private(set) var machine: EmulatedMachine?
    /// What is told to the emulator's monitor to bring the failure about.
    public private(set) var commands: [String] = []
    /// On which kernels of the laboratory the lines fail by the prediction, oldest first.
    public private(set) var kernels: [Kernel] = []
    /// What has to fail in it, by guest address.
    public private(set) var lines: [Line] = []
    /// Whether all of `lines` fail by the prediction.
    public private(set) var isPredicted = false
    /// What fails in it besides by the prediction, by guest address: what takes up room, what fails in the report as well
    /// and harms nobody, and what works in the report.
    public private(set) var besides: [String] = []
    /// What fails in it by the prediction and works in the report.
    public private(set) var alsoFails: [String] = []
    /// What was replaced, a sentence each.
    public private(set) var remarks: [String] = []
    /// What fails in the report and is not rebuilt, a sentence each.
    public private(set) var leftOut: [String] = []
    /// Words for the kernel's command line.
    public private(set) var parameters: [String] = []
    /// The name of the behaviour that predicts.
    public let behaviour: String

    /// Looks for a machine that shows what `findings` say of `topology`.
    ///
    /// - Parameters:
    ///   - topology: the tree.
    ///   - findings: what is wrong with it.
    ///   - unknowns: what was not told.
    ///   - refusals: sizes that BARs were refused, which count where nothing else fails.
    ///   - log: the kernel's log; empty without one. It tells whether something was plugged in.
    ///   - behaviour: the kernel that predicts; that of the report.
    ///   - given: what is to be said of the tree beforehand, a sentence each.
    /// - Complexity: a few boots of the twin for each window that is too small.
    public init(
        _ topology: Topology,
        findings: [Finding],
        unknowns: [Unknown],
        refusals: [RefusedSize] = [],
        log: [String],
        behaviour: KernelBehaviour,
        remarks given: [String] = []
    ) {
        self.behaviour = behaviour.name
        var search = ReproductionSearch(topology, findings: findings, behaviour: behaviour)
        leftOut = search.leftOut
        var topology = topology
        var isResize = false
        if search.isEmpty, !refusals.isEmpty, !findings.contains(where: { $0.severity == .problem }) {
            let (tree, wanting) = topology.wanting(refusals)
            topology = tree
            search = ReproductionSearch(tree, findings: wanting, behaviour: behaviour)
            isResize = !search.isEmpty
        }
        guard !search.isEmpty else {
            if findings.contains(where: { $0.severity == .problem }) {
                (verdict, reason) = search.lacksSizes ? (.cannotTell, "sizes-not-told") : (.impossible, "not-emulated")
            } else {
                verdict = unknowns.isEmpty ? .nothing : .cannotTell
                reason = unknowns.first?.code.rawValue ?? "nothing-fails"
                leftOut = unknowns.map(\.sentence)
            }
            return
        }
        var told = Circumstances(log: log, commandLine: topology.kernel.commandLine, failing: search.functions)
        if isResize { told.event = .plug }
        var best: (search: ReproductionSearch, found: ReproductionSearch.Found)?
        attempts: for words in told.words.isEmpty ? [[]] : [told.words, []] {
            for event in told.events {
                var attempt = search
                attempt.event = event
                attempt.words = words
                guard let found = attempt.run() else { continue }
                let isNearer = best.map {
                    (found.missing, attempt.leftOut.count, found.extra.count)
                        < ($0.found.missing, $0.search.leftOut.count, $0.found.extra.count)
                }
                if isNearer ?? true { best = (attempt, found) }
                // The first that shows all of it and no more is the nearest to how it came about.
                if found.missing == 0, found.extra.isEmpty, attempt.leftOut.count == search.leftOut.count {
                    break attempts
                }
            }
        }
        guard let (chosen, found) = best else {
            (verdict, reason) = (.impossible, "no-machine")
            leftOut += search.leftOut
            return
        }
        search = chosen
        let smaller = search.reduced(found)
        machine = smaller.machine
        commands = smaller.commands
        lines = smaller.lines
        besides = smaller.besides
        isPredicted = smaller.missing == 0
        alsoFails = smaller.extra
        parameters = smaller.parameters
        leftOut = search.leftOut
        kernels = Self.kernels(smaller, words: search.words)
        remarks = given + smaller.remarks
        if search.isHarmless { remarks.append("what fails in the report keeps no device from working") }
        remarks += lines.compactMap { line in line.difference.map { "\(line.report) \(line.reportKeyName): \($0)" } }
        remarks += Self.differences(topology, told, isResize, event: search.event, words: search.words)
        remarks = remarks.uniqued()
        if !isPredicted {
            (verdict, reason) = (.part, "not-predicted")
        } else if !leftOut.isEmpty {
            (verdict, reason) = (.part, "left-out")
        } else if !alsoFails.isEmpty {
            (verdict, reason) = (.part, "also-fails")
        } else if !remarks.isEmpty {
            (verdict, reason) = (.part, "replaced")
        } else {
            (verdict, reason) = (.whole, "predicted")
        }
    }
}

extension Reproduction {
    /// What the emulated machine and its event stand for, where they are not the report's own.
    private static func differences(
        _ topology: Topology,
        _ told: Circumstances,
        _ isResize: Bool,
        event: EmulatedMachine.Event,
        words: [String]
    ) -> [String] {
        var result: [String] = []
        if let architecture = topology.kernel.architecture, architecture != "x86_64" {
            result.append("an x86_64 machine stands for one of \(architecture)")
        }
        switch told.event {
        case event?: break
        case nil where event == .plug:
            result.append(
                "the report tells of no card that was plugged in: plugging in while the machine runs stands for the boot, "
                    + "or for what else happened"
            )
        case nil:
            result.append("the report does not tell when it failed: \(event.words(of: nil)) stands for what happened")
        case let other?: result.append("\(event.words(of: other)) stands for \(other.words(of: nil))")
        }
        if isResize {
            result.append(
                "no emulated device has a resizable BAR: a card with the size that was asked for, put in while the machine "
                    + "runs, stands for the resizing"
            )
        } else if told.resizes {
            result.append(
                "no emulated device has a resizable BAR: a card with the sizes that the BARs had in the end stands for the "
                    + "resizing"
            )
        }
        if told.refusesVFs {
            result.append(
                "the VFs are not switched on: that their BARs have no address, for which it fails, shows when the card comes"
            )
        }
        if words != told.words { result += told.words.map { "the word \($0) is left out: with it less of it fails" } }
        result += told.otherWords.map { "the word pci=\($0) is left out" }
        return result
    }

    /// On which kernels of the laboratory the lines fail by the prediction.
    private static func kernels(_ found: ReproductionSearch.Found, words: [String]) -> [Kernel] {
        KernelBehaviour.everyPreset.compactMap { behaviour in
            guard let trial = try? MachineTrial(found.machine, behaviour: behaviour, words: words) else { return nil }
            let places = Set(
                trial.failing.compactMap { failing in
                    trial.addresses[failing.node].map { Place(address: $0, index: failing.index) }
                }
            )
            let failing = found.lines.count { places.contains(Place(address: $0.guest, index: $0.guestIndex)) }
            return Kernel(series: String(behaviour.name.drop { $0 != "-" }.dropFirst()), failing: failing)
        }
    }

    private struct Place: Hashable {
        var address: FunctionAddress
        var index: ResourceIndex?
    }
}

extension EmulatedMachine.Event {
    /// The event as a subject, in place of another or for itself.
    fileprivate func words(of other: Self?) -> String {
        switch self {
        case .plug: "plugging in while the machine runs"
        case .boot: other == nil ? "the boot" : "a boot with the card in its slot"
        case .rescan: "a rescan of the bus"
        }
    }
}

extension Reproduction.Line {
    /// The resource's name, or `bus numbers`.
    fileprivate var reportKeyName: String { reportIndex.map(\.description) ?? "bus numbers" }
}
