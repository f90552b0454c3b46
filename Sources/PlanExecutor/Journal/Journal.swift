// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
public import RebalancePlanner

/// The journal of one apply: what is about to be done is on the disk before it is done.
///
/// The file `apply.journal` exists from before the first write until the apply has ended, one way or the other; then it
/// becomes `last.journal`. Space for everything that the apply may have to note is taken before the first write.
public final class Journal {
    /// The file of an apply that has not ended.
    public static let unfinishedName = "apply.journal"
    /// The file of the last apply that has ended.
    public static let finishedName = "last.journal"

    private let disk: any JournalDisk
    private var chain: JournalFrame.Chain

    /// Begins a journal: the file with plan and beginning is durable when this returns.
    ///
    /// - Throws: `JournalError`; then no file of this journal exists.
    public init(on disk: any JournalDisk, _ beginning: JournalBeginning, _ plan: Plan) throws {
        self.disk = disk
        chain = JournalFrame.Chain()
        var content = JournalFrame.version
        content += JournalFrame.encode(JournalEntry.begin(beginning).payload, &chain)
        content += JournalFrame.encode(JournalEntry.plan(plan).payload, &chain)
        var writes = 0
        for step in plan.steps { writes += step.writes.count + step.wayBack.count }
        // A write takes two records of less than 1 KiB unless it carries long texts; as many again for repairs.
        let size = content.count + (writes + plan.steps.count + plan.before.functions.count + 64) * 4096
        try disk.create(Self.unfinishedName, content: content, size: size)
    }

    /// A journal of what is only thought: nothing of it is kept.
    static var unwritten: Journal { Journal(on: UnwrittenDisk(), JournalFrame.Chain()) }

    private init(on disk: any JournalDisk, _ chain: JournalFrame.Chain) {
        self.disk = disk
        self.chain = chain
    }

    /// Notes `entry`; it is on the disk when this returns.
    public func record(_ entry: JournalEntry) throws {
        var next = chain
        let offset = chain.offset
        let bytes = JournalFrame.encode(entry.payload, &next)
        try disk.write(Self.unfinishedName, bytes, at: offset)
        chain = next
    }

    /// Notes the end and puts the journal away as the last one.
    public func finish(verdict: String, reason: String) throws {
        try record(.end(verdict: verdict, reason: reason))
        try putAway()
    }

    /// Puts a journal that has its last record away.
    func putAway() throws { try disk.rename(Self.unfinishedName, to: Self.finishedName) }

    /// The apply that has not ended, ready to be continued; nil when there is none.
    ///
    /// - Throws: `JournalError` with the code `damaged` when the file is not a journal of this version.
    public static func unfinished(on disk: any JournalDisk) throws -> (journal: Journal, record: JournalRecord)? {
        guard let file = try disk.read(unfinishedName) else { return nil }
        let (record, chain) = try JournalRecord.read(file)
        return (Journal(on: disk, chain), record)
    }

    /// The last apply that has ended; nil when there is none.
    public static func last(on disk: any JournalDisk) throws -> JournalRecord? {
        try disk.read(finishedName).map { try JournalRecord.read($0).record }
    }
}

/// What a journal says.
public struct JournalRecord: Hashable, Sendable {
    /// Who, when, where, and how the functions were.
    public var beginning: JournalBeginning
    /// The plan.
    public var plan: Plan
    /// The records after the plan, in order.
    public var entries: [JournalEntry]
    /// Whether a record after the last whole one was torn.
    public var isTorn: Bool

    /// A forward write that was done or begun.
    public struct JournaledWrite: Hashable, Sendable {
        /// Where it stands in the plan.
        public var position: WritePosition
        /// The write.
        public var write: SystemWrite
        /// What it replaced.
        public var saved: SavedValue?
        /// Whether the kernel is known to have finished it.
        public var isDone: Bool
    }

    /// The forward writes in order; one that certainly changed nothing is left out.
    public var journaledWrites: [JournaledWrite] {
        var journaledWrites: [JournaledWrite] = []
        for entry in entries {
            switch entry {
            case .about(let position, let write, let saved) where position.direction == .forward:
                journaledWrites.append(JournaledWrite(position: position, write: write, saved: saved, isDone: false))
            case .done(let position) where position == journaledWrites.last?.position:
                journaledWrites[journaledWrites.count - 1].isDone = true
            case .failed(let position, let code, _) where position == journaledWrites.last?.position:
                if WriteError.Code(rawValue: code)?.leavesNoTrace == true { journaledWrites.removeLast() }
            case .about(let position, let write, _) where position.direction != .forward && write.changesTree:
                // The way back has looked for functions: one that is there again may have been gone.
                for i in journaledWrites.indices { journaledWrites[i].isDone = true }
            default: break
            }
        }
        return journaledWrites
    }

    /// The steps whose predicted state was seen, as a count from the first.
    public var reachedSteps: Int {
        entries.reduce(0) { count, entry in
            if case .stepReached(let step) = entry { max(count, step + 1) } else { count }
        }
    }

    /// Whether the way back had begun.
    public var isGoingBack: Bool {
        entries.contains { if case .backBegins = $0 { true } else { false } }
    }

    /// The verdict and its reason when the apply has ended.
    public var end: (verdict: String, reason: String)? {
        for case .end(let verdict, let reason) in entries { return (verdict, reason) }
        return nil
    }

    /// Reads a journal file up to the last whole record.
    ///
    /// - Throws: `JournalError` with the code `damaged` when not even beginning and plan can be read.
    static func read(_ file: [UInt8]) throws(JournalError) -> (record: JournalRecord, chain: JournalFrame.Chain) {
        guard let (payloads, chain, isTorn) = JournalFrame.decode(file) else {
            throw JournalError(.damaged, "expected a journal of version 1, found another file")
        }
        guard payloads.count >= 2 else {
            throw JournalError(.damaged, "expected a beginning and a plan, found \(payloads.count) whole records")
        }
        do {
            guard case .begin(let beginning) = try JournalEntry(payload: payloads[0]),
                case .plan(let plan) = try JournalEntry(payload: payloads[1])
            else { throw JournalError(.damaged, "expected a beginning and a plan, found other records") }
            var entries: [JournalEntry] = []
            for payload in payloads.dropFirst(2) { entries.append(try JournalEntry(payload: payload)) }
            let record = JournalRecord(beginning: beginning, plan: plan, entries: entries, isTorn: isTorn)
            guard record.reachedSteps <= plan.steps.count,
                record.journaledWrites.allSatisfy({ plan.steps.indices.contains($0.position.step) })
            else {
                throw JournalError(.damaged, "expected steps of the plan, found others")
            }
            return (record, chain)
        } catch let error as JSONError {
            throw JournalError(.damaged, error.description)
        } catch let error as JournalError {
            throw error
        } catch {
            throw JournalError(.damaged, "expected records, found others")
        }
    }
}

/// Keeps nothing.
private final class UnwrittenDisk: JournalDisk {
    func read(_ name: String) throws -> [UInt8]? { nil }
    func create(_ name: String, content: [UInt8], size: Int) throws {}
    func write(_ name: String, _ bytes: [UInt8], at offset: Int) throws {}
    func rename(_ name: String, to newName: String) throws {}
    var isVolatile: Bool { false }
}
