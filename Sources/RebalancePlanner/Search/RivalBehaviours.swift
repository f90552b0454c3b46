// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// The machine under the other behaviours that its kernel may have, each as far as the plan has come.
struct RivalBehaviours {
    private var simulations: [TwinSimulation] = []
    /// How many other behaviours refuse what the plan has done so far.
    private var refusals = 0
    /// A behaviour under which a plan loses something weighs as much as this many under which it only misses its goal.
    private static let loss = 100

    init(_ topology: Topology, _ behaviours: [KernelBehaviour], recordsRemovals: Bool = false) {
        simulations = behaviours.compactMap { try? TwinSimulation(topology, behaviour: $0) }
        for i in simulations.indices { simulations[i].recordsRemovals = recordsRemovals }
    }

    /// No other behaviours.
    init() {}

    var isEmpty: Bool { simulations.isEmpty }

    /// Goes on by the writes of a plan.
    mutating func perform(_ writes: [SystemWrite]) {
        let count = simulations.count
        simulations = simulations.compactMap { simulation in
            var next = simulation
            return next.perform(writes) ? next : nil
        }
        refusals += count - simulations.count
    }

    /// How much hangs on the behaviour that the plan is made for: 0 when further writes reach the goal and lose nothing
    /// under all others.
    ///
    /// - Complexity: one simulation of the writes for each other behaviour.
    func risk(of writes: [SystemWrite], _ acceptance: Acceptance, wanted: [Demand]) -> Int {
        simulations.reduce(refusals * Self.loss) { risk, simulation in
            var next = simulation
            guard next.perform(writes) else { return risk + Self.loss }
            switch acceptance.outlook(SearchState(acceptance.original.context, next), wanted: wanted) {
            case .otherAddresses, .asPlanned: return risk
            case .missesGoal: return risk + 1
            case .losesSomething, .refused: return risk + Self.loss
            }
        }
    }
}

extension Acceptance {
    /// What a plan for `wanted` that ends here has led to, wherever things lie.
    func outlook(_ searchState: SearchState, wanted: [Demand]) -> BehaviourOutlook.Outcome {
        if original.isHarmed(in: searchState.summary, asked: wanted + reached) { return .losesSomething }
        return accepts(searchState, wanted: wanted) ? .otherAddresses : .missesGoal
    }
}
