// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
internal import PCITopology
internal import RescueFamily
public import VMLaboratory

/// One guest into which cards are plugged one after another; where one does not fit, the tool is told to repair it, and what
/// was there before is held against what is there afterwards.
///
/// The judge reads the guest by itself and shares nothing with the tool's own comparison.
public struct RescueTrial {
    /// How a repair ended.
    public enum End: String, Sendable, CaseIterable {
        /// Everything that was missing is there.
        case rescued
        /// A part of it is, as the tool said.
        case inPart = "in part"
        /// The tool refused or knew no way, and touched nothing.
        case untouched
        /// The tool went back, and everything that was there is there.
        case rolledBack = "rolled back"
        /// Something that was there is missing, or the tool said so of itself, or it said "done" of what is not.
        case lost
    }

    /// One repair.
    public struct Attempt: Sendable {
        /// The card that did not fit.
        public var plug: RescueTree.Plug
        /// How it ended.
        public var end: End
        /// The tool's last line.
        public var verdict: String
        /// What is missing, a line each.
        public var losses: [String]
        /// All that the tool wrote.
        public var output: String
        /// The tool's record of the machine before the repair; empty where none is kept.
        public var record: String
    }

    /// The machine.
    public let machine: MachineTopology
    /// The kernel.
    public let kernel: Kernel
    /// The cards.
    public let plugs: [RescueTree.Plug]
    /// What makes the command that repairs, in the guest as it is.
    public var command: (VirtualMachine) throws -> String
    /// Whether the machine is recorded before each repair.
    public var keepsRecords = false

    /// A trial of a machine, repaired by `apply --yes` with further words: `--allow-unjudged`.
    public init(_ machine: MachineTopology, kernel: Kernel, plugs: [RescueTree.Plug], words: String = "") {
        self.machine = machine
        self.kernel = kernel
        self.plugs = plugs
        command = { _ in "pci-rebalance apply --yes" + (words.isEmpty ? "" : " \(words)") }
    }

    /// The command of a tool that knows nothing of a series of kernels, and is not allowed what it would not do unasked.
    ///
    /// - Parameter series: the series that the guest's kernel is of.
    /// - Returns: what throws `DifferentialError` where the guest's tool was built without it, so that it knows.
    public static func leavingOut(_ series: KernelRelease.Series) -> (VirtualMachine) throws -> String {
        { guest in
            let head = "PCI_REBALANCE_LEFT_OUT=\(series) pci-rebalance"
            let told = try guest.run("\(head) check -v", timeout: .seconds(120)).output
            let words = told.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            guard words.contains("no kernel of \(series) was judged") else {
                throw DifferentialError(
                    "expected a tool built with PCI_REBALANCE_LEAVE_ONE_OUT, found one that knows \(series)"
                )
            }
            return "\(head) apply --yes"
        }
    }

    /// Boots the guest and plugs the cards; an attempt for each that leaves something without its place.
    ///
    /// - Parameter report: called after each attempt.
    /// - Returns: the attempts, in order; none after one that lost something.
    /// - Throws: what the laboratory throws when the guest itself does not work.
    public func run(report: (Attempt) -> Void = { _ in }) throws -> [Attempt] {
        let guest = try VirtualMachine(machine, kernel: kernel, options: .init(hasModules: kernel.hasModules))
        defer { guest.stop() }
        try guest.waitUntilQuiet()
        var known = try Moment(guest).problems
        var attempts: [Attempt] = []
        for plug in plugs {
            for device in plug.card.devices(behind: plug.port) { try guest.deviceAdd(device, behind: plug.port) }
            try guest.waitUntilQuiet()
            let before = try Moment(guest)
            guard before.problems != known else { continue }
            let attempt = try repair(guest, plug, before, try command(guest))
            report(attempt)
            attempts.append(attempt)
            known = try Moment(guest).problems
            // What is wrong now would be wrong of every repair after it.
            if attempt.end == .lost { break }
        }
        return attempts
    }

    /// The status of a script that ran longer than it may.
    private static let killed = 137

    private func repair(
        _ guest: VirtualMachine,
        _ plug: RescueTree.Plug,
        _ before: Moment,
        _ command: String
    ) throws -> Attempt {
        let record = keepsRecords ? try guest.run("pci-rebalance snapshot", timeout: .seconds(300)).output : ""
        var result = try guest.run(command, timeout: .seconds(900))
        // A loaded host is slow beyond all patience: the tool was killed, and what it left has to be mended as after a crash.
        if result.status == Self.killed {
            let said = result
            result = try guest.run("pci-rebalance recover", timeout: .seconds(900))
            result.standardOutput = said.standardOutput + result.standardOutput
            if result.status == 0 { result.status = 5 }
        }
        try guest.waitUntilQuiet()
        let after = try Moment(guest)
        let verdict = result.lines.last { $0.hasPrefix("APPLY: ") } ?? ""
        // An alignment that was asked for on the way may stay with a BAR where the tool says so.
        let isEnlarged = result.status == 5 && result.output.contains("until it is found anew:")
        var losses = before.losses(in: after, allowsLarger: isEnlarged)
        var end = End.lost
        switch (result.status, verdict) {
        case (0, "APPLY: done reason=partly"): end = .inPart
        case (0, "APPLY: done reason=goal-reached"):
            end = .rescued
            // Nobody but the tool says that there is nothing left to do.
            losses += after.problems.map { "not repaired: \($0)" }
        case (2, _), (4, _), (8, _):
            end = .untouched
            if after.problems != before.problems { losses.append("the problems are others than before") }
        case (5, let line) where line.hasPrefix("APPLY: rolled-back"): end = .rolledBack
        default: losses.append("status \(result.status)")
        }
        if !losses.isEmpty { end = .lost }
        return Attempt(
            plug: plug,
            end: end,
            verdict: verdict,
            losses: losses,
            output: result.output + result.errors,
            record: record
        )
    }

    /// The guest at one moment: its tree, and which functions answer at their addresses.
    private struct Moment {
        let topology: Topology
        let problems: [String]
        /// The places, by the wires, of the functions that answer as they should.
        let answering: Set<String>

        init(_ guest: VirtualMachine) throws {
            topology = try GuestRecord(guest).topology()
            problems = topology.findings().filter { $0.severity == .problem }
                .map { "\($0.address) \($0.code.rawValue) \($0.resource.map { "\($0)" } ?? "")" }.sorted()
            var places: Set<String> = []
            let known = Dictionary(TreeState(topology).functions.map { ($0.address, $0.place) }) { a, _ in a }
            for line in try guest.run("bar-check", timeout: .seconds(60)).lines {
                let words = line.split(separator: " ")
                guard words.count > 1, words[1] == "ok", let address = FunctionAddress(parsing: words[0]),
                    let place = known[address]
                else { continue }
                places.insert(place.description)
            }
            answering = places
        }

        func losses(in after: Moment, allowsLarger: Bool) -> [String] {
            RescueJudge(topology).losses(in: after.topology, allowsLarger: allowsLarger)
                + answering.subtracting(after.answering).sorted().map { "\($0) answered, and does not" }
        }
    }
}
