// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// Allocation policies by name: `today`, `linux-6.12`, `linux-7.2@arm64-acpi`, `seabios`, `optimal`, …
enum PolicyWords {
    /// The names, in the order of tables.
    static let names = PolicyCatalog.entries.map(\.word) + IdealPolicy.Kind.allCases.map(\.rawValue).reversed()

    /// What is compared unless names are given.
    static let usual = [
        "today", "linux-6.12", "linux-7.2", "linux-7.2@arm64-acpi", "seabios", "ovmf", "edk2", "coreboot", "u-boot",
        "freebsd", "movable", "optimal",
    ]

    /// Names and variations for help texts.
    static var help: String {
        let variations = PolicyCatalog.variations.map { "\($0.word) \($0.meaning)" }.joined(separator: "; ")
        return "\(names.joined(separator: ", ")). After a Linux: \(variations)"
    }

    /// The policy of that name, for the tree.
    static func policy(_ name: String, for topology: Topology) throws(CommandEnd) -> any AllocationPolicy {
        if let kind = IdealPolicy.Kind(rawValue: name) { return IdealPolicy(topology, kind) }
        if let policy = PolicyCatalog.policy(name, for: topology) { return policy }
        // A kernel that is known may stand before a platform that is not.
        let kernel = name.split(separator: "@", maxSplits: 1).first.map(String.init) ?? ""
        let platforms = PolicyCatalog.policy(kernel, for: topology) == nil ? [] : Platform.Preset.allCases
        let meant = Spelling.question(name, among: names + platforms.map { "\(kernel)@\($0.rawValue)" })
        throw CommandEnd(
            .usage,
            "expected a policy (\(names.joined(separator: ", ")), or linux-…@PLATFORM+WORD), found \(name)\(meant)"
        )
    }

    /// Warns of what was not told, without which only `today` is certain.
    static func warn(of untold: [Unknown]) {
        guard !untold.isEmpty else { return }
        Diagnostics.warning(
            "\(untold.map(\.sentence).joined(separator: "; ")): all policies but today follow from what was told alone; "
                + "what would tell: \(untold.commands)"
        )
    }

    /// The policies that `list` names, separated by commas; the usual ones for nil. Each outcome bears the name given.
    static func outcomes(
        _ list: String?,
        of topology: Topology,
        demand: ResourceDemand
    ) throws(CommandEnd) -> [(policy: any AllocationPolicy, outcome: PolicyOutcome)] {
        var result: [(policy: any AllocationPolicy, outcome: PolicyOutcome)] = []
        for name in list?.split(separator: ",").map(String.init) ?? usual {
            let policy = try policy(name, for: topology)
            var outcome = policy.allocate(demand)
            outcome.policy = name
            result.append((policy, outcome))
        }
        guard !result.isEmpty else { throw CommandEnd(.usage, "expected at least one policy, found none") }
        return result
    }
}
