// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Registers for a kernel that is started over them.
@Suite("restarts with programmed registers")
struct RestartPlanTests {
    private func recorded(_ name: String) throws -> Topology {
        let parts = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false)
        let root = parts.prefix { $0 != "Tests" }.joined(separator: "/")
        let record = try RecordedInput(paths: ["\(root)/Fixtures/\(name)/failed-hot-add.snapshot.json"]).record
        return try TopologyAssembler(record).topology()
    }

    @Test(
        "after a failed hot-add everything is there, by registers that the twin's boot keeps",
        arguments: ["first-light-6.1", "first-light-6.12", "first-light-7"]
    )
    func failedHotAdd(name: String) throws {
        let topology = try recorded(name)
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        let plan = try #require(
            RestartPlan(topology, behaviour: behaviour, commandLine: topology.kernel.commandLine)
        )
        let card = try #require(plan.after.functions.first { $0.address.description.hasSuffix("04:00.0") })
        #expect(card.lines[2].end - card.lines[2].start == (1 << 30) - 1)
        // Written one by one on another twin, the registers say the same, and its boot gives the same tree.
        var twin = try LinuxTwin(topology, behaviour: behaviour)
        let platform = Platform(
            architecture: topology.kernel.architecture,
            commandLine: topology.kernel.commandLine
        )
        for write in plan.writes {
            guard case .config(let address, let offset, let width, let mask, let value) = write else {
                Issue.record("expected writes to registers alone, found \(write)")
                continue
            }
            if offset == 0x18, mask == 0x00ff_ffff {
                try twin.perform(
                    .setBusNumbers(
                        address,
                        primary: BusNumber(UInt8(value & 0xff)),
                        secondary: BusNumber(UInt8(value >> 8 & 0xff)),
                        subordinate: BusNumber(UInt8(value >> 16 & 0xff))
                    )
                )
                continue
            }
            let present = try #require(twin.register(of: address, at: offset, width: width))
            let whole = present & ~mask | value & mask
            try twin.perform(.writeConfig(address, offset: offset, width: width, value: whole))
        }
        try twin.perform(.boot(platform))
        let booted = try twin.topology()
        #expect(TreeState(booted) == plan.after)
        #expect(booted.findings().allSatisfy { $0.severity == .note })
        // Decoding goes off before any address changes.
        let first = try #require(
            plan.writes.firstIndex { if case .config(_, 4, 2, 7, 0) = $0 { false } else { true } }
        )
        #expect(
            plan.writes[first...].allSatisfy { if case .config(_, 4, _, _, _) = $0 { false } else { true } }
        )
        #expect(plan.writes[..<first].count == plan.stopped.count)
    }

    @Test("nothing to program where everything has its place; none where another architecture assigns anew")
    func none() throws {
        var topology = try recorded("first-light-6.12")
        let behaviour = KernelBehaviour.linux6_12
        let plan = try Planner(topology: topology, behaviour: behaviour).plan(goals: [.everythingRequired])
        let healthy = try Planner(topology: topology, behaviour: behaviour).topology(after: plan)
        #expect(RestartPlan(healthy, behaviour: behaviour) == nil)
        topology.kernel.architecture = "ppc64le"
        #expect(RestartPlan(topology, behaviour: behaviour) == nil)
    }
}
