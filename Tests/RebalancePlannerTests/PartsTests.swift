// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Machines whose host bridges share nothing are planned part by part; nobody may see it but by the time that it takes.
@Suite("plans for several host bridges")
struct PartsTests {
    private static let behaviour = KernelBehaviour.preset(forRelease: "6.12.0").behaviour

    private func endpoint(_ size: UInt64) -> CardFunction {
        CardFunction(
            devfn: 0,
            identity: Function.Identity(vendor: 0x1234, device: 1, classCode: 0x020000),
            bars: [.memory(0, 1 << 14), .memory(2, size, is64Bit: true, isPrefetchable: true)],
            driver: "driver"
        )
    }

    /// A root port with a switch of three ports: two with an endpoint, one empty.
    private var rootPort: CardProfile {
        let downstream = (0..<3 as Range<UInt8>).map { slot in
            CardProfile.downstreamPort(device: slot, isHotPlug: true, children: slot < 2 ? [endpoint(1 << 20)] : [])
        }
        let port = CardFunction(
            devfn: 8,
            identity: Function.Identity(vendor: 0x1b36, device: 0x000c, classCode: 0x060400),
            bars: [],
            portType: .rootPort,
            bridge: CardBridge(
                isHotPlug: true,
                children: [CardProfile.packetSwitch(downstream: downstream).functions[0]]
            )
        )
        return CardProfile(name: "root port", functions: [port])
    }

    private func host(_ segment: UInt32) throws -> HostBridge {
        let n = UInt64(segment)
        let ranges: [(AddressRange?, ResourceFlags)] = [
            (AddressRange(first: 0x1000 + n * 0x4000, size: 0x3000), .io),
            (AddressRange(first: 0x8000_0000 + n << 28, size: 1 << 28), .memory),
            (AddressRange(first: (1 + n) << 40, size: 1 << 36), .memory),
        ]
        return HostBridge(
            segment: segment,
            busRange: try #require(BusRange(first: BusNumber(0), last: BusNumber(0xff))),
            apertures: ranges.compactMap { range, flags in range.map { Aperture(range: $0, flags: flags) } },
            source: .kernelLog
        )
    }

    /// A machine of `segments` host bridges that was booted, and then got a card without room in some of them.
    private func machine(_ segments: UInt32, pluggedIn plugged: [UInt32]) throws -> Topology {
        var platform = Platform()
        platform.hotPlugBuses = 1
        var twin = try LinuxTwin(
            hostBridges: try (0..<segments).map { try host($0) },
            cards: (0..<segments).map { (host: Int($0), card: rootPort) },
            behaviour: Self.behaviour,
            platform: platform
        )
        _ = try twin.perform(.boot(platform))
        let card = CardProfile(name: "card", functions: [endpoint(1 << 30)])
        for segment in plugged {
            let topology = try twin.topology()
            let port = try #require(
                topology.functions.indices.first { i in
                    topology.functions[i].address.segment == segment && topology.functions[i].isHotPlugBridge
                        && topology.children(of: i).isEmpty
                }
            )
            _ = try twin.perform(.hotAdd(port: topology.functions[port].address, card: card, method: .pciehp))
        }
        return try twin.topology()
    }

    @Test("every step's prediction is the whole machine's")
    func predictions() throws {
        let topology = try machine(3, pluggedIn: [0, 2])
        #expect(topology.independentHosts == [[0], [1], [2]])
        let plan = try Planner(topology: topology, behaviour: Self.behaviour).plan(goals: [.everythingRequired])
        #expect(plan.verdict.answer == .act)
        #expect(plan.isWhole)
        #expect(plan.before == TreeState(topology))
        var prediction = try Prediction(topology, behaviour: Self.behaviour)
        for step in plan.steps {
            let isDone = prediction.perform(step.writes)
            #expect(isDone)
            #expect(prediction.tree == step.after)
        }
        #expect(plan.steps.last?.after == plan.after)
        #expect(Set(plan.disturbed.map(\.address.segment)) == [0, 2])
        #expect(plan.disturbed.map(\.address) == plan.disturbed.map(\.address).sorted())
    }

    @Test("the steps are those of each part by itself, in the order of the tree")
    func steps() throws {
        let topology = try machine(2, pluggedIn: [0, 1])
        let planner = Planner(topology: topology, behaviour: Self.behaviour)
        let plan = try planner.plan(goals: [.everythingRequired])
        var apart: [SystemWrite] = []
        var disturbed: [Disturbance] = []
        for h in 0..<2 {
            let part = try #require(topology.part(ofHosts: [h]))
            let one = try Planner(topology: part, behaviour: Self.behaviour).plan(goals: [.everythingRequired])
            #expect(one.verdict.answer == .act)
            apart += one.steps.flatMap(\.writes)
            disturbed += one.disturbed
        }
        #expect(plan.steps.flatMap(\.writes) == apart)
        #expect(plan.disturbed == disturbed)
    }

    @Test("a limit on the number of functions counts those of all parts")
    func limit() throws {
        let topology = try machine(2, pluggedIn: [0, 1])
        let planner = Planner(topology: topology, behaviour: Self.behaviour)
        let free = try planner.plan(goals: [.everythingRequired])
        let movers = free.disturbed.count { $0.weight > 0 }
        let bound = try planner.plan(
            goals: [.everythingRequired],
            constraints: Constraints(maxMoves: movers - 1)
        )
        #expect(bound.disturbed.count { $0.weight > 0 } < movers)
    }

    @Test("host bridges of one segment, or with apertures in common, are one part")
    func shared() throws {
        let topology = try machine(2, pluggedIn: [])
        func groups(_ change: (inout [HostBridge]) -> Void) throws -> [[Int]] {
            var hosts = topology.hostBridges
            change(&hosts)
            return try Topology(
                kernel: topology.kernel,
                hostBridges: hosts,
                functions: topology.functions
            ).independentHosts
        }
        #expect(try groups { _ in } == [[0], [1]])
        #expect(try groups { $0[1].apertures[2] = $0[0].apertures[2] } == [[0, 1]])
        #expect(try groups { $0[0].source = .unknown } == [[0, 1]])
    }

    @Test("a segment that loses its last function is gone from the state")
    func emptySegment() throws {
        let state = TreeState(try machine(2, pluggedIn: []))
        let part = TreeState(state.functions.filter { $0.address.segment == 1 })
        #expect(state.replacing(segments: [0], with: TreeState([])) == part)
        #expect(part.replacing(segments: [0], with: state) == state)
        #expect(state.functions.count == 2 * part.functions.count)
    }
}
