// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Glibc
import PCITopology
public import RebalancePlanner

/// Carries out plans so that nothing is lost.
///
/// Every step: its preconditions are checked against the machine; every write is in the journal, on the disk, before it
/// is done; the tree is left to settle, read again and compared with the prediction, registers included. On any
/// difference it stops and goes back (`Rollback`). Whatever happens to the tool meanwhile, `Recovery` can take over.
///
/// Not `Sendable`; an apply blocks its thread until it has ended.
public struct Applier {
    /// The machine.
    public var machine: Machine
    /// Where journals are kept.
    public var disk: any JournalDisk
    /// The path of the lock.
    public var lockPath: String
    /// The log of the system.
    public var audit: any AuditLog
    /// The clock.
    public var clock: ExecutionClock
    /// How long to wait for what.
    public var limits: ApplyLimits
    /// The administrator's programs that hear of stops.
    public var hooks: any StopHooks = NoHooks()
    /// Whether plans whose way back cannot be shown are carried out on kernels whose behaviour was never judged by a real
    /// one; hot-plug events never do.
    public var allowsUnjudgedKernel = false

    /// Creates an applier; all but the machine default to the running system.
    public init(
        machine: Machine,
        disk: any JournalDisk = DirectoryJournalDisk(),
        lockPath: String = ApplyLock.defaultPath,
        audit: any AuditLog = SystemAuditLog(),
        clock: ExecutionClock = .system,
        limits: ApplyLimits = ApplyLimits()
    ) {
        self.machine = machine
        self.disk = disk
        self.lockPath = lockPath
        self.audit = audit
        self.clock = clock
        self.limits = limits
    }

    /// Carries out `plan`.
    ///
    /// - Parameters:
    ///   - plan: the plan.
    ///   - progress: told what happens, in order; the last event is `ends`.
    ///   - predictor: asked when the machine does not do as the plan says: for its explanation, for a way back where the
    ///     recorded one does not lead to everything, and, once brought back, for another plan that stops nobody else.
    ///   - isCancelled: asked before every write; true stops the apply and goes back.
    /// - Returns: how it ended.
    /// - Throws: only what the machine's seams throw beyond their own errors.
    public func apply(
        _ plan: Plan,
        progress: @escaping (ApplyEvent) -> Void = { _ in },
        predictor: (any Predictor)? = nil,
        isCancelled: () -> Bool = { false }
    ) throws -> ApplyReport {
        // Later rounds know other addresses.
        let words = predictor?.addressWords ?? []
        let report: ApplyReport
        do {
            report = try checkedApply(plan, predictor, isCancelled, progress)
        } catch let error as ObservationError {
            report = ApplyReport(
                .failed,
                reason: "unreadable",
                sentence: "The machine could not be read, and nothing was written: \(error).",
                exitStatus: 69
            )
        }
        announceRenamings(report, words, progress)
        progress(.ends(report))
        return report
    }

    /// Why nothing can begin now: another apply is under way, or one was interrupted and waits for `recover`.
    ///
    /// To be asked before anything is planned: in the middle of an apply the tree is not what it will be.
    ///
    /// - Returns: the end of an attempt, exit status 75; nil when the way is free or this user may not know.
    public func occupation() -> ApplyReport? {
        guard (try? disk.read(Journal.unfinishedName)) ?? nil != nil else { return nil }
        return Self.untouched("unfinished-apply", Self.unfinishedSentence, 75)
    }

    private static let unfinishedSentence =
        "An earlier apply is under way or was interrupted; run `pci-rebalance recover` unless it still runs."

    // MARK: Before the first write

    private func checkedApply(
        _ plan: Plan,
        _ predictor: (any Predictor)?,
        _ isCancelled: () -> Bool,
        _ progress: @escaping (ApplyEvent) -> Void
    ) throws -> ApplyReport {
        if let report = Self.answer(of: plan) { return report }
        if let (reason, sentence) = PlanSafety.fault(in: plan) {
            return Self.untouched(reason, "The plan is refused: \(sentence).", 4)
        }
        let lock: ApplyLock
        do {
            lock = try ApplyLock(path: lockPath)
        } catch {
            return Self.untouched(error.isBusy ? "busy" : "no-lock", "\(error).", error.isBusy ? 75 : 1)
        }
        defer { withExtendedLifetime(lock) {} }
        let report = try applyOnce(plan, predictor, isCancelled, progress)
        return try goOn(after: plan, report, predictor, isCancelled, progress)
    }

    /// Carries a plan out, or another one where the machine turns out to behave otherwise; whoever calls holds the lock.
    private func applyOnce(
        _ plan: Plan,
        _ predictor: (any Predictor)?,
        _ isCancelled: () -> Bool,
        _ progress: @escaping (ApplyEvent) -> Void
    ) throws -> ApplyReport {
        let (report, explanation) = try lockedApply(plan, predictor, isCancelled, progress)
        guard report.verdict == .rolledBack, report.reason == "prediction-differs", !isCancelled(),
            let explanation, explanation != plan.behaviour, let other = predictor?.planAnew(), agrees(other, to: plan)
        else { return report }
        let remark = "trying another plan of \(other.steps.count) steps, made for \(explanation)"
        progress(.remark(remark))
        let second = try lockedApply(other, predictor, isCancelled, progress).report
        return second.following(report, remark)
    }

    /// Whether whoever agreed to one plan can be taken to agree to another: it stops nobody else.
    private func agrees(_ other: Plan, to plan: Plan) -> Bool {
        func places(_ plan: Plan) -> Set<TopologyPath> {
            let addresses = Set(plan.disturbed.map(\.address))
            return Set(plan.before.functions.filter { addresses.contains($0.address) }.map(\.path))
        }
        return other.verdict.answer == .act && !other.steps.isEmpty && PlanSafety.fault(in: other) == nil
            && places(other).isSubset(of: places(plan))
    }

    /// Carries a plan out; whoever calls holds the lock.
    func lockedApply(
        _ plan: Plan,
        _ predictor: (any Predictor)?,
        _ isCancelled: () -> Bool,
        _ progress: @escaping (ApplyEvent) -> Void
    ) throws -> (report: ApplyReport, explanation: String?) {
        if let report = try obstacle(plan) { return (report, nil) }
        let tree = try machine.observer.tree()
        if let report = try staleness(plan, tree) ?? protection(plan) { return (report, nil) }
        let risk = riskOfLoss(plan, predictor)
        if let report = risk.report { return (report, nil) }

        let health = try machine.observer.health(of: tree.functions.map(\.address))
        let time = clock.wallClock()
        let beginning = JournalBeginning(
            id: "\(String(time, radix: 36))-\(getpid())",
            time: max(0, time),
            kernel: plan.kernelRelease,
            bootID: try machine.observer.bootID(),
            health: health.map(HealthRecord.init)
        )
        let journal: Journal
        do {
            journal = try Journal(on: disk, beginning, plan)
        } catch let error as JournalError {
            let reason = error.code == .full ? "journal-full" : "journal-unusable"
            let status: Int32 = error.code == .notPermitted ? 77 : 1
            return (Self.untouched(reason, "No journal could be begun: \(error).", status), nil)
        }
        let run = ApplyRun(
            machine,
            journal: journal,
            audit: audit,
            clock: clock,
            limits: limits,
            id: beginning.id,
            progress: progress
        )
        let count = plan.steps.reduce(0) { $0 + $1.writes.count }
        audit.mark("apply \(beginning.id) begins: \(plan.steps.count) steps, \(count) writes")
        progress(.begins(id: beginning.id, steps: plan.steps.count, writes: count))
        risk.remark.map(run.remark)
        if disk.isVolatile { run.remark("the journal lives in memory and would not survive a power cut") }
        let execution = PlanExecution(
            run: run,
            plan: plan,
            journal: journal,
            records: beginning.health,
            check: RegisterCheck(tree, health),
            predictor: predictor
        )
        let notices = StopNotices(run: run, hooks: hooks, plan: plan, records: beginning.health)
        let report: ApplyReport
        if let veto = notices.before(isCancelled) {
            report = try execution.endUntouched(veto.reason, veto.sentence)
        } else {
            report = try execution.carryOut(from: 0, journaledWrites: [], isCancelled)
        }
        notices.after(report)
        audit.mark("apply \(beginning.id) ends: \(report.verdict.rawValue) reason=\(report.reason)")
        return (report, run.explanation)
    }

    private static func answer(of plan: Plan) -> ApplyReport? {
        switch plan.verdict.answer {
        case .act where !plan.steps.isEmpty: nil
        case .act, .none:
            ApplyReport(.done, reason: "nothing-to-do", sentence: "There is nothing to do.", exitStatus: 0)
        case .refused: untouched(plan.verdict.reason, plan.verdict.sentence, 4)
        case .impossible: untouched(plan.verdict.reason, plan.verdict.sentence, 2)
        case .unknown: untouched(plan.verdict.reason, plan.verdict.sentence, 8)
        }
    }

    static func untouched(_ reason: String, _ sentence: String, _ status: Int32, _ details: [String] = [])
        -> ApplyReport
    {
        ApplyReport(.failed, reason: reason, sentence: sentence, exitStatus: status, differences: details)
    }

    /// The report with which an apply would end whatever its plan: this process may not write; nil when it may.
    ///
    /// Asked before planning, since a process without privileges sees only a part of the machine.
    public func privilegesMissing() throws -> ApplyReport? {
        let obstacles = try machine.observer.obstacles(writesConfig: false)
        guard !obstacles.isEmpty else { return nil }
        return Self.untouched("not-permitted", "\(obstacles.joined(separator: "; ")).", 77, obstacles)
    }

    private func obstacle(_ plan: Plan) throws -> ApplyReport? {
        do {
            if try disk.read(Journal.unfinishedName) != nil {
                return Self.untouched("unfinished-apply", Self.unfinishedSentence, 75)
            }
        } catch let error as JournalError {
            return Self.untouched("journal-unusable", "\(error).", error.code == .notPermitted ? 77 : 1)
        }
        let writes = plan.steps.flatMap { $0.writes + $0.wayBack }
        let writesConfig = writes.contains { if case .config = $0 { true } else { false } }
        let obstacles = try machine.observer.obstacles(writesConfig: writesConfig)
        guard !obstacles.isEmpty else { return nil }
        return Self.untouched("not-permitted", "\(obstacles.joined(separator: "; ")).", 77, obstacles)
    }

    private func staleness(_ plan: Plan, _ tree: TreeState) throws -> ApplyReport? {
        let kernel = try machine.observer.kernelRelease()
        guard plan.kernelRelease == kernel else {
            return Self.untouched(
                "other-kernel",
                "The plan was made for kernel \(plan.kernelRelease); this is \(kernel).",
                7
            )
        }
        let differences = plan.before.differences(from: tree).map(\.description)
        guard !differences.isEmpty || plan.fingerprint != tree.fingerprint else { return nil }
        return Self.untouched(
            "stale",
            "The machine is no longer the one that the plan was made for.",
            7,
            differences
        )
    }

    /// On a kernel that was not judged, the way back from every step must be known under all behaviours that it may have;
    /// on one that was, and on which no repair has been proven, no thought is enough.
    ///
    /// - Returns: why nothing is written, or what was shown.
    private func riskOfLoss(_ plan: Plan, _ predictor: (any Predictor)?) -> (report: ApplyReport?, remark: String?) {
        guard !allowsUnjudgedKernel, let obstacle = KernelCatalogue.obstacle(toWritingOn: plan.kernelRelease) else {
            return (nil, nil)
        }
        let head = "How \(plan.kernelRelease) assigns addresses \(obstacle)"
        let tail = "--allow-unjudged carries the plan out all the same."
        guard !KernelCatalogue.behaviours(forRelease: plan.kernelRelease).isJudged else {
            return (Self.untouched("unjudged-kernel", "\(head); \(tail)", 4), nil)
        }
        guard let answer = predictor?.wayBack(of: plan) else {
            let sentence = "\(head), and the way back could not be simulated; \(tail)"
            return (Self.untouched("unjudged-kernel", sentence, 4), nil)
        }
        guard let gap = answer.gaps.first else {
            let count = answer.behaviours.count
            return (
                nil,
                "how this kernel assigns addresses was not judged: each step can be gone back from under "
                    + (count == 1 ? "the behaviour" : "all \(count) behaviours") + " that it may have"
            )
        }
        let report = Self.untouched(
            "way-back-not-shown",
            "\(head). If it does as \(gap.behaviour), going back from step \(gap.step) would leave something lost "
                + "(\(gap.losses[0])); \(tail)",
            4,
            answer.gaps.flatMap { gap in gap.losses.map { "as \(gap.behaviour), back from step \(gap.step): \($0)" } }
        )
        return (report, nil)
    }

    /// A plan may stop a function in use only if it says so among the disturbed ones.
    private func protection(_ plan: Plan) throws -> ApplyReport? {
        let declared = Set(plan.disturbed.map(\.address))
        var reasons: [String] = []
        for function in PlanSafety.removed(by: plan) where !declared.contains(function.address) {
            for use in try machine.observer.protectedUse(of: function.address) {
                reasons.append("\(function.address): \(use.detail)")
            }
        }
        guard let first = reasons.first else { return nil }
        return Self.untouched("in-use", "The plan would stop a function that is in use: \(first).", 4, reasons)
    }
}
