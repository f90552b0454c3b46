// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// Allocation policies by name: `today`, `linux-6.12`, `seabios`, …
enum PolicyWords {
    /// The names, in the order of tables.
    static let names = [
        "today", "linux-6.1", "linux-6.12", "linux-7.2", "seabios", "edk2", "ovmf", "coreboot", "u-boot", "freebsd",
    ]

    /// What the named policy makes of the tree.
    static func outcome(
        _ name: String,
        of topology: Topology,
        demand: ResourceDemand
    ) throws(CommandEnd) -> PolicyOutcome {
        if name == "today" { return PolicyOutcome(asIn: topology, policy: "today", sizes: demand) }
        if let behaviour = KernelBehaviour.presets.first(where: { $0.name == name }) {
            let kernel = topology.kernel
            let policy = LinuxBootPolicy(
                topology,
                behaviour: behaviour,
                platform: Platform(architecture: kernel.architecture, commandLine: kernel.commandLine),
                platformName: kernel.architecture ?? "x86_64"
            )
            return policy.allocate(demand)
        }
        switch name {
        case "seabios": return SeaBIOSPolicy().allocate(demand)
        case "edk2": return EDK2Policy(padding: .none).allocate(demand)
        case "ovmf": return EDK2Policy(padding: .ovmf).allocate(demand)
        case "coreboot": return CorebootPolicy().allocate(demand)
        case "u-boot": return UBootPolicy().allocate(demand)
        case "freebsd": return FreeBSDPolicy().allocate(demand)
        default:
            throw CommandEnd(.usage, "expected a policy (\(names.joined(separator: ", "))), found \(name)")
        }
    }

    /// The outcomes of the policies that `list` names, separated by commas; all of them for nil.
    static func outcomes(
        _ list: String?,
        of topology: Topology,
        demand: ResourceDemand
    ) throws(CommandEnd) -> [PolicyOutcome] {
        var result: [PolicyOutcome] = []
        for name in list?.split(separator: ",").map(String.init) ?? names {
            result.append(try outcome(name, of: topology, demand: demand))
        }
        guard !result.isEmpty else { throw CommandEnd(.usage, "expected at least one policy, found none") }
        return result
    }
}
