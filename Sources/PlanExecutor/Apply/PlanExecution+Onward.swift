// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

// Functions that appear take room that the plan had given to others: another plan from there may have room for all.
extension PlanExecution {
    /// Follows another plan from where the machine stands, in which functions have appeared and some that the plan stopped
    /// lack what they had.
    ///
    /// It stops nobody whom the plan does not stop, and its writes are journaled as a repair's: whoever goes back from
    /// there, after a crash too, looks at what is lost, not at what was done.
    ///
    /// - Parameters:
    ///   - tree: the tree after step `index`.
    ///   - index: the step after which they have appeared.
    /// - Returns: the tree at the end and the functions that nobody could see before; nil when there is no such plan, or
    ///   when the machine did otherwise.
    /// - Throws: what the journal or the observer throws.
    func goOnward(from tree: TreeState, after index: Int) throws -> (tree: TreeState, found: [FunctionState])? {
        guard let predictor, !hasRebooted, plan.isolation?.hasGroups != true,
            let discovery = discovery(index, tree), discovery.differences.isEmpty,
            // Of what is removed at the moment no plan from here would know.
            FunctionPairs(before, tree).pairs.allSatisfy({ $0.now != nil }),
            let next = predictor.planOnward(within: plan, from: tree), next.verdict.answer == .act,
            Applier.disagreement(with: next, after: plan, tree) == nil,
            next.steps.flatMap(\.writes).allSatisfy(\.isFoundByLooking), before.losses(in: next.after).isEmpty
        else { return nil }
        run.remark("found: \(discovery.found.map(\.name).joined(separator: ", "))")
        run.remark("what has appeared took room: following another plan of \(next.steps.count) steps from here")
        var earlier = tree
        for (n, step) in next.steps.enumerated() {
            guard try run.unmetPreconditions(of: step, expecting: earlier).isEmpty else { return nil }
            for write in step.writes {
                guard try run.backward(write, step: index, .repair) else { return nil }
            }
            let (now, _, isQuiet) = try run.settle()
            guard isQuiet else { return nil }
            let stopped = Set(PlanSafety.removed(by: next, upTo: n).map(\.place))
            if let more = StepDiscovery(step, stopped: stopped, now) {
                guard more.isAsPredicted else { return nil }
                earlier = now
                break
            }
            guard try run.differences(after: step, now, from: earlier, check).isEmpty else { return nil }
            earlier = now
        }
        let known = Set(FunctionPairs(before, earlier).pairs.compactMap { $0.now?.address })
        return (earlier, earlier.functions.filter { !known.contains($0.address) })
    }
}

extension SystemWrite {
    /// Whether all that the write can leave behind shows in the tree, so that a way back finds it without knowing of it.
    fileprivate var isFoundByLooking: Bool {
        switch self {
        case .remove, .rescanBus, .rescanDevice, .rescanAll, .config, .probeDriver, .unbindDriver: true
        case .resizeBAR, .resourceAlignment, .sriovNumVFs, .slotPower, .driverOverride: false
        }
    }
}
