// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

@Suite struct JournalTests {
    static func beginning(_ state: FakeMachineState) -> JournalBeginning {
        JournalBeginning(
            id: "t-1",
            time: 1_790_000_000,
            kernel: "6.12.118+deb13-amd64",
            bootID: "first",
            health: [
                HealthRecord(
                    address: Fake.at(Fake.endpoint, state),
                    driver: "edu",
                    decode: [.memorySpace],
                    maxPayloadSize: 128
                )
            ]
        )
    }

    /// A journal with every kind of record.
    static func fullJournal() throws -> (file: [UInt8], entries: [JournalEntry], plan: Plan) {
        let state = Fake.machine()
        let plan = Fake.renumber(state)
        let disk = CrashingDisk()
        let journal = try Journal(on: disk, beginning(state), plan)
        let position = WritePosition(step: 0, index: 0, direction: .forward)
        let entries: [JournalEntry] = [
            .stepBegins(0), .about(position, plan.steps[0].writes[0], saved: nil), .done(position), .stepReached(0),
            .about(
                WritePosition(step: 1, index: 0, direction: .forward),
                plan.steps[1].writes[0],
                saved: .number(0xffff_ffff)
            ),
            .failed(WritePosition(step: 1, index: 0, direction: .forward), code: "timed-out", detail: "too \"long\""),
            .backBegins(reason: "write-timed-out"),
            .about(
                WritePosition(step: 0, index: 0, direction: .back),
                .resourceAlignment(""),
                saved: .text("20@0000:01:00.0")
            ),
            .end(verdict: "rolled-back", reason: "write-timed-out"),
        ]
        for entry in entries { try journal.record(entry) }
        return (try #require(disk.files[Journal.unfinishedName]), entries, plan)
    }

    private func read(_ file: [UInt8]) throws -> JournalRecord? {
        let disk = CrashingDisk()
        disk.put(Journal.unfinishedName, file)
        return try Journal.unfinished(on: disk)?.record
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let (file, entries, plan) = try Self.fullJournal()
        let record = try #require(try read(file))
        #expect(record.plan == plan)
        #expect(record.beginning == Self.beginning(Fake.machine()))
        #expect(record.entries == entries)
        #expect(!record.isTorn)
        #expect(record.reachedSteps == 1)
        #expect(record.isGoingBack)
        #expect(record.end?.verdict == "rolled-back")
        #expect(record.journaledWrites.map(\.isDone) == [true, false])
        #expect(record.journaledWrites[1].saved == .number(0xffff_ffff))
    }

    @Test func aJournalCutAtAnyByteGivesItsWholeRecords() throws {
        let (file, entries, plan) = try Self.fullJournal()
        let end = try #require(file.lastIndex { $0 != 0 })
        var longest = -1
        for count in stride(from: 0, through: end + 1, by: 1) {
            // The head up to the plan is long; a spread of its bytes is enough.
            if count > 64, longest < 0, count % 97 != 0, count < end - 2500 { continue }
            do {
                let record = try #require(try read(Array(file[..<count])))
                #expect(record.plan == plan)
                #expect(entries.starts(with: record.entries))
                #expect(record.entries.count >= longest)
                longest = record.entries.count
            } catch let error as JournalError {
                #expect(error.code == .damaged)
                #expect(longest < 0)
            }
        }
        #expect(longest == entries.count)
    }

    @Test func aByteThatChangedEndsTheReadablePart() throws {
        let (file, entries, _) = try Self.fullJournal()
        let end = try #require(file.lastIndex { $0 != 0 })
        var damaged = 0
        for place in stride(from: 0, to: end, by: 7) {
            var other = file
            other[place] ^= 0x41
            do {
                let record = try #require(try read(other))
                #expect(record.entries.count < entries.count)
                #expect(entries.starts(with: record.entries))
                #expect(record.isTorn)
            } catch let error as JournalError {
                #expect(error.code == .damaged)
                damaged += 1
            }
        }
        #expect(damaged > 0)
    }

    @Test func recordsOfAnotherJournalDoNotContinueThisOne() throws {
        let (file, entries, plan) = try Self.fullJournal()
        let other = CrashingDisk()
        var beginning = Self.beginning(Fake.machine())
        beginning.id = "t-2"
        _ = try Journal(on: other, beginning, plan)
        let head = try #require(other.files[Journal.unfinishedName])
        let length = try #require(head.lastIndex { $0 != 0 }) + 1
        // Both heads are equally long, so the old records stand where the new ones would.
        let mixed = Array(head[..<length]) + file[length...]
        let record = try #require(try read(mixed))
        #expect(record.entries.isEmpty)
        #expect(record.isTorn)
        #expect(!entries.isEmpty)
    }

    @Test("a journal that speaks of steps beyond its plan is damaged", arguments: [3, 99, Int.max])
    func stepsBeyondThePlan(_ step: Int) throws {
        let bench = Bench()
        let plan = Fake.grow(bench.original)
        try #require(plan.steps.count <= 3)
        let journal = try Journal(on: bench.disk, Self.beginning(bench.original), plan)
        try journal.record(.stepReached(step))
        let report = try Recovery(bench.applier).run()
        #expect(report.line == "APPLY: failed reason=journal-damaged")
        #expect(bench.machine.trace.isEmpty)
    }

    @Test func noJournalIsNoJournal() throws {
        #expect(try Journal.unfinished(on: CrashingDisk()) == nil)
        #expect(throws: JournalError.self) { try read([]) }
        #expect(throws: JournalError.self) { try read(Array("pci-rebalance journal 2\n".utf8)) }
    }

    @Test func recoveryWithADamagedJournalWritesNothing() throws {
        let bench = Bench()
        bench.disk.put(Journal.unfinishedName, Array("something else".utf8))
        let report = try Recovery(bench.applier).run()
        #expect(report.line == "APPLY: failed reason=journal-damaged")
        #expect(report.exitStatus == 1)
        #expect(bench.machine.trace.isEmpty)
        #expect(try bench.applier.apply(Fake.grow(bench.original)).exitStatus == 75)
        #expect(bench.machine.trace.isEmpty)
    }
}

extension Optional where Wrapped == (journal: Journal, record: JournalRecord) {
    static func == (a: Self, b: _OptionalNilComparisonType) -> Bool {
        if case .none = a { true } else { false }
    }
}

/// The real disk, in a directory of its own.
@Suite struct DirectoryJournalDiskTests {
    private let path = NSTemporaryDirectory() + "pci-rebalance-journal-\(UUID().uuidString)"

    private func cleanUp() { try? FileManager.default.removeItem(atPath: path) }

    @Test func aJournalOnADiskIsReadBack() throws {
        defer { cleanUp() }
        let disk = DirectoryJournalDisk(directory: path + "/deeper")
        #expect(try disk.read(Journal.unfinishedName) == nil)
        let state = Fake.machine()
        let plan = Fake.grow(state)
        let journal = try Journal(on: disk, JournalTests.beginning(state), plan)
        try journal.record(.stepBegins(0))

        let again = DirectoryJournalDisk(directory: path + "/deeper")
        let (continued, record) = try #require(try Journal.unfinished(on: again))
        #expect(record.plan == plan)
        #expect(record.entries == [.stepBegins(0)])
        try continued.record(.stepReached(0))
        try continued.finish(verdict: "done", reason: "goal-reached")
        #expect(try disk.read(Journal.unfinishedName) == nil)
        #expect(try Journal.last(on: disk)?.entries.count == 3)
        let names = try FileManager.default.contentsOfDirectory(atPath: path + "/deeper")
        #expect(names == [Journal.finishedName])
        var status = stat()
        #expect(stat(path + "/deeper/" + Journal.finishedName, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o600)
    }

    @Test func aDirectoryThatOthersMayWriteIsRefused() throws {
        defer { cleanUp() }
        mkdir(path, 0o700)
        chmod(path, 0o777)
        let state = Fake.machine()
        let error = #expect(throws: JournalError.self) {
            try Journal(
                on: DirectoryJournalDisk(directory: path),
                JournalTests.beginning(state),
                Fake.grow(state)
            )
        }
        #expect(error?.code == .notPermitted)
    }

    @Test func aLinkInPlaceOfTheJournalIsNotFollowed() throws {
        defer { cleanUp() }
        mkdir(path, 0o700)
        symlink("/etc/passwd", path + "/" + Journal.unfinishedName)
        #expect(throws: JournalError.self) {
            try DirectoryJournalDisk(directory: path).read(Journal.unfinishedName)
        }
    }

    /// A file system of 256 KiB: needs the privilege to mount.
    @Test(.enabled(if: geteuid() == 0))
    func aFullFileSystemIsNoticedAndLeavesNoFile() throws {
        mkdir(path, 0o700)
        guard mount("none", path, "tmpfs", 0, "size=256k,mode=700") == 0 else {
            cleanUp()
            print("no small file system can be mounted here: the test of a full disk is skipped")
            return
        }
        defer {
            umount(path)
            cleanUp()
        }
        let disk = DirectoryJournalDisk(directory: path)
        #expect(disk.isVolatile)
        try disk.create("filler", content: [1], size: 200 << 10)
        let bench = Bench()
        var applier = bench.applier
        applier.disk = disk
        let report = try applier.apply(Fake.grow(bench.original))
        #expect(report.line == "APPLY: failed reason=journal-full", "\(report)")
        #expect(bench.machine.trace.isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["filler"])
    }
}
