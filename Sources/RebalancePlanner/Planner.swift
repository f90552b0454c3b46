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
    public internal(set) var topology: Topology
    /// The behaviour of the running kernel.
    public let behaviour: KernelBehaviour
    /// What the kernel may do instead, likeliest first: of plans that disturb the same, one that holds under all of these
    /// is preferred, and the plan says where it leads under each.
    public var others: [KernelBehaviour] = []
    /// Behaviours that the kernel was seen not to have; the plan names them.
    public var ruledOut: [RuledOutBehaviour] = []
    /// The greatest number of stages of a plan.
    public var maximumStages = 3

    /// Whether plans carry certificates of what they claim.
    public var certifies = false

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
    /// - Returns: a plan whose verdict is `act`, `none`, `refused`, `impossible` or `unknown`: what was not told is not
    ///   taken for the usual case.
    /// - Complexity: host bridges that share nothing are planned apart, so that the cost grows with their number, and
    ///   with the square of what is below one of them; the search ends with `Constraints.workLimit`.
    /// - Throws: `PlanningError` when a goal names a function that does not exist, or the twin cannot take the tree.
    public func plan(goals: [Goal], constraints: Constraints = Constraints()) throws(PlanningError) -> Plan {
        var plan = try planWhole(goals, constraints)
        plan.isolation = isolation(of: plan)
        if let other = try planSparingGroups(plan, goals, constraints) { plan = other }
        plan.ruledOut = ruledOut
        return plan
    }

    /// A plan that lets no IOMMU group of an assigned function grow, where `plan` does; nil where it does not, and where
    /// there is none that reaches as much.
    ///
    /// A group grows with what the kernel sets anew at a port that it finds again: the ports are left alone.
    private func planSparingGroups(
        _ plan: Plan,
        _ goals: [Goal],
        _ constraints: Constraints
    ) throws(PlanningError) -> Plan? {
        guard let change = plan.isolation, !change.grownUnderGuests.isEmpty else { return nil }
        var constraints = constraints
        constraints.keep.formUnion(change.settings.filter { $0.kind == .accessControl }.map(\.address))
        guard constraints.keep.count > 0 else { return nil }
        var other = try planWhole(goals, constraints)
        other.isolation = isolation(of: other)
        guard other.verdict.answer == .act, other.isWhole || !plan.isWhole,
            other.isolation?.grownUnderGuests.isEmpty ?? true
        else { return nil }
        let names = change.grownUnderGuests.map(\.address.description).joined(separator: ", ")
        other.remarks.append(
            "a way that stops less was left: the IOMMU group of \(names), which is bound to VFIO, would have grown"
        )
        return other
    }

    private func planWhole(_ goals: [Goal], _ constraints: Constraints) throws(PlanningError) -> Plan {
        try HeldConditions.check(constraints.conditions, topology)
        let (run, catalogue) = try run(goals: goals, constraints: constraints)
        var whole = run
        let conditions = whole.acceptance.conditions
        whole.assembly.conditions = conditions.outcomes
        whole.assembly.remarks = catalogue.remarks(for: goals)
        if topology.hidesMemory {
            whole.assembly.remarks.append(
                "the root bus decodes everything (pci=nocrs), and where RAM lies is not known here: predicted addresses may "
                    + "be RAM's, which the kernel itself avoids"
            )
        }
        let clusters = try catalogue.clusters(for: goals)
        if let no = conditions.impossible {
            whole.assembly.note(impossible: no.reason, no.sentence)
            return whole.finish(PlanAssembly.Result())
        }
        whole.assembly.diagnosis = catalogue.diagnosis(of: clusters)
        // What is not told on the way up from a function, or below its outermost bridge, is not taken for the usual case.
        let wanted = Set(clusters.flatMap { ($0.choices.first ?? []).map(\.function) }).sorted()
        var untold: [Unknown] = []
        for i in wanted { for one in topology.unknowns(about: i) where !untold.contains(one) { untold.append(one) } }
        // What lies above bars the word impossible, and no way that is found without touching it.
        let barring = untold.filter { $0.code != .aperturesNotTold && $0.code != .bridgesNotTold }
        let edge = Set(untold.filter { $0.code == .bridgesNotTold }.flatMap(\.addresses))
        if !barring.isEmpty { return whole.assembly.unknown(barring) }
        let plan: Plan
        if let result = try takeByParts(clusters, goals, constraints, &whole) {
            plan = whole.finish(result)
        } else {
            whole.allowance.share(among: clusters.count)
            for cluster in clusters { whole.take(cluster) }
            if goals.contains(.compact) { whole.compact() }
            plan = whole.finish(whole.result())
        }
        if plan.verdict.answer != .none, let one = conditions.untold {
            return whole.assembly.unknown(reason: one.reason, one.sentence)
        }
        switch plan.verdict.answer {
        case .impossible where !untold.isEmpty: return whole.assembly.unknown(untold)
        case .act where plan.disturbed.contains(where: { edge.contains($0.address) }):
            return whole.assembly.unknown(untold)
        case .none where goals.contains(.everythingRequired): return judged(plan, topology.findings(), &whole.assembly)
        default: return plan
        }
    }

    /// The plan where there is nothing to do: unless something is wrong that no addresses mend, or something was not
    /// told.
    private func judged(_ plan: Plan, _ findings: [Finding], _ assembly: inout PlanAssembly) -> Plan {
        switch topology.verdict(of: findings) {
        case .healthy: return plan
        case .cannotTell: return assembly.unknown(topology.unknowns())
        case .problems: return assembly.hopeless(findings.filter { $0.severity == .problem })
        }
    }

    /// A run over the whole tree, with nothing taken yet, and the catalogue of what could be asked of it.
    ///
    /// - Parameters:
    ///   - goals: the goals.
    ///   - constraints: what may not be touched, and how long to search.
    ///   - allowance: the work that is shared with other parts of the tree; nil for all of `constraints`.
    /// - Returns: the run and the catalogue.
    /// - Throws: `PlanningError` when the twin cannot take the tree.
    func run(
        goals: [Goal],
        constraints: Constraints,
        _ allowance: SearchAllowance? = nil
    ) throws(PlanningError) -> (PlanningRun, DemandCatalogue) {
        let weights = DisturbanceWeights(topology, constraints: constraints)
        let context = SearchContext(topology, weights: weights)
        var simulation = try TwinSimulation(topology, behaviour: behaviour)
        let recordsRemovals = !constraints.conditions.isEmpty
        simulation.recordsRemovals = recordsRemovals
        let start = SearchState(context, simulation, isStart: true)
        // Why something is missing is said once, of the whole tree.
        let findings = topology.findings(explains: allowance == nil)
        let catalogue = DemandCatalogue(context, findings: findings, tiers: constraints.tiers)
        let original = Baseline(context: context, summary: start.summary, tiers: constraints.tiers)
        let usual = Constraints.usualSeconds(functions: topology.functions.count) * Constraints.workPerSecond
        let run = PlanningRun(
            planner: self,
            goals: goals,
            constraints: constraints,
            weights: weights,
            acceptance: Acceptance(original, findings: findings, constraints: constraints),
            start: start,
            rivals: RivalBehaviours(topology, others, recordsRemovals: recordsRemovals),
            allowance: allowance ?? SearchAllowance(constraints.workLimit ?? usual)
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
