// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import PCITopology
import RebalancePlanner

/// The machine, as the executor sees it: one half to write, one to read.
public struct Machine {
    /// The half to write.
    public var writer: any SystemWriter
    /// The half to read.
    public var observer: any MachineObserver

    /// Joins two halves.
    public init(writer: any SystemWriter, observer: any MachineObserver) {
        self.writer = writer
        self.observer = observer
    }
}

/// One apply or recovery under way: the journaled writes that both share.
final class ApplyRun {
    let machine: Machine
    let audit: any AuditLog
    let clock: ExecutionClock
    let limits: ApplyLimits
    let progress: (ApplyEvent) -> Void
    let id: String
    private(set) var writes = 0
    private(set) var remarks: [String] = []
    /// How long writes took in the kernel.
    private(set) var timeInKernel: Duration = .zero
    /// How long was waited for the tree to come to rest.
    private(set) var timeSettling: Duration = .zero
    /// Set when a write has timed out and not ended: everything further would hang behind it.
    private(set) var isStuck = false
    /// The behaviour that explains what was seen, when a twin was asked.
    var explanation: String?
    /// The writes of each step that was checked, and the tree after it.
    var seen: [Observation] = []
    /// The names of the behaviours that agree with all that was seen, likeliest first; empty while nobody knows.
    var behavioursLeft: [String] = []
    /// Whether a step ended otherwise than planned, as another of the behaviours foretold.
    var hasEndedOtherwise = false
    /// The writes of the way back and of repairs so far that may have changed something.
    private(set) var writtenBack: [SystemWrite] = []
    /// What a way back left worse than before.
    var losses: [Loss] = []
    private let journal: Journal?
    private var isJournalLost = false
    private var indexes: [WritePosition.Direction: Int] = [:]

    init(
        _ machine: Machine,
        journal: Journal?,
        audit: any AuditLog,
        clock: ExecutionClock,
        limits: ApplyLimits,
        id: String,
        progress: @escaping (ApplyEvent) -> Void
    ) {
        self.machine = machine
        self.journal = journal
        self.audit = audit
        self.clock = clock
        self.limits = limits
        self.id = id
        self.progress = progress
    }

    func remark(_ text: String) {
        remarks.append(text)
        progress(.remark(text))
    }

    // MARK: Journal

    /// Notes an entry. On the way forward a journal that fails stops the apply; on the way back it does not.
    func record(_ entry: JournalEntry, isForward: Bool) throws {
        guard let journal, !isJournalLost else { return }
        do {
            try journal.record(entry)
        } catch let error as JournalError {
            guard !isForward else { throw error }
            isJournalLost = true
            remark("the journal cannot be continued: \(error.description)")
        }
    }

    // MARK: Writes

    /// Does one write of a step; it is in the journal before. `journaledWrites` gets it unless it certainly changed nothing.
    func forward(_ write: SystemWrite, step: Int, index: Int, _ journaledWrites: inout [JournalRecord.JournaledWrite])
        throws
    {
        let position = WritePosition(step: step, index: index, direction: .forward)
        let saved = try savedValue(before: write)
        do {
            try perform(write, position, saved)
            journaledWrites.append(
                JournalRecord.JournaledWrite(position: position, write: write, saved: saved, isDone: true)
            )
        } catch let error {
            if (error as? WriteError)?.code.leavesNoTrace != true {
                journaledWrites.append(
                    JournalRecord.JournaledWrite(position: position, write: write, saved: saved, isDone: false)
                )
            }
            throw error
        }
    }

    /// Does one write of the way back or of a repair; whatever the machine answers, the way back goes on.
    ///
    /// - Returns: whether the kernel has finished the write, in time or later.
    @discardableResult
    func backward(_ write: SystemWrite, step: Int, _ direction: WritePosition.Direction) throws -> Bool {
        guard !isStuck else { return false }
        let index = indexes[direction, default: 0]
        indexes[direction] = index + 1
        do {
            let position = WritePosition(step: step, index: index, direction: direction)
            try perform(write, position, savedValue(before: write))
            writtenBack.append(write)
            return true
        } catch let error as WriteError {
            if !error.code.leavesNoTrace { writtenBack.append(write) }
            // Waited for: what comes next is judged by what the machine shows.
            return error.code == .timedOut && !isStuck
        }
    }

    private func savedValue(before write: SystemWrite) throws -> SavedValue? {
        do {
            return try machine.observer.savedValue(before: write)
        } catch is ObservationError {
            return nil
        }
    }

    private func perform(_ write: SystemWrite, _ position: WritePosition, _ saved: SavedValue?) throws {
        let isForward = position.direction == .forward
        if isForward, saved == nil, case .config = write {
            throw WriteError(.absent, write, detail: "expected to read the register before it is written")
        }
        try record(.about(position, write, saved: saved), isForward: isForward)
        progress(.writeBegins(position, write))
        writes += 1
        let start = clock.now()
        do {
            try machine.writer.perform(write, within: limit(of: write))
        } catch let error as WriteError {
            let took = clock.now() - start
            timeInKernel += took
            audit.note(
                AuditRecord(
                    apply: id,
                    position: position,
                    write: write,
                    saved: saved,
                    result: error.code.rawValue,
                    took: took
                )
            )
            progress(.writeFailed(position, write, code: error.code.rawValue, detail: error.detail))
            try record(
                .failed(position, code: error.code.rawValue, detail: String(error.detail.prefix(400))),
                isForward: isForward
            )
            if error.code == .timedOut, !machine.writer.awaitLateWrite(within: limits.lateLimit) { isStuck = true }
            throw error
        }
        let took = clock.now() - start
        timeInKernel += took
        audit.note(
            AuditRecord(apply: id, position: position, write: write, saved: saved, result: "done", took: took)
        )
        try record(.done(position), isForward: isForward)
        progress(.writeDone(position, write, took: took))
    }

    private func limit(of write: SystemWrite) -> Duration {
        switch write {
        case .remove, .unbindDriver, .sriovNumVFs, .slotPower: limits.removeLimit
        case .rescanBus, .rescanDevice, .rescanAll, .resizeBAR, .probeDriver: limits.rescanLimit
        case .config, .resourceAlignment, .driverOverride: limits.writeLimit
        }
    }

    // MARK: Reading

    /// Waits until the tree has not changed for the quiet window, at most for the settle limit; gives the tree.
    ///
    /// Slots and links that are on their way are waited for, and so are the events that the kernel raises for the new
    /// devices: udev and drivers act on them. Neither can hold the apply for ever: a machine may raise events of other
    /// devices without end, and a card may never answer.
    func settle() throws -> (tree: TreeState, after: Duration, isQuiet: Bool) {
        let start = clock.now()
        defer { timeSettling += clock.now() - start }
        var tree = try machine.observer.tree()
        var events = machine.observer.eventCount()
        var unchangedSince = clock.now()
        while true {
            let now = clock.now()
            if now - unchangedSince >= limits.quietWindow {
                guard now - start < limits.activityLimit, try isActive(tree) else {
                    return (tree, unchangedSince - start, true)
                }
                unchangedSince = now
            }
            if now - start >= limits.settleLimit { return (tree, now - start, false) }
            clock.sleep(limits.pollInterval)
            let next = try machine.observer.tree()
            let count = machine.observer.eventCount()
            if next != tree || (count != events && now - start < limits.eventLimit) {
                tree = next
                events = count
                unchangedSince = clock.now()
            }
        }
    }

    private func isActive(_ tree: TreeState) throws -> Bool {
        let health = try machine.observer.health(of: SlotActivity.ports(of: tree))
        return !SlotActivity.busyPorts(tree, health, emptyCounts: true).isEmpty
    }

    /// Driver and registers of every function of `tree`.
    func health(of tree: TreeState) throws -> [FunctionHealth] {
        try machine.observer.health(of: tree.functions.map(\.address))
    }
}
