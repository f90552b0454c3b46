// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// The process dies at every moment at which it can; what the next process finds must be made whole.
///
/// With `PCI_REBALANCE_LONG_TESTS=1` in the environment every combination is tried, not a spread of them.
@Suite struct CrashTests {
    private let isLong = ProcessInfo.processInfo.environment["PCI_REBALANCE_LONG_TESTS"] == "1"

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
        for moment in stride(from: 1, through: count, by: isLong || direction == .undo ? 1 : 4) {
            let bench = Bench()
            let plan = make(bench.original)
            bench.clock.crashAt = moment
            #expect(throws: SimulatedCrash.self) { try bench.applier.apply(plan) }
            let misnumberings = bench.machine.misnumberings
            let report = try Recovery(bench.applier).run(direction)
            if direction == .undo { #expect(bench.machine.misnumberings == misnumberings, "\(name) \(moment)") }
            #expect(report.exitStatus == 0, "\(name) \(moment): \(report)")
            #expect(report.verdict != .failed)
            #expect(bench.broken.isEmpty, "\(name) \(moment): \(bench.broken) \(report)")
            #expect(bench.enlarged.isEmpty, "\(name) \(moment): \(bench.enlarged) \(report)")
            #expect(bench.machine.state.alignment.isEmpty)
            #expect(bench.disk.files[Journal.unfinishedName] == nil)
            #expect(try Recovery(bench.applier).run().reason == "nothing-to-do")
            guard isLong || moment % 7 == 0 else { continue }
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
        for moment in stride(from: 2, through: count, by: isLong ? 1 : 9) {
            for second in stride(from: 1, through: 24, by: isLong ? 1 : 5) {
                let bench = Bench()
                bench.clock.crashAt = moment
                #expect(throws: SimulatedCrash.self) { try bench.applier.apply(make(bench.original)) }
                bench.clock.crashAt = bench.clock.moments + second
                let misnumberings = bench.machine.misnumberings
                do {
                    _ = try Recovery(bench.applier).run()
                } catch is SimulatedCrash {
                    crashes += 1
                    bench.clock.crashAt = nil
                    let report = try Recovery(bench.applier).run()
                    #expect(report.exitStatus == 0, "\(name) \(moment)+\(second): \(report)")
                }
                #expect(bench.broken.isEmpty, "\(name) \(moment)+\(second): \(bench.broken)")
                #expect(bench.enlarged.isEmpty, "\(name) \(moment)+\(second): \(bench.enlarged)")
                #expect(bench.machine.misnumberings == misnumberings, "\(name) \(moment)+\(second)")
                #expect(bench.machine.state.alignment.isEmpty)
            }
        }
        #expect(crashes > 5)
    }

    @Test(arguments: Fake.plans.map(\.name))
    func aCrashOnTheWayBackIsRecoveredFrom(_ name: String) throws {
        let make = try #require(Fake.plans.first { $0.name == name }).make
        let writes = make(Fake.machine()).steps.reduce(0) { $0 + $1.writes.count }
        for place in 0..<writes {
            let probe = Bench()
            probe.machine.failures[place] = .refused
            _ = try probe.applier.apply(make(probe.original))
            for moment in stride(from: place % 5 + 1, through: probe.clock.moments, by: isLong ? 1 : 5) {
                let bench = Bench()
                bench.machine.failures[place] = .refused
                bench.clock.crashAt = moment
                #expect(throws: SimulatedCrash.self) { try bench.applier.apply(make(bench.original)) }
                bench.machine.failures = [:]
                let report = try Recovery(bench.applier).run()
                #expect(report.exitStatus == 0, "\(name) \(place) \(moment): \(report)")
                #expect(bench.broken.isEmpty, "\(name) \(place) \(moment): \(bench.broken)")
                #expect(bench.enlarged.isEmpty, "\(name) \(place) \(moment): \(bench.enlarged)")
            }
        }
    }

    /// Registers written and nothing removed yet: putting them back disturbs nobody.
    @Test(arguments: ["growAtOnce", "renumber"])
    func registersArePutBackWithoutStoppingAnything(_ name: String) throws {
        let make = try #require(Fake.plans.first { $0.name == name }).make
        let plan = make(Fake.machine())
        let step = try #require(plan.steps.firstIndex { if case .config = $0.writes[0] { true } else { false } })
        let writes = plan.steps[step].writes.prefix { if case .config = $0 { true } else { false } }
        for count in 1...writes.count {
            let bench = Bench()
            #expect(throws: SimulatedCrash.self) {
                try bench.applier.apply(plan) { event in
                    if case .writeDone(let position, _, _) = event, position.step == step, position.index == count - 1 {
                        bench.clock.crashAt = bench.clock.moments + 1
                    }
                }
            }
            bench.clock.crashAt = nil
            let done = bench.machine.trace.count
            #expect(bench.machine.state.devices.map(\.config) != bench.original.devices.map(\.config))
            let report = try Recovery(bench.applier).run()
            #expect(report.exitStatus == 0)
            #expect(bench.broken.isEmpty)
            #expect(bench.enlarged.isEmpty)
            for write in bench.machine.trace.dropFirst(done) {
                if case .remove = write { Issue.record("\(name) \(count): \(write) was not necessary") }
            }
            // COMMAND and bus numbers are as before; a window may have grown when an earlier step went back.
            for (now, before) in zip(bench.machine.state.devices, bench.original.devices) {
                #expect(now.config[4...5] == before.config[4...5])
                #expect(now.config[0x18...0x1a] == before.config[0x18...0x1a])
                if step == 0 { #expect(now.config == before.config) }
            }
        }
    }

    /// A recovery whose resize is refused binds the driver before it ends; while one is bound no BAR can be resized.
    @Test func aResizeThatRecoveryWasRefusedIsTriedAgain() throws {
        let bench = Bench()
        #expect(throws: SimulatedCrash.self) {
            try bench.applier.apply(Fake.resize(bench.original)) { event in
                if case .writeDone(_, .resizeBAR, _) = event { bench.clock.crashAt = bench.clock.moments + 1 }
            }
        }
        bench.clock.crashAt = nil
        bench.machine.failures[bench.machine.trace.count] = .refused
        #expect(try Recovery(bench.applier).run().exitStatus == 6)
        #expect(!bench.broken.isEmpty || bench.machine.state.tree != bench.original.tree)
        bench.machine.failures = [:]
        let report = try Recovery(bench.applier).run()
        #expect(report.exitStatus == 0, "\(report)")
        #expect(bench.broken.isEmpty)
        #expect(bench.enlarged.isEmpty)
        #expect(bench.machine.state.tree == bench.original.tree)
        #expect(try Recovery(bench.applier).run().reason == "nothing-to-do")
    }

    /// Nobody but the firmware had switched the decoding of this endpoint on, and no driver will.
    @Test func decodingComesBackWithoutADriver() throws {
        var state = Fake.machine()
        let i = try #require(state.index(Fake.endpoint))
        state.devices[i].driver = nil
        state.devices[i].preferredDriver = nil
        for moment in 1...40 {
            let bench = Bench(state)
            bench.clock.crashAt = moment
            do {
                #expect(try bench.applier.apply(Fake.growAtOnce(state)).verdict == .done)
            } catch is SimulatedCrash {
                #expect(try Recovery(bench.applier).run().exitStatus == 0)
            }
            #expect(bench.broken.isEmpty, "\(moment): \(bench.broken)")
            #expect(bench.enlarged.isEmpty, "\(moment): \(bench.enlarged)")
        }
    }

    /// A removal forgets `driver_override`, and nobody else would give the device back to the driver of a guest.
    @Test func aChosenDriverComesBack() throws {
        var state = Fake.machine()
        let i = try #require(state.index(Fake.endpoint))
        state.devices[i].isBoundByChoice = true
        state.devices[i].driverOverride = state.devices[i].driver
        for moment in 1...40 {
            let bench = Bench(state)
            bench.clock.crashAt = moment
            do {
                #expect(try bench.applier.apply(Fake.growAtOnce(state)).verdict == .done)
            } catch is SimulatedCrash {
                #expect(try Recovery(bench.applier).run().exitStatus == 0)
            }
            #expect(bench.broken.isEmpty, "\(moment): \(bench.broken)")
            #expect(bench.enlarged.isEmpty, "\(moment): \(bench.enlarged)")
            #expect(bench.machine.state.devices[i].driverOverride == "edu")
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
        #expect(bench.enlarged.isEmpty)
    }

    /// A power cut: the new boot numbers and places everything anew; nothing of the old registers may be put back.
    @Test(arguments: Fake.plans.map(\.name))
    func aPowerCutIsRecoveredFrom(_ name: String) throws {
        let make = try #require(Fake.plans.first { $0.name == name }).make
        let count = try moments(make)
        try #require(count > 20)
        for moment in stride(from: 1, through: count, by: isLong ? 1 : 5) {
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
            #expect(bench.enlarged.isEmpty)
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
        #expect(bench.enlarged.isEmpty)
    }
}
