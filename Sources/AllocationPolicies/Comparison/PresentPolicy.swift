// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The layout as it stands: what others are compared with.
public struct PresentPolicy: AllocationPolicy {
    /// The tree.
    public var topology: Topology

    /// Creates the policy.
    public init(_ topology: Topology) { self.topology = topology }

    /// The name.
    public var name: String { "today" }

    /// One sentence on what it does.
    public var summary: String { "the layout as it stands" }

    /// The rule behind a decision.
    public func rule(for decision: LayoutDecision) -> String { "as it stands" }

    /// The present layout; a BAR that the kernel forgot counts with the size that the demand knows.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        PolicyOutcome(asIn: topology, policy: name, sizes: demand)
    }
}
