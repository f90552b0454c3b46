// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

// What has appeared is planned for, round by round.
extension Applier {
    /// The most plans that one apply carries out.
    static let mostRounds = 8

    /// Plans on for what has appeared after `plan`, and carries that out as far as whoever agreed to `plan` can be taken to
    /// agree: it stops the same functions again, or what has appeared, or bridges, which cost nothing.
    ///
    /// Every round has its own journal and ends with nothing worse than before it, so that whatever stops a later one
    /// leaves what the earlier ones have reached.
    func goOn(
        after plan: Plan,
        _ first: ApplyReport,
        _ predictor: (any Predictor)?,
        _ isCancelled: () -> Bool,
        _ progress: @escaping (ApplyEvent) -> Void
    ) throws -> ApplyReport {
        guard first.verdict == .done, !first.found.isEmpty, let predictor else { return first }
        var report = first
        var rounds = 1
        var isWhole = false
        while true {
            let tree = try machine.observer.tree()
            guard let next = predictor.planOn(after: plan, from: tree) else {
                remark("what has appeared could not be planned for", &report, progress)
                break
            }
            if next.verdict.answer == .none { isWhole = true }
            guard next.verdict.answer == .act, !next.steps.isEmpty else {
                if isWhole { break }
                remark("left undone (\(next.verdict.reason)): \(next.verdict.sentence)", &report, progress)
                break
            }
            guard rounds < Self.mostRounds, !isCancelled() else {
                let why = rounds < Self.mostRounds ? "the apply was interrupted" : "\(rounds) rounds were enough"
                remark("another plan of \(next.steps.count) steps is not carried out: \(why)", &report, progress)
                break
            }
            if let sentence = disagreement(with: next, after: plan, tree) {
                remark(sentence, &report, progress)
                break
            }
            rounds += 1
            let words = "round \(rounds): a plan of \(next.steps.count) steps for what has appeared"
            progress(.remark(words))
            let (later, _) = try lockedApply(next, predictor, isCancelled, progress)
            let found = report.found + later.found
            if later.verdict == .failed, later.writes > 0 { return later.following(report, words) }
            report = later.following(report, words)
            report.found = found
            guard later.verdict == .done else {
                report.remarks.append("round \(rounds) was not carried out to its end: \(later.sentence)")
                break
            }
            guard !later.found.isEmpty else {
                isWhole = next.isWhole
                break
            }
        }
        let after = try machine.observer.tree()
        let places = Set(report.found.map { FunctionKey($0) })
        let end = ApplyEnd(isWhole: isWhole, found: report.found, rounds: rounds)
        report.verdict = .done
        report.reason = end.reason
        report.sentence = end.sentence
        report.exitStatus = 0
        report.differences = []
        // By the addresses that they have now.
        report.found = after.functions.filter { places.contains(FunctionKey($0)) }
        report.after = after
        return report
    }

    private func remark(_ text: String, _ report: inout ApplyReport, _ progress: (ApplyEvent) -> Void) {
        report.remarks.append(text)
        progress(.remark(text))
    }

    /// Why `next` is not what whoever agreed to `plan` agreed to; nil when it is.
    private func disagreement(with next: Plan, after plan: Plan, _ tree: TreeState) -> String? {
        guard next.before == tree else { return "the tree has changed since it was planned on" }
        if let (_, sentence) = PlanSafety.fault(in: next) { return "another plan is refused: \(sentence)" }
        let others = StoppingAgreement(plan, tree).others(in: next)
        guard !others.isEmpty else { return nil }
        return "left undone (not-agreed): what has appeared can be helped by stopping \(others.listed(1)): "
            + "`pci-rebalance plan` shows how"
    }
}

/// Whom somebody who agreed to a plan agreed to have stopped, by the addresses in a later tree.
struct StoppingAgreement {
    /// The addresses in the later tree of the functions that were known before the plan, by their addresses then.
    let renamed: [FunctionAddress: FunctionAddress]
    private let kept: Set<FunctionAddress>

    init(_ plan: Plan, _ now: TreeState) {
        var renamed: [FunctionAddress: FunctionAddress] = [:]
        var kept: Set<FunctionAddress> = []
        let stopped = Set(plan.disturbed.map(\.address)).union(PlanSafety.removed(by: plan).map(\.address))
        for (before, found) in FunctionPairs(plan.before, now).pairs {
            guard let found else { continue }
            renamed[before.address] = found.address
            if !stopped.contains(before.address) { kept.insert(found.address) }
        }
        self.renamed = renamed
        self.kept = kept
    }

    /// Whether the function at an address may be stopped again, or for the first time because nobody knew of it.
    func covers(_ address: FunctionAddress) -> Bool { !kept.contains(address) }

    /// The functions in use that another plan from the later tree would stop and nobody agreed to, in the plan's order.
    func others(in next: Plan) -> [FunctionAddress] {
        next.disturbed.filter { $0.weight > 0 && !covers($0.address) }.map(\.address)
    }
}

extension ApplyReport {
    /// This report, with what was done before it.
    func following(_ first: ApplyReport, _ remark: String) -> ApplyReport {
        var report = self
        report.remarks = first.remarks + [remark] + remarks
        report.writes += first.writes
        report.timeInKernel += first.timeInKernel
        report.timeSettling += first.timeSettling
        report.before = first.before
        return report
    }
}
