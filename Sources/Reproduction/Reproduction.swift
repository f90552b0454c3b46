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

    /// How much is rebuilt.
    public let verdict: Verdict
    /// A stable word for why.
    public let reason: String
    /// The machine; nil when there is none.
    public private(set) var machine: EmulatedMachine?
    /// What has to fail in it, by guest address.
    public private(set) var lines: [Line] = []
    /// Whether all of `lines` fail by the prediction.
    public private(set) var isPredicted = false
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
    ///   - log: the kernel's log; empty without one. It tells whether something was plugged in.
    ///   - behaviour: the kernel that predicts; that of the report.
    /// - Complexity: a few boots of the twin for each window that is too small.
    public init(
        _ topology: Topology,
        findings: [Finding],
        unknowns: [Unknown],
        log: [String],
        behaviour: KernelBehaviour
    ) {
        self.behaviour = behaviour.name
        var search = ReproductionSearch(topology, findings: findings, behaviour: behaviour)
        leftOut = search.leftOut
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
        guard let found = search.run() else {
            (verdict, reason) = (.impossible, "no-machine")
            leftOut += search.leftOut
            return
        }
        machine = found.machine
        lines = found.lines
        isPredicted = found.missing == 0
        alsoFails = found.extra
        parameters = found.parameters
        leftOut = search.leftOut
        remarks = found.remarks
        remarks += lines.compactMap { line in line.difference.map { "\(line.report) \(line.reportKeyName): \($0)" } }
        remarks = (remarks + Self.circumstances(topology, log)).uniqued()
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
    private static func circumstances(_ topology: Topology, _ log: [String]) -> [String] {
        var result: [String] = []
        if let architecture = topology.kernel.architecture, architecture != "x86_64" {
            result.append("an x86_64 machine stands for one of \(architecture)")
        }
        // pciehp's words when a card is found in a slot (drivers/pci/hotplug/pciehp_ctrl.c).
        let isPlugTold = log.contains { $0.contains("pciehp") && $0.contains("Card present") }
        if !isPlugTold {
            result.append(
                "the report tells of no card that was plugged in: plugging in while the machine runs stands for the boot, or for "
                    + "what else happened"
            )
        }
        return result
    }
}

extension Reproduction.Line {
    /// The resource's name, or `bus numbers`.
    fileprivate var reportKeyName: String { reportIndex.map(\.description) ?? "bus numbers" }
}
