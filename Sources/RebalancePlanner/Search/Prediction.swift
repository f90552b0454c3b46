// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// A machine in thought under one kernel's behaviour: what the kernel would show after writes.
///
/// A value; copy it to try something else.
public struct Prediction {
    /// The behaviour that is followed.
    public let behaviour: KernelBehaviour
    private var simulation: TwinSimulation

    /// The machine as `topology` shows it.
    ///
    /// - Throws: `PlanningError` when the twin cannot take the tree.
    public init(_ topology: Topology, behaviour: KernelBehaviour) throws(PlanningError) {
        self.behaviour = behaviour
        simulation = try TwinSimulation(topology, behaviour: behaviour)
    }

    /// Does the writes in order; false when the kernel would refuse one, or the twin does not model it. The writes
    /// before it are done then.
    public mutating func perform(_ writes: [SystemWrite]) -> Bool { simulation.perform(writes) }

    /// The tree as the kernel would show it now; nil when the twin cannot say.
    public var tree: TreeState? { (try? simulation.topology()).map { TreeState($0) } }

    /// The machine as a reader would find it now; nil when the twin cannot say.
    public var topology: Topology? { try? simulation.topology() }

    /// The string in force in /sys/bus/pci/resource_alignment.
    public var alignmentText: String { simulation.twin.alignmentRequests }

    /// What the bus and window registers of the bridges hold now; empty when the twin cannot say.
    public var registers: [RegisterExpectation] { topology.map { PlanAssembly.expectations($0) } ?? [] }
}
