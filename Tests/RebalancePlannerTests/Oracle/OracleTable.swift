// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

@testable internal import RebalancePlanner

/// Plans for random small machines, held against every sequence of levers.
struct OracleTable {
    let behaviour: KernelBehaviour
    let question: SmallMachine.Question
    /// The greatest number of functions of a tree.
    var size = 12
    /// Stages simulated per tree.
    var limit = 1500
    /// Machines, those of them where a way exists, found ones, and those where the plan is as light as the lightest known.
    var trees = 0
    var reachable = 0
    var found = 0
    var least = 0
    /// Plans that claim to be the least.
    var proved = 0
    /// Machines on which everything was tried.
    var complete = 0
    /// "Impossible" or "refused" where a way exists.
    var falseNo: [String] = []
    /// Plans that claim to be the least, and are not.
    var falseLeast: [String] = []
    /// Plans that are not the least, and do not claim to be.
    var heavier: [String] = []

    init(_ behaviour: KernelBehaviour, _ question: SmallMachine.Question) {
        self.behaviour = behaviour
        self.question = question
    }

    /// Adds the machine of a seed, where it is small, and what it asks for is addresses.
    mutating func take(seed: UInt64) throws {
        guard let machine = try SmallMachine(seed: seed, question, behaviour),
            machine.topology.functions.count <= size
        else { return }
        let (topology, goal) = (machine.topology, machine.goal)
        let constraints = Constraints()
        let weights = DisturbanceWeights(topology, constraints: constraints)
        let context = SearchContext(topology, weights: weights)
        let start = SearchState(context, try TwinSimulation(topology, behaviour: behaviour))
        let findings = topology.findings()
        let clusters = try DemandCatalogue(context, findings: findings, tiers: constraints.tiers).clusters(for: [goal])
        guard clusters.allSatisfy({ $0.choices.count == 1 }) else { return }
        let wanted = clusters.flatMap { $0.choices.first ?? [] }
        guard !wanted.isEmpty, !wanted.contains(where: \.wantsBuses) else { return }
        let original = Baseline(context: context, summary: start.summary, tiers: constraints.tiers)
        let acceptance = Acceptance(original, findings: findings, constraints: constraints)
        guard !acceptance.accepts(start, wanted: wanted) else { return }

        var search = ExhaustiveSearch(acceptance, wanted: wanted, depth: 2, limit: limit)
        let truth = search.run(from: start)
        let plan = try Planner(topology: topology, behaviour: behaviour).plan(goals: [goal], constraints: constraints)
        trees += 1
        if truth.isComplete { complete += 1 }
        let isWhole = plan.verdict.answer == .act && plan.verdict.reason != "partly"
        let cost = plan.disturbed.reduce(0) { $0 + $1.weight }
        if isWhole { found += 1 }
        if isWhole, plan.proof == .optimal { proved += 1 }
        guard let best = truth.least else {
            if isWhole { reachable += 1 }
            if isWhole, truth.isComplete { least += 1 }
            return
        }
        reachable += 1
        let name = "seed \(seed), \(goal), \(plan.verdict.line), least \(best.weight): \(text(best.way, context))"
        guard isWhole else { return falseNo.append(name) }
        guard cost > best.weight else { return least += 1 }
        if plan.proof == .optimal {
            falseLeast.append("cost \(cost), \(name)")
        } else {
            heavier.append("cost \(cost), \(name)")
        }
    }

    private func text(_ way: [Stage], _ context: SearchContext) -> String {
        way.map { stage in
            var words = stage.roots.map { "\(context.address($0))" }.joined(separator: "+")
            for window in stage.windows {
                words += " \(context.address(window.bridge)).\(window.kind)=\(window.size)"
            }
            for request in stage.alignments { words += " \(request.order)@\(context.address(request.function))" }
            for rescan in stage.rescans {
                switch rescan {
                case .bus(let bridge): words += " bus(\(bridge < 0 ? "root" : "\(context.address(bridge))"))"
                case .aboveBridge(let bridge): words += " device(\(context.address(bridge)))"
                case .resizeFiles: words += " files"
                }
            }
            return words
        }.joined(separator: " | ")
    }

    /// The figures, a line each.
    var lines: [String] {
        [
            "\(behaviour.name), \(question.rawValue): \(trees) trees (\(complete) tried to the end), \(reachable) reachable, "
                + "\(found) found, \(least) as light as the lightest known, \(proved) proved; "
                + "\(falseNo.count) false no, \(falseLeast.count) false least, \(heavier.count) heavier"
        ]
            + falseNo.map { "  FALSE NO: \($0)" } + falseLeast.map { "  FALSE LEAST: \($0)" }
            + heavier.map { "  heavier: \($0)" }
    }
}
