// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// Where a way back ended.
struct RollbackOutcome {
    /// What is lost and could not be brought back.
    var losses: [Loss]
    /// Functions that are gone because their card is.
    var unplugged: [FunctionState]
    /// What the kernel takes to need more than before, and was not found anew.
    var enlarged: [Enlargement]
    /// The write that would put back the alignment text, where the kernel has another one still.
    var alignment: SystemWrite?
    /// The tree at the end.
    var tree: TreeState
    /// The functions that have appeared, where the way led on instead of back.
    var found: [FunctionState] = []
}

/// The way back from wherever an apply stands to a machine that is nothing worse than before it.
///
/// Where functions have appeared that nobody could see before, it may lead on instead of back (`goOn`). Otherwise it
/// follows what it finds rather than what it expects, so that it can be begun again after a crash in its middle:
/// 1. alignment text, drivers and registers that steps changed and nothing has replaced since are put back;
/// 2. while something is lost, the recorded ways back of the steps are gone, last step first; unless the twin says that
///    they would leave something lost and knows of another way;
/// 3. functions that are still missing are looked for, as narrowly as can be;
/// 4. what was found while it was taken to need more is found once more, at its own size;
/// 5. what came back without all of its addresses is planned for (`Predictor`), or removed and found once more; 3 to 5
///    again while that leaves something lost, three times at most;
/// 6. VFs that steps took away are enabled again, once nothing more is removed;
/// 7. drivers and decode bits are put right; alignment text and VFs once more, where the kernel refused them before.
struct Rollback {
    let run: ApplyRun
    let plan: Plan
    /// The tree that nothing may be worse than: the plan's, after a reboot with the root buses of this boot.
    let before: TreeState
    /// The forward writes that were done or may have been.
    var journaledWrites: [JournalRecord.JournaledWrite]
    /// How the functions were before the apply.
    let records: [HealthRecord]
    let check: RegisterCheck
    let predictor: (any Predictor)?
    /// Whether the machine was booted anew since: firmware and kernel have placed everything, in layouts of their own.
    var hasRebooted = false
    /// Whether the way may lead on where functions have appeared.
    var mayGoOn = false
    private(set) var hasGoneOn = false

    /// Goes back.
    mutating func go(reason: String) throws -> RollbackOutcome {
        run.progress(.goesBack(reason: reason))
        try run.record(.backBegins(reason: reason), isForward: false)
        try settleRemovals()
        try restoreAlignment()
        var reduced: Set<TopologyPath> = []
        if mayGoOn {
            try reduce(&reduced)
            hasGoneOn = try goOn()
        }
        if !hasGoneOn {
            try takeForeseenWay()
            for step in Set(journaledWrites.map(\.position.step)).sorted(by: >) where !run.isStuck { try goBack(step) }
        }
        // A repair that fails half-way may leave something to be found.
        for _ in 0..<3 where !run.isStuck && !hasGoneOn {
            try restoreAlignment()
            try findMissing { !isOfAbsentVF($0) }
            try reduce(&reduced)
            guard !run.isStuck,
                try losses(run.settle().tree).contains(where: { $0.needsRescan && !isOfAbsentVF($0) })
            else { break }
            try replan()
            if !run.isStuck { try findAgain() }
        }
        // What has appeared may keep the old layout from coming back.
        if mayGoOn, !hasGoneOn, !run.isStuck { hasGoneOn = try goOn() }
        if !run.isStuck, try reviveVFs() { try findMissing { _ in true } }
        // Drivers that a boot has not loaded yet are not for us to bind.
        if !run.isStuck, !hasRebooted { try run.restoreSigns(before, records) }
        // A physical function may have got its driver only now, or the kernel takes now what it refused.
        if !run.isStuck, try reviveVFs(), !run.isStuck, !hasRebooted { try run.restoreSigns(before, records) }
        if !run.isStuck { try restoreAlignment() }
        return try outcome()
    }

    // MARK: What is lost

    /// What is lost beyond drivers and decode bits: what the kernel's allocator has to help with.
    func losses(_ tree: TreeState) throws -> [Loss] {
        let disturbed = disturbed(in: tree)
        let health = try run.machine.observer.health(of: disturbed.map(\.address))
        let functions = Dictionary(disturbed.map { ($0.address, $0) }) { a, _ in a }
        // A reset gives Resizable BARs the size that they have without anybody.
        return try before.losses(in: tree, ignoringSizes: hasRebooted).filter(isReal)
            + check.differences(tree, health).compactMap { difference in
                functions[difference.address].flatMap { function in
                    isEmptyWindow(difference.index, of: function, tree)
                        ? nil : .unreachable(function, difference.sentence)
                }
            }
    }

    /// Whether the resource is a window that nothing below the bridge lies in: its registers keep nobody from anything.
    private func isEmptyWindow(_ index: ResourceIndex?, of bridge: FunctionState, _ tree: TreeState) -> Bool {
        guard let index, index.isWindow, let window = bridge.lines[index].range(of: index) else { return false }
        return !tree.functions.contains { function in
            function.path != bridge.path && bridge.path.isAncestorOrSelf(of: function.path)
                && function.lines.byIndex.contains { each, line in
                    (each.isBAR || each.isVFBAR || each.isROM) && line.flags.contains(.io) == (index == .ioWindow)
                        && (line.range(of: each).map { window.contains($0) } ?? false)
                }
        }
    }

    /// Whether a loss is one. A BAR that is not resizable has one size for ever: where it looked larger before, an
    /// alignment that was asked for (`resource_alignment`) had rounded it up.
    private func isReal(_ loss: Loss) throws -> Bool {
        guard case .resource(let function, let index, _, let line) = loss, index.isBAR, line.range(of: index) != nil
        else { return true }
        do {
            return try resizableSize(function, index) != nil
        } catch is ObservationError {
            return true
        }
    }

    /// The size in bytes that a resizable BAR has by its register; nil for any other resource.
    private func resizableSize(_ function: FunctionState, _ index: ResourceIndex) throws -> UInt64? {
        guard index.isBAR else { return nil }
        let write = SystemWrite.resizeBAR(function.address, bar: Int(index.rawValue), exponent: 0)
        guard case .number(let exponent) = try run.machine.observer.savedValue(before: write), exponent < 44 else {
            return nil
        }
        return 1 << (20 + exponent)
    }

    // MARK: What is larger

    /// What the kernel takes to need more than before, or than at the end of the plan, where sizes are those of the
    /// hardware, by an alignment text of the steps. A register that says how large its BAR is outweighs both.
    func enlarged(_ tree: TreeState) throws -> [Enlargement] {
        guard journaledWrites.contains(where: \.write.isAlignmentText), !hasRebooted else { return [] }
        let places = Set(disturbed(in: tree).map(\.path))
        var candidates = before.enlargements(in: tree)
        candidates += plan.after.enlargements(in: tree).filter { found in
            !candidates.contains { $0.function == found.function && $0.index == found.index }
        }
        return try candidates.filter { found in
            guard places.contains(found.function.path) else { return false }
            do {
                return try resizableSize(found.function, found.index).map { found.size.rawValue > $0 } ?? true
            } catch is ObservationError {
                return true
            }
        }
    }

    /// Removes each function that is taken to need more than before and lets the kernel find it anew, once its alignment
    /// text is gone. The rescan is that of the bus above, which leaves the windows alone: what comes back is smaller than
    /// what was there. A bridge's windows are sized anew with it: it is removed only where the twin knows the outcome.
    private func reduce(_ reduced: inout Set<TopologyPath>) throws {
        while !run.isStuck {
            let tree = try run.settle().tree
            guard let function = try enlarged(tree).map(\.function).first(where: { !reduced.contains($0.path) }) else {
                return
            }
            reduced.insert(function.path)
            let below = tree.functions.filter { function.path.isAncestorOrSelf(of: $0.path) }
            guard try below.allSatisfy({ try run.machine.observer.protectedUse(of: $0.address).isEmpty }),
                try !hasVFs(function, tree)
            else { continue }
            let rescan: SystemWrite =
                if let bridge = nearestBridge(above: function, tree) {
                    .rescanDevice(bridge.address)
                } else {
                    .rescanBus(segment: function.path.segment, bus: function.path.rootBus)
                }
            let writes: [SystemWrite] = [.remove(function.address), rescan]
            if let end = foreseen(writes, from: tree) {
                let lost = Set(before.losses(in: tree).map { FunctionKey($0.function) })
                guard before.losses(in: end).allSatisfy({ lost.contains(FunctionKey($0.function)) || isOfAbsentVF($0) })
                else { continue }
            } else if function.busRange != nil {
                continue
            }
            for write in writes { try run.backward(write, step: 0, .repair) }
            try findMissing { !isOfAbsentVF($0) }
        }
    }

    /// The functions that the apply has stopped, moved or changed, as they stand in `tree`, in address order.
    func disturbed(in tree: TreeState) -> [FunctionState] {
        var roots: Set<TopologyPath> = []
        let states = [plan.before] + plan.steps.map(\.after)
        for journaled in journaledWrites {
            guard let address = journaled.write.address else { continue }
            for state in states { state.functions.first { $0.address == address }.map { _ = roots.insert($0.path) } }
        }
        return tree.functions.filter { function in
            var path: TopologyPath? = function.path
            while let current = path {
                if roots.contains(current) { return true }
                path = current.above
            }
            return false
        }
    }

    private func outcome() throws -> RollbackOutcome {
        let tree = try run.settle().tree
        var losses = try losses(tree)
        var unplugged: [FunctionState] = []
        for case .function(let function) in losses where try isUnplugged(function, tree) { unplugged.append(function) }
        let gone = Set(unplugged)
        losses.removeAll { if case .function(let f) = $0 { gone.contains(f) } else { false } }
        if !hasRebooted { losses += before.healthLosses(records, in: tree, try run.health(of: tree)) }
        return RollbackOutcome(
            losses: losses,
            unplugged: unplugged,
            enlarged: try enlarged(tree),
            alignment: try alignmentBefore()?.write,
            tree: tree,
            found: hasGoneOn ? found(in: tree) : []
        )
    }

    /// Whether the slot that leads to a missing function reports that no card is present (PCIe 6.0 §7.5.3.11).
    func isUnplugged(_ function: FunctionState, _ tree: TreeState) throws -> Bool {
        guard let port = nearestBridge(above: function, tree),
            let sign = try run.machine.observer.health(of: [port.address]).first,
            let express = Capabilities(sign.config).express, express.isSlotImplemented, let status = express.slotStatus
        else { return false }
        return status & 0x40 == 0
    }

    func nearestBridge(above function: FunctionState, _ tree: TreeState) -> FunctionState? {
        var path = function.path.above
        while let current = path {
            if let found = tree.functions.first(where: { $0.path == current && $0.busRange != nil }) { return found }
            path = current.above
        }
        return nil
    }
}

extension ApplyRun {
    /// Binds drivers that were bound before, and switches decoding on again where it was on before.
    func restoreSigns(_ before: TreeState, _ records: [HealthRecord]) throws {
        var tree = try machine.observer.tree()
        let overridden = Dictionary(records.map { ($0.address, $0.driverOverride) }) { a, _ in a }
        var chosen: [String: Set<TopologyPath>] = [:]
        for function in before.functions {
            if let driver = overridden[function.address] ?? nil { chosen[driver, default: []].insert(function.path) }
        }
        for case .driver(let function, let driver) in before.healthLosses(records, in: tree, try health(of: tree)) {
            // A removal forgets the choice, without which no driver may match.
            if chosen[driver, default: []].contains(function.path), WriteRules.isDriverName(driver) {
                try backward(.driverOverride(function.address, driver: driver), step: 0, .repair)
            }
            try backward(.probeDriver(function.address), step: 0, .repair)
        }
        tree = try machine.observer.tree()
        for case .decode(let function, let missing) in before.healthLosses(records, in: tree, try health(of: tree)) {
            let bits = UInt32(missing.rawValue)
            try backward(
                .config(function.address, offset: 4, width: 2, mask: bits, value: bits),
                step: 0,
                .repair
            )
        }
    }
}
