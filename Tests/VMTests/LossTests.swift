// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import DifferentialLaboratory
internal import Foundation
internal import PlanExecutor
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// Failed hot-adds on every kernel of the laboratory, repaired by the tool in the guest: nothing is lost on any.
///
/// An apply with another kernel's rules once cost three cards their BARs on 6.18.
@Suite("an apply loses nothing, whatever the kernel")
struct LossTests {
    /// A failed hot-add.
    struct Case: Sendable, CustomTestStringConvertible {
        var topology: MachineTopology
        var plug: RescueTree.Plug
        var testDescription: String { topology.name }
    }

    /// Four root ports and three switches, one behind another; a card of 512 MiB goes in beside 1 MiB and 400 MiB.
    static let switches = MachineTopology(
        "three-switches",
        kernelArguments: MachineTopology.withoutSHPC,
        devices: [
            .rootPort(
                "rp1",
                at: "2",
                children: [
                    .upstreamPort(
                        "u1",
                        children: [
                            .downstreamPort("d1", children: [.testDevice("t1", memory: .mib(64))]),
                            .downstreamPort("d2", children: [.testDevice("t2", memory: .mib(256))]),
                            .downstreamPort("d3"),
                        ]
                    )
                ]
            ),
            .rootPort(
                "rp2",
                at: "3",
                reserve: .init(prefetchable64: .mib(64)),
                children: [.upstreamPort("u2", children: [.downstreamPort("d4"), .downstreamPort("d5")])]
            ),
            .rootPort("rp3", at: "4", reserve: .init(prefetchable64: .mib(64))),
            .rootPort(
                "rp4",
                at: "5",
                children: [
                    .upstreamPort(
                        "u3",
                        children: [
                            .downstreamPort("d6", children: [.testDevice("t3", memory: .mib(1))]),
                            .downstreamPort("d7"),
                            .downstreamPort("d8", children: [.testDevice("t4", memory: .mib(16))]),
                            .downstreamPort(
                                "d9",
                                children: [
                                    .upstreamPort(
                                        "u4",
                                        children: [
                                            .downstreamPort("d10", children: [.testDevice("t5", memory: .mib(64))]),
                                            .downstreamPort("d11", children: [.testDevice("t6", memory: .mib(4))]),
                                            .downstreamPort("d12", children: [.testDevice("t7", memory: .mib(256))]),
                                        ]
                                    )
                                ]
                            ),
                        ]
                    )
                ]
            ),
        ]
    )

    static let cases = [
        Case(topology: switches, plug: .init(LabCard([.testDevice(.mib(512))]), port: "d7")),
        Case(topology: .firstLight, plug: .init(LabCard([.testDevice(.gib(1))]), port: "d2")),
    ]

    /// 6.18, where it was lost; every one with `PCI_REBALANCE_VM_CASES=all` (`make vm-test-all`), others with
    /// `PCI_REBALANCE_KERNELS=7.0,7.1`.
    static let kernels = chosen([.linux6_18])

    private static func chosen(_ usual: [Kernel]) -> [Kernel] {
        let asked = ProcessInfo.processInfo.environment["PCI_REBALANCE_KERNELS"]?.split(separator: ",")
        if let asked { return Kernel.everyKernel.filter { asked.contains(Substring($0.rawValue)) } }
        return RepairTests.areAllCasesAsked ? Kernel.everyKernel : usual
    }

    @Test("a failed hot-add is repaired, and nobody loses a BAR", arguments: kernels, cases)
    func repaired(kernel: Kernel, example: Case) throws {
        let attempts = try attempts(kernel, example.topology, [example.plug])
        try #require(attempts.count == 1, "the card does not fit")
        #expect(attempts[0].end == .rescued, "\(kernel): \(attempts[0].losses)\n\(attempts[0].output)")
    }

    /// The way back itself, from the second step and from the first: what was once lost was lost on it.
    @Test(
        "an apply that is stopped by another tree than foretold loses nothing",
        arguments: chosen([.linux6_18]),
        [1, 0]
    )
    func wayBack(kernel: Kernel, step: Int) throws {
        let example = Self.cases[0]
        let stopped = { (guest: VirtualMachine) throws -> String in
            var plan = try PlanDocument.decode(guest.run("pci-rebalance plan --json").checked().standardOutput)
            try #require(plan.steps.indices.contains(step), "\(plan.verdict.line)")
            plan.spoil(step)
            try guest.run("umask 077; cat >/tmp/plan.json", input: PlanDocument.encode(plan)).checked()
            return "pci-rebalance apply --allow-unjudged /tmp/plan.json"
        }
        let attempts = try attempts(kernel, example.topology, [example.plug], command: stopped)
        try #require(attempts.count == 1, "the card does not fit")
        #expect(attempts[0].end == .rolledBack, "\(kernel): \(attempts[0].losses)\n\(attempts[0].output)")
    }

    static let seeds: [UInt64] = RepairTests.areAllCasesAsked ? [9501, 9502, 9503] : [9502]

    /// Trees that nobody chose: rescued, refused or put back.
    @Test("random failed hot-adds lose nothing", arguments: chosen([.linux6_18]), seeds)
    func random(kernel: Kernel, seed: UInt64) throws {
        let tree = RescueTree(seed: seed, plugs: 3)
        for attempt in try attempts(kernel, tree.machine, tree.plugs) {
            #expect(attempt.end != .lost, "\(kernel), seed \(seed): \(attempt.losses)\n\(attempt.output)")
        }
    }

    private func attempts(
        _ kernel: Kernel,
        _ machine: MachineTopology,
        _ plugs: [RescueTree.Plug],
        command: ((VirtualMachine) throws -> String)? = nil
    ) throws -> [RescueTrial.Attempt] {
        // Backports leave the archive; those kernels run where they were fetched while they were there.
        guard kernel.isCached else {
            try Test.cancel("kernel \(kernel) is not in the cache; run fetch-kernels \(kernel)")
        }
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        // Where apply does not write unasked, it is asked to.
        let isUnasked = KernelCatalogue.obstacle(toWritingOn: kernel.release ?? "") == nil
        let words = isUnasked ? "" : "--allow-unjudged"
        var trial = RescueTrial(machine, kernel: kernel, plugs: plugs, words: words)
        if let command { trial.command = command }
        return try trial.run()
    }
}
