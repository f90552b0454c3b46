// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Plans for recorded failures of three kernels, held against what those kernels were seen to do.
///
///     00:02.0 root port -> 01:00.0 upstream -+- 02:00.0 -> 03:00.0 16 MiB, lost its I/O BAR
///                                            `- 02:01.0 -> 04:00.0 1 GiB, no place
@Suite("plans for recorded failures")
struct FirstLightPlanTests {
    static let kernels = ["6.1", "6.12", "7"]

    private func plan(_ name: String, _ constraints: Constraints = Constraints()) throws -> (Topology, Plan) {
        let topology = try fixture("\(name)/failed-hot-add.snapshot.json")
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        let planner = Planner(topology: topology, behaviour: behaviour)
        return (topology, try planner.plan(goals: [.everythingRequired], constraints: constraints))
    }

    @Test("the prediction is what the kernel then showed, line for line", arguments: kernels)
    func prediction(kernel: String) throws {
        let (_, plan) = try plan("first-light-\(kernel)")
        #expect(plan.verdict.answer == .act)
        let seen = TreeState(try fixture("first-light-\(kernel)/repaired.snapshot.json"))
        #expect(plan.after.differences(from: seen).map(\.description) == [])
    }

    @Test("emptying bus 01 is enough on 7 only, and disturbs less", arguments: kernels)
    func disturbance(kernel: String) throws {
        let (_, plan) = try plan("first-light-\(kernel)")
        let below = ["0000:01:00.0", "0000:02:00.0", "0000:02:01.0", "0000:03:00.0", "0000:04:00.0"]
        #expect(plan.disturbed.map(\.address.description) == (kernel == "7" ? below : ["0000:00:02.0"] + below))
        let rescan: SystemWrite = .rescanBus(segment: 0, bus: BusNumber(kernel == "7" ? 1 : 0))
        #expect(plan.steps.flatMap(\.writes).contains(rescan))
    }

    @Test("the failure is named, with its pin and its collateral damage", arguments: kernels)
    func diagnosis(kernel: String) throws {
        let (_, plan) = try plan("first-light-\(kernel)")
        let text = plan.diagnosis.map(\.text)
        #expect(text.contains { $0.hasPrefix("0000:04:00.0 BAR 2 [mem size 0x40000000 64bit pref] has no address") })
        #expect(text.contains { $0.hasPrefix("0000:03:00.0 BAR 1 [io  size 0x0100] lost its address") })
        #expect(text.contains { $0.contains("pinned by 0000:03:00.0 BAR 2 (16M)") })
        #expect(text.contains { $0.hasPrefix("the host bridge has room") })
    }

    @Test("a bridge without bus gets one: numbers before the removal, no other port touched", arguments: kernels)
    func busNumbers(kernel: String) throws {
        let (topology, plan) = try plan("three-root-ports-\(kernel)")
        #expect(plan.verdict.answer == .act)
        #expect(plan.disturbed.map(\.address.description) == ["0000:00:02.0", "0000:01:00.0"])
        let bridge = try #require(plan.after.functions.first { $0.path.description == "0000:00:02.0/00.0" })
        #expect(bridge.address.description == "0000:04:00.0")
        // Nobody knows what is behind it: it gets numbers for switches behind a switch.
        #expect(bridge.busRange == BusRange(first: BusNumber(0x05), last: BusNumber(0x35)))
        for state in TreeState(topology).functions where !plan.disturbed.map(\.address).contains(state.address) {
            #expect(plan.after.functions.contains(state), "\(state.address)")
        }
        // Numbers are written while the bridge still answers, and before it is removed.
        let writes = plan.steps.flatMap(\.writes)
        let port = try #require(FunctionAddress(parsing: "00:02.0"))
        let numbers = try #require(
            writes.firstIndex(of: .config(port, offset: 0x18, width: 4, mask: 0x00ff_ffff, value: 0x35_0400))
        )
        let removal = try #require(writes.firstIndex(of: .remove(port)))
        #expect(numbers < removal)
    }

    @Test("what must be kept is kept: the plan is refused and says why", arguments: kernels)
    func protected(kernel: String) throws {
        let sibling = try #require(FunctionAddress(parsing: "03:00.0"))
        let (_, plan) = try plan("first-light-\(kernel)", Constraints(keep: [sibling]))
        #expect(plan.verdict.answer == .refused)
        #expect(plan.verdict.reason == "protected")
        #expect(plan.verdict.sentence.contains("0000:03:00.0"))
        #expect(plan.steps.isEmpty)
        #expect(plan.after == plan.before)
    }

    @Test("a healthy tree needs no plan", arguments: kernels)
    func healthy(kernel: String) throws {
        let topology = try fixture("first-light-\(kernel)/boot.snapshot.json")
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        let plan = try Planner(topology: topology, behaviour: behaviour).plan(goals: [.everythingRequired])
        #expect(plan.verdict.line == "PLAN: none reason=nothing-missing")
    }

    @Test("plans are deterministic")
    func deterministic() throws {
        #expect(try plan("first-light-6.12").1 == plan("first-light-6.12").1)
    }
}

/// The topology of a recorded snapshot below `Fixtures/`.
func fixture(_ path: String, file: StaticString = #filePath) throws -> Topology {
    let parts = "\(file)".split(separator: "/", omittingEmptySubsequences: false)
    let root = parts.prefix { $0 != "Tests" }.joined(separator: "/")
    let record = try SnapshotFile(path: "\(root)/Fixtures/\(path)").read()
    return try TopologyAssembler(record).topology()
}
