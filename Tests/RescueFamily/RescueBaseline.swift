// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// What people do by hand: remove something big and rescan, and see.
public enum RescueBaseline: String, CaseIterable, Sendable {
    /// The root port above the card.
    case rootPort = "remove and rescan the root port"
    /// Everything on the root bus.
    case everything = "remove and rescan everything"

    /// What it came to.
    public struct Outcome: Sendable {
        /// Nothing is missing or lost afterwards.
        public var isCured: Bool
        /// The endpoints that were stopped.
        public var stopped: Int
        /// Whether one of them was protected.
        public var breaksProtection: Bool
    }

    /// What it comes to for a case, by the kernel's twin.
    public func outcome(_ example: RescueCase) throws -> Outcome {
        let topology = example.topology
        var twin = try LinuxTwin(topology, behaviour: example.behaviour)
        var roots: [Int] = []
        switch self {
        case .rootPort:
            if let i = topology.position(of: example.port) { roots = [topology.ancestors(of: i).last ?? i] }
        case .everything: roots = topology.roots(of: 0)
        }
        let stopped = roots.flatMap { topology.subtree(of: $0) }.filter { !topology.functions[$0].isBridge }
        for root in roots { try twin.perform(.remove(topology.functions[root].address)) }
        try twin.perform(.rescan)
        return Outcome(
            isCured: RescueJudge(topology).isCured(try twin.topology()),
            stopped: stopped.count,
            breaksProtection: stopped.contains { topology.functions[$0].use.evidence.contains(where: \.isProtected) }
        )
    }
}
