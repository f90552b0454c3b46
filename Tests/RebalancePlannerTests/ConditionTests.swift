// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// What must stay as it is beside addresses: groups, routes, the switch. A card with a BAR of 1 GiB was plugged below the
/// second port of a switch; the way to its place leads over the root port, 0000:00:02.0, and everything below.
@Suite("conditions on groups, routes and places")
struct ConditionTests {
    private static let first = "0000:03:00.0"
    private static let second = "0000:04:00.0"
    private static let ports = ["0000:02:00.0", "0000:02:01.0"]

    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    /// The machine; with an IOMMU, whose groups are those of the rule, and ACS capabilities at the ports of the switch.
    private func machine(
        hasIOMMU: Bool = false,
        switchACS control: AccessControls? = nil,
        words: String = ""
    ) throws -> Topology {
        var topology = try fixture("first-light-6.12/failed-hot-add.snapshot.json")
        topology.kernel.commandLine = words
        if let control {
            for port in Self.ports {
                topology.update(try at(port)) {
                    // The list of extended capabilities goes on at 0x400.
                    let head = $0.config.long(0x100) ?? 0
                    $0.config.write(head & 0xf_ffff | 0x400 << 20, at: 0x100, width: 4)
                    $0.config.write(0x0001_000d, at: 0x400, width: 4)
                    $0.config.write(UInt32(AccessControls.isolating.rawValue), at: 0x404, width: 2)
                    $0.config.write(UInt32(control.rawValue), at: 0x406, width: 2)
                    $0.capabilities = Capabilities($0.config)
                }
            }
        }
        return hasIOMMU ? grouped(topology) : topology
    }

    /// The machine with the groups that the rule makes.
    private func grouped(_ topology: Topology) -> Topology {
        var topology = topology
        for (i, number) in IsolationGroups(topology).numbers.enumerated() {
            topology.update(topology.functions[i].address) { $0.use.iommuGroup = number }
        }
        return topology
    }

    private func plan(_ topology: Topology, _ conditions: Condition...) throws -> Plan {
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        return try Planner(topology: topology, behaviour: behaviour)
            .plan(
                goals: [.everythingRequired],
                constraints: Constraints(conditions: conditions, simulationBudget: 400)
            )
    }

    @Test("one switch: two below its ports are, one on the root bus is not, and no bus number changes that")
    func sameSwitch() throws {
        let machine = try machine()
        let both = try plan(machine, .sameSwitch(at(Self.first), at(Self.second)))
        #expect(both.verdict.answer == .act)
        #expect(both.conditions.map(\.text).first?.contains("are both below the switch at 0000:01:00.0") == true)
        let apart = try plan(machine, .sameSwitch(at(Self.first), at("0000:00:1f.0")))
        #expect(apart.verdict.line == "PLAN: impossible reason=no-common-switch")
        #expect(apart.verdict.sentence.contains("one is at 0000:00:02.0, the other at 0000:00:1f.0"))
        #expect(apart.steps.isEmpty && apart.conditions.isEmpty)
        // The port itself is below the switch's upstream port, the upstream port is not below itself.
        #expect(try plan(machine, .sameSwitch(at(Self.ports[0]), at(Self.second))).verdict.answer == .act)
        let itself = try plan(machine, .sameSwitch(at("0000:01:00.0"), at(Self.second)))
        #expect(itself.verdict.reason == "no-common-switch")
        #expect(itself.verdict.sentence.contains("both are below 0000:00:02.0"))
    }

    @Test(
        "a group: another way is taken where one keeps it, and none is where the ports on every way get other controls"
    )
    func groups() throws {
        let machine = try machine(hasIOMMU: true)
        // As it is everything shares the group of the root port, whose controls are off; the way that stops it sets them.
        let card = try #require(machine.position(of: at(Self.first)))
        #expect(IsolationGroups(machine).others(with: card).count == 5)
        #expect(try plan(machine).isolation?.regroupings.isEmpty == false)
        let other = try plan(machine, .keepGroup(at(Self.first)))
        #expect(other.verdict.answer == .act && other.isolation?.regroupings.isEmpty == true)
        #expect(!other.disturbed.map(\.address).contains(try at("0000:00:02.0")))
        #expect(other.conditions.map(\.condition) == [.keepGroup(try at(Self.first))])
        // A word that leaves the controls off lets the shortest way keep the group.
        let word = try self.machine(hasIOMMU: true, words: "pci=disable_acs_redir=0000:00:02.0")
        let kept = try plan(word, .keepGroup(at(Self.first)))
        #expect(kept.disturbed.map(\.address).contains(try at("0000:00:02.0")))
        // The ports of the switch are found anew on every way.
        var open = try self.machine(switchACS: [])
        open.update(try at("0000:00:02.0")) {
            guard let offset = $0.capabilities.accessControl?.offset else { return }
            $0.config.write(UInt32(AccessControls.isolating.rawValue), at: Int(offset) + 6, width: 2)
            $0.capabilities = Capabilities($0.config)
        }
        open = grouped(open)
        let refused = try plan(open, .keepGroup(at(Self.first)))
        #expect(refused.verdict.line == "PLAN: refused reason=condition")
        #expect(refused.verdict.sentence.contains("0000:02:00.0 would leave the IOMMU group of 0000:03:00.0"))
        #expect(refused.remarks.contains { $0.contains("a way exists without --keep-group 0000:03:00.0: it stops 2") })
        // Somebody whom no way touches.
        #expect(try plan(open, .keepGroup(at("0000:00:1f.0"))).verdict.answer == .act)
    }

    @Test(
        "a route across the switch: redirection that comes on is refused, that is on is no route, that stays off is kept"
    )
    func routes() throws {
        let route = Condition.keepRoute(try at(Self.first), try at(Self.second))
        let off = try machine(hasIOMMU: true, switchACS: [])
        let refused = try plan(off, route)
        #expect(refused.verdict.line == "PLAN: refused reason=condition")
        #expect(refused.verdict.sentence.contains("would go by way of the root complex"))
        // Without an IOMMU the kernel leaves the controls alone.
        #expect(try plan(machine(switchACS: []), route).verdict.answer == .act)
        #expect(try plan(machine(hasIOMMU: true), route).verdict.answer == .act, "no capability, no redirection")
        let words = "pci=disable_acs_redir=0000:02:00.0;0000:02:01.0"
        #expect(try plan(machine(hasIOMMU: true, switchACS: [], words: words), route).verdict.answer == .act)
        let half = "pci=disable_acs_redir=0000:02:00.0"
        #expect(try plan(machine(hasIOMMU: true, switchACS: [], words: half), route).verdict.answer == .refused)
        let on = try plan(machine(switchACS: .isolating), route)
        #expect(on.verdict.line == "PLAN: impossible reason=no-direct-route")
        #expect(on.verdict.sentence.contains("pci=disable_acs_redir=0000:02:00.0;0000:02:01.0"))
        // Which way requests take between root ports no register tells.
        let outside = try plan(machine(), .keepRoute(at(Self.first), at("0000:00:1f.0")))
        #expect(outside.verdict.line == "PLAN: unknown reason=route-not-told")
    }

    @Test("what was not read is not claimed, unless there is nothing to do")
    func unread() throws {
        var machine = try machine(hasIOMMU: true)
        for port in ["0000:00:02.0"] + Self.ports {
            machine.update(try at(port)) {
                $0.config = ConfigSpace(Array($0.config.bytes.prefix(256)))
                $0.capabilities = Capabilities($0.config)
            }
        }
        #expect(try plan(machine, .keepGroup(at(Self.first))).verdict.line == "PLAN: unknown reason=group-not-told")
        let route = Condition.keepRoute(try at(Self.first), try at(Self.second))
        let untold = try plan(machine, route)
        #expect(untold.verdict.line == "PLAN: unknown reason=route-not-told")
        #expect(untold.remarks.last == "what would tell: sudo pci-rebalance snapshot -o machine.json")
        var healthy = try fixture("first-light-6.12/boot.snapshot.json")
        healthy.update(try at(Self.ports[0])) {
            $0.config = ConfigSpace(Array($0.config.bytes.prefix(256)))
            $0.capabilities = Capabilities($0.config)
        }
        #expect(try plan(healthy, .keepGroup(at(Self.first))).verdict.answer == .none)
    }

    @Test("a group that is not what the rule makes of it is not foretold")
    func contradiction() throws {
        var machine = try machine(hasIOMMU: true)
        machine.update(try at(Self.first)) { $0.use.iommuGroup = 77 }
        #expect(try plan(machine, .keepGroup(at(Self.first))).verdict.reason == "group-not-foretold")
    }

    @Test("conditions that mean nothing are told so")
    func hostile() throws {
        let machine = try machine(hasIOMMU: true)
        let nobody = try at("0000:7f:00.0")
        for condition in [
            Condition.keepGroup(nobody), .keepRoute(try at(Self.first), nobody), .sameSwitch(nobody, nobody),
        ] {
            #expect { try plan(machine, condition) } throws: { ($0 as? PlanningError)?.code == .noSuchFunction }
        }
        let twice = Condition.sameSwitch(try at(Self.first), try at(Self.first))
        #expect { try plan(machine, twice) } throws: { ($0 as? PlanningError)?.code == .goalDoesNotApply }
        var bare = machine
        bare.update(try at(Self.first)) { $0.use.iommuGroup = nil }
        #expect { try plan(bare, .keepGroup(at(Self.first))) } throws: {
            ($0 as? PlanningError)?.code == .goalDoesNotApply
        }
    }
}
