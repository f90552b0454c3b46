// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Each precondition of a step holding and failing, and each difference after one.
@Suite("Conditions of a step")
struct StepCheckTests {
    private let bench = Bench()
    private var state: FakeMachineState { bench.original }

    private func run() -> ApplyRun {
        ApplyRun(
            Machine(writer: bench.machine, observer: bench.machine),
            journal: nil,
            audit: SilentAuditLog(),
            clock: fakeClock(),
            limits: ApplyLimits(),
            id: "t",
            progress: { _ in }
        )
    }

    private func unmet(_ conditions: [Precondition]) throws -> [String] {
        let step = PlanStep(purpose: "p", preconditions: conditions, writes: [], after: state.tree)
        return try run().unmetPreconditions(of: step, expecting: state.tree)
    }

    @Test("a function that should be there, with its ids")
    func present() throws {
        let endpoint = Fake.at(Fake.endpoint, state)
        #expect(try unmet([.treeAsPredicted, .present(endpoint, ids: 0x1b36_0005)]).isEmpty)
        #expect(
            try unmet([.present(endpoint, ids: 0x1b36_0006)]) == ["\(endpoint) expected id 1b360006, found 1b360005"]
        )
        let stranger = FunctionAddress(bus: BusNumber(0x70), devfn: 0)
        #expect(try unmet([.present(stranger, ids: 1)]) == ["0000:70:00.0 expected, not found"])
    }

    @Test("a bus that should be empty, absent, or there")
    func buses() throws {
        let endpoint = Fake.at(Fake.endpoint, state)
        let held = endpoint.bus
        #expect(
            try unmet([.busIsEmpty(segment: 0, bus: held)])
                == ["bus 0000:03 expected to be empty, found 0000:03:00.0"]
        )
        // Of another segment there is no such bus, and nobody on it.
        #expect(try unmet([.busIsEmpty(segment: 0, bus: BusNumber(0x7f))]) == ["bus 0000:7f expected, not found"])
        #expect(try unmet([.busIsAbsent(segment: 0, bus: BusNumber(0x7f))]).isEmpty)
        #expect(try unmet([.busIsAbsent(segment: 0, bus: held)]) == ["no bus 0000:03 expected, found one"])
        _ = bench.machine.state.perform(.remove(endpoint))
        let step = PlanStep(
            purpose: "p",
            preconditions: [.busIsEmpty(segment: 0, bus: held)],
            writes: [],
            after: bench.machine.state.tree
        )
        #expect(try run().unmetPreconditions(of: step, expecting: bench.machine.state.tree).isEmpty)
    }

    @Test("a function that should be idle: each use is said")
    func idle() throws {
        let endpoint = Fake.at(Fake.endpoint, state)
        #expect(try unmet([.notInUse(endpoint)]).isEmpty)
        bench.machine.uses[endpoint] = UseEvidence(code: "m", detail: "mounted on /", isProtected: true, weight: 1)
        #expect(try unmet([.notInUse(endpoint)]) == ["\(endpoint) expected to be idle, found: mounted on /"])
        #expect(try unmet([.notInUse(Fake.at(Fake.otherEndpoint, state))]).isEmpty)
    }

    @Test("the tree as it was predicted is asked for whatever the conditions say")
    func tree() throws {
        _ = bench.machine.state.perform(.remove(Fake.at(Fake.endpoint, state)))
        #expect(try unmet([]).count == 1)
        #expect(try unmet([])[0].contains("0000:03:00.0"))
    }

    @Test("registers after a step: the value within the mask, at the offset and of the width that was said")
    func registers() throws {
        let endpoint = Fake.at(Fake.endpoint, state)
        func differences(_ expectations: [RegisterExpectation]) throws -> [String] {
            let tree = bench.machine.state.tree
            let step = PlanStep(purpose: "p", preconditions: [], writes: [], after: tree, registersAfter: expectations)
            return try run().differences(after: step, tree, from: tree, RegisterCheck(tree, []))
        }
        // COMMAND holds 6: memory decoding and bus mastering.
        #expect(try differences([.init(address: endpoint, offset: 4, width: 2, mask: 0x7, value: 0x6)]).isEmpty)
        #expect(try differences([.init(address: endpoint, offset: 4, width: 2, mask: 0x3, value: 0x2)]).isEmpty)
        #expect(
            try differences([.init(address: endpoint, offset: 4, width: 2, mask: 0x3, value: 0x3)])
                == ["\(endpoint) register 0x4 expected 0x3, found 0x2"]
        )
        #expect(
            try differences([.init(address: endpoint, offset: 0, width: 4, mask: .max, value: 0x0005_1b36)]).isEmpty
        )
        let stranger = FunctionAddress(bus: BusNumber(0x70), devfn: 0)
        let both = try differences([
            .init(address: stranger, offset: 4, width: 2, mask: 7, value: 0),
            .init(address: endpoint, offset: 4, width: 2, mask: 4, value: 0),
        ])
        #expect(both.count == 2 && both[0].hasPrefix("\(stranger) register expected to be readable: "))
        #expect(both[1] == "\(endpoint) register 0x4 expected 0x0, found 0x4")
    }

    @Test("the bridge above what has changed that lets nothing through is a difference; one beside it is not")
    func bridgesAbove() throws {
        let before = state.tree
        var earlier = before
        // The endpoint below the first port counts as changed.
        earlier.functions.removeAll { $0.address == Fake.at(Fake.endpoint, state) }
        func differences() throws -> [String] {
            let step = PlanStep(purpose: "p", preconditions: [], writes: [], after: before)
            let check = RegisterCheck(before, try bench.machine.health(of: before.functions.map(\.address)))
            return try run().differences(after: step, before, from: earlier, check)
        }
        #expect(try differences().isEmpty)
        let port = try #require(bench.machine.state.index(Fake.firstPort))
        let other = try #require(bench.machine.state.index(Fake.otherPort))
        bench.machine.state.devices[other].config[4] = 0
        #expect(try differences().isEmpty)
        bench.machine.state.devices[port].config[4] = 0
        let found = try differences()
        #expect(found.count == 1 && found[0].hasPrefix(Fake.at(Fake.firstPort, state).description))
    }
}
