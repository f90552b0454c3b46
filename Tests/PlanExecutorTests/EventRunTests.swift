// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Runs on the fake machine: the topology that is judged is a recorded failure until the fake machine has been repaired.
@Suite("Event runs")
struct EventRunTests {
    private final class Stage {
        let bench = Bench()
        var policy = EventPolicy(mode: .apply, attempts: 2, appliesPerHour: 3)
        var minute = 0
        var notes: [EventNote] = []
        var plannings = 0
        var goals: [[Goal]] = []
        var makePlan: (FakeMachineState) -> Plan = Fake.grow
        /// Whether the repair leaves the same thing missing.
        var staysBroken = false
        let failed: Topology
        let healthy: Topology

        init() throws {
            failed = try Stage.topology("failed-hot-add")
            healthy = try Stage.topology("repaired")
        }

        static func topology(_ name: String) throws -> Topology {
            let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
            let path = "\(root)/Fixtures/first-light-6.12/\(name).snapshot.json"
            return try TopologyAssembler(SnapshotFile(path: path).read()).topology()
        }

        var isRepaired: Bool {
            let state = bench.machine.state
            // Placed is enough: without a driver nobody switches its decoding on.
            guard let i = state.index(Fake.card) else { return false }
            let device = state.devices[i]
            return device.isKnown && device.bars.allSatisfy { device.lines[$0.0].isPlacedForTests }
        }

        func run(isAskedAgain: () -> Bool = { false }) throws -> EventReport {
            var run = EventRun(
                policy: policy,
                applier: bench.applier,
                minuteOfDay: { self.minute },
                readTopology: { self.isRepaired && !self.staysBroken ? self.healthy : self.failed },
                plan: { _, goals, _ in
                    self.plannings += 1
                    self.goals.append(goals)
                    return self.makePlan(self.bench.machine.state)
                }
            )
            run.maximumRounds = 4
            return try run.run(isAskedAgain: isAskedAgain, note: { self.notes.append($0) })
        }

        var ledger: EventLedger { get throws { try EventLedger.read(bench.disk) } }
    }

    @Test("what is missing is planned for once and repaired")
    func repairs() throws {
        let stage = try Stage()
        let report = try stage.run()
        #expect(report.line == "APPLY: done reason=goal-reached")
        #expect(report.exitStatus == 0)
        #expect(stage.isRepaired)
        #expect(stage.plannings == 1, "two functions miss something, and that is one plan")
        #expect(try stage.ledger.failures.isEmpty)
        #expect(try stage.ledger.applies.count == 1)
        #expect(try stage.run().line == "PLAN: none reason=healthy")
        #expect(stage.plannings == 1)
    }

    @Test("report writes nothing and tells the plan")
    func reports() throws {
        let stage = try Stage()
        stage.policy.mode = .report
        let report = try stage.run()
        #expect(report.line == "PLAN: act reason=unassigned-bars")
        #expect(report.exitStatus == 3)
        #expect(stage.bench.machine.trace.isEmpty)
        #expect(stage.bench.disk.files.isEmpty)
        #expect(stage.plannings == 1)
    }

    @Test("outside the hours apply means report")
    func hours() throws {
        let stage = try Stage()
        stage.policy.hours = [try #require(DailyHours(parsing: "22:00-06:00"))]
        stage.minute = 12 * 60
        #expect(try stage.run().exitStatus == 3)
        #expect(stage.bench.machine.trace.isEmpty)
        stage.minute = 23 * 60
        #expect(try stage.run().line == "APPLY: done reason=goal-reached")
    }

    @Test("failed attempts lock out; clearing tries again")
    func lockOut() throws {
        let stage = try Stage()
        for attempt in 1...2 {
            // The first write of the plan is refused.
            stage.bench.machine.failures = [stage.bench.machine.trace.count: .refused]
            let report = try stage.run()
            #expect(report.exitStatus == 5, "\(attempt): \(report)")
            #expect(try stage.ledger.failures.map(\.count) == [attempt])
        }
        stage.bench.machine.failures = [:]
        let writes = stage.bench.machine.trace.count
        let report = try stage.run()
        #expect(report.line == "PLAN: refused reason=locked-out")
        #expect(report.exitStatus == 4)
        #expect(stage.bench.machine.trace.count == writes)
        #expect(try stage.ledger.lockedOut(stage.policy).count == 1)
        try EventLedger().write(stage.bench.disk)
        #expect(try stage.run().line == "APPLY: done reason=goal-reached")
    }

    @Test("a machine that dies in the middle counts as a failed attempt")
    func crash() throws {
        let stage = try Stage()
        stage.bench.clock.crashAt = 8
        #expect(throws: SimulatedCrash.self) { try stage.run() }
        #expect(try stage.ledger.failures.map(\.count) == [1])
        #expect(try stage.ledger.failures.map(\.reason) == ["begun"])
    }

    @Test("plans are carried out so often within an hour and no oftener")
    func rate() throws {
        let stage = try Stage()
        var ledger = EventLedger()
        for _ in 0..<3 { ledger.begin("other", at: 1_790_000_000) }
        ledger.end("other", isReached: true, reason: "goal-reached")
        try ledger.write(stage.bench.disk)
        #expect(try stage.run().line == "PLAN: refused reason=rate-limited")
        #expect(stage.bench.machine.trace.isEmpty)
        #expect(ledger.applies(before: 1_790_000_000 + 3599) == 3)
        #expect(ledger.applies(before: 1_790_000_000 + 3600) == 0)
    }

    @Test("what stays missing after a plan is not planned for again in the same run")
    func noLoop() throws {
        let stage = try Stage()
        stage.staysBroken = true
        _ = try stage.run()
        #expect(stage.plannings == 1)
    }

    @Test("another event meanwhile is another look, with an end")
    func askedAgain() throws {
        let stage = try Stage()
        var looks = 0
        let report = try stage.run(isAskedAgain: {
            looks += 1
            return true
        })
        #expect(looks == 4)
        #expect(stage.plannings == 1)
        #expect(report.line == "APPLY: done reason=goal-reached", "the later looks found nothing to do")
    }

    @Test("a tree that never stops changing is not called healthy")
    func alwaysStale() throws {
        let stage = try Stage()
        stage.makePlan = { state in
            var plan = Fake.grow(state)
            plan.fingerprint ^= 1
            return plan
        }
        let report = try stage.run()
        #expect(report.line == "APPLY: failed reason=stale")
        #expect(report.exitStatus == 7)
        #expect(stage.plannings == 4)
        #expect(stage.bench.machine.trace.isEmpty)
        #expect(try stage.ledger.applies.isEmpty && stage.ledger.failures.isEmpty, "nothing was carried out")
    }

    @Test(
        "of several cases the worst stands last and nothing is hidden behind it",
        arguments: [
            // From the worst to the best; 8, cannot tell, is no success.
            [6, 1, 5, 77, 7, 4, 2, 8, 0]
        ] as [[Int32]]
    )
    func summary(statuses: [Int32]) throws {
        let reports = statuses.map {
            EventReport(line: $0 == 0 ? "APPLY: done reason=goal-reached" : "PLAN: \($0)", sentence: "", exitStatus: $0)
        }
        for first in reports.indices {
            for second in reports.indices.dropFirst(first + 1) {
                for pair in [[first, second], [second, first]] {
                    let summary = try #require(EventReport.summary(pair.map { reports[$0] }))
                    #expect(summary.exitStatus == statuses[first])
                    #expect(summary.others == [reports[second].line])
                }
            }
        }
        let nothing = EventReport.nothing("healthy", "")
        let done = reports[8]
        #expect(EventReport.summary([done, nothing])?.line == done.line)
        #expect(EventReport.summary([]) == nil)
    }

    @Test("a busy lock is no failed attempt")
    func busy() throws {
        let stage = try Stage()
        stage.bench.machine.failures = [0: .refused]
        #expect(try stage.run().exitStatus == 5)
        let failed = try stage.ledger
        #expect(failed.failures.map(\.count) == [1])
        let lock = try stage.bench.lock()
        let report = try withExtendedLifetime(lock) { try stage.run() }
        #expect(report.exitStatus == 75)
        #expect(try stage.ledger == failed, "and forgets none that failed before")
    }

    @Test("reserves are planned for once nothing is missing any more, as the rule of the port says")
    func reserves() throws {
        let room = Headroom(prefetchable: ByteCount(64 << 20))
        let port = try #require(PortName(parsing: "0000:00:02.0/00.0/01.0"))
        for (mode, status) in [(EventPolicy.Mode.apply, Int32(0)), (.report, 3), (.off, 0)] {
            let stage = try Stage()
            stage.policy.ports = [PortRule(port: port, reserve: room)]
            #expect(try stage.run().line == "APPLY: done reason=goal-reached")
            let address = try #require(FunctionAddress(parsing: "0000:02:01.0"))
            #expect(stage.goals.last == [.reserve(address, room)], "right after the repair")

            stage.policy.ports[0].mode = mode
            let writes = stage.bench.machine.trace.count
            let report = try stage.run()
            #expect(report.exitStatus == status, "\(mode): \(report)")
            #expect(report.line.hasPrefix("APPLY") == (mode == .apply))
            #expect((stage.bench.machine.trace.count > writes) == (mode == .apply))
        }
    }

    @Test("an apply that was interrupted has to be recovered first")
    func unfinished() throws {
        let stage = try Stage()
        stage.bench.clock.crashAt = 12
        #expect(throws: SimulatedCrash.self) { try stage.run() }
        stage.bench.clock.crashAt = nil
        try #require(stage.bench.disk.files[Journal.unfinishedName] != nil)
        let writes = stage.bench.machine.trace.count
        let report = try stage.run()
        #expect(report.line == "PLAN: refused reason=unfinished-apply")
        #expect(report.exitStatus == 75)
        // All of it was waiting for the other apply.
        guard case .spent(let total, let waiting, _) = stage.notes.last else { return #expect(Bool(false)) }
        #expect(waiting == total && total > .zero)
        #expect(stage.bench.machine.trace.count == writes)
        #expect(stage.bench.applier.occupation()?.exitStatus == 75)
    }

    @Test("events for what the last apply put where it predicted are its echo")
    func echo() throws {
        let stage = try Stage()
        let bench = stage.bench
        let now = fakeClock().wallClock()
        func isEcho(_ hops: [UInt8], at time: Int64) throws -> Bool {
            try EventEcho.isEcho(
                Fake.at(hops, bench.machine.state),
                disk: bench.disk,
                observer: bench.machine,
                now: time
            )
        }
        #expect(try !isEcho(Fake.card, at: now), "there was no apply")
        _ = try stage.run()
        #expect(try isEcho(Fake.card, at: now + 1))
        #expect(try isEcho(Fake.endpoint, at: now + 1))
        #expect(try !isEcho(Fake.card, at: now + 3600), "that is long ago")
        bench.machine.boot = "second"
        #expect(try !isEcho(Fake.card, at: now + 1), "that was before the reboot")
    }

    @Test("one process works, the others leave their mark")
    func burst() throws {
        let directory = "/tmp/pci-rebalance-burst-\(getpid())"
        defer {
            unlink("\(directory)/event.lock")
            unlink("\(directory)/event.pending")
            rmdir(directory)
        }
        let worker = try EventBurst(directory: directory)
        #expect(worker.isWorker)
        #expect(!worker.takeMark())
        #expect(try !EventBurst(directory: directory).isWorker)
        #expect(try !EventBurst(directory: directory).isWorker)
        #expect(worker.takeMark())
        #expect(!worker.takeMark(), "two events are one more look")
        #expect(try !EventBurst(directory: directory).isWorker)
        #expect(try worker.isWantedAgain(), "the mark came when the worker had looked for the last time")
        #expect(worker.takeMark())
        #expect(try !worker.isWantedAgain())
        #expect(try EventBurst(directory: directory).isWorker)
    }

    @Test("the ledger survives its file, stays small, and a damaged one is refused")
    func ledgerFile() throws {
        let disk = CrashingDisk()
        var ledger = EventLedger()
        for i in 0..<200 { ledger.begin("key \(i)", at: 1_000_000 + Int64(i)) }
        #expect(ledger.failures.count == 64)
        #expect(ledger.failures.last?.key == "key 199")
        try ledger.write(disk)
        #expect(try EventLedger.read(disk) == ledger)
        disk.put(EventLedger.fileName, Array("{}".utf8))
        #expect(throws: JournalError.self) { try EventLedger.read(disk) }
    }

    @Test("a tree that changes is waited for; one that goes on changing is given up at the limit")
    func quiet() throws {
        func watch(changesUntil end: Duration) throws -> QuietWatch.Result {
            let bench = Bench()
            let clock = fakeClock()
            let card = Fake.at(Fake.endpoint, bench.machine.state)
            let rescan = SystemWrite.rescanBus(segment: 0, bus: card.bus)
            var isThere = true
            let restless = ExecutionClock(
                now: clock.now,
                sleep: { time in
                    clock.sleep(time)
                    guard clock.now() < end else { return }
                    _ = bench.machine.state.perform(isThere ? .remove(card) : rescan)
                    isThere.toggle()
                },
                wallClock: clock.wallClock
            )
            return try QuietWatch(
                observer: bench.machine,
                clock: restless,
                quiet: .milliseconds(500),
                limit: .seconds(3)
            ).wait()
        }
        let still = try watch(changesUntil: .zero)
        #expect(still.isQuiet && still.waited == .milliseconds(500))
        let short = try watch(changesUntil: .seconds(1))
        #expect(short.isQuiet && short.waited >= .milliseconds(1400) && short.waited < .milliseconds(1600))
        let endless = try watch(changesUntil: .seconds(60))
        #expect(!endless.isQuiet && endless.waited >= .seconds(3))
    }
}
