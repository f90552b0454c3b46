// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Who is stopped with whom: functions of one device, virtual functions and their physical one.
@Suite("whole devices")
struct WholeDeviceTests {
    private static let behaviour = KernelBehaviour.linux6_12

    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    /// A root port that forwards ARI requests, with `functions` behind it, booted.
    private func machine(_ functions: [CardFunction]) throws -> Topology {
        let port = CardFunction(
            devfn: 1 << 3,
            identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x06_0400),
            portType: .rootPort,
            bridge: CardBridge(isHotPlug: true, forwardsARI: true, children: functions)
        )
        let apertures = [
            AddressRange(first: 0x8000_0000, size: 0x1000_0000), AddressRange(first: 1 << 32, size: 1 << 32),
        ]
        let host = HostBridge(
            segment: 0,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(15))),
            apertures: apertures.compactMap { $0.map { Aperture(range: $0, flags: .memory) } },
            source: .kernelLog
        )
        let platform = Platform(architecture: "x86_64", commandLine: nil)
        var twin = try LinuxTwin(
            hostBridges: [host],
            cards: [(0, CardProfile(name: "port", functions: [port]))],
            behaviour: Self.behaviour,
            platform: platform
        )
        try twin.perform(.boot(platform))
        return try twin.topology()
    }

    private func function(_ devfn: UInt8, hasARI: Bool = false) -> CardFunction {
        CardFunction(
            devfn: devfn,
            identity: Function.Identity(vendor: 0x8086, device: 0x1572, classCode: 0x02_0000),
            bars: [.memory(0, 1 << 20)],
            portType: .endpoint,
            hasARI: hasARI
        )
    }

    /// The tree with BAR 0 of one function forgotten, as a failed assignment leaves it.
    private func forgetting(_ address: FunctionAddress, in topology: Topology) -> Topology {
        var topology = topology
        topology.update(address) { function in
            function.lines[0] = .zero
            for i in function.resources.indices where function.resources[i].index == .bar(0) {
                function.resources[i].assignment = .wiped
            }
        }
        return topology
    }

    private func plan(_ topology: Topology, _ constraints: Constraints = Constraints()) throws -> Plan {
        try Planner(topology: topology, behaviour: Self.behaviour).plan(
            goals: [.everythingRequired],
            constraints: constraints
        )
    }

    @Test("functions of one device are stopped together, functions of another device on the bus are not")
    func siblings() throws {
        let topology = forgetting(try at("01:00.1"), in: try machine([0, 1, 2, 8].map { function($0) }))
        let plan = try plan(topology)
        #expect(plan.verdict.line == "PLAN: act reason=unassigned-bars")
        #expect(plan.disturbed.map(\.address.description) == ["0000:01:00.0", "0000:01:00.1", "0000:01:00.2"])
    }

    @Test("below a port that forwards ARI requests all functions of the bus are one device")
    func alternativeRoutingIDs() throws {
        let booted = try machine([0, 1, 2, 8, 9].map { function($0, hasARI: true) })
        #expect(booted[try at("00:01.0")]?.capabilities.express?.isARIForwardingEnabled == true)
        let topology = forgetting(try at("01:01.1"), in: booted)
        let plan = try plan(topology)
        #expect(plan.verdict.line == "PLAN: act reason=unassigned-bars")
        #expect(
            plan.disturbed.map(\.address.description) == [
                "0000:01:00.0", "0000:01:00.1", "0000:01:00.2", "0000:01:01.0", "0000:01:01.1",
            ]
        )
        // One of them that must stay keeps all of them.
        let refused = try self.plan(topology, Constraints(keep: [try at("01:00.0")]))
        #expect(refused.verdict.line == "PLAN: refused reason=protected")
    }

    @Test("a physical function whose VFs somebody has is not stopped; allowed, its VFs come back")
    func virtualFunctions() throws {
        var card = function(0)
        card.driver = "driver"
        card.sriov = CardSRIOV(total: 4, offset: 1, stride: 1, device: 0x154c, bars: [.memory(0, 1 << 16)])
        var twin = try LinuxTwin(try machine([card, function(8)]), behaviour: Self.behaviour)
        try twin.perform(.setVFs(try at("01:00.0"), 2))
        let topology = forgetting(try at("01:00.0"), in: try twin.topology())
        #expect(topology[try at("01:00.0")]?.use.enabledVFs == 2)
        let refused = try plan(topology)
        #expect(refused.verdict.line == "PLAN: refused reason=protected")
        #expect(refused.diagnosis.contains { $0.text == "it has 2 VFs enabled" || $0.text.contains("2 VFs enabled") })
        let allowed = try plan(topology, Constraints(allowDisturb: [try at("01:00.0")]))
        #expect(allowed.verdict.answer == .act)
        #expect(allowed.disturbed.map(\.address.description).contains("0000:01:00.1"), "a VF stops with its PF")
        #expect(allowed.steps.flatMap(\.writes).contains(.sriovNumVFs(try at("01:00.0"), count: 2)))
        // A guest that holds one of the VFs keeps the physical function, whatever was allowed for that.
        var held = topology
        held.update(try at("01:00.1")) {
            $0.use.evidence.append(
                UseEvidence(code: "vfio", detail: "a guest holds it", isProtected: true, weight: 1000)
            )
        }
        let kept = try plan(held, Constraints(allowDisturb: [try at("01:00.0")]))
        #expect(kept.verdict.line == "PLAN: refused reason=protected")
        #expect(kept.verdict.sentence.contains("a guest holds it"))
    }
}
