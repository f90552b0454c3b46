// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

/// The steps of one plan on one machine, forward or back; shared by apply and recovery.
struct PlanExecution {
    let run: ApplyRun
    let plan: Plan
    /// Nil where somebody else keeps it.
    let journal: Journal?
    let records: [HealthRecord]
    let check: RegisterCheck
    let predictor: (any Predictor)?
    /// The tree that nothing may be worse than: the plan's, after a reboot with the root buses of this boot.
    let before: TreeState
    /// Whether the machine was booted anew since the apply began.
    let hasRebooted: Bool

    init(
        run: ApplyRun,
        plan: Plan,
        journal: Journal?,
        records: [HealthRecord],
        check: RegisterCheck,
        predictor: (any Predictor)?,
        rebootedTo now: TreeState? = nil
    ) {
        self.run = run
        self.plan = plan
        self.journal = journal
        self.records = records
        self.check = check
        self.predictor = predictor
        hasRebooted = now != nil
        before = now.map { plan.before.withRootBuses(of: $0) } ?? plan.before
    }

    /// Why the way forward ended before its end.
    private struct Stop {
        var reason: String
        var sentence: String
        var details: [String] = []
        var statusIfUntouched: Int32 = 5
    }

    /// Carries out the steps from index `first`; goes back when one of them does not do what was predicted.
    func carryOut(from first: Int, journaledWrites earlier: [JournalRecord.JournaledWrite], _ isCancelled: () -> Bool)
        throws -> ApplyReport
    {
        var journaledWrites = earlier
        var state = first == 0 ? plan.before : plan.steps[first - 1].after
        var found: [FunctionState] = []
        if first > 0, first == plan.steps.count {
            // What had appeared before the apply was interrupted is there.
            let tree = try run.machine.observer.tree()
            if let discovery = discovery(first - 1, tree) { (state, found) = (tree, discovery.found) }
        }
        do {
            if let stop = try goForward(from: first, &state, &found, &journaledWrites, isCancelled) {
                return try goBack(stop, journaledWrites)
            }
        } catch let error as JournalError {
            return try goBack(
                Stop(reason: "journal-unusable", sentence: "the journal could not be continued: \(error)"),
                journaledWrites
            )
        } catch let error as ObservationError {
            return try goBack(
                Stop(reason: "unreadable", sentence: "the machine could not be read: \(error)"),
                journaledWrites
            )
        }
        let end = ApplyEnd(plan, found)
        try putAway(ApplyReport.Verdict.done.rawValue, end.reason)
        let isOtherwise = run.hasEndedOtherwise && found.isEmpty && plan.isWhole
        let sentence =
            isOtherwise
            ? "Done: the machine has all that the plan was made for, at the addresses that the kernel chose as "
                + "\(run.behavioursLeft.first ?? "it does")." : end.sentence
        var report = report(.done, Stop(reason: end.reason, sentence: ""), sentence, 0, [], state)
        report.found = found
        return report
    }

    /// Goes back without having tried to go forward.
    func undo(_ journaledWrites: [JournalRecord.JournaledWrite], reason: String, _ sentence: String) throws
        -> ApplyReport
    {
        try goBack(Stop(reason: reason, sentence: sentence), journaledWrites, isRecovery: true)
    }

    /// Ends what was refused before its first write.
    func endUntouched(_ reason: String, _ sentence: String) throws -> ApplyReport {
        try goBack(Stop(reason: reason, sentence: sentence, statusIfUntouched: 4), [])
    }

    // MARK: Forward

    private func goForward(
        from first: Int,
        _ state: inout TreeState,
        _ found: inout [FunctionState],
        _ journaledWrites: inout [JournalRecord.JournaledWrite],
        _ isCancelled: () -> Bool
    ) throws -> Stop? {
        run.seen = plan.steps[..<first].map { Observation(writes: $0.writes, tree: $0.after) }
        try noteBehavioursLeft(predictor?.foresee([], after: run.seen).map(\.behaviour) ?? [])
        for (i, step) in plan.steps.enumerated().dropFirst(first) {
            run.progress(.stepBegins(i, of: plan.steps.count, purpose: step.purpose))
            if let stop = try begin(step, i, state, isCancelled) { return stop }
            let count = step.countThroughLastRescan
            if let stop = try perform(step.writes[..<count], i, &journaledWrites, isCancelled) { return stop }
            let closing = try closingWrites(i, planned: step.writes[count...])
            if let stop = try perform(closing[...], i, from: count, &journaledWrites, isCancelled) { return stop }
            let (tree, time, isQuiet) = try run.settle()
            guard isQuiet else {
                return Stop(reason: "unsettled", sentence: "step \(i + 1): the tree does not come to rest")
            }
            let foreseen = predictor?.foresee(step.writes, after: run.seen) ?? []
            var (differences, appeared) = try judge(i, tree, from: state)
            if !differences.isEmpty, let (other, names) = otherwiseForeseen(i, tree, foreseen),
                try run.differences(after: other, tree, from: state, check).isEmpty
            {
                differences = []
                run.hasEndedOtherwise = true
                run.remark(
                    "step \(i + 1) ended as \(names[0]) does it, not as \(plan.behaviour): the rest of the plan leads to "
                        + "the same devices"
                )
            }
            if let isolation = plan.isolation, isolation.hasGroups {
                differences += isolation.differences(
                    from: try run.machine.observer.iommuGroups(),
                    isAfterwards: i == plan.steps.count - 1 && appeared.isEmpty && !run.hasEndedOtherwise
                )
            }
            guard differences.isEmpty else {
                run.progress(.differs(differences))
                return Stop(
                    reason: "prediction-differs",
                    sentence: "step \(i + 1): the machine shows something else than predicted",
                    details: differences
                )
            }
            run.seen.append(Observation(writes: step.writes, tree: tree))
            if appeared.isEmpty { try noteBehavioursLeft(foreseen.filter { $0.tree == tree }.map(\.behaviour)) }
            try run.record(.stepReached(i), isForward: true)
            run.progress(.stepReached(i, settledAfter: time))
            state = tree
            guard !appeared.isEmpty else { continue }
            found = appeared
            run.remark("found: \(appeared.map(\.name).joined(separator: ", "))")
            // What comes next was predicted without them.
            let hasText = plan.steps[...i].flatMap(\.writes).contains(where: \.isAlignmentText)
            let open =
                before.losses(in: tree, ignoringSizes: true).map(\.description)
                + (hasText ? plan.after.enlargements(in: tree).map(\.description) : [])
            guard open.isEmpty else {
                return Stop(
                    reason: "prediction-differs",
                    sentence: "step \(i + 1): with what has appeared, the steps that come next do not lead to the goal",
                    details: open
                )
            }
            break
        }
        return try confirm(state)
    }

    /// Does writes of step `index`, the first of which has number `first`.
    private func perform(
        _ writes: ArraySlice<SystemWrite>,
        _ index: Int,
        from first: Int = 0,
        _ journaledWrites: inout [JournalRecord.JournaledWrite],
        _ isCancelled: () -> Bool
    ) throws -> Stop? {
        for (k, write) in writes.enumerated() {
            if isCancelled() { return Stop(reason: "interrupted", sentence: "the apply was interrupted") }
            do {
                try run.forward(write, step: index, index: first + k, &journaledWrites)
            } catch let error as WriteError {
                return Stop(
                    reason: "write-\(error.code.rawValue)",
                    sentence: "step \(index + 1): \(error)",
                    statusIfUntouched: error.code == .notPermitted ? 77 : 5
                )
            }
        }
        return nil
    }

    private func begin(
        _ step: PlanStep,
        _ index: Int,
        _ state: TreeState,
        _ isCancelled: () -> Bool
    ) throws -> Stop? {
        if isCancelled() { return Stop(reason: "interrupted", sentence: "the apply was interrupted") }
        let unmet = try run.unmetPreconditions(of: step, expecting: state)
        guard unmet.isEmpty else {
            run.progress(.differs(unmet))
            let isStale = try !state.differences(from: run.machine.observer.tree()).isEmpty
            return Stop(
                reason: index == 0 && isStale ? "stale" : "precondition-failed",
                sentence: "step \(index + 1) cannot begin: \(unmet[0])",
                details: unmet,
                statusIfUntouched: isStale ? 7 : 4
            )
        }
        try run.record(.stepBegins(index), isForward: true)
        return nil
    }

    /// The last look: whatever worked before must work now, drivers and decoding included.
    private func confirm(_ state: TreeState) throws -> Stop? {
        var tree = try run.settle().tree
        if !plan.before.healthLosses(records, in: tree, try run.health(of: tree)).isEmpty {
            try run.restoreSigns(plan.before, records)
            tree = try run.settle().tree
        }
        let losses =
            plan.before.healthLosses(records, in: tree, try run.health(of: tree)).map(\.description)
            + plan.before.losses(in: tree, ignoringSizes: true).map(\.description)
        let differences = state.differences(from: tree).map(\.description) + losses
        guard !differences.isEmpty else { return nil }
        run.progress(.differs(differences))
        return Stop(
            reason: losses.isEmpty ? "prediction-differs" : "function-impaired",
            sentence: "after the last step: \(differences[0])",
            details: differences
        )
    }

    // MARK: Back

    private func goBack(
        _ stop: Stop,
        _ journaledWrites: [JournalRecord.JournaledWrite],
        isRecovery: Bool = false
    ) throws -> ApplyReport {
        guard !run.isStuck else { return stuck(stop) }
        guard !journaledWrites.isEmpty || run.writes > 0 || isRecovery else {
            try putAway("failed", stop.reason)
            return report(
                stop.statusIfUntouched == 5 ? .rolledBack : .failed,
                stop,
                "Nothing was written: \(stop.sentence).",
                stop.statusIfUntouched,
                stop.details,
                nil
            )
        }
        var retreat = Rollback(
            run: run,
            plan: plan,
            before: before,
            journaledWrites: journaledWrites,
            records: records,
            check: check,
            predictor: predictor,
            hasRebooted: hasRebooted,
            mayGoOn: stop.reason == "prediction-differs" && !isRecovery && !hasRebooted
                && plan.steps.contains { !$0.mayAppearBelow.isEmpty }
        )
        let outcome: RollbackOutcome
        do {
            try explain(journaledWrites)
            outcome = try retreat.go(reason: stop.reason)
            run.losses = outcome.losses
        } catch let error as ObservationError {
            return report(
                .failed,
                stop,
                "Stopped (\(stop.sentence)), and the machine can no longer be read: \(error).",
                6,
                stop.details,
                nil
            )
        }
        guard !run.isStuck else { return stuck(stop) }
        for function in outcome.unplugged { run.remark("\(function.address) was unplugged meanwhile") }
        for loss in outcome.losses { run.remark("worse than before: \(loss)") }
        if hasRebooted { return try endAfterReboot(stop, outcome) }
        if !outcome.found.isEmpty, outcome.losses.isEmpty, outcome.alignment == nil {
            return try endFurtherOn(outcome)
        }
        if outcome.tree == plan.before {
            run.remark("the tree is exactly as before")
        } else {
            for difference in plan.before.differences(from: outcome.tree) { run.remark("before: \(difference)") }
        }
        let worse =
            outcome.losses.map(\.description)
            + (outcome.alignment.map { ["resource_alignment is not as before: the kernel did not take `\($0)`"] } ?? [])
        guard worse.isEmpty else {
            return report(
                .failed,
                stop,
                "Stopped (\(stop.sentence)); going back left something worse than before. Run `pci-rebalance recover`, "
                    + "or reboot.",
                6,
                worse,
                outcome.tree
            )
        }
        try putAway(ApplyReport.Verdict.rolledBack.rawValue, stop.reason)
        for larger in outcome.enlarged { run.remark("until it is found anew: \(larger)") }
        let names = outcome.enlarged.map { "\($0.function.address) \($0.index)" }.joined(separator: ", ")
        let end =
            names.isEmpty
            ? "nothing is worse than before."
            : "nothing is lost, but the kernel takes \(names) to be larger than it is, until it is "
                + "found anew or until a reboot."
        return report(
            .rolledBack,
            stop,
            "Stopped (\(stop.sentence)) and went back; \(end)",
            5,
            stop.details,
            outcome.tree
        )
    }

    /// Asks the twin how the machine came to stand where it stands, so that it can say where ways back lead.
    private func explain(_ journaledWrites: [JournalRecord.JournaledWrite]) throws {
        guard let predictor, !hasRebooted, let last = journaledWrites.last?.position.step else { return }
        var seen =
            run.seen.isEmpty
            ? plan.steps[..<last].map { Observation(writes: $0.writes, tree: $0.after) } : Array(run.seen.prefix(last))
        let writes = journaledWrites.filter { $0.position.step == last && $0.isDone }.map(\.write)
        seen.append(Observation(writes: writes, tree: try run.settle().tree))
        run.explanation = predictor.explain(seen)
        guard let name = run.explanation, name != plan.behaviour else { return }
        run.remark("this is what the kernel does as \(name); the plan took it for \(plan.behaviour)")
    }

    /// Nothing is lost, and functions have appeared, though the way was another one than the plan's.
    private func endFurtherOn(_ outcome: RollbackOutcome) throws -> ApplyReport {
        for larger in outcome.enlarged { run.remark("until it is found anew: \(larger)") }
        let end = ApplyEnd(appeared: outcome.found, planned: false)
        try putAway(ApplyReport.Verdict.done.rawValue, end.reason)
        var report = report(.done, Stop(reason: end.reason, sentence: ""), end.sentence, 0, [], outcome.tree)
        report.found = outcome.found
        return report
    }

    /// After a reset nothing of the apply is in force any more: what is missing now, no journal can bring back.
    private func endAfterReboot(_ stop: Stop, _ outcome: RollbackOutcome) throws -> ApplyReport {
        let drivers = before.healthLosses(records, in: outcome.tree, try run.health(of: outcome.tree)).compactMap {
            loss in
            if case .driver(let function, _) = loss { function.address.description } else { nil }
        }
        if !drivers.isEmpty { run.remark("without a driver so far: \(drivers.joined(separator: ", "))") }
        let isWhole = outcome.losses.isEmpty
        try putAway(isWhole ? ApplyReport.Verdict.rolledBack.rawValue : "failed", stop.reason)
        return report(
            isWhole ? .rolledBack : .failed,
            stop,
            isWhole
                ? "The machine was booted anew, which ended the apply: nothing is worse than before it."
                : "The machine was booted anew, which ended the apply, and something is worse than before it. No journal "
                    + "can bring that back: `pci-rebalance check` says why it is missing, `plan` what would help.",
            isWhole ? 5 : 6,
            outcome.losses.map(\.description),
            outcome.tree
        )
    }

    private func stuck(_ stop: Stop) -> ApplyReport {
        report(
            .failed,
            stop,
            "Stopped (\(stop.sentence)). The write still hangs in the kernel, and any other would hang behind it; run "
                + "`pci-rebalance recover` when it has ended.",
            6,
            stop.details,
            nil
        )
    }

    /// Ends the journal; a disk that fails now leaves a journal that `recover` ends later.
    private func putAway(_ verdict: String, _ reason: String) throws {
        do {
            try journal?.finish(verdict: verdict, reason: reason)
        } catch let error as JournalError {
            run.remark("the journal could not be ended: \(error)")
        }
    }

    private func report(
        _ verdict: ApplyReport.Verdict,
        _ stop: Stop,
        _ sentence: String,
        _ status: Int32,
        _ differences: [String],
        _ tree: TreeState?
    ) -> ApplyReport {
        var report = ApplyReport(
            verdict,
            reason: stop.reason,
            sentence: sentence,
            exitStatus: status,
            differences: differences,
            remarks: run.remarks,
            writes: run.writes,
            before: plan.before,
            after: tree
        )
        report.timeInKernel = run.timeInKernel
        report.timeSettling = run.timeSettling
        return report
    }
}
