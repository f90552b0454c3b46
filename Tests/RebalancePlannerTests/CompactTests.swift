// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Windows and bus numbers packed closer, on a machine of three root ports.
@Suite("packing closer")
struct CompactTests {
    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private func planner(_ topology: Topology) -> Planner {
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        return Planner(topology: topology, behaviour: behaviour)
    }

    /// The machine after the first port's window was made larger: it lies behind the others, and where it was is a hole.
    private func holed() throws -> Topology {
        let topology = try fixture("three-root-ports-6.12/boot.snapshot.json")
        let planner = planner(topology)
        let first = try #require(topology.functions.first { $0.isHotPlugBridge })
        let plan = try planner.plan(goals: [.reserve(first.address, Headroom(prefetchable: ByteCount(1 << 30)))])
        return try planner.topology(after: plan)
    }

    private func window(_ topology: Topology, _ address: String) throws -> AddressRange {
        try #require(topology[try at(address)]?.resource(.prefetchableWindow)?.range)
    }

    @Test("a hoarded window goes back to what a port is given, the stretch above 4 GiB grows, nobody in use is stopped")
    func window() throws {
        let topology = try holed()
        #expect(try window(topology, "00:02.0").clampedSize == 1 << 30)
        let plan = try planner(topology).plan(goals: [.compact])
        #expect(plan.verdict.line == "PLAN: act reason=compact")
        let after = try planner(topology).topology(after: plan)
        #expect(try window(after, "00:02.0").clampedSize < 1 << 30)
        #expect(plan.remarks.contains { $0.contains("memory above 4 GiB that nobody has: now 31G, then ") })
        #expect(plan.remarks.contains("0000:00:02.0 pref window had 1G, keeps 2M"))
        #expect(plan.disturbed.allSatisfy { $0.weight == 0 })
        // Once is enough.
        #expect(try planner(after).plan(goals: [.compact]).verdict.line == "PLAN: none reason=compact")
    }

    @Test("the room of an empty port that is required stays, and so does a port that is to be kept")
    func kept() throws {
        let topology = try holed()
        let required = Constraints(tiers: OptionalTiers(required: [.reserve]))
        #expect(try planner(topology).plan(goals: [.compact], constraints: required).verdict.answer == .none)
        let keep = Constraints(keep: [try at("00:02.0")])
        let plan = try planner(topology).plan(goals: [.compact], constraints: keep)
        #expect(!plan.disturbed.map(\.address).contains(try at("00:02.0")))
    }

    @Test("bus numbers without holes: a port that claims a number far above the others gets one beside them")
    func numbers() throws {
        var topology = try fixture("three-root-ports-6.12/boot.snapshot.json")
        var twin = try LinuxTwin(topology, behaviour: planner(topology).behaviour)
        let far = BusNumber(0x40)
        try twin.perform(.setBusNumbers(at("00:03.0"), primary: BusNumber(0), secondary: far, subordinate: far))
        try twin.perform(.remove(at("00:03.0")))
        try twin.perform(.rescanBus(segment: 0, bus: BusNumber(0)))
        topology = try twin.topology()
        #expect(topology[try at("00:03.0")]?.bridge?.busRange == BusRange(far))
        let plan = try planner(topology).plan(goals: [.compact])
        #expect(plan.verdict.line == "PLAN: act reason=compact")
        let after = try planner(topology).topology(after: plan)
        #expect(try #require(after[try at("00:03.0")]?.bridge?.busRange).last <= BusNumber(3))
        #expect(plan.remarks.contains { $0.contains("bus numbers that nobody has: now 191, then 252") })
    }
}
