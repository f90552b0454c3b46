// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// What stopping a function costs, and who may not be stopped.
@Suite("costs and protection")
struct DisturbanceWeightTests {
    private typealias Machine = WriteMachine

    private static func evidence(_ weight: Int, isProtected: Bool = false, code: String = "mounted") -> UseEvidence {
        UseEvidence(code: code, detail: "a disk is mounted", isProtected: isProtected, weight: weight)
    }

    @Test("10 with a driver, 1 without, 0 for bridges and VFs; evidence adds, and less than nothing does not")
    func weights() throws {
        let machine = try Machine { topology in
            topology.update(Machine.sibling) { $0.use.driver = nil }
        }
        func weight(_ address: FunctionAddress, _ change: (inout Function) -> Void = { _ in }) throws -> Int {
            var function = try #require(machine.topology[address])
            change(&function)
            return DisturbanceWeights.weight(of: function)
        }
        #expect(try weight(Machine.card) == 10)
        #expect(try weight(Machine.sibling) == 1)
        #expect(try weight(Machine.full) == 0)
        let virtual = try #require(machine.topology.functions.filter(\.isVirtual).first)
        #expect(DisturbanceWeights.weight(of: virtual) == 0)
        #expect(try weight(Machine.card) { $0.use.evidence = [Self.evidence(1000), Self.evidence(5)] } == 1015)
        #expect(try weight(Machine.card) { $0.use.evidence = [Self.evidence(-7)] } == 10)
        #expect(try weight(Machine.full) { $0.use.evidence = [Self.evidence(3)] } == 3)
        // A record that counted the driver itself.
        #expect(try weight(Machine.card) { $0.use.evidence = [Self.evidence(10, code: "driver-bound")] } == 10)
        #expect(try weight(Machine.sibling) { $0.use.evidence = [Self.evidence(1, code: "idle")] } == 1)
    }

    private func protected(_ constraints: Constraints, enabledVFs: Int = 0, ignores: Bool = false) throws -> [String] {
        let machine = try Machine(enabledVFs: enabledVFs) { topology in
            topology.update(Machine.sibling) { $0.use.evidence = [Self.evidence(1000, isProtected: true)] }
        }
        let weights = DisturbanceWeights(machine.topology, constraints: constraints, ignoresProtection: ignores)
        #expect(weights.hasProtections == machine.topology.functions.indices.contains { weights.protection($0) != nil })
        return machine.topology.functions.indices.compactMap { i in
            weights.protection(i).map { "\(machine.topology.functions[i].address): \($0)" }
        }
    }

    @Test("use protects, VFs protect, --allow-disturb lifts both")
    func use() throws {
        let sibling = "\(Machine.sibling): a disk is mounted"
        #expect(try protected(Constraints()) == [sibling])
        #expect(try protected(Constraints(allowDisturb: [Machine.sibling])) == [])
        #expect(try protected(Constraints(allowDisturb: [Machine.card])) == [sibling])
        #expect(try protected(Constraints(), enabledVFs: 1) == ["\(Machine.card): it has 1 VFs enabled", sibling])
        #expect(try protected(Constraints(allowDisturb: [Machine.card]), enabledVFs: 1) == [sibling])
        #expect(try protected(Constraints(), enabledVFs: 1, ignores: true) == [])
    }

    @Test("--keep protects what is below as well, even against --allow-disturb, and says whose it was")
    func keep() throws {
        let kept = try protected(
            Constraints(keep: [Machine.full], allowDisturb: [Machine.card, Machine.sibling])
        )
        #expect(
            kept == [
                "\(Machine.full): it was asked to be kept",
                "\(Machine.card): it is below \(Machine.full), which was asked to be kept",
                "\(Machine.sibling): it is below \(Machine.full), which was asked to be kept",
            ]
        )
        let both = try protected(Constraints(keep: [Machine.full, Machine.card]))
        #expect(both.contains("\(Machine.card): it was asked to be kept"))
    }

    @Test("--only-below protects everything outside, the port itself is inside, VFs follow their function")
    func onlyBelow() throws {
        let machine = try Machine()
        let weights = DisturbanceWeights(machine.topology, constraints: Constraints(onlyBelow: Machine.full))
        for (i, function) in machine.topology.functions.enumerated() {
            let isInside =
                [Machine.full, Machine.card, Machine.sibling].contains(function.address)
                || function.physicalFunction == Machine.card
            #expect(
                (weights.protection(i) == "it is not below the port that the plan is limited to") == !isInside,
                "\(function.address)"
            )
            if !isInside {
                #expect(weights.permission(i, function.address) == "without --only-below \(Machine.full)")
            }
        }
        let card = try machine.number(Machine.card)
        #expect(weights.permission(card, Machine.card) == "with --allow-disturb \(Machine.card)")
        let kept = DisturbanceWeights(machine.topology, constraints: Constraints(keep: [Machine.card]))
        #expect(kept.permission(card, Machine.card) == "without --keep \(Machine.card)")
    }

    @Test("a step watches who is neither protected nor allowed")
    func watched() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let sibling = try machine.number(Machine.sibling)
        let weights = DisturbanceWeights(
            machine.topology,
            constraints: Constraints(keep: [Machine.sibling], allowDisturb: [Machine.card])
        )
        #expect(!weights.isWatched(card) && !weights.isWatched(sibling))
        #expect(weights.isWatched(try machine.number(Machine.narrow)))
        let permitted = weights.permitting([sibling])
        #expect(permitted.protection(sibling) == nil && permitted.isWatched(sibling))
    }

    @Test("a subtree costs what it holds, VFs' physical function once; its protection is that of what is below")
    func subtrees() throws {
        let machine = try Machine(enabledVFs: 2) { topology in
            topology.update(Machine.sibling) { $0.use.evidence = [Self.evidence(1000, isProtected: true)] }
        }
        let context = machine.state.context
        func cost(_ address: FunctionAddress) throws -> Int { context.subtreeWeight[try machine.number(address)] }
        #expect(try cost(Machine.full) == 10 + 1010)
        #expect(try cost(Machine.root) == 10 + 1010)
        #expect(try cost(Machine.empty) == 0)
        #expect(try cost(Machine.narrow) == 1)
        for (address, isProtected) in [
            (Machine.root, true), (Machine.full, true), (Machine.sibling, true), (Machine.empty, false),
            (Machine.narrow, false),
        ] {
            let i = try machine.number(address)
            #expect(context.isProtected[i] == isProtected, "\(address)")
        }
        // The two functions of the card are one device; a port stands for itself.
        let card = try machine.number(Machine.card)
        let sibling = try machine.number(Machine.sibling)
        #expect(context.companions[card] == [sibling])
        #expect(context.companions[sibling] == [card])
        let full = try machine.number(Machine.full)
        #expect(context.companions[full] == [])
        let above = try [Machine.full, Machine.upstream, Machine.root].map { try machine.number($0) }
        #expect(context.ancestors(of: card) == above)
    }
}
