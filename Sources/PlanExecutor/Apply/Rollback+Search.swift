// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

// What the recorded way back has not brought back is looked for.
extension Rollback {
    /// Rescans as narrowly as can be: first the bus that the bridge above sits on, which touches no window; then the
    /// bus behind it, which may let the kernel grow a window when that bus is empty.
    ///
    /// - Parameter isWanted: which losses are looked for.
    /// - Throws: what the journal or the observer throws.
    func findMissing(_ isWanted: (Loss) -> Bool) throws {
        for round in 0..<3 {
            let tree = try run.settle().tree
            var rescans: [SystemWrite] = []
            for loss in before.losses(in: tree, ignoringSizes: true) where isWanted(loss) {
                guard case .function(let function) = loss, try !isUnplugged(function, tree) else { continue }
                let rescan: SystemWrite
                if let bridge = nearestBridge(above: function, tree), let buses = bridge.busRange {
                    rescan =
                        round == 0
                        ? .rescanDevice(bridge.address)
                        : .rescanBus(segment: bridge.address.segment, bus: buses.first)
                } else {
                    rescan = .rescanBus(segment: function.path.segment, bus: function.path.rootBus)
                }
                if !rescans.contains(rescan) { rescans.append(rescan) }
            }
            guard !rescans.isEmpty, !run.isStuck else { return }
            for rescan in rescans { try run.backward(rescan, step: 0, .repair) }
        }
    }

    // MARK: VFs

    /// The physical functions whose VFs the steps took away, with how many there were. Steps name them by the address that
    /// they had at that time.
    private var revivals: [(function: FunctionKey, count: Int)] {
        var result: [(function: FunctionKey, count: Int)] = []
        let touched = hasRebooted ? Array(plan.steps.indices) : Set(journaledWrites.map(\.position.step)).sorted()
        for step in touched {
            let tree = step == 0 ? plan.before : plan.steps[step - 1].after
            for case .sriovNumVFs(let address, let count) in plan.steps[step].wayBack where count > 0 {
                guard let key = tree[address].map(FunctionKey.init),
                    !result.contains(where: { $0.function == key })
                else { continue }
                result.append((key, count))
            }
        }
        return result
    }

    /// Whether what is lost may be a VF that is not enabled yet: a function on the bus of such a physical function.
    func isOfAbsentVF(_ loss: Loss) -> Bool {
        guard case .function(let function) = loss else { return false }
        return revivals.contains {
            $0.function != FunctionKey(function) && $0.function.path.above == function.path.above
        }
    }

    /// Enables VFs that steps took away, wherever their physical function is now, where it has none and has a driver that
    /// can (after a reboot it may not be loaded yet).
    ///
    /// - Returns: whether any were enabled.
    /// - Throws: what the journal or the observer throws.
    func reviveVFs() throws -> Bool {
        var isAny = false
        for (key, count) in revivals {
            guard let function = try run.machine.observer.tree().functions.first(where: { FunctionKey($0) == key }),
                try run.machine.observer.health(of: [function.address]).first?.driver != nil,
                try enabledVFs(function.address) == 0
            else { continue }
            try run.backward(.sriovNumVFs(function.address, count: count), step: 0, .repair)
            isAny = true
        }
        return isAny
    }

    /// How many VFs a function has enabled, or nil where it can have none.
    private func enabledVFs(_ address: FunctionAddress) throws -> UInt64? {
        do {
            guard case .number(let count) = try run.machine.observer.savedValue(before: .sriovNumVFs(address, count: 0))
            else { return nil }
            return count
        } catch is ObservationError {
            return nil
        }
    }

    /// Whether a function at or below `root` has VFs enabled: some drivers leave them behind when it is removed.
    func hasVFs(_ root: FunctionState, _ tree: TreeState) throws -> Bool {
        try tree.functions.contains {
            try root.path.isAncestorOrSelf(of: $0.path) && enabledVFs($0.address) ?? 0 > 0
        }
    }

    /// Follows a plan from where the machine stands now, as far as its predictions hold.
    func replan() throws {
        guard let predictor else { return }
        let tree = try run.settle().tree
        let lost = try losses(tree).filter { loss in
            if case .function = loss { return false }
            return loss.needsRescan
        }
        let goals = Set(lost.map(\.wayBackGoal)).sorted {
            ($0.subject?.description ?? "") < ($1.subject?.description ?? "")
        }
        guard !goals.isEmpty, let plan = predictor.planBack(from: tree, for: goals),
            plan.verdict.answer == .act, plan.before == tree, PlanSafety.fault(in: plan) == nil
        else { return }
        run.remark("following a new plan of \(plan.steps.count) steps back (\(plan.behaviour))")
        _ = try follow(plan, from: tree)
    }

    /// Removes what the apply had stopped anyway and what came back incomplete, and lets the kernel find it once more.
    func findAgain() throws {
        var tried: Set<TopologyPath> = []
        while !run.isStuck {
            let tree = try run.settle().tree
            let disturbed = disturbed(in: tree)
            let paths = Set(disturbed.map(\.path))
            var roots: [FunctionState] = []
            for loss in try losses(tree) where loss.needsRescan {
                if case .function = loss { continue }
                guard var root = disturbed.first(where: { $0.path == loss.function.path }) else { continue }
                while let above = root.path.above, paths.contains(above),
                    let bridge = disturbed.first(where: { $0.path == above })
                {
                    root = bridge
                }
                if !tried.contains(root.path), !roots.contains(root) { roots.append(root) }
            }
            guard let root = roots.first else { return }
            tried.insert(root.path)
            guard try run.machine.observer.protectedUse(of: root.address).isEmpty, try !hasVFs(root, tree),
                try run.backward(.remove(root.address), step: 0, .repair)
            else { continue }
            let bus = nearestBridge(above: root, tree)?.busRange?.first ?? root.path.rootBus
            try run.backward(.rescanBus(segment: root.path.segment, bus: bus), step: 0, .repair)
        }
    }
}

extension Loss {
    /// What a plan back has to reach: the size that a BAR had, or a place for all that the function requires.
    fileprivate var wayBackGoal: Goal {
        guard case .resource(let function, let index, let was, let line) = self, index.isBAR,
            let old = was.range(of: index)?.size, let size = line.range(of: index)?.size, size < old
        else { return .place(function.address) }
        return .resize(function.address, bar: Int(index.rawValue), size: ByteCount(old))
    }
}
