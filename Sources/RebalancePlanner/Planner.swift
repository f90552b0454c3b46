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
        let simulation = try TwinSimulation(topology, behaviour: behaviour)
        return try plan(goals: goals, constraints: constraints, simulation: simulation)
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

extension Planner {
    func plan<S: Simulator>(
        goals: [Goal],
        constraints: Constraints,
        simulation start: S
    ) throws(PlanningError) -> Plan {
        let before = TreeState(topology)
        let original = Standing(topology)
        let catalogue = DemandCatalogue(topology)
        let clusters = try catalogue.clusters(for: goals)
        let weights = DisturbanceWeights(topology, constraints: constraints)
        var assembly = PlanAssembly(
            planner: self,
            goals: goals,
            before: before,
            weights: weights,
            original: original
        )
        assembly.remarks = catalogue.remarks(for: goals)
        assembly.diagnosis = catalogue.diagnosis(of: clusters)

        var simulations = 0
        var current = start
        for cluster in clusters {
            // An earlier stage may have cured it by the way.
            guard let now = try? current.topology() else { continue }
            let standing = Standing(now)
            var isSettled = false
            for wanted in cluster.choices where !isSettled {
                let open = wanted.filter { !$0.isMet(in: standing) }
                guard !open.isEmpty else {
                    isSettled = true
                    assembly.noteSizes(wanted, cluster, topology)
                    continue
                }
                assembly.asked += wanted
                guard let solution = cheapest(from: current, wanted, weights, original, constraints, &simulations)
                else {
                    assembly.asked.removeLast(wanted.count)
                    continue
                }
                isSettled = true
                if let limit = constraints.maxMoves, assembly.movers(with: solution.disturbed) > limit {
                    assembly.note(
                        refused: open,
                        reason: "too-many-moves",
                        "more functions would be disturbed than the limit of \(limit) allows"
                    )
                    continue
                }
                current = assembly.append(solution.maneuvers, from: current, disturbed: solution.disturbed)
                assembly.proofs.append((solution.weight, solution.isCheapest))
                assembly.noteSizes(wanted, cluster, topology)
            }
            guard !isSettled, let wanted = cluster.choices.last else { continue }
            // Would it work if nothing were protected? Then safety is what stands in the way.
            var lifted = constraints
            lifted.keep = []
            lifted.onlyBelow = nil
            let free = DisturbanceWeights(topology, constraints: lifted, ignoresProtection: true)
            if weights.hasProtections,
                let forbidden = cheapest(from: current, wanted, free, original, constraints, &simulations)
            {
                assembly.note(refused: wanted, protectedBy: weights, forbidden.disturbed, topology)
            } else {
                assembly.note(impossible: wanted)
            }
        }
        return assembly.finish(topology: topology, simulations: simulations)
    }

    private func cheapest<S: Simulator>(
        from start: S,
        _ wanted: [Demand],
        _ weights: DisturbanceWeights,
        _ original: Standing,
        _ constraints: Constraints,
        _ simulations: inout Int
    ) -> ManeuverSearch<S>.Solution? {
        // Shallow first: two stages decide nearly every case, and a third multiplies the work.
        for stages in [min(2, maximumStages), maximumStages] {
            var search = ManeuverSearch<S>(
                weights: weights,
                original: original,
                maximumStages: stages,
                budget: constraints.simulationBudget
            )
            if let solution = search.solve(from: start, wanted: wanted, simulations: &simulations) { return solution }
            if stages == maximumStages { break }
        }
        return nil
    }
}
