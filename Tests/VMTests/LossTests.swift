// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Testing
internal import VMLaboratory

/// What an apply with another kernel's rules once lost on 6.18, on the kernels themselves: repaired or refused, and
/// nothing lost either way.
@Suite("an apply loses nothing, whatever the kernel")
struct LossTests {
    /// A failed hot-add.
    struct Case: Sendable, CustomTestStringConvertible {
        var topology: MachineTopology
        var card: Device
        var port: String
        var testDescription: String { topology.name }
    }

    /// Four root ports, three switches, one of them two levels deep; 512 MiB are plugged in where 1 MiB and 400 MiB sit.
    static let switches = MachineTopology(
        "three-switches",
        kernelArguments: MachineTopology.withoutSHPC,
        devices: [
            .rootPort(
                "rp1",
                at: "2",
                children: [
                    .upstreamPort(
                        "u2",
                        children: [
                            .downstreamPort("d3", children: [.testDevice("t4", memory: .mib(64))]),
                            .downstreamPort("d5", children: [.testDevice("t6", memory: .mib(256))]),
                            .downstreamPort("d7"),
                        ]
                    )
                ]
            ),
            .rootPort(
                "rp8",
                at: "3",
                reserve: .init(prefetchable64: .mib(64)),
                children: [.upstreamPort("u9", children: [.downstreamPort("d10"), .downstreamPort("d11")])]
            ),
            .rootPort("rp12", at: "4", reserve: .init(prefetchable64: .mib(64))),
            .rootPort(
                "rp13",
                at: "5",
                children: [
                    .upstreamPort(
                        "u14",
                        children: [
                            .downstreamPort("d15", children: [.testDevice("t16", memory: .mib(1))]),
                            .downstreamPort("d17"),
                            .downstreamPort("d18", children: [.testDevice("t19", memory: .mib(16))]),
                            .downstreamPort(
                                "d20",
                                children: [
                                    .upstreamPort(
                                        "u21",
                                        children: [
                                            .downstreamPort("d22", children: [.testDevice("t23", memory: .mib(64))]),
                                            .downstreamPort("d24", children: [.testDevice("t25", memory: .mib(4))]),
                                            .downstreamPort("d26", children: [.testDevice("t27", memory: .mib(256))]),
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
        Case(topology: switches, card: .testDevice("new", memory: .mib(512)), port: "d17"),
        Case(topology: .firstLight, card: .testDevice("card", memory: .gib(1)), port: "d2"),
    ]

    /// 6.18 alone, where it was lost, unless `PCI_REBALANCE_VM_CASES=all` (`make vm-test-all`).
    static let kernels: [Kernel] = {
        let asked = ProcessInfo.processInfo.environment["PCI_REBALANCE_LOSS_KERNELS"]?.split(separator: ",")
        if let asked { return Kernel.everyKernel.filter { asked.contains(Substring($0.rawValue)) } }
        return RepairTests.areAllCasesAsked ? Kernel.everyKernel : [.linux6_18]
    }()

    @Test("a failed hot-add is repaired and nobody loses a BAR", arguments: kernels, cases)
    func nothingIsLost(kernel: Kernel, example: Case) throws {
        // Backports leave the archive; those kernels run where they were fetched while they were there.
        guard kernel.isCached else {
            try Test.cancel("kernel \(kernel) is not in the cache; run fetch-kernels \(kernel)")
        }
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(example.topology, kernel: kernel)
        let healthy = try guest.resources()
        try guest.hotPlug(example.card, behind: example.port)
        let broken = try guest.run("pci-rebalance check")
        #expect(broken.status == 3, "\(broken.output)\(broken.errors)")
        let applied = try guest.run("pci-rebalance apply --yes", timeout: .seconds(400))
        #expect(applied.status == 0, "\(kernel): \(applied.output)\(applied.errors)")
        #expect(applied.lines.last?.hasPrefix("APPLY: done") == true, "\(kernel): \(applied.output)")
        // Every standard BAR that had an address has one, whatever the apply said.
        let after = try guest.resources()
        for (address, lines) in healthy where lines.count >= 6 {
            for bar in 0..<6 where lines[bar].isAssigned {
                #expect(after[address].map { $0[bar].isAssigned } == true, "\(kernel): \(address) BAR \(bar)")
            }
        }
        let cured = try guest.run("pci-rebalance check")
        #expect(cured.status == 0, "\(kernel): \(cured.output)\(cured.errors)")
    }
}
