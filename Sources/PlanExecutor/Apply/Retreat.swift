// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// Where a way back ended.
struct RetreatOutcome {
    /// What is lost and could not be brought back.
    var losses: [Loss]
    /// Functions that are gone because their card is.
    var unplugged: [FunctionState]
    /// The tree at the end.
    var tree: TreeState
}

/// The way back from wherever an apply stands to a machine that is nothing worse than before it.
///
/// It follows what it finds rather than what it expects, so that it can be begun again after a crash in its middle:
/// 1. alignment text, drivers and registers that steps changed and nothing has replaced since are put back;
/// 2. while something is lost, the recorded ways back of the steps are gone, last step first;
/// 3. functions that are still missing are looked for, as narrowly as can be;
/// 4. what came back without all of its addresses is planned for (`Replanner`), or removed and found once more;
/// 5. drivers and decode bits are put right.
struct Retreat {
    let run: ApplyRun
    let plan: Plan
    /// The forward writes that were done or may have been.
    var deeds: [JournalRecord.Deed]
    /// How the functions were before the apply.
    let records: [SignRecord]
    let check: RegisterCheck
    let replanner: Replanner?

    /// Goes back.
    mutating func go(reason: String) throws -> RetreatOutcome {
        run.progress(.goesBack(reason: reason))
        try run.record(.backBegins(reason: reason), isForward: false)
        try settleRemovals()
        try restoreAlignment()
        for step in Set(deeds.map(\.position.step)).sorted(by: >) where !run.isStuck { try goBack(step) }
        if !run.isStuck { try findMissing() }
        if !run.isStuck { try replan() }
        if !run.isStuck { try findAgain() }
        if !run.isStuck { try restoreSigns() }
        return try outcome()
    }

    // MARK: What is lost

    private func losses(_ tree: TreeState) throws -> [Loss] {
        let disturbed = disturbed(in: tree)
        let signs = try run.machine.observer.signs(of: disturbed.map(\.address))
        let functions = Dictionary(disturbed.map { ($0.address, $0) }) { a, _ in a }
        return plan.before.losses(in: tree)
            + check.differences(tree, signs).compactMap { difference in
                functions[difference.address].map { .unreachable($0, difference.sentence) }
            }
    }

    /// The functions that the apply has stopped, moved or changed, as they stand in `tree`, in address order.
    private func disturbed(in tree: TreeState) -> [FunctionState] {
        var roots: Set<TopologyPath> = []
        var states = [plan.before] + plan.steps.map(\.after)
        for deed in deeds {
            guard let address = deed.write.address else { continue }
            for state in states { state.functions.first { $0.address == address }.map { _ = roots.insert($0.path) } }
        }
        states.removeAll()
        return tree.functions.filter { function in
            var path: TopologyPath? = function.path
            while let current = path {
                if roots.contains(current) { return true }
                path = current.above
            }
            return false
        }
    }

    private func outcome() throws -> RetreatOutcome {
        let tree = try run.settle().tree
        var losses = try losses(tree)
        var unplugged: [FunctionState] = []
        for case .function(let function) in losses where try isUnplugged(function, tree) { unplugged.append(function) }
        let gone = Set(unplugged)
        losses.removeAll { if case .function(let f) = $0 { gone.contains(f) } else { false } }
        losses += plan.before.signLosses(records, in: tree, try run.signs(of: tree))
        return RetreatOutcome(losses: losses, unplugged: unplugged, tree: tree)
    }

    /// Whether the slot that leads to a missing function reports that no card is present (PCIe 6.0 §7.5.3.11).
    private func isUnplugged(_ function: FunctionState, _ tree: TreeState) throws -> Bool {
        guard let port = nearestBridge(above: function, tree),
            let sign = try run.machine.observer.signs(of: [port.address]).first,
            let express = Capabilities(sign.config).express, express.isSlotImplemented, let status = express.slotStatus
        else { return false }
        return status & 0x40 == 0
    }

    private func nearestBridge(above function: FunctionState, _ tree: TreeState) -> FunctionState? {
        var path = function.path.above
        while let current = path {
            if let found = tree.functions.first(where: { $0.path == current && $0.busRange != nil }) { return found }
            path = current.above
        }
        return nil
    }

    // MARK: 1, 2

    /// A removal that was begun and not seen to end has been done if the function is gone now, before anything is
    /// looked for.
    private mutating func settleRemovals() throws {
        let tree = try run.settle().tree
        for (i, deed) in deeds.enumerated() where !deed.isDone {
            guard case .remove(let address) = deed.write else { continue }
            deeds[i].isDone = !tree.functions.contains { $0.address == address }
        }
    }

    private func restoreAlignment() throws {
        let texts = deeds.filter { if case .resourceAlignment = $0.write { true } else { false } }
        guard let first = texts.first, case .text(let old) = first.saved else { return }
        let write = SystemWrite.resourceAlignment(old)
        do {
            guard try run.machine.observer.savedValue(before: write) != .text(old) else { return }
        } catch is ObservationError {}
        try run.backward(write, step: first.position.step, .back)
    }

    private func goBack(_ step: Int) throws {
        let mine = deeds.filter { $0.position.step == step }
        if mine.contains(where: \.write.changesTree), try !losses(run.settle().tree).isEmpty {
            for write in plan.steps[step].wayBack { try run.backward(write, step: step, .back) }
        }
        for deed in mine.reversed() where !deed.write.changesTree { try undo(deed) }
    }

    /// Undoes a register write or an unbinding if it is still in force: the same function, the value that was written.
    private func undo(_ deed: JournalRecord.Deed) throws {
        guard let address = deed.write.address, let undoing = deed.write.undone(deed.saved),
            try isSameFunction(address, deed)
        else { return }
        if case .config(_, let offset, let width, let mask, let value) = deed.write {
            guard case .config(_, _, _, _, let old) = undoing, old != value else { return }
            do {
                let now = try run.machine.observer.register(address, offset: offset, width: width)
                guard now & mask == value else { return }
                guard try !misnumbers(address, offset, width, now & ~mask | old) else { return }
            } catch is ObservationError {
                return
            }
        } else if case .unbindDriver = deed.write {
            guard let sign = try run.machine.observer.signs(of: [address]).first, sign.driver == nil else { return }
        }
        try run.backward(undoing, step: deed.position.step, .back)
    }

    /// Whether a value would give a bridge another secondary bus than the one that the kernel knows behind it: whatever
    /// is there could no longer be reached.
    private func misnumbers(_ address: FunctionAddress, _ offset: Int, _ width: Int, _ value: UInt32) throws -> Bool {
        guard (0x18...0x19).contains(offset), offset + width > 0x19,
            let function = try run.machine.observer.tree().functions.first(where: { $0.address == address }),
            let buses = function.busRange
        else { return false }
        return UInt8(truncatingIfNeeded: value >> UInt32(8 * (0x19 - offset))) != buses.first.rawValue
    }

    /// Whether the function at `address` is the one that the deed was done to and has not been removed since.
    private func isSameFunction(_ address: FunctionAddress, _ deed: JournalRecord.Deed) throws -> Bool {
        let base = deed.position.step == 0 ? plan.before : plan.steps[deed.position.step - 1].after
        let candidates = [base, plan.steps[deed.position.step].after]
        guard let then = candidates.lazy.compactMap({ $0.functions.first { $0.address == address } }).first,
            let now = try run.machine.observer.tree().functions.first(where: { $0.address == address }),
            FunctionKey(then) == FunctionKey(now)
        else { return false }
        // Bus numbers and windows of a function that was found again are the kernel's new ones.
        var isLater = false
        for other in deeds {
            if other.position == deed.position { isLater = true }
            guard isLater, case .remove(let removed) = other.write else { continue }
            let states = [plan.before] + plan.steps.map(\.after)
            let roots = states.compactMap { state in state.functions.first { $0.address == removed }?.path }
            if roots.contains(where: { $0.isAncestorOrSelf(of: then.path) }), other.isDone { return false }
        }
        return true
    }

    // MARK: 3, 4

    /// Rescans as narrowly as can be: first the bus that the bridge above sits on, which touches no window; then the
    /// bus behind it, which may let the kernel grow a window when that bus is empty.
    private func findMissing() throws {
        for round in 0..<3 {
            let tree = try run.settle().tree
            var rescans: [SystemWrite] = []
            for case .function(let function) in plan.before.losses(in: tree) {
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

    /// Follows a plan from where the machine stands now, as far as its predictions hold.
    private func replan() throws {
        guard let replanner else { return }
        let tree = try run.settle().tree
        guard try losses(tree).contains(where: \.needsRescan), let plan = replanner(tree, self.plan.before),
            plan.verdict.answer == .act, plan.before == tree,
            PlanSafety.fault(in: plan) == nil
        else { return }
        run.remark("following a new plan of \(plan.steps.count) steps back")
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
    private func findAgain() throws {
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

    // MARK: 5

    private func restoreSigns() throws {
        try run.restoreSigns(plan.before, records)
    }
}

/// Makes a plan from where the machine stands (first tree) towards nothing worse than before (second tree).
public typealias Replanner = (TreeState, TreeState) -> Plan?

extension ApplyRun {
    /// Binds drivers that were bound before, and switches decoding on again where it was on before.
    func restoreSigns(_ before: TreeState, _ records: [SignRecord]) throws {
        var tree = try machine.observer.tree()
        for case .driver(let function, _) in before.signLosses(records, in: tree, try signs(of: tree)) {
            try backward(.probeDriver(function.address), step: 0, .repair)
        }
        tree = try machine.observer.tree()
        for case .decode(let function, let missing) in before.signLosses(records, in: tree, try signs(of: tree)) {
            let bits = UInt32(missing.rawValue)
            try backward(
                .config(function.address, offset: 4, width: 2, mask: bits, value: bits),
                step: 0,
                .repair
            )
        }
    }
}
