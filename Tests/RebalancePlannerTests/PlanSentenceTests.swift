// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// What a plan says of itself: verdicts, reasons, remarks, who is disturbed how, and for how long.
@Suite("sentences of a plan")
struct PlanSentenceTests {
    private typealias Machine = WriteMachine
    private static let mib: UInt64 = 1 << 20

    private func assembly(
        _ machine: WriteMachine,
        goals: [Goal] = [.everythingRequired],
        _ constraints: Constraints = Constraints()
    ) -> PlanAssembly {
        PlanAssembly(
            planner: Planner(topology: machine.topology, behaviour: .linux6_12),
            goals: goals,
            start: machine.state,
            weights: DisturbanceWeights(machine.topology, constraints: constraints)
        )
    }

    private func bar(_ n: Int) throws -> ResourceIndex { try #require(ResourceIndex.bar(n)) }

    /// An assembly that has a step, so that it acts.
    private func acting(_ machine: WriteMachine, goals: [Goal] = [.everythingRequired], asked: [Demand]) throws
        -> PlanAssembly
    {
        var assembly = assembly(machine, goals: goals)
        assembly.append([try machine.emptying()], from: machine.state)
        assembly.asked = asked
        #expect(!assembly.steps.isEmpty)
        return assembly
    }

    @Test("the reason by what was asked for; bus numbers that were missing come first")
    func reasons() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let (zero, vf) = (try bar(0), try #require(ResourceIndex.vfBAR(0)))
        let table: [([Goal], [Demand], String)] = [
            ([.everythingRequired], [.address(card, zero)], "unassigned-bars"),
            ([.everythingRequired], [.bus(card)], "unassigned-bars"),
            ([.everythingRequired], [.cleared(card, .overlap, zero)], "overlap"),
            ([.everythingRequired], [.cleared(card, .overlap, zero), .address(card, zero)], "unassigned-bars"),
            ([.located(Machine.card, bar: 0, address: 0)], [.located(card, zero, 0)], "address"),
            ([.compact], [.stretch(card, .low, 1)], "compact"),
            ([.resize(Machine.card, bar: 0, size: nil)], [.size(card, zero, 1)], "resize"),
            ([.virtualFunctions(Machine.card, count: 1)], [.size(card, vf, 1)], "room-for-vfs"),
            ([.virtualFunctions(Machine.card, count: 1)], [.buses(card, 2)], "room-for-vfs"),
            ([.reserve(Machine.full, Headroom())], [.room(card, .memory, 1)], "reserve"),
            ([.reserve(Machine.full, Headroom())], [.freeBuses(card, 1)], "reserve"),
            ([.restore(SavedLayout(fingerprint: 0, places: []))], [.address(card, zero)], "restore"),
            ([.everythingRequired], [], "unassigned-bars"),
        ]
        for (goals, asked, reason) in table {
            let plan = try acting(machine, goals: goals, asked: asked).finish(.init())
            #expect(plan.verdict.answer == .act && plan.verdict.reason == reason, "\(asked)")
            let isMissing = reason == "unassigned-bars"
            #expect(
                plan.verdict.sentence
                    == (isMissing ? "everything that is missing can be placed" : "what was asked for can be reached")
            )
        }
        var missing = try acting(machine, asked: [.bus(card)])
        missing.diagnosis = [DiagnosisLine(code: "bus-missing", address: Machine.full, text: "")]
        #expect(missing.finish(.init()).verdict.reason == "missing-bus")
    }

    @Test("with something left undone a plan is partly one; without a step it is a refusal, then an impossibility")
    func partly() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        var some = try acting(machine, asked: [.address(card, try bar(0))])
        some.note(refusal: "too-many-moves", "more than asked")
        some.note(impossible: "mmio-window-too-small", "no room")
        let plan = some.finish(.init())
        #expect(
            plan.verdict == Plan.Verdict(.act, reason: "partly", sentence: "part of what was asked for can be reached")
        )
        #expect(!plan.isWhole)
        #expect(
            plan.remarks.filter { $0.hasPrefix("left undone") } == [
                "left undone (too-many-moves): more than asked", "left undone (mmio-window-too-small): no room",
            ]
        )
        var refused = assembly(machine)
        refused.note(impossible: "x", "y")
        #expect(refused.finish(.init()).verdict == Plan.Verdict(.impossible, reason: "x", sentence: "y"))
        refused.note(refusal: "a", "b")
        #expect(refused.finish(.init()).verdict == Plan.Verdict(.refused, reason: "a", sentence: "b"))
    }

    @Test("proven least where the cost is not above the bound and nothing is left undone")
    func proof() throws {
        let machine = try Machine(enabledVFs: 0)
        func proof(_ cost: Int, _ bound: Int, partly: Bool = false) throws -> ProofOfLeastDisturbance {
            var some = try acting(machine, asked: [])
            if partly { some.note(refusal: "a", "b") }
            var result = PlanAssembly.Result()
            (result.cost, result.bound) = (cost, bound)
            return some.finish(result).proof
        }
        #expect(try proof(5, 5) == .optimal && proof(5, 6) == .optimal && proof(0, 0) == .optimal)
        #expect(try proof(6, 5) == .bestOfSearched(cost: 6, lowerBound: 5))
        #expect(try proof(5, 5, partly: true) == .bestOfSearched(cost: 5, lowerBound: 5))
        #expect(try proof(4, 5, partly: true) == .bestOfSearched(cost: 4, lowerBound: 4))
    }

    @Test(
        "nothing to do: nothing missing, there as it is, or no larger stretch; what else has no place is named, four at most"
    )
    func nothing() throws {
        let machine = try Machine(enabledVFs: 0)
        #expect(assembly(machine).finish(.init()).verdict.reason == "nothing-missing")
        let compact = assembly(machine, goals: [.compact]).finish(.init())
        #expect(compact.verdict.reason == "compact" && compact.verdict.answer == .none)
        func lacking(_ addresses: [FunctionAddress], buses: [FunctionAddress] = []) throws -> Plan {
            let broken = try Machine(enabledVFs: 0) { topology in
                for address in addresses {
                    topology.update(address) { function in
                        for r in function.resources.indices where function.resources[r].index.isBAR {
                            function.resources[r].assignment = .unassigned
                        }
                    }
                }
                for address in buses { topology.update(address) { $0.bridge?.busRange = nil } }
            }
            let goals = [Goal.reserve(Machine.empty, Headroom(buses: 1))]
            return assembly(broken, goals: goals).finish(.init())
        }
        #expect(try lacking([]).verdict.reason == "nothing-missing")
        let two = try lacking([Machine.sibling], buses: [Machine.empty])
        #expect(two.verdict.reason == "already-there" && two.verdict.sentence == "what was asked for is there as it is")
        #expect(
            two.remarks == [
                "still without a place: 0000:03:00.1 BAR 0, 0000:02:01.0 bus numbers; plan --place all looks for one"
            ]
        )
        let many = try lacking([Machine.card, Machine.sibling], buses: [Machine.empty])
        #expect(many.remarks.count == 1)
        #expect(
            many.remarks[0].hasPrefix(
                "still without a place: 0000:03:00.0 BAR 0, 0000:03:00.0 BAR 1, 0000:03:00.0 BAR 2, 0000:03:00.1 BAR 0 and 1 more;"
            )
        )
    }

    @Test("sizes that were had instead of larger ones, with what stands in the way")
    func sizes() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let two = try bar(2)
        func remarks(_ wanted: [Demand], _ best: [Demand], _ obstacle: String? = nil) -> [String] {
            var some = assembly(machine)
            some.noteSizes(wanted, DemandCatalogue.Cluster(choices: [best, wanted]), obstacle)
            return some.remarks
        }
        let (large, small) = (Demand.size(card, two, 512 * Self.mib), Demand.size(card, two, 128 * Self.mib))
        #expect(remarks([small], [large]) == ["0000:03:00.0 BAR 2: 128M is the largest size that fits, 512M does not"])
        #expect(
            remarks([small], [large], "a disk is mounted")
                == [
                    "0000:03:00.0 BAR 2: 128M is the largest size that may be had; 512M would fit, but a disk is mounted"
                ]
        )
        #expect(remarks([large], [large]) == [] && remarks([.address(card, two)], [large]) == [])
        #expect(
            remarks([small], [.address(card, two)])
                == ["0000:03:00.0 BAR 2: 128M is the largest size that fits, its present size does not"]
        )
    }

    @Test("wishes that stay open, functions that must not be stopped, and ways that permission would open")
    func refusals() throws {
        let machine = try Machine(enabledVFs: 0) { topology in
            for address in [Machine.card, Machine.sibling] {
                topology.update(address) {
                    $0.use.evidence = [
                        UseEvidence(code: "m", detail: "\(address.function) is used", isProtected: true, weight: 1)
                    ]
                }
            }
        }
        let (card, sibling, empty) = try (
            machine.number(Machine.card), machine.number(Machine.sibling), machine.number(Machine.empty)
        )
        var some = assembly(machine)
        some.note(unfulfilled: .window(empty, .memoryWindow, 4 * Self.mib))
        some.note(unfulfilled: .buses(empty, 9))
        some.note(unfulfilled: .bus(empty))
        #expect(
            some.remarks == [
                "0000:02:01.0 \(ResourceIndex.memoryWindow) cannot get back its 4M",
                "0000:02:01.0 cannot get back its 9 bus numbers",
                "0000:02:01.0 cannot get back all that it had",
            ]
        )
        for (protected, stopped, sentence, remark) in [
            (
                [card], 1, "0000:03:00.0: 0 is used",
                "a way exists with --allow-disturb 0000:03:00.0: it stops 1 endpoint"
            ),
            (
                [card, sibling], 2, "0000:03:00.0: 0 is used and 1 more",
                "a way exists with --allow-disturb 0000:03:00.0 with --allow-disturb 0000:03:00.1: it stops 2 endpoints"
            ),
        ] as [([Int], Int, String, String)] {
            var other = assembly(machine)
            other.note(refused: [], protected: protected, stopped: stopped)
            #expect(other.refusals.map(\.reason) == ["protected"] && other.remarks == [remark])
            #expect(other.refusals[0].sentence == "the way leads over a function that must not be stopped: \(sentence)")
            #expect(other.diagnosis.map(\.code) == protected.map { _ in "protected" })
        }
        // One permission that lifts the protection of both is named once.
        let kept = Constraints(keep: [Machine.full])
        var twice = assembly(machine, kept)
        twice.note(refused: [], protected: [card, sibling], stopped: 2)
        #expect(twice.remarks == ["a way exists without --keep 0000:02:00.0: it stops 2 endpoints"])
    }

    private func assembly(_ machine: WriteMachine, _ constraints: Constraints) -> PlanAssembly {
        assembly(machine, goals: [.everythingRequired], constraints)
    }

    @Test("what is impossible, by what was wanted: I/O alone, one finding, a place, buses, or memory")
    func impossible() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let (zero, one) = (try bar(0), try bar(1))
        let table: [([Demand], Bool, String)] = [
            ([.address(card, one)], false, "io-window-too-small"),
            ([.address(card, zero)], false, "mmio-window-too-small"),
            ([.address(card, one), .address(card, zero)], false, "mmio-window-too-small"),
            ([.cleared(card, .overlap, zero)], false, "overlap"),
            ([.cleared(card, .overlap, zero), .address(card, one)], false, "mmio-window-too-small"),
            ([.located(card, zero, 0)], false, "address-not-reached"), ([.bus(card)], true, "bus-exhausted"),
            ([.room(card, .io, 1)], false, "mmio-window-too-small"),
        ]
        for (wanted, isShort, reason) in table {
            var some = assembly(machine)
            some.note(impossible: wanted, nil, isShortOfBuses: isShort)
            #expect(some.impossible.map(\.reason) == [reason], "\(wanted)")
            #expect(some.impossible[0].sentence.hasPrefix("no sequence of operations was found"))
        }
    }

    @Test("who is disturbed how: renumbered before moved before stopped, in words with name and driver")
    func disturbances() throws {
        let machine = try Machine(enabledVFs: 0) { topology in
            topology.update(Machine.card) {
                $0.identity.name = "Fast NIC"
                $0.use.evidence = [
                    UseEvidence(code: "driver-bound", detail: "bound", isProtected: false, weight: 10),
                    UseEvidence(code: "m", detail: "it is used", isProtected: false, weight: 5),
                ]
            }
        }
        let some = assembly(machine)
        let numbers = FunctionSet([try machine.number(Machine.card), try machine.number(Machine.sibling)])
        let found = some.disturbances(numbers, machine.state)
        let driver = try #require(machine.topology[Machine.card]?.use.driver)
        #expect(found.map(\.address) == [Machine.card, Machine.sibling])
        #expect(found.map(\.effect) == [.stopped, .stopped] && found.map(\.newAddress) == found.map(\.address))
        #expect(
            found[0].what.hasSuffix("Fast NIC, \(driver)") && found[0].uses == ["it is used"] && found[0].weight == 15
        )
        #expect(found[1].what.hasSuffix(", \(driver)") && found[1].uses == [] && found[1].weight == 10)
    }

    @Test(
        "how long devices are down: from the step that takes them to the one that brings the last back; a second a driver"
    )
    func outage() throws {
        let state = try Machine(enabledVFs: 0)
        let before = TreeState(state.topology)
        func without(_ addresses: [FunctionAddress]) -> TreeState {
            TreeState(before.functions.filter { !addresses.contains($0.address) })
        }
        func text(_ trees: [TreeState], _ disturbed: [(FunctionAddress, String)]) throws -> String? {
            var plan = try acting(state, asked: []).finish(.init())
            plan.before = before
            plan.steps = trees.map { PlanStep(purpose: "", preconditions: [], writes: [], after: $0) }
            plan.disturbed = disturbed.map {
                Disturbance(address: $0.0, newAddress: $0.0, effect: .stopped, what: $0.1, weight: 0)
            }
            return plan.outage
        }
        let (card, sibling) = ((Machine.card, "endpoint, nic"), (Machine.sibling, "endpoint, no driver"))
        #expect(
            try text([without([Machine.card]), before], [card])?.hasPrefix(
                "Down from step 1 to step 2, about 2 seconds in all"
            ) == true
        )
        #expect(
            try text([before, without([Machine.card]), before], [card])?.hasPrefix("Down from step 2 to step 3,")
                == true
        )
        #expect(try text([without([Machine.card])], [card])?.hasPrefix("Down from step 1, about") == true)
        #expect(try text([before, before], [card]) == nil && text([without([Machine.card])], []) == nil)
        #expect(try text([without([Machine.sibling]), before], [sibling])?.contains("about 1 second in all") == true)
        #expect(
            try text([without([Machine.card, Machine.sibling]), without([Machine.card]), before], [card, sibling])?
                .hasPrefix("Down from step 1 to step 3, about 2 seconds") == true
        )
        #expect(OutageEstimate.tenths(hasDriver: true) == 11 && OutageEstimate.tenths(hasDriver: false) == 1)
    }

    @Test("words of the command line that name a function which gets another address")
    func bootWords() throws {
        let machine = try Machine(enabledVFs: 0) { $0.kernel.commandLine = "pci=disable_acs_redir=0000:03:00.0" }
        guard !machine.topology.kernel.addressWords.isEmpty else {
            Issue.record("expected a word that names 03:00.0")
            return
        }
        func remarks(_ new: FunctionAddress) throws -> [String] {
            var result = PlanAssembly.Result()
            result.disturbed = [
                Disturbance(address: Machine.card, newAddress: new, effect: .renumbered, what: "x", weight: 1)
            ]
            return try acting(machine, asked: []).finish(result).remarks.filter { $0.hasPrefix("the boot word") }
        }
        #expect(try remarks(Machine.card) == [])
        let moved = try remarks(FunctionAddress(bus: BusNumber(9), devfn: 0))
        #expect(moved.count == 1 && moved[0].contains("names 0000:03:00.0, which will be 0000:09:00.0: "))
        #expect(moved[0].hasSuffix("; --keep 0000:03:00.0 asks for a plan that leaves it alone"))
    }
}
