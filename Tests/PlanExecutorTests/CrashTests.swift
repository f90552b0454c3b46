// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// The process dies at every moment at which it can; what the next process finds must be made whole.
@Suite struct CrashTests {
    /// The number of moments of an undisturbed apply.
    private func moments(_ make: (FakeMachineState) -> Plan) throws -> Int {
        let bench = Bench()
        _ = try bench.applier.apply(make(bench.original))
        return bench.clock.moments
    }

    @Test(arguments: Fake.plans.map(\.name), [Recovery.Direction.undo, .finish])
    func everyCrashIsRecoveredFrom(_ name: String, _ direction: Recovery.Direction) throws {
        let make = try #require(Fake.plans.first { $0.name == name }).make
        let count = try moments(make)
        try #require(count > 20)
        for moment in 1...count {
            let bench = Bench()
            let plan = make(bench.original)
            bench.clock.crashAt = moment
            #expect(throws: SimulatedCrash.self) { try bench.applier.apply(plan) }
            let report = try Recovery(bench.applier).run(direction)
            #expect(report.exitStatus == 0, "\(name) \(moment): \(report)")
            #expect(report.verdict != .failed)
            #expect(bench.broken.isEmpty, "\(name) \(moment): \(bench.broken) \(report)")
            #expect(bench.machine.state.alignment.isEmpty)
            #expect(bench.disk.files[Journal.unfinishedName] == nil)
            #expect(try Recovery(bench.applier).run().reason == "nothing-to-do")
            // Whatever was reached, the machine is open for the next plan.
            let next = make(bench.machine.state)
            #expect(try bench.applier.apply(next).verdict == .done)
        }
    }

    @Test(arguments: Fake.plans.map(\.name))
    func aCrashDuringRecoveryIsRecoveredFrom(_ name: String) throws {
        let make = try #require(Fake.plans.first { $0.name == name }).make
        let count = try moments(make)
        var crashes = 0
        for moment in stride(from: 2, through: count, by: 3) {
            for second in stride(from: 1, through: 24, by: 2) {
                let bench = Bench()
                bench.clock.crashAt = moment
                #expect(throws: SimulatedCrash.self) { try bench.applier.apply(make(bench.original)) }
                bench.clock.crashAt = bench.clock.moments + second
                do {
                    _ = try Recovery(bench.applier).run()
                } catch is SimulatedCrash {
                    crashes += 1
                    bench.clock.crashAt = nil
                    let report = try Recovery(bench.applier).run()
                    #expect(report.exitStatus == 0, "\(name) \(moment)+\(second): \(report)")
                }
                #expect(bench.broken.isEmpty, "\(name) \(moment)+\(second): \(bench.broken)")
                #expect(bench.machine.state.alignment.isEmpty)
            }
        }
        #expect(crashes > 20)
    }

    @Test(arguments: Fake.plans.map(\.name))
    func aCrashOnTheWayBackIsRecoveredFrom(_ name: String) throws {
        let make = try #require(Fake.plans.first { $0.name == name }).make
        let writes = make(Fake.machine()).steps.reduce(0) { $0 + $1.writes.count }
        for place in 0..<writes {
            let probe = Bench()
            probe.machine.failures[place] = .refused
            _ = try probe.applier.apply(make(probe.original))
            for moment in 1...probe.clock.moments {
                let bench = Bench()
                bench.machine.failures[place] = .refused
                bench.clock.crashAt = moment
                #expect(throws: SimulatedCrash.self) { try bench.applier.apply(make(bench.original)) }
                bench.machine.failures = [:]
                let report = try Recovery(bench.applier).run()
                #expect(report.exitStatus == 0, "\(name) \(place) \(moment): \(report)")
                #expect(bench.broken.isEmpty, "\(name) \(place) \(moment): \(bench.broken)")
            }
        }
    }

    @Test func finishingGoesForwardBetweenSteps() throws {
        let bench = Bench()
        let plan = Fake.renumber(bench.original)
        #expect(throws: SimulatedCrash.self) {
            try bench.applier.apply(plan) { event in
                if case .stepReached(1, _) = event { bench.clock.crashAt = bench.clock.moments + 1 }
            }
        }
        let status = try #require(try Recovery(bench.applier).status())
        #expect(status.reachedSteps == 2)
        #expect(status.steps == 3)
        #expect(status.lastWrite == plan.steps[1].writes.last)
        #expect(status.isLastWriteDone)
        #expect(!status.isGoingBack)
        #expect(!status.hasRebooted)
        bench.clock.crashAt = nil
        let report = try Recovery(bench.applier).run(.finish)
        #expect(report.verdict == .done)
        #expect(bench.machine.state.tree == plan.after)
        #expect(bench.broken.isEmpty)
    }

    /// A power cut: the new boot numbers and places everything anew; nothing of the old registers may be put back.
    @Test(arguments: Fake.plans.map(\.name))
    func aPowerCutIsRecoveredFrom(_ name: String) throws {
        let make = try #require(Fake.plans.first { $0.name == name }).make
        let count = try moments(make)
        try #require(count > 20)
        for moment in 1...count {
            let bench = Bench()
            bench.clock.crashAt = moment
            #expect(throws: SimulatedCrash.self) { try bench.applier.apply(make(bench.original)) }
            bench.machine.state = Fake.machine()
            bench.machine.boot = "second"
            let writes = bench.machine.trace.count
            let report = try Recovery(bench.applier).run()
            #expect(report.exitStatus == 0)
            #expect(bench.machine.trace.count == writes, "a machine that is whole needs no write")
            #expect(bench.broken.isEmpty)
        }
    }

    @Test func aCardPulledWhileNothingRanIsSaid() throws {
        let bench = Bench()
        #expect(throws: SimulatedCrash.self) {
            try bench.applier.apply(Fake.grow(bench.original)) { event in
                if case .stepReached(0, _) = event { bench.clock.crashAt = bench.clock.moments + 1 }
            }
        }
        bench.clock.crashAt = nil
        bench.machine.state.unplug(Fake.card)
        let report = try Recovery(bench.applier).run()
        #expect(report.exitStatus == 0)
        #expect(report.remarks.contains("0000:04:00.0 was unplugged meanwhile"))
        #expect(bench.broken.isEmpty)
    }
}
