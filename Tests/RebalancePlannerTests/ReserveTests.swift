// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Room and bus numbers asked for below a port, on recorded machines.
@Suite("room asked for")
struct ReserveTests {
    static let kernels = ["6.1", "6.12", "7"]

    private func plan(_ name: String, _ port: String, _ room: Headroom) throws -> (Topology, Plan) {
        let topology = try fixture("\(name)/boot.snapshot.json")
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        let address = try #require(FunctionAddress(parsing: port))
        let planner = Planner(topology: topology, behaviour: behaviour)
        return (topology, try planner.plan(goals: [.reserve(address, room)]))
    }

    @Test("a memory reserve has a way on every kernel, and the tree then has the room", arguments: kernels)
    func memory(kernel: String) throws {
        for buses in 0...1 {
            let wanted = Headroom(prefetchable: ByteCount(1 << 30), buses: buses)
            let (topology, plan) = try plan("first-light-\(kernel)", "0000:02:01.0", wanted)
            #expect(plan.verdict.answer == .act)
            let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
            let after = try Planner(topology: topology, behaviour: behaviour).topology(after: plan)
            let port = try #require(
                after.functions.indices.first { after.path(of: $0).description == "0000:00:02.0/00.0/01.0" }
            )
            #expect(after.freeRoom(belowBridge: port, .prefetchable).holds(1 << 30))
            #expect(after.freeBusNumbers(belowBridge: port) >= buses)
        }
    }

    @Test("more bus numbers than there are is proved impossible, for want of numbers", arguments: kernels)
    func numbers(kernel: String) throws {
        let (_, plan) = try plan("first-light-\(kernel)", "0000:02:01.0", Headroom(buses: 252))
        #expect(plan.verdict.answer == .impossible)
        #expect(plan.verdict.reason == "bus-exhausted")
        #expect(plan.diagnosis.contains { $0.text.contains("room below 0000:02:01.0 needs 252 bus numbers") })
    }

    @Test("memory that nobody has is not said to be a want of bus numbers", arguments: kernels)
    func reason(kernel: String) throws {
        let wanted = Headroom(prefetchable: ByteCount(64 << 30), buses: 1)
        let (_, plan) = try plan("first-light-\(kernel)", "0000:02:01.0", wanted)
        #expect(plan.verdict.answer == .impossible)
        #expect(plan.verdict.reason == "mmio-window-too-small")
    }
}
