// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import TestSupport
import Testing

/// Journal and recovery as a model: at every write of every kind of plan the machine does what it likes, the process
/// lives or dies, and the same again while it is recovered.
///
/// Three promises hold on every path: nothing that worked is gone for good, as long as it is plugged in; the journal tells
/// what to do until all is well; a second recovery changes nothing. Every path with `PCI_REBALANCE_LONG_TESTS=1`, else those
/// on which the process dies after a write and its recovery is refused one, and a sample of a fixed stride of the others.
@Suite("Journal and recovery, every path")
struct JournalModelTests {
    /// A port and a card that is not plugged in yet.
    private static let sparePort: [UInt8] = [0x20]
    private static let spareCard: [UInt8] = [0x20, 0]

    private static func machine(_ plan: String, withDriver: Bool) -> FakeMachineState {
        var state = Fake.machine()
        state.add(sparePort, ids: 0x1b36_000c, bridge: true, driver: "pcieport")
        if let i = state.index(sparePort) { state.devices[i].spareBuses = 1 }
        _ = state.perform(.rescanAll)
        state.add(spareCard, ids: 0x8086_10d3, bars: [0: 1 << 20], driver: nil)
        if let i = state.index(spareCard) { state.devices[i].isPresent = false }
        if !withDriver, let i = state.index(Fake.endpoint) {
            state.devices[i].driver = nil
            state.devices[i].preferredDriver = nil
        }
        if plan == "virtualFunctions" {
            state.addVFs(2, of: Fake.otherEndpoint, ids: 0x8086_10ed)
            _ = state.perform(.sriovNumVFs(Fake.at(Fake.otherEndpoint, state), count: 2))
        }
        return state
    }

    private static func bus(of hops: [UInt8], _ state: FakeMachineState) -> BusNumber {
        state.index(hops).flatMap { state.devices[$0].buses?.first } ?? BusNumber(0)
    }

    private static func refind(_ state: FakeMachineState) -> Plan {
        let rescan = SystemWrite.rescanBus(segment: 0, bus: bus(of: Fake.firstPort, state))
        return Fake.plan(state, [([.remove(Fake.at(Fake.endpoint, state))], [rescan]), ([rescan], [])])
    }

    private static func refindByDevice(_ state: FakeMachineState) -> Plan {
        let rescan = SystemWrite.rescanBus(segment: 0, bus: bus(of: Fake.firstPort, state))
        return Fake.plan(
            state,
            [
                ([.remove(Fake.at(Fake.endpoint, state))], [rescan]),
                ([.rescanDevice(Fake.at(Fake.firstPort, state))], [rescan]),
                ([rescan], []),
            ]
        )
    }

    private static func rescanEverything(_ state: FakeMachineState) -> Plan {
        Fake.plan(state, [([.remove(Fake.at(Fake.otherPort, state))], [.rescanAll]), ([.rescanAll], [])])
    }

    private static func decodeOff(_ state: FakeMachineState) -> Plan {
        Fake.plan(
            state,
            [
                (
                    [
                        Fake.commandOff(Fake.otherEndpoint, state), .remove(Fake.at(Fake.otherEndpoint, state)),
                        .rescanBus(segment: 0, bus: bus(of: Fake.otherPort, state)),
                    ], [.rescanBus(segment: 0, bus: bus(of: Fake.otherPort, state))]
                )
            ]
        )
    }

    private static func rebind(_ state: FakeMachineState) -> Plan {
        let target = Fake.at(Fake.otherEndpoint, state)
        return Fake.plan(state, [([.unbindDriver(target)], [.probeDriver(target)]), ([.probeDriver(target)], [])])
    }

    private static func twoSubtrees(_ state: FakeMachineState) -> Plan {
        let rescans = [Fake.firstPort, Fake.otherPort].map {
            SystemWrite.rescanBus(segment: 0, bus: bus(of: $0, state))
        }
        return Fake.plan(
            state,
            [
                (
                    [.remove(Fake.at(Fake.endpoint, state)), .remove(Fake.at(Fake.otherEndpoint, state))], rescans
                ), (rescans, []),
            ]
        )
    }

    /// A function with VFs found again: they are taken away before and enabled afterwards.
    private static func virtualFunctions(_ state: FakeMachineState) -> Plan {
        let target = Fake.at(Fake.otherEndpoint, state)
        let rescan = SystemWrite.rescanBus(segment: 0, bus: bus(of: Fake.otherPort, state))
        let again = SystemWrite.sriovNumVFs(target, count: 2)
        return Fake.plan(
            state,
            [([.sriovNumVFs(target, count: 0), .remove(target)], [rescan, again]), ([rescan, again], [])]
        )
    }

    static let makers: [(name: String, make: @Sendable (FakeMachineState) -> Plan)] =
        Fake.plans + [
            ("refind", refind), ("refindByDevice", refindByDevice), ("rescanEverything", rescanEverything),
            ("decodeOff", decodeOff), ("rebind", rebind), ("twoSubtrees", twoSubtrees),
            ("virtualFunctions", virtualFunctions),
        ]

    /// Of so many paths one is taken: prime to the numbers of outcomes and lives, so that all of these come
    /// up.
    private static let (stride, recoveryStride) = (17, 61)
    private let isLong = ProcessInfo.processInfo.environment["PCI_REBALANCE_LONG_TESTS"] == "1"

    // MARK: One path

    /// Makes the write at `place` of the trace end as said, and the process with it.
    private func arm(_ bench: Bench, _ place: Int, _ outcome: WriteOutcome, _ life: ProcessLife, moment: Int?) {
        switch outcome {
        case .refused: bench.machine.failures[place] = .refused
        case .hangs: bench.machine.failures[place] = .timedOut
        case .done, .otherwise, .cardAppears, .cardGoes: break
        }
        let clock = bench.clock
        bench.machine.disturbances[place] = { state in
            switch outcome {
            case .otherwise:
                // A window that nobody predicted.
                if let i = state.index(Self.sparePort), state.devices[i].isKnown {
                    state.devices[i].lines[14] = ResourceLine(
                        start: 0x8f00_0000,
                        end: 0x8f0f_ffff,
                        flags: FakeMachineState.windowFlags
                    )
                }
            case .cardAppears:
                if let i = state.index(Self.spareCard), !state.devices[i].isPresent {
                    state.devices[i].isPresent = true
                    _ = state.perform(.rescanBus(segment: 0, bus: Self.bus(of: Self.sparePort, state)))
                }
            case .cardGoes: state.unplug(Fake.card)
            case .done, .refused, .hangs: break
            }
            if life == .killedAfter || life == .powerCut { clock.crashAt = clock.moments + 1 }
        }
        if life == .killedBefore { bench.clock.crashAt = moment }
    }

    /// The machine after the power came back: hardware as it is, everything found anew.
    private func reboot(_ bench: Bench) {
        bench.machine.state.alignment = ""
        for i in bench.machine.state.devices.indices {
            bench.machine.state.devices[i].isKnown = false
            if bench.machine.state.devices[i].physical != nil { bench.machine.state.devices[i].isPresent = false }
            bench.machine.state.devices[i].driver = nil
            bench.machine.state.devices[i].driverOverride = nil
            bench.machine.state.devices[i].buses = nil
            let count = bench.machine.state.devices[i].lines.count
            bench.machine.state.devices[i].lines = Array(repeating: .zero, count: count)
            // Firmware switches on what it switched on at the boot before.
            let first = bench.original.index(bench.machine.state.devices[i].hops)
            bench.machine.state.devices[i].config[4] = first.map { bench.original.devices[$0].config[4] } ?? 0
            bench.machine.state.set(i, 0x10, 0, bytes: 8)
            bench.machine.state.set(i, 0x18, 0, bytes: 4)
            if bench.machine.state.devices[i].isBridge { bench.machine.state.set(i, 0x20, 0xfff0, bytes: 4) }
        }
        bench.machine.boot += "+"
        _ = bench.machine.state.perform(.rescanAll)
    }

    private func disarm(_ bench: Bench) {
        bench.machine.failures = [:]
        bench.machine.disturbances = [:]
        bench.machine.lateWritesEnd = true
        bench.clock.crashAt = nil
    }

    /// Runs `body` as a process that may die; true when it lived.
    private func process(_ bench: Bench, _ life: ProcessLife, _ body: () throws -> Void) throws -> Bool {
        do {
            try body()
            return true
        } catch is SimulatedCrash {
            if life == .powerCut { reboot(bench) }
            return false
        }
    }

    /// Recovers without hindrance and looks at the promises.
    private func judge(_ bench: Bench, _ path: String) throws {
        disarm(bench)
        let unfinished = try Recovery(bench.applier).status()
        if unfinished == nil {
            #expect(bench.broken.isEmpty, "\(path): the journal tells of nothing: \(bench.broken)")
        }
        let report = try Recovery(bench.applier).run()
        #expect(bench.broken.isEmpty, "\(path): \(bench.broken) \(report)")
        #expect(report.exitStatus == 0, "\(path): \(report)")
        #expect(bench.machine.state.alignment.isEmpty, "\(path)")
        #expect(bench.disk.files[Journal.unfinishedName] == nil, "\(path)")
        let writes = bench.machine.trace.count
        let state = bench.machine.state.tree
        #expect(try Recovery(bench.applier).run().reason == "nothing-to-do", "\(path)")
        #expect(bench.machine.trace.count == writes && bench.machine.state.tree == state, "\(path)")
    }

    /// The moment just before each write of a run, by its place in the trace.
    private func moments(_ bench: Bench, from first: Int, _ body: () throws -> Void) throws -> [Int] {
        final class Record { var moments: [Int: Int] = [:] }
        let record = Record()
        let clock = bench.clock
        for place in first..<(first + 200) {
            bench.machine.disturbances[place] = { _ in record.moments[place] = clock.moments - 1 }
        }
        try body()
        bench.machine.disturbances = [:]
        let count = bench.machine.trace.count
        return (first..<max(first, count)).map { record.moments[$0] ?? 0 }
    }

    // MARK: All paths

    @Test("every write of every plan, every outcome, every death", arguments: makers.map(\.name), [true, false])
    func everyPath(_ name: String, _ withDriver: Bool) throws {
        let make = try #require(Self.makers.first { $0.name == name }).make
        let machine = Self.machine(name, withDriver: withDriver)
        let probe = Bench(machine)
        let before = try moments(probe, from: 0) { _ = try probe.applier.apply(make(probe.original)) }
        #expect(!before.isEmpty)
        var paths = 0
        var serial = 0
        // Another part of the paths for every plan.
        var number = Self.makers.firstIndex { $0.name == name } ?? 0
        for place in before.indices {
            for outcome in WriteOutcome.allCases {
                for life in ProcessLife.allCases {
                    number += 1
                    let isCutOff = outcome == .done && (life == .killedAfter || life == .powerCut)
                    guard isLong || isCutOff || number % Self.stride == 0 else { continue }
                    func start() throws -> Bench {
                        let bench = Bench(machine)
                        arm(bench, place, outcome, life, moment: before[place])
                        _ = try process(bench, life) { _ = try bench.applier.apply(make(bench.original)) }
                        disarm(bench)
                        return bench
                    }
                    let path = "\(name)/\(withDriver) write \(place) \(outcome) \(life)"
                    let first = try start()
                    let isUnfinished = try Recovery(first.applier).status() != nil
                    let second = try start()
                    let done = second.machine.trace.count
                    let again = try moments(second, from: done) { _ = try Recovery(second.applier).run() }
                    try judge(first, path)
                    paths += 1
                    guard isUnfinished else { continue }
                    for (k, moment) in again.enumerated() {
                        for outcome in WriteOutcome.allCases {
                            for life in ProcessLife.allCases {
                                serial += 1
                                let isRefused = isCutOff && outcome == .refused && life == .goesOn
                                guard isLong || isRefused || serial % Self.recoveryStride == 0 else { continue }
                                let bench = try start()
                                arm(bench, done + k, outcome, life, moment: moment)
                                _ = try process(bench, life) { _ = try Recovery(bench.applier).run() }
                                try judge(bench, "\(path), recovery write \(k) \(outcome) \(life)")
                                paths += 1
                            }
                        }
                    }
                }
            }
        }
        #expect(paths > 0)
        print("journal model: \(name), \(withDriver ? "with" : "without") driver: \(paths) paths")
    }
}
