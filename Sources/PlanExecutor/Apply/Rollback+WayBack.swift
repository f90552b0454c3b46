// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

// The recorded way back: what the steps of the plan changed is put back.
extension Rollback {
    /// A removal that was begun and not seen to end has been done if the function is gone now, before anything is
    /// looked for.
    mutating func settleRemovals() throws {
        let tree = try run.settle().tree
        for (i, journaled) in journaledWrites.enumerated() where !journaled.isDone {
            guard case .remove(let address) = journaled.write else { continue }
            journaledWrites[i].isDone = !tree.functions.contains { $0.address == address }
        }
    }

    func restoreAlignment() throws {
        if let (write, step) = try alignmentBefore() { try run.backward(write, step: step, .back) }
    }

    /// The write that puts back the alignment text of before the steps, with the first step that changed it; nil where none
    /// did, after a reboot, and where the text is in force.
    func alignmentBefore() throws -> (write: SystemWrite, step: Int)? {
        guard let first = journaledWrites.first(where: \.write.isAlignmentText), case .text(let old) = first.saved
        else { return nil }
        let write = SystemWrite.resourceAlignment(old)
        do {
            guard try run.machine.observer.savedValue(before: write) != .text(old) else { return nil }
        } catch is ObservationError {}
        return (write, first.position.step)
    }

    func goBack(_ step: Int) throws {
        let mine = journaledWrites.filter { $0.position.step == step }
        // Registers first: a search goes by the numbers that bridges hold.
        for journaled in mine.reversed() where journaled.write.isRegister { try undo(journaled) }
        if mine.contains(where: \.write.changesTree), try !losses(run.settle().tree).isEmpty {
            for write in plan.steps[step].wayBack where !write.enablesVFs {
                try releaseForResize(write, step)
                try run.backward(write, step: step, .back)
            }
        }
        for journaled in mine.reversed() where !journaled.write.changesTree && !journaled.write.isRegister {
            try undo(journaled)
        }
    }

    /// Unbinds the driver of a function before its BAR is resized: the kernel refuses that while one is bound. A recovery
    /// whose resize was refused has bound the driver again before it ended. Drivers are bound again at the end.
    private func releaseForResize(_ write: SystemWrite, _ step: Int) throws {
        guard case .resizeBAR(let address, _, _) = write,
            try run.machine.observer.health(of: [address]).first?.driver != nil,
            try run.machine.observer.protectedUse(of: address).isEmpty
        else { return }
        try run.backward(.unbindDriver(address), step: step, .back)
    }

    /// Undoes a register write or an unbinding if it is still in force: the same function, the value that was written.
    private func undo(_ journaled: JournalRecord.JournaledWrite) throws {
        guard let address = journaled.write.address, let undoing = journaled.write.undone(journaled.saved),
            try isSameFunction(address, journaled)
        else { return }
        if case .config(_, let offset, let width, let mask, let value) = journaled.write {
            guard case .config(_, _, _, _, let old) = undoing, old != value else { return }
            do {
                let now = try run.machine.observer.register(address, offset: offset, width: width)
                guard now & mask == value else { return }
                guard try !misnumbers(address, offset, width, now & ~mask | old) else { return }
            } catch is ObservationError {
                return
            }
        } else if case .unbindDriver = journaled.write {
            guard let sign = try run.machine.observer.health(of: [address]).first, sign.driver == nil else { return }
        }
        try run.backward(undoing, step: journaled.position.step, .back)
    }

    /// Whether a value would give a bridge another secondary bus than the one that the kernel knows behind it: whatever
    /// is there could no longer be reached.
    private func misnumbers(_ address: FunctionAddress, _ offset: Int, _ width: Int, _ value: UInt32) throws -> Bool {
        guard (0x18...0x19).contains(offset), offset + width > 0x19,
            let function = try run.machine.observer.tree()[address],
            let buses = function.busRange
        else { return false }
        return UInt8(truncatingIfNeeded: value >> UInt32(8 * (0x19 - offset))) != buses.first.rawValue
    }

    /// Whether the function at `address` is the one that the write was done to and has not been removed since.
    private func isSameFunction(_ address: FunctionAddress, _ journaled: JournalRecord.JournaledWrite) throws -> Bool {
        let base = journaled.position.step == 0 ? plan.before : plan.steps[journaled.position.step - 1].after
        let candidates = [base, plan.steps[journaled.position.step].after]
        guard let then = candidates.lazy.compactMap({ $0.functions.first { $0.address == address } }).first,
            let now = try run.machine.observer.tree()[address],
            FunctionKey(then) == FunctionKey(now)
        else { return false }
        // Bus numbers and windows of a function that was found again are the kernel's new ones.
        var isLater = false
        for other in journaledWrites {
            if other.position == journaled.position { isLater = true }
            guard isLater, case .remove(let removed) = other.write else { continue }
            let states = [plan.before] + plan.steps.map(\.after)
            let roots = states.compactMap { state in state.functions.first { $0.address == removed }?.path }
            if roots.contains(where: { $0.isAncestorOrSelf(of: then.path) }), other.isDone { return false }
        }
        return true
    }

    // MARK: Predictor

    /// The writes that `goBack` would do for all steps while something is lost.
    private var recordedWayBack: [SystemWrite] {
        var writes: [SystemWrite] = []
        for step in Set(journaledWrites.map(\.position.step)).sorted(by: >) {
            let mine = journaledWrites.filter { $0.position.step == step }
            let undone = mine.reversed().filter { !$0.write.changesTree && $0.isDone }
            writes += undone.filter(\.write.isRegister).compactMap { $0.write.undone($0.saved) }
            if mine.contains(where: \.write.changesTree) {
                writes += plan.steps[step].wayBack.filter { !$0.enablesVFs }
            }
            writes += undone.filter { !$0.write.isRegister }.compactMap { $0.write.undone($0.saved) }
        }
        return writes
    }

    /// Goes another way than the recorded one where the twin knows that the recorded one would leave something lost.
    ///
    /// The other ways are what a person would try by hand: the emptied bus searched again, then the bridges above
    /// removed and found again, one further up each time. Nothing is removed that is in use.
    func takeForeseenWay() throws {
        guard let predictor, !journaledWrites.isEmpty else { return }
        let tree = try run.settle().tree
        guard try losses(tree).contains(where: \.needsRescan),
            let recorded = predictor.outcome(of: recordedWayBack), !isEnough(recorded)
        else { return }
        for way in try otherWays(tree) {
            guard let end = foreseen(way, from: tree), isEnough(end) else { continue }
            run.remark("the recorded way back would leave something lost; going another one")
            for write in way {
                guard try run.backward(write, step: 0, .repair) else { return }
            }
            return
        }
    }

    /// The tree that further writes lead to; nil where the twin does not say, or did not see how the way back led to `tree`.
    func foreseen(_ writes: [SystemWrite], from tree: TreeState) -> TreeState? {
        guard let predictor, predictor.outcome(of: run.writtenBack) == tree else { return nil }
        return predictor.outcome(of: run.writtenBack + writes)
    }

    /// Whether nothing would be lost in a tree but VFs, which are enabled last.
    private func isEnough(_ tree: TreeState) -> Bool { before.losses(in: tree).allSatisfy(isOfAbsentVF) }

    private func otherWays(_ tree: TreeState) throws -> [[SystemWrite]] {
        var ways: [[SystemWrite]] = []
        var tops: [FunctionState] = []
        for function in try losses(tree).map(\.function) {
            guard let bridge = nearestBridge(above: function, tree), !tops.contains(bridge) else { continue }
            tops.append(bridge)
        }
        // Deepest first: the narrowest way disturbs the least.
        tops.sort { ($1.path.hops.count, $0.address) < ($0.path.hops.count, $1.address) }
        for top in tops {
            if let bus = top.busRange?.first { ways.append([.rescanBus(segment: top.path.segment, bus: bus)]) }
        }
        for var top in tops {
            while true {
                let above = nearestBridge(above: top, tree)
                let bus = above?.busRange?.first ?? top.path.rootBus
                let below = tree.functions.filter { top.path.isAncestorOrSelf(of: $0.path) }
                let isFree = try below.allSatisfy { try run.machine.observer.protectedUse(of: $0.address).isEmpty }
                guard isFree, try !hasVFs(top, tree) else { break }
                let way: [SystemWrite] = [.remove(top.address), .rescanBus(segment: top.path.segment, bus: bus)]
                if !ways.contains(way) { ways.append(way) }
                guard let above else { break }
                top = above
            }
        }
        return ways
    }
}

extension SystemWrite {
    /// Whether the write enables VFs.
    fileprivate var enablesVFs: Bool { if case .sriovNumVFs(_, let count) = self { count > 0 } else { false } }

    /// Whether the write goes to configuration space.
    fileprivate var isRegister: Bool { if case .config = self { true } else { false } }
}
