// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

// What the recorded way back has not brought back is looked for.
extension Retreat {
    /// Rescans as narrowly as can be: first the bus that the bridge above sits on, which touches no window; then the
    /// bus behind it, which may let the kernel grow a window when that bus is empty.
    func findMissing() throws {
        for round in 0..<3 {
            let tree = try run.settle().tree
            var rescans: [SystemWrite] = []
            for case .function(let function) in before.losses(in: tree, ignoringSizes: true) {
                guard try !isUnplugged(function, tree) else { continue }
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

    /// Enables VFs that the ways back of the steps name, where their physical function is there, has a driver that could
    /// (after a reboot it may not be loaded yet), and none are enabled.
    func reviveVFs() throws {
        let touched = Set(deeds.map(\.position.step)).sorted()
        for write in touched.flatMap({ plan.steps[$0].wayBack }) {
            guard case .sriovNumVFs(let address, let count) = write, count > 0,
                let function = try run.machine.observer.tree().functions.first(where: { $0.address == address }),
                before.functions.contains(where: { FunctionKey($0) == FunctionKey(function) }),
                try run.machine.observer.signs(of: [address]).first?.driver != nil
            else { continue }
            do {
                guard try run.machine.observer.savedValue(before: write) == .number(0) else { continue }
            } catch is ObservationError {
                continue
            }
            try run.backward(write, step: 0, .repair)
        }
    }

    /// Follows a plan from where the machine stands now, as far as its predictions hold.
    func replan() throws {
        guard let foresight else { return }
        let tree = try run.settle().tree
        let lost = try losses(tree).filter { loss in
            if case .function = loss { return false }
            return loss.needsRescan
        }
        let addresses = Set(lost.map(\.function.address)).sorted()
        guard !addresses.isEmpty, let plan = foresight.planBack(from: tree, for: addresses),
            plan.verdict.answer == .act, plan.before == tree, PlanSafety.fault(in: plan) == nil
        else { return }
        run.remark("following a new plan of \(plan.steps.count) steps back (\(plan.behaviour))")
        var earlier = tree
        for step in plan.steps {
            let unmet = try run.unmetPreconditions(of: step, expecting: earlier)
            guard unmet.isEmpty else { return }
            for write in step.writes {
                guard try run.backward(write, step: 0, .repair) else { return }
            }
            let now = try run.settle().tree
            guard try run.differences(after: step, now, from: earlier, check).isEmpty else { return }
            earlier = now
        }
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
            guard try run.machine.observer.protectedUse(of: root.address).isEmpty,
                try run.backward(.remove(root.address), step: 0, .repair)
            else { continue }
            let bus = nearestBridge(above: root, tree)?.busRange?.first ?? root.path.rootBus
            try run.backward(.rescanBus(segment: root.path.segment, bus: bus), step: 0, .repair)
        }
    }
}
