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
    /// One group of shortfalls below the same function of a root bus, solved together.
    private struct Cluster {
        var shortfalls: [Shortfall]
    }

    func plan<S: Simulator>(
        goals: [Goal],
        constraints: Constraints,
        simulation start: S
    ) throws(PlanningError) -> Plan {
        let before = TreeState(topology)
        let original = Standing(topology)
        let wanted = try wantedShortfalls(goals)
        let weights = DisturbanceWeights(topology, constraints: constraints)
        var assembly = PlanAssembly(
            planner: self,
            goals: goals,
            before: before,
            weights: weights,
            original: original
        )
        guard !wanted.isEmpty else { return assembly.nothingToDo() }
        assembly.diagnosis = diagnosis(of: wanted)

        var simulations = 0
        var current = start
        for cluster in clusters(of: wanted) {
            // An earlier stage may have cured it by the way.
            guard let now = try? current.topology() else { continue }
            let missing = Set(now.requiredShortfalls)
            let open = cluster.shortfalls.filter(missing.contains)
            guard !open.isEmpty else { continue }
            if let solution = cheapest(from: current, open, weights, original, constraints, &simulations) {
                guard let limit = constraints.maxMoves, assembly.movers(with: solution.disturbed) > limit else {
                    current = assembly.append(solution.maneuvers, from: current, disturbed: solution.disturbed)
                    assembly.proofs.append((solution.weight, solution.isCheapest))
                    continue
                }
                assembly.note(
                    refused: open,
                    reason: "too-many-moves",
                    "more functions would be disturbed than the limit of \(limit) allows"
                )
                continue
            }
            // Would it work if nothing were protected? Then safety is what stands in the way.
            var lifted = constraints
            lifted.keep = []
            lifted.onlyBelow = nil
            let free = DisturbanceWeights(topology, constraints: lifted, ignoresProtection: true)
            if weights.hasProtections,
                let forbidden = cheapest(from: current, open, free, original, constraints, &simulations)
            {
                assembly.note(refused: open, protectedBy: weights, forbidden.disturbed, topology)
            } else {
                assembly.note(impossible: open)
            }
        }
        return assembly.finish(topology: topology, simulations: simulations)
    }

    private func cheapest<S: Simulator>(
        from start: S,
        _ wanted: [Shortfall],
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

    private func wantedShortfalls(_ goals: [Goal]) throws(PlanningError) -> [Shortfall] {
        let all = problems()
        var wanted: Set<Shortfall> = []
        for goal in goals {
            switch goal {
            case .everythingRequired: wanted.formUnion(all)
            case .place(let address):
                guard let i = topology.position(of: address) else {
                    throw PlanningError(.noSuchFunction, "no function at \(address)")
                }
                let path = topology.path(of: i)
                wanted.formUnion(all.filter { path.isAncestorOrSelf(of: $0.path) })
            case .resize(let address, _, _), .reserve(let address, _), .virtualFunctions(let address, _):
                throw PlanningError(.goalDoesNotApply, "the goal for \(address) is not supported by this planner")
            }
        }
        return wanted.sorted()
    }

    /// The shortfalls that the tree's findings judge to be problems; an I/O BAR that its driver never uses is none.
    private func problems() -> [Shortfall] {
        var harmless: Set<Shortfall> = []
        for finding in topology.findings() where finding.severity == .note {
            guard let index = finding.resource, let i = topology.position(of: finding.address) else { continue }
            harmless.insert(Shortfall(path: topology.path(of: i), kind: .resource(index)))
        }
        return topology.requiredShortfalls.filter { !harmless.contains($0) }
    }

    /// What the findings say of the functions that lack something: the sentence, then its causes.
    private func diagnosis(of shortfalls: [Shortfall]) -> [DiagnosisLine] {
        let places = Set(shortfalls.map(\.path))
        var result: [DiagnosisLine] = []
        for finding in topology.findings() where finding.severity == .problem {
            guard let i = topology.position(of: finding.address), places.contains(topology.path(of: i)) else {
                continue
            }
            result.append(
                DiagnosisLine(
                    code: finding.code.rawValue,
                    address: finding.address,
                    text: "\(finding.address) \(finding.sentence)"
                )
            )
            for cause in finding.causes {
                result.append(DiagnosisLine(code: "cause", address: finding.address, text: cause))
            }
        }
        return result
    }

    private func clusters(of shortfalls: [Shortfall]) -> [Cluster] {
        var order: [TopologyPath] = []
        var groups: [TopologyPath: [Shortfall]] = [:]
        for shortfall in shortfalls {
            let root = TopologyPath(
                segment: shortfall.path.segment,
                rootBus: shortfall.path.rootBus,
                hops: Array(shortfall.path.hops.prefix(1))
            )
            if groups[root] == nil { order.append(root) }
            groups[root, default: []].append(shortfall)
        }
        return order.compactMap { groups[$0].map(Cluster.init(shortfalls:)) }
    }
}
