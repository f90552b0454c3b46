// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// What a machine shows after a step below whose bridges functions may appear, held against the prediction.
///
/// The step has done what was predicted when every function that was known is there, at its place, with all that the
/// prediction gives it, and new ones stand only where they may appear. Those that the plan stopped, and the bridges above
/// the new ones, may have other addresses and other windows: the kernel placed the new ones in the same rescan. Everybody
/// else must be exactly as predicted.
struct StepDiscovery {
    /// The functions that nobody could see before, in address order.
    let found: [FunctionState]
    /// What is otherwise than the step may leave it, a sentence each.
    let differences: [String]
    /// The addresses, in the prediction, of the functions that must be exactly as predicted.
    let exact: Set<FunctionAddress>

    /// Compares; nil when nothing has appeared where it may, so that the prediction must hold as it stands.
    ///
    /// - Parameters:
    ///   - step: the step.
    ///   - stopped: the places (`FunctionState.place`) of the functions that the plan has stopped so far.
    ///   - tree: what the machine shows.
    init?(_ step: PlanStep, stopped: Set<TopologyPath>, _ tree: TreeState) {
        let ports = Set(step.mayAppearBelow)
        guard !ports.isEmpty else { return nil }
        let open = Set(step.after.functions.filter { ports.contains($0.address) }.map(\.path))
        let pairs = FunctionPairs(step.after, tree)
        let known = Set(pairs.pairs.compactMap { $0.now?.address })
        let new = tree.functions.filter { !known.contains($0.address) }
        let appeared = new.filter { function in
            open.contains { $0 != function.path && $0.isAncestorOrSelf(of: function.path) }
        }
        guard !appeared.isEmpty else { return nil }
        var differences = new.filter { !appeared.contains($0) }.map { TreeState.Difference.unexpected($0).description }
        var exact: Set<FunctionAddress> = []
        for (expected, now) in pairs.pairs {
            guard let now else {
                differences.append(TreeState.Difference.missing(expected).description)
                continue
            }
            let isFree =
                open.contains { expected.path.isAncestorOrSelf(of: $0) }
                || stopped.contains { $0.isAncestorOrSelf(of: expected.place) }
            guard !isFree else { continue }
            exact.insert(expected.address)
            differences += TreeState([expected]).differences(from: TreeState([now])).map(\.description)
        }
        differences += step.after.losses(in: tree).filter { loss in
            // A function that is gone is among the missing ones already.
            if case .function = loss { return false }
            return !exact.contains(loss.function.address)
        }.map(\.description)
        found = appeared
        self.differences = differences
        self.exact = exact
    }
}

extension PlanExecution {
    /// What the machine shows after step `index` otherwise than it may, and the functions that have appeared there.
    func judge(_ index: Int, _ tree: TreeState, from state: TreeState) throws -> (
        differences: [String], found: [FunctionState]
    ) {
        var step = plan.steps[index]
        guard let discovery = discovery(index, tree) else {
            return (try run.differences(after: step, tree, from: state, check), [])
        }
        guard discovery.differences.isEmpty else { return (discovery.differences, []) }
        // Registers must agree with what the kernel holds, which is not what was predicted.
        step.after = tree
        step.registersAfter = step.registersAfter.filter { discovery.exact.contains($0.address) }
        return (try run.differences(after: step, tree, from: state, check), discovery.found)
    }

    /// The writes of step `index` once its last rescan is done.
    ///
    /// Where functions have appeared that nobody could see, windows may lie elsewhere than predicted: the registers of the
    /// bridges above them, and of those that the step writes, get what the kernel holds.
    func closingWrites(_ index: Int, planned: ArraySlice<SystemWrite>) throws -> [SystemWrite] {
        guard !plan.steps[index].mayAppearBelow.isEmpty else { return Array(planned) }
        let tree = try run.settle().tree
        guard let found = discovery(index, tree)?.found else { return Array(planned) }
        let bridges = tree.functions.filter { bridge in
            found.contains { $0 != bridge && bridge.path.isAncestorOrSelf(of: $0.path) }
                || planned.contains { $0.isWindowRegister && $0.address == bridge.address }
        }
        let health = try run.machine.observer.health(of: bridges.map(\.address))
        return check.windowWrites(tree, health) + planned.filter { !$0.isWindowRegister }
    }

    /// What has appeared after step `index`, nil when nothing has.
    func discovery(_ index: Int, _ tree: TreeState) -> StepDiscovery? {
        let stopped = Set(PlanSafety.removed(by: plan, upTo: index).map(\.place))
        return StepDiscovery(plan.steps[index], stopped: stopped, tree)
    }
}

extension PlanStep {
    /// How many writes there are up to the last rescan; all of them without one. What follows closes the step.
    var countThroughLastRescan: Int { writes.lastIndex(where: \.isRescan).map { $0 + 1 } ?? writes.count }
}

extension SystemWrite {
    /// Whether the write goes to a register that holds bounds of a bridge's windows.
    fileprivate var isWindowRegister: Bool {
        if case .config(_, let offset, _, _, _) = self { (0x1c..<0x34).contains(offset) } else { false }
    }
}

extension FunctionState {
    /// The address and the ids: `0000:08:00.0 (1b36:0005)`.
    var name: String {
        "\(address) (\(bareHex(UInt64(ids >> 16), width: 4)):\(bareHex(UInt64(ids & 0xffff), width: 4)))"
    }
}
