// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

// A kernel may have one of several behaviours: each step shows which are left.
extension PlanExecution {
    /// The step as a behaviour that is left foretells it, where the machine shows that instead of the plan's prediction
    /// and the rest of the plan leads, under every behaviour left, to all that it was made for.
    ///
    /// The bus numbers must be the planned ones, so that the writes to come mean the same functions.
    ///
    /// - Parameters:
    ///   - index: the step that was done.
    ///   - tree: the tree after it.
    ///   - foreseen: where each behaviour led that agreed with all before.
    /// - Returns: the step with the other end, and the names of the behaviours left; nil when the plan must not go on.
    func otherwiseForeseen(
        _ index: Int,
        _ tree: TreeState,
        _ foreseen: [ForeseenState]
    ) -> (step: PlanStep, behaviours: [String])? {
        let left = foreseen.filter { $0.tree == tree }
        var step = plan.steps[index]
        // Where the behaviour that the plan was made for leads elsewhere than the plan says, the plan is wrong.
        guard let first = left.first, !left.contains(where: { $0.behaviour == plan.behaviour }), let predictor,
            Self.namesSameFunctions(step.after, tree)
        else { return nil }
        let seen = run.seen + [Observation(writes: step.writes, tree: tree)]
        let rest = plan.steps[(index + 1)...].flatMap(\.writes)
        let ends = predictor.foresee(rest, after: seen)
        guard ends.count == left.count, ends.allSatisfy({ isAsGood($0.tree) }) else { return nil }
        step.after = tree
        if !step.registersAfter.isEmpty { step.registersAfter = first.registers }
        return (step, left.map(\.behaviour))
    }

    /// Whether a tree has everything that the plan's end has and that was there before it, wherever it lies, in its own size.
    private func isAsGood(_ end: TreeState) -> Bool {
        guard plan.before.losses(in: end).isEmpty, plan.after.losses(in: end).isEmpty,
            plan.after.enlargements(in: end).isEmpty
        else { return false }
        // Room below a port is what its windows and bus numbers hold.
        for case .reserve(let address, _) in plan.goals {
            guard let wanted = plan.after[address],
                let found = end.functions.first(where: { $0.path == wanted.path }),
                found.busRange?.count ?? 0 >= wanted.busRange?.count ?? 0
            else { return false }
            for (index, wantedLine, foundLine) in wanted.lines.pairs(with: found.lines) where index.isWindow {
                guard let room = wantedLine.range(of: index) else { continue }
                guard let had = foundLine.range(of: index), had.last - had.first >= room.last - room.first else {
                    return false
                }
            }
        }
        return true
    }

    private static func namesSameFunctions(_ a: TreeState, _ b: TreeState) -> Bool {
        a.functions.map(\.address) == b.functions.map(\.address) && a.functions.map(\.path) == b.functions.map(\.path)
            && a.functions.map(\.ids) == b.functions.map(\.ids)
    }

    /// Notes which behaviours are left, where that is known and has changed.
    func noteBehavioursLeft(_ names: [String]) throws {
        guard !names.isEmpty, names != run.behavioursLeft else { return }
        run.behavioursLeft = names
        try run.record(.behavioursLeft(names), isForward: true)
    }
}
