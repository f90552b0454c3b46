// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// What a journal says of an apply, from entries written by hand.
@Suite("rules of the journal's record")
struct JournalRuleTests {
    private static let address = FunctionAddress(bus: BusNumber(3), devfn: 0)
    private static let remove = SystemWrite.remove(address)
    private static let unbind = SystemWrite.unbindDriver(address)

    private func at(_ step: Int, _ index: Int, _ direction: WritePosition.Direction = .forward) -> WritePosition {
        WritePosition(step: step, index: index, direction: direction)
    }

    private func record(_ entries: [JournalEntry]) -> JournalRecord {
        let state = Fake.machine()
        return JournalRecord(
            beginning: JournalTests.beginning(state),
            plan: Fake.renumber(state),
            entries: entries,
            isTorn: false
        )
    }

    @Test("a write that was announced is in doubt until it is done; one that was refused without trace is none")
    func writes() {
        func done(_ entries: [JournalEntry]) -> [Bool] { record(entries).journaledWrites.map(\.isDone) }
        let about = JournalEntry.about(at(0, 0), Self.remove, saved: .number(7))
        #expect(done([]) == [])
        #expect(done([about]) == [false])
        #expect(done([about, .done(at(0, 0))]) == [true])
        // What belongs to another position says nothing of this one.
        for other in [at(0, 1), at(1, 0), at(0, 0, .back)] {
            #expect(done([about, .done(other)]) == [false], "\(other)")
        }
        for (code, isLeft) in [
            ("refused", true), ("timed-out", true), ("absent", false), ("not-permitted", false), ("forbidden", false),
            ("misplaced", false), ("unheard-of", true),
        ] {
            let entries = [about, .failed(at(0, 0), code: code, detail: "")]
            #expect(done(entries) == (isLeft ? [false] : []), "\(code)")
            #expect(done([about, .failed(at(0, 1), code: code, detail: "")]) == [false])
        }
        let second = JournalEntry.about(at(0, 1), Self.unbind, saved: nil)
        #expect(done([about, .done(at(0, 0)), second]) == [true, false])
        #expect(done([about, second, .done(at(0, 0))]) == [false, false], "only the last may end")
        let first = record([about]).journaledWrites[0]
        #expect(first.position == at(0, 0) && first.write == Self.remove && first.saved == .number(7))
    }

    @Test("a way back that changed the tree was begun after every forward write had ended")
    func wayBack() {
        let about = JournalEntry.about(at(0, 0), Self.remove, saved: nil)
        func done(_ write: SystemWrite, _ direction: WritePosition.Direction) -> [Bool] {
            record([about, .about(at(0, 0, direction), write, saved: nil)]).journaledWrites.map(\.isDone)
        }
        for direction in [WritePosition.Direction.back, .repair] {
            #expect(done(.rescanAll, direction) == [true])
            #expect(done(Self.unbind, direction) == [false])
        }
        #expect(record([.about(at(0, 0, .back), .rescanAll, saved: nil)]).journaledWrites.isEmpty)
    }

    @Test("how far it came: the furthest step reached, whether it goes back, and how it ended first")
    func progress() {
        #expect(record([]).reachedSteps == 0 && !record([]).isGoingBack && record([]).end == nil)
        #expect(record([.stepBegins(4)]).reachedSteps == 0)
        #expect(record([.stepReached(0)]).reachedSteps == 1)
        #expect(record([.stepReached(2), .stepReached(1)]).reachedSteps == 3)
        #expect(record([.backBegins(reason: "x")]).isGoingBack)
        let ended = record([.end(verdict: "done", reason: "a"), .end(verdict: "failed", reason: "b")])
        #expect(ended.end?.verdict == "done" && ended.end?.reason == "a")
    }

    /// A journal of these entries, read again.
    private func read(_ entries: [JournalEntry]) throws -> JournalRecord? {
        let disk = CrashingDisk()
        let state = Fake.machine()
        let journal = try Journal(on: disk, JournalTests.beginning(state), Fake.renumber(state))
        for entry in entries { try journal.record(entry) }
        return try Journal.unfinished(on: disk)?.record
    }

    @Test("every entry is read back; numbers at their limits, and one beyond is damage")
    func entries() throws {
        let entries: [JournalEntry] = [
            .stepBegins(2), .behavioursLeft(["linux-6.12", "linux-7.2"]), .behavioursLeft([]),
            .about(at(2, 1_000_000), .resourceAlignment("20@0000:01:00.0"), saved: .text("")),
            .about(at(0, 0, .back), .driverOverride(Self.address, driver: "vfio-pci"), saved: .number(.max)),
            .about(at(1, 0, .repair), .sriovNumVFs(Self.address, count: 65_535), saved: .number(0)),
            .done(at(1, 0, .repair)), .failed(at(1, 0, .repair), code: "refused", detail: "a\nb"), .stepReached(2),
            .backBegins(reason: "r"), .end(verdict: "v", reason: "r"),
        ]
        #expect(try read(entries)?.entries == entries)
        for entry in [
            JournalEntry.stepReached(1025), .stepBegins(-1), .done(at(0, 1_000_001)), .done(at(-1, 0)),
            .end(verdict: String(repeating: "x", count: 33), reason: "r"),
            .end(verdict: "v", reason: String(repeating: "x", count: 65)),
            .backBegins(reason: String(repeating: "x", count: 65)),
            .behavioursLeft([String(repeating: "x", count: 129)]),
            .behavioursLeft(Array(repeating: "x", count: 65)),
            .failed(at(0, 0), code: String(repeating: "x", count: 33), detail: ""),
        ] {
            let error = #expect(throws: JournalError.self, "\(entry)") { try read([entry]) }
            #expect(error?.code == .damaged)
        }
        for entry in [
            JournalEntry.end(verdict: String(repeating: "x", count: 32), reason: String(repeating: "y", count: 64)),
            .behavioursLeft(Array(repeating: String(repeating: "x", count: 128), count: 64)),
            .failed(at(0, 0), code: String(repeating: "x", count: 32), detail: ""),
        ] { #expect(try read([entry])?.entries == [entry], "\(entry)") }
    }

    @Test("the beginning: drivers, choices, decode bits and payloads are kept; what no function has is damage")
    func beginning() throws {
        func read(_ change: (inout JournalBeginning) -> Void) throws -> JournalBeginning? {
            let disk = CrashingDisk()
            let state = Fake.machine()
            var beginning = JournalTests.beginning(state)
            change(&beginning)
            _ = try Journal(on: disk, beginning, Fake.renumber(state))
            let found = try Journal.unfinished(on: disk)?.record.beginning
            #expect(found == beginning)
            return found
        }
        func sign(_ decode: UInt16, _ payload: Int?) -> HealthRecord {
            HealthRecord(
                address: Self.address,
                driver: nil,
                driverOverride: "vfio-pci",
                decode: Command(rawValue: decode),
                maxPayloadSize: payload
            )
        }
        _ = try read { $0.health = [sign(0, nil), sign(3, 65_536)] }
        _ = try read { $0.time = 0xff_ffff_ffff }
        _ = try read { $0.health = [] }
        for change in [
            { $0.health = [sign(4, nil)] }, { $0.health = [sign(0, 65_537)] }, { $0.health = [sign(0, -1)] },
            { $0.time = 0x100_0000_0000 }, { $0.time = -1 }, { $0.id = String(repeating: "x", count: 65) },
            { $0.kernel = String(repeating: "x", count: 129) }, { $0.bootID = String(repeating: "x", count: 65) },
        ] as [(inout JournalBeginning) -> Void] {
            #expect(throws: JournalError.self) { try read(change) }
        }
    }

    @Test("a journal has room for what may come: 4 KiB for each write, way back, step and function, and 64 more")
    func room() throws {
        let disk = CrashingDisk()
        let state = Fake.machine()
        let plan = Fake.renumber(state)
        let journal = try Journal(on: disk, JournalTests.beginning(state), plan)
        let file = try #require(disk.files[Journal.unfinishedName])
        let content = try #require(file.lastIndex { $0 != 0 }) + 1
        let writes = plan.steps.reduce(0) { $0 + $1.writes.count + $1.wayBack.count }
        let blocks = writes + plan.steps.count + plan.before.functions.count + 64
        #expect(file.count == content + blocks * 4096)
        // What is written goes behind what is there, in order.
        try journal.record(.stepBegins(0))
        let longer = try #require(disk.files[Journal.unfinishedName])
        #expect(longer.count == file.count && longer[..<content] == file[..<content] && longer[content] != 0)
        try journal.finish(verdict: "done", reason: "r")
        #expect(disk.files[Journal.unfinishedName] == nil)
        #expect(try Journal.last(on: disk)?.end?.verdict == "done")
        #expect(try Journal.unfinished(on: disk) == nil)
    }
}
