// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// What an event led to, case by case, as it happens.
public enum EventNote {
    /// The machine has become quiet, or the limit has passed.
    case settled(QuietWatch.Result)
    /// The tree was read and judged.
    case looked(missing: Int, cases: Int, took: Duration)
    /// A plan was made.
    case planned(EventCase, Plan, took: Duration)
    /// A plan is not carried out, and why: a slug and a sentence.
    case held(reason: String, String)
    /// Something happened during an apply.
    case applying(ApplyEvent)
    /// Something worth knowing.
    case remark(String)
    /// The last note: how long all of it took, how much of that was waiting for the machine to come to rest, and how much
    /// the kernel needed for the writes. The rest is ours.
    case spent(total: Duration, waiting: Duration, kernel: Duration)
}

/// How an event ended.
public struct EventReport: Hashable, Sendable {
    /// The last line of text output, `PLAN: …` or `APPLY: …`.
    public var line: String
    /// One sentence for a person.
    public var sentence: String
    /// The exit status: 3 when something is missing and only reported.
    public var exitStatus: Int32
    /// The last lines of the other cases of the run, in the order in which these ended.
    public var others: [String] = []

    /// Creates a report.
    public init(line: String, sentence: String, exitStatus: Int32) {
        self.line = line
        self.sentence = sentence
        self.exitStatus = exitStatus
    }

    /// There was nothing to do.
    public static func nothing(_ reason: String, _ sentence: String) -> EventReport {
        EventReport(line: "PLAN: none reason=\(reason)", sentence: sentence, exitStatus: 0)
    }

    /// Which of several reports stands for all: the worst thing that happened, else the last that was done.
    var rank: Int {
        switch exitStatus {
        case 6: 9
        case 1: 8
        case 5: 7
        case 75, 77: 6
        case 7: 5
        case 4: 4
        case 2: 3
        case 8, 3: 2
        default: line.hasPrefix("APPLY") ? 1 : 0
        }
    }

    /// The one report for all cases of a run: the worst, of equal ones the last; nil for none.
    static func summary(_ reports: [EventReport]) -> EventReport? {
        guard let worst = reports.indices.max(by: { (reports[$0].rank, $0) < (reports[$1].rank, $1) }) else {
            return nil
        }
        var summary = reports[worst]
        summary.others = reports.indices.filter { $0 != worst }.map { reports[$0].line }
        return summary
    }
}

/// Answers hot-plug events: waits for quiet, looks, plans under the policy, carries out or only reports.
///
/// One run serves a whole burst: everything that is missing and falls under the same rules is one plan.
public struct EventRun {
    /// The policy.
    public var policy: EventPolicy
    /// Only what is missing at this port and below it counts; everything when nil.
    public var only: PortName?
    /// Carries plans out; its disk also keeps the ledger.
    public var applier: Applier
    /// Reads the machine.
    public var readTopology: () throws -> Topology
    /// Makes plans.
    public var plan: (Topology, [Goal], Constraints) throws -> Plan
    /// The minute of the day in local time, 0 to 1439.
    public var minuteOfDay: () -> Int
    /// The twin's knowledge of a machine before the first write of a plan, for applies; nil goes without.
    public var predictor: ((Topology, [Goal], Constraints) -> any Predictor)?
    /// When the process began, on the applier's clock; nil takes the beginning of the run.
    public var began: Duration?
    /// How often a burst is looked at again before the run ends; what comes later starts a new one.
    public var maximumRounds = 16

    /// Creates a run.
    public init(
        policy: EventPolicy,
        applier: Applier,
        minuteOfDay: @escaping () -> Int,
        readTopology: @escaping () throws -> Topology,
        plan: @escaping (Topology, [Goal], Constraints) throws -> Plan
    ) {
        self.policy = policy
        self.applier = applier
        self.minuteOfDay = minuteOfDay
        self.readTopology = readTopology
        self.plan = plan
    }

    /// Runs until nothing new has been asked for.
    ///
    /// - Parameters:
    ///   - isAskedAgain: whether another event came meanwhile; asked after every round.
    ///   - isCancelled: stops an apply, which then goes back.
    ///   - note: told what happens.
    /// - Returns: the worst that happened, or the last that was done.
    /// - Throws: what the reading seams throw.
    public func run(
        isAskedAgain: () -> Bool = { false },
        isCancelled: @escaping () -> Bool = { false },
        note: @escaping (EventNote) -> Void
    ) throws -> EventReport {
        let began = began ?? applier.clock.now()
        var waiting: Duration = .zero
        var kernel: Duration = .zero
        let count: (EventNote) -> Void = {
            if case .settled(let result) = $0 { waiting += result.waited }
            if case .applying(.ends(let report)) = $0 {
                waiting += report.timeSettling
                kernel += report.timeInKernel
            }
            note($0)
        }
        defer { note(.spent(total: applier.clock.now() - began, waiting: waiting, kernel: kernel)) }
        var reports: [EventReport] = []
        for number in 1...max(1, maximumRounds) {
            let start = applier.clock.now()
            let occupied = awaitApply()
            waiting += applier.clock.now() - start
            let found = try occupied.map { [$0] } ?? round(isCancelled, count)
            reports += found
            // A stale plan means that the tree went on changing: look again.
            let isStale = found.contains { $0.exitStatus == 7 }
            guard isAskedAgain() || isStale, number < maximumRounds, !isCancelled() else { break }
            reports.removeAll { $0.exitStatus == 7 }
        }
        return EventReport.summary(reports) ?? .nothing("healthy", "Everything has its place.")
    }

    private func round(
        _ isCancelled: @escaping () -> Bool,
        _ note: @escaping (EventNote) -> Void
    ) throws -> [EventReport] {
        let watch = QuietWatch(
            observer: applier.machine.observer,
            clock: applier.clock,
            quiet: policy.quiet,
            limit: policy.settleLimit
        )
        let settled = try watch.wait()
        note(.settled(settled))
        guard settled.isQuiet else {
            return [
                EventReport(
                    line: "PLAN: refused reason=not-quiet",
                    sentence: "The tree did not become quiet within \(settled.waited.wholeMilliseconds) ms.",
                    exitStatus: 4
                )
            ]
        }
        var reports: [EventReport] = []
        var done: Set<String> = []
        // Each apply changes the tree, so that the next case is planned on what is there then.
        while true {
            let start = applier.clock.now()
            let judgement = EventJudgement(try readTopology(), policy, only: only)
            try remember(judgement)
            let cases = judgement.cases()
            note(
                .looked(
                    missing: cases.reduce(0) { $0 + $1.missing.count },
                    cases: cases.count,
                    took: applier.clock.now() - start
                )
            )
            guard let one = cases.first(where: { !done.contains("\($0.mode) \($0.key)") }) else {
                // Room for later comes after what is missing now, and only when all of that is well.
                if cases.isEmpty, reports.allSatisfy({ $0.exitStatus == 0 }), !isCancelled() {
                    reports += try reserves(judgement, isCancelled, note)
                }
                break
            }
            done.insert("\(one.mode) \(one.key)")
            let report = try serve(one, judgement, isCancelled, note)
            reports.append(report)
            if report.exitStatus == 7 || isCancelled() { break }
        }
        return reports
    }

    /// Notes what ports hold whose plans are carried out; what an untrusted device asks for is nobody's measure.
    private func remember(_ judgement: EventJudgement) throws {
        let topology = judgement.topology
        let ports = topology.functions.indices.filter { i in
            topology.functions[i].isHotPlugBridge && judgement.mode(at: topology.path(of: i)) == .apply
                && topology.subtree(of: i).allSatisfy { judgement.boundary(of: $0) == nil }
        }
        guard !ports.isEmpty else { return }
        var ledger = try EventLedger.read(applier.disk)
        let grew = ledger.noteHeld(topology, at: applier.clock.wallClock(), where: Set(ports).contains)
        if grew { try ledger.write(applier.disk) }
    }

    /// Waits for an apply that is under way, whose tree is not what it will be; the report when it does not end.
    private func awaitApply() -> EventReport? {
        let start = applier.clock.now()
        while let report = applier.occupation() {
            guard applier.clock.now() - start < policy.settleLimit else {
                return EventReport(
                    line: "PLAN: refused reason=\(report.reason)",
                    sentence: report.sentence,
                    exitStatus: report.exitStatus
                )
            }
            applier.clock.sleep(applier.limits.pollInterval)
        }
        return nil
    }

    // MARK: One case

    private func serve(
        _ one: EventCase,
        _ judgement: EventJudgement,
        _ isCancelled: @escaping () -> Bool,
        _ note: @escaping (EventNote) -> Void
    ) throws -> EventReport {
        let start = applier.clock.now()
        let wish = (goals: judgement.goals(for: one), constraints: judgement.constraints(for: one))
        let plan = try plan(judgement.topology, wish.goals, wish.constraints)
        note(.planned(one, plan, took: applier.clock.now() - start))
        return try decide(plan, wish, one.key, one.mode, judgement, isCancelled, note)
    }

    private func decide(
        _ plan: Plan,
        _ wish: (goals: [Goal], constraints: Constraints),
        _ key: String,
        _ mode: EventPolicy.Mode,
        _ judgement: EventJudgement,
        _ isCancelled: @escaping () -> Bool,
        _ note: @escaping (EventNote) -> Void
    ) throws -> EventReport {
        func held(_ reason: String, _ sentence: String, _ status: Int32) -> EventReport {
            note(.held(reason: reason, sentence))
            return EventReport(line: "PLAN: refused reason=\(reason)", sentence: sentence, exitStatus: status)
        }
        switch plan.verdict.answer {
        case .act where !plan.steps.isEmpty: break
        case .act, .none: return EventReport(line: plan.verdict.line, sentence: plan.verdict.sentence, exitStatus: 0)
        case .refused: return EventReport(line: plan.verdict.line, sentence: plan.verdict.sentence, exitStatus: 4)
        case .impossible: return EventReport(line: plan.verdict.line, sentence: plan.verdict.sentence, exitStatus: 2)
        case .unknown: return EventReport(line: plan.verdict.line, sentence: plan.verdict.sentence, exitStatus: 8)
        }
        if let excess = judgement.excesses(in: plan.after).first {
            return held("share-exceeded", "The plan is not carried out: \(excess).", 4)
        }
        guard mode == .apply else {
            return EventReport(
                line: plan.verdict.line,
                sentence: "The policy says report: nothing was written.",
                exitStatus: 3
            )
        }
        guard policy.allowsApply(atMinute: minuteOfDay()) else {
            let hours = policy.hours.map(\.description).joined(separator: ", ")
            note(.held(reason: "outside-hours", "Plans are carried out \(hours) only."))
            return EventReport(
                line: plan.verdict.line,
                sentence: "Plans are carried out \(hours) only: nothing was written.",
                exitStatus: 3
            )
        }
        let time = applier.clock.wallClock()
        var ledger = try EventLedger.read(applier.disk)
        guard ledger.failures(of: key) < policy.attempts else {
            return held(
                "locked-out",
                "\(ledger.failures(of: key)) plans for this have failed: it is locked out until event --clear.",
                4
            )
        }
        guard ledger.applies(before: time) < policy.appliesPerHour else {
            return held(
                "rate-limited",
                "\(policy.appliesPerHour) plans were carried out within the last hour, the most that the policy allows.",
                4
            )
        }
        let unbegun = ledger
        ledger.begin(key, at: time)
        try ledger.write(applier.disk)
        let report = try applier.apply(
            plan,
            progress: { note(.applying($0)) },
            predictor: predictor?(judgement.topology, wish.goals, wish.constraints),
            isCancelled: isCancelled
        )
        // A busy lock or a tree that has changed is no attempt of this plan, neither a failed one nor one of the hour.
        if [7, 75, 77].contains(report.exitStatus) {
            ledger = unbegun
        } else {
            ledger.end(key, isReached: report.verdict == .done, reason: report.reason)
        }
        try ledger.write(applier.disk)
        return EventReport(line: report.line, sentence: report.sentence, exitStatus: report.exitStatus)
    }

    // MARK: Reserves

    /// Plans the reserves of the ports again when nothing is missing; a kernel or planner that cannot is no failure.
    private func reserves(
        _ judgement: EventJudgement,
        _ isCancelled: @escaping () -> Bool,
        _ note: @escaping (EventNote) -> Void
    ) throws -> [EventReport] {
        var reports: [EventReport] = []
        for one in judgement.reserveCases() {
            let start = applier.clock.now()
            let wish = (goals: judgement.goals(for: one), constraints: judgement.constraints(for: one))
            let plan: Plan
            do {
                plan = try self.plan(judgement.topology, wish.goals, wish.constraints)
            } catch let error as PlanningError {
                note(.remark("the reserves cannot be planned: \(error)"))
                continue
            }
            guard plan.verdict.answer == .act, !plan.steps.isEmpty else {
                if plan.verdict.answer != .none { note(.remark("a reserve is not kept: \(plan.verdict.sentence)")) }
                continue
            }
            note(.planned(one, plan, took: applier.clock.now() - start))
            reports.append(try decide(plan, wish, one.key, one.mode, judgement, isCancelled, note))
            // What was carried out has changed the tree that the other was to be planned on.
            if reports.last?.line.hasPrefix("APPLY") == true { break }
        }
        return reports
    }
}
