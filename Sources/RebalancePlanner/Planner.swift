// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// Turns goals into the least disturbing sequence of operations that a stock kernel will really take.
///
/// The planner simulates sequences of stages with the twin of the running kernel and takes the cheapest after which
/// nothing that was asked for is missing and nothing is worse than before. It writes nothing and knows no kernel
/// version: plans differ by kernel because the twin's predictions do.
public struct Planner: Sendable {
    /// The tree as it is.
    public let topology: Topology
    /// The behaviour of the running kernel.
    public let behaviour: KernelBehaviour
    /// The greatest number of stages of a plan.
    public var maximumStages = 3

    /// Creates a planner for a tree under a kernel's behaviour.
    public init(topology: Topology, behaviour: KernelBehaviour) {
        self.topology = topology
        self.behaviour = behaviour
    }

    /// The plan for `goals` under `constraints`.
    ///
    /// - Parameters:
    ///   - goals: at least one; `everythingRequired` asks for all that is missing.
    ///   - constraints: what may not be touched, and how long to search.
    /// - Returns: a plan whose verdict is `act`, `none`, `refused` or `impossible`.
    /// - Throws: `PlanningError` when a goal names a function that does not exist, or the twin cannot take the tree.
    public func plan(goals: [Goal], constraints: Constraints = Constraints()) throws(PlanningError) -> Plan {
        let (run, catalogue) = try run(goals: goals, constraints: constraints)
        var whole = run
        whole.assembly.remarks = catalogue.remarks(for: goals)
        if topology.hidesMemory {
            whole.assembly.remarks.append(
                "the root bus decodes everything (pci=nocrs), and where RAM lies is not known here: predicted addresses may "
                    + "be RAM's, which the kernel itself avoids"
            )
        }
        let clusters = try catalogue.clusters(for: goals)
        whole.assembly.diagnosis = catalogue.diagnosis(of: clusters)
        for cluster in clusters { whole.take(cluster) }
        return whole.finish()
    }

    /// A run over the whole tree, with nothing taken yet, and the catalogue of what could be asked of it.
    func run(goals: [Goal], constraints: Constraints) throws(PlanningError) -> (PlanningRun, DemandCatalogue) {
        let weights = DisturbanceWeights(topology, constraints: constraints)
        let ground = Ground(topology, weights: weights)
        let start = Situation(ground, try TwinSimulation(topology, behaviour: behaviour))
        let findings = topology.findings()
        let catalogue = DemandCatalogue(ground, findings: findings, tiers: constraints.tiers)
        let original = Standing(ground: ground, glance: start.glance, tiers: constraints.tiers)
        let run = PlanningRun(
            planner: self,
            goals: goals,
            constraints: constraints,
            weights: weights,
            acceptance: Acceptance(original, findings: findings, constraints: constraints),
            start: start
        )
        return (run, catalogue)
    }
}

/// Why no plan could even be tried.
public struct PlanningError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public enum Code: String, Hashable, Sendable {
        /// A goal or constraint names a function that does not exist.
        case noSuchFunction
        /// The goal does not apply to the function.
        case goalDoesNotApply
        /// The twin cannot take the tree.
        case twin
    }

    /// What is wrong.
    public let code: Code
    /// A lower-case sentence with what was expected and found.
    public let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
