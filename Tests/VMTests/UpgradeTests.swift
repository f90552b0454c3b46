// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// What `upgrade` says of a machine against what other kernels make of the same machine in guests.
@Suite("upgrades on real kernels")
struct UpgradeTests {
    /// The kernels that are in the cache, other than the one that the question is asked on.
    private static let others: [Kernel] = [.linux6_1, .linux6_12, .linux7]

    @Test(
        "a loss that is foretold comes, and nothing else is lost",
        arguments: RepairTests.areAllCasesAsked
            ? [MachineTopology.twoLargeCards, .firstLight, .deepSwitches] : [.twoLargeCards],
        [Kernel.linux6_12, .linux7]
    )
    func judged(machine: MachineTopology, kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let here = try VirtualMachine(machine, kernel: kernel)
        let topology = try topology(of: here)
        let roots = topology.functions.indices.filter {
            topology.functions[$0].isBridge && topology.functions[$0].parent == nil
                && !topology.children(of: $0).isEmpty
        }
        let atHome = try lost(by: here, roots.map { topology.functions[$0].address })
        for other in Self.others where other != kernel {
            guard VirtualMachine.unavailableReason(other) == nil else { continue }
            let there = try VirtualMachine(machine, kernel: other)
            let upgrade = try KernelUpgrade(
                topology,
                present: KernelUpgrade.Release(here.release),
                releases: [KernelUpgrade.Release(there.release)]
            )
            let foretold = Set(upgrade.changes.flatMap { $0.loses.map(\.text) })
            let gained = Set(upgrade.changes.flatMap { $0.gains.map(\.text) })
            let found = try lost(by: there, roots.map { topology.functions[$0].address })
            #expect(foretold == found.subtracting(atHome), "\(here.release) to \(there.release)")
            #expect(gained == atHome.subtracting(found), "\(here.release) to \(there.release)")
        }
    }

    private func topology(of guest: VirtualMachine) throws -> Topology {
        let result = try guest.run("pci-rebalance snapshot -q")
        return try TopologyAssembler(try SnapshotFile.decode(result.standardOutput)).topology()
    }

    /// What has no address after the boot, or after each root port was removed and found anew: `0000:04:00.0 BAR 2`.
    private func lost(by guest: VirtualMachine, _ roots: [FunctionAddress]) throws -> Set<String> {
        var result = try lacking(guest)
        for root in roots {
            try guest.remove(root.description)
            try guest.rescan(bus: "0000:\(root.bus)")
            try guest.waitUntilQuiet()
            result.formUnion(try lacking(guest))
        }
        return result
    }

    private func lacking(_ guest: VirtualMachine) throws -> Set<String> {
        let topology = try topology(of: guest)
        let places = topology.functions.indices.map { (topology.path(of: $0), topology.functions[$0].address) }
        let byPath = Dictionary(places) { first, _ in first }
        return Set(
            topology.problemShortfalls.compactMap { shortfall in
                guard case .resource(let index) = shortfall.kind, let address = byPath[shortfall.path] else {
                    return nil
                }
                return "\(address) \(index)"
            }
        )
    }
}

extension KernelUpgrade.Place {
    fileprivate var text: String {
        if case .resource(let index) = shortfall.kind { "\(address) \(index)" } else { "\(address)" }
    }
}
