// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// A BAR that must lie at one address and nowhere else.
@Suite("a BAR at an address")
struct PlaceTests {
    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private func plan(
        _ topology: Topology,
        _ address: String,
        bar: Int,
        _ place: UInt64,
        _ constraints: Constraints = Constraints(simulationBudget: 400)
    ) throws -> Plan {
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        var planner = Planner(topology: topology, behaviour: behaviour)
        planner.certifies = true
        return try planner.plan(
            goals: [.located(try at(address), bar: bar, address: place)],
            constraints: constraints
        )
    }

    private func machine() throws -> Topology { try fixture("first-light-6.12/boot.snapshot.json") }

    @Test("a place that the kernel gives when it finds everything anew: reached, and predicted there")
    func reached() throws {
        let plan = try plan(machine(), "0000:03:00.0", bar: 0, 0x2000_0000)
        #expect(plan.verdict.line == "PLAN: act reason=address")
        let card = try #require(plan.after.functions.first { $0.path.description == "0000:00:02.0/00.0/00.0/00.0" })
        #expect(card.lines[0].start == 0x2000_0000)
        // A place that one BAR must have is nothing that certificates speak of.
        #expect(plan.certificates.isEmpty)
    }

    @Test("where it is already: nothing to do")
    func already() throws {
        let plan = try plan(machine(), "0000:03:00.0", bar: 0, 0xfe80_0000)
        #expect(plan.verdict.line == "PLAN: none reason=already-there" || plan.verdict.answer == .none)
        #expect(plan.steps.isEmpty)
    }

    @Test(
        "a place that no window can reach is impossible, and it is said where the BAR could lie and who has the place"
    )
    func impossible() throws {
        // The memory window of a bridge ends at 4 GiB; the aperture above does not help a BAR of 64 bits behind it.
        let machine = try machine()
        let high = try plan(machine, "0000:03:00.0", bar: 2, 0x8_ff00_0000)
        #expect(high.verdict.line == "PLAN: impossible reason=address-not-reached")
        #expect(high.remarks.contains { $0.contains("one removal brings 0000:03:00.0 BAR 2 to 0x") })
        // Just inside and just outside of the aperture.
        let outside = try plan(machine, "0000:03:00.0", bar: 2, 0x9_0000_0000)
        #expect(outside.verdict.line == "PLAN: impossible reason=outside-apertures")
        #expect(outside.verdict.sentence.contains("0x900000000-0x900ffffff for 0000:03:00.0 BAR 2"))
        let taken = try plan(machine, "0000:03:00.0", bar: 0, 0xfea0_1000)
        #expect(taken.verdict.answer == .impossible)
        #expect(taken.remarks.contains { $0.contains("is held by 0000:00:1f.2 BAR 5") })
    }

    @Test("a place of the platform's own is not PCI's")
    func platform() throws {
        var machine = try machine()
        let range = try #require(AddressRange(first: 0x3000_0000, size: 0x1000))
        machine.blockers.append(Blocker(range: range, isIO: false, name: "Reserved", source: .iomem))
        let plan = try plan(machine, "0000:03:00.0", bar: 0, 0x3000_0000)
        #expect(plan.verdict.line == "PLAN: impossible reason=address-taken")
        #expect(plan.verdict.sentence.contains("Reserved lies there"))
    }

    @Test("what may not be stopped keeps its place: refused, with the word that permits it")
    func protected() throws {
        let keep = Constraints(keep: [try at("0000:03:00.0")], simulationBudget: 400)
        let plan = try plan(machine(), "0000:03:00.0", bar: 0, 0x2000_0000, keep)
        #expect(plan.verdict.line == "PLAN: refused reason=protected")
        #expect(plan.remarks.contains { $0.contains("without --keep 0000:03:00.0") })
    }

    @Test("wishes that no hardware could fulfil are told so")
    func hostile() throws {
        let machine = try machine()
        for (address, bar, place) in [
            ("0000:03:00.0", 0, UInt64(0x2000_0800)), ("0000:03:00.0", 2, 0x1_0080_0000),
            ("0000:03:00.0", 3, 0x2000_0000),
            ("0000:03:00.0", 0, .max & ~0xfff), ("0000:03:00.0", 9, 0x2000_0000), ("0000:03:00.0", 0, 0x1_0000_0000),
        ] {
            #expect("\(address) \(bar) \(place)") { try plan(machine, address, bar: bar, place) } throws: {
                ($0 as? PlanningError)?.code == .goalDoesNotApply
            }
        }
        #expect { try plan(machine, "0000:7f:00.0", bar: 0, 0x2000_0000) } throws: {
            ($0 as? PlanningError)?.code == .noSuchFunction
        }
    }
}
