// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
public import RebalancePlanner

/// An apply that has not ended, as its journal tells.
public struct UnfinishedApply: Hashable, Sendable {
    /// Its name.
    public var id: String
    /// When it began, seconds since 1970.
    public var time: Int64
    /// The number of steps of its plan.
    public var steps: Int
    /// How many of them were seen to have done what was predicted.
    public var reachedSteps: Int
    /// The last write that was done or about to be done, or nil before the first.
    public var lastWrite: SystemWrite?
    /// Whether that write is known to have finished.
    public var isLastWriteDone: Bool
    /// Whether the way back had begun.
    public var isGoingBack: Bool
    /// Whether the machine has been booted anew since.
    public var hasRebooted: Bool

    /// Creates a record.
    public init(
        id: String,
        time: Int64,
        steps: Int,
        reachedSteps: Int,
        lastWrite: SystemWrite?,
        isLastWriteDone: Bool,
        isGoingBack: Bool,
        hasRebooted: Bool
    ) {
        self.id = id
        self.time = time
        self.steps = steps
        self.reachedSteps = reachedSteps
        self.lastWrite = lastWrite
        self.isLastWriteDone = isLastWriteDone
        self.isGoingBack = isGoingBack
        self.hasRebooted = hasRebooted
    }
}

/// Ends applies that were interrupted: by a signal, a crash, a power cut.
public struct Recovery {
    /// Which way an interrupted apply is ended.
    public enum Direction: Hashable, Sendable {
        /// Back, unless all steps were done and only the end is missing.
        case undo
        /// Forward where the machine stands exactly between two steps; else back.
        case finish
    }

    /// The seams and limits; the same as those of an apply.
    public var applier: Applier

    /// Creates a recovery.
    public init(_ applier: Applier) { self.applier = applier }

    /// The apply that has not ended, or nil.
    ///
    /// - Throws: `JournalError` when its journal cannot be read.
    public func status() throws -> UnfinishedApply? {
        guard let (_, record) = try Journal.unfinished(on: applier.disk), record.end == nil else { return nil }
        let last = record.journaledWrites.last
        return UnfinishedApply(
            id: record.beginning.id,
            time: record.beginning.time,
            steps: record.plan.steps.count,
            reachedSteps: record.reachedSteps,
            lastWrite: last?.write,
            isLastWriteDone: last?.isDone ?? true,
            isGoingBack: record.isGoingBack,
            hasRebooted: try applier.machine.observer.bootID() != record.beginning.bootID
        )
    }

    /// Ends the apply that has not ended; does nothing when there is none.
    ///
    /// The exit status is 0 when the machine is whole afterwards, whichever way it went.
    ///
    /// - Throws: only what the machine's seams throw beyond their own errors.
    public func run(
        _ direction: Direction = .undo,
        progress: @escaping (ApplyEvent) -> Void = { _ in },
        predictor: (any Predictor)? = nil,
        isCancelled: () -> Bool = { false }
    ) throws -> ApplyReport {
        var report: ApplyReport
        do {
            report = try lockedRun(direction, predictor, isCancelled, progress)
        } catch let error as ObservationError {
            report = Applier.untouched("unreadable", "The machine could not be read: \(error).", 69)
        } catch let error as JournalError {
            report = Applier.untouched(
                error.code == .damaged ? "journal-damaged" : "journal-unusable",
                "The journal cannot be used: \(error).",
                error.code == .notPermitted ? 77 : 1
            )
        }
        if report.verdict == .rolledBack { report.exitStatus = 0 }
        applier.announceRenamings(report, predictor?.addressWords ?? [], progress)
        progress(.ends(report))
        return report
    }

    /// Gives up on the apply that has not ended: its journal is put away, the machine left as it is.
    ///
    /// - Returns: whether there was one.
    public func forget() throws -> Bool {
        _ = try ApplyLock(path: applier.lockPath)
        guard try applier.disk.read(Journal.unfinishedName) != nil else { return false }
        try applier.disk.rename(Journal.unfinishedName, to: Journal.finishedName)
        return true
    }

    // MARK: Parts

    private func lockedRun(
        _ direction: Direction,
        _ predictor: (any Predictor)?,
        _ isCancelled: () -> Bool,
        _ progress: @escaping (ApplyEvent) -> Void
    ) throws -> ApplyReport {
        let lock: ApplyLock
        do {
            lock = try waitForLock()
        } catch {
            return Applier.untouched(error.isBusy ? "busy" : "no-lock", "\(error).", error.isBusy ? 75 : 1)
        }
        defer { withExtendedLifetime(lock) {} }
        guard let (journal, record) = try Journal.unfinished(on: applier.disk) else {
            return ApplyReport(.done, reason: "nothing-to-do", sentence: "No apply was interrupted.", exitStatus: 0)
        }
        if let end = record.end {
            try journal.putAway()
            return ApplyReport(
                .done,
                reason: "nothing-to-do",
                sentence: "The apply had ended (\(end.verdict)); its journal was put away.",
                exitStatus: 0
            )
        }
        let obstacles = try applier.machine.observer.obstacles(writesConfig: false)
        guard obstacles.isEmpty else {
            return Applier.untouched("not-permitted", "\(obstacles.joined(separator: "; ")).", 77, obstacles)
        }
        let run = ApplyRun(
            applier.machine,
            journal: journal,
            audit: applier.audit,
            clock: applier.clock,
            limits: applier.limits,
            id: record.beginning.id,
            progress: progress
        )
        let remaining = record.plan.steps.dropFirst(record.reachedSteps).reduce(0) { $0 + $1.writes.count }
        progress(.begins(id: record.beginning.id, steps: record.plan.steps.count, writes: remaining))
        applier.audit.mark("recovery of apply \(record.beginning.id) begins")
        let report = try end(record, journal, run, direction, predictor, isCancelled)
        StopNotices(run: run, hooks: applier.hooks, plan: record.plan, records: record.beginning.health).after(report)
        applier.audit.mark(
            "recovery of apply \(record.beginning.id) ends: \(report.verdict.rawValue) reason=\(report.reason)"
        )
        return report
    }

    /// A write of a tool that was killed may still be under way and keeps the lock until it has ended.
    private func waitForLock() throws(ApplyLockError) -> ApplyLock {
        let start = applier.clock.now()
        while true {
            do {
                return try ApplyLock(path: applier.lockPath)
            } catch {
                guard error.isBusy, applier.clock.now() - start < applier.limits.lockWait else { throw error }
                applier.clock.sleep(applier.limits.pollInterval)
            }
        }
    }

    private func end(
        _ record: JournalRecord,
        _ journal: Journal,
        _ run: ApplyRun,
        _ direction: Direction,
        _ predictor: (any Predictor)?,
        _ isCancelled: () -> Bool
    ) throws -> ApplyReport {
        let tree = try run.settle().tree
        let hasRebooted = try applier.machine.observer.bootID() != record.beginning.bootID
        let execution = PlanExecution(
            run: run,
            plan: record.plan,
            journal: journal,
            records: record.beginning.health,
            check: RegisterCheck(tree, try run.health(of: tree)),
            predictor: predictor,
            rebootedTo: hasRebooted ? tree : nil
        )
        if hasRebooted {
            // Registers and the alignment text are the new boot's own: nothing of them is to be undone. What remains
            // is to look for what is missing, and to end the journal.
            return try execution.undo([], reason: "rebooted", "the machine was booted anew")
        }
        let journaledWrites = record.journaledWrites
        let stands = record.reachedSteps
        let isBetweenSteps =
            !record.isGoingBack && journaledWrites.allSatisfy { $0.position.step < stands } && stands > 0
            && (record.plan.steps[stands - 1].after == tree
                || (stands == record.plan.steps.count
                    && execution.discovery(stands - 1, tree)?.differences.isEmpty == true))
        if isBetweenSteps, stands == record.plan.steps.count || direction == .finish {
            return try execution.carryOut(from: stands, journaledWrites: journaledWrites, isCancelled)
        }
        return try execution.undo(journaledWrites, reason: "interrupted", "the apply was interrupted")
    }
}
