// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

// Where functions have appeared, the way on may be shorter than the way back.
extension Rollback {
    /// The most plans that are followed one after another.
    private static let mostPlans = 4

    /// The functions that nobody could see before the apply, in address order.
    func found(in tree: TreeState) -> [FunctionState] {
        let known = Set(FunctionPairs(before, tree).pairs.compactMap { $0.now?.address })
        return tree.functions.filter { !known.contains($0.address) }
    }

    /// Goes on instead of back: with what has appeared, the plan does not lead where it said; others from where the machine
    /// stands may.
    ///
    /// What appeared took bus numbers and room that the plan had given to others, or stood in a place that nobody could
    /// know. Taking everything apart once more would hide it again. Each of the other plans stops nobody whom the plan did
    /// not name, and foretells that nothing is missing at its end that was there before the apply.
    ///
    /// - Returns: whether nothing is lost where this ended.
    /// - Throws: what the journal or the observer throws.
    mutating func goOn() throws -> Bool {
        guard let predictor else { return false }
        for _ in 0..<Self.mostPlans {
            let tree = try run.settle().tree
            guard !run.isStuck, !found(in: tree).isEmpty else { return false }
            if try losses(tree).allSatisfy(isOfAbsentVF) { return true }
            guard let next = predictor.planOn(after: plan, from: tree), isWayOn(next, from: tree) else { return false }
            run.remark("with what has appeared, another plan of \(next.steps.count) steps leads on from here")
            guard try follow(next, from: tree) else { continue }
        }
        return try losses(run.settle().tree).allSatisfy(isOfAbsentVF)
    }

    /// Whether a plan from `tree` may be followed instead of the way back.
    private func isWayOn(_ next: Plan, from tree: TreeState) -> Bool {
        guard next.verdict.answer == .act, next.before == tree, PlanSafety.fault(in: next) == nil,
            StoppingAgreement(plan, tree).others(in: next).isEmpty,
            next.steps.allSatisfy({ $0.writes.allSatisfy(\.isNumberedOrFoundAnew) })
        else { return false }
        return before.losses(in: next.after, ignoringSizes: true).allSatisfy(isOfAbsentVF)
    }

    /// Follows a plan from `tree`, as far as its predictions hold, or until functions appear where they may.
    ///
    /// - Returns: whether every step that was done ended as predicted.
    /// - Throws: what the journal or the observer throws.
    func follow(_ next: Plan, from tree: TreeState) throws -> Bool {
        let execution = PlanExecution(
            run: run,
            plan: next,
            journal: nil,
            records: records,
            check: check,
            predictor: nil
        )
        var earlier = tree
        for (i, step) in next.steps.enumerated() {
            guard try run.unmetPreconditions(of: step, expecting: earlier).isEmpty else { return false }
            let count = step.countThroughLastRescan
            guard try step.writes[..<count].allSatisfy({ try run.backward($0, step: 0, .repair) }),
                try execution.closingWrites(i, planned: step.writes[count...])
                    .allSatisfy({ try run.backward($0, step: 0, .repair) })
            else { return false }
            let now = try run.settle().tree
            let (differences, appeared) = try execution.judge(i, now, from: earlier)
            guard differences.isEmpty else { return false }
            // What comes next was predicted without them.
            guard appeared.isEmpty else { return true }
            earlier = now
        }
        return true
    }
}

extension SystemWrite {
    /// Whether the write numbers a bridge, sets a register, or takes a function away and finds it again: what a way back can
    /// follow whatever has become of it.
    fileprivate var isNumberedOrFoundAnew: Bool {
        switch self {
        case .config, .remove, .rescanBus, .rescanDevice, .rescanAll, .probeDriver, .unbindDriver: true
        case .resizeBAR, .sriovNumVFs, .slotPower, .resourceAlignment, .driverOverride: false
        }
    }
}
