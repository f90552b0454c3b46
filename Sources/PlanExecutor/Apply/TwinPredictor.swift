// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
public import RebalancePlanner

/// Predictor by the twin: all behaviours that the kernel may have, and for explanations the alternatives to the likeliest.
public final class TwinPredictor: Predictor {
    private(set) var initial: Topology?
    /// The behaviours that this kernel may have, as far as was known before the first write.
    public let behaviours: BehaviourSet
    /// Whether `wayBack(of:)` tries the ways back in thought, which takes minutes on a machine of some dozen functions;
    /// without it the answer is that it cannot be told.
    public var triesWaysBack = false
    private let readTopology: () throws -> Topology
    private let wish: (goals: [Goal], constraints: Constraints)?
    private var behaviour: KernelBehaviour
    /// The machine in thought where it was seen last; nil while nobody has explained how it came there.
    private var state: Prediction?
    /// The behaviours that agree with all of `followed`, each where that has led.
    private var left: [Prediction]?
    private var followed: [Observation] = []
    /// Whether a plan back is looked for.
    var plansBack = true

    /// Creates a predictor.
    ///
    /// - Parameters:
    ///   - initial: the machine before the first write, or nil when it is not known, as after a crash.
    ///   - behaviours: what the kernel may do, the behaviour that the plan was made with first.
    ///   - readTopology: reads the machine where it stands.
    ///   - wish: what another plan may be made for; nil when only the first plan was agreed to.
    public init(
        initial: Topology?,
        behaviours: BehaviourSet,
        readTopology: @escaping () throws -> Topology,
        wish: (goals: [Goal], constraints: Constraints)? = nil
    ) {
        self.initial = initial
        self.behaviours = behaviours
        behaviour = behaviours.first
        self.readTopology = readTopology
        self.wish = wish
    }

    /// Creates a predictor for a kernel that has one behaviour, as far as is known.
    public convenience init(
        initial: Topology?,
        behaviour: KernelBehaviour,
        readTopology: @escaping () throws -> Topology,
        wish: (goals: [Goal], constraints: Constraints)? = nil
    ) {
        let one = BehaviourSet(.init(behaviour, reason: "the plan was made with it"), judgement: .itself)
        self.init(initial: initial, behaviours: one, readTopology: readTopology, wish: wish)
    }

    /// The behaviours that the kernel may have, and what else a kernel could do.
    private var candidates: [KernelBehaviour] {
        let alternatives = behaviours.first.alternatives.map { BehaviourSet.Candidate($0, reason: "an alternative") }
        return BehaviourSet(
            behaviours.candidates[0],
            others: behaviours.candidates.dropFirst() + alternatives,
            judgement: .none
        )
        .behaviours
    }

    // MARK: The behaviours left

    /// - Complexity: O(behaviours left x writes) operations of the twin; observations that were followed before cost nothing.
    public func foresee(_ writes: [SystemWrite], after seen: [Observation]) -> [ForeseenState] {
        follow(seen)
        return (left ?? []).compactMap { prediction in
            var next = prediction
            guard next.perform(writes), let tree = next.tree else { return nil }
            return ForeseenState(behaviour: prediction.behaviour.name, tree: tree, registers: next.registers)
        }
    }

    /// Brings `left` to where all of `seen` leads.
    private func follow(_ seen: [Observation]) {
        if left == nil || !seen.starts(with: followed) {
            left = initial.map { topology in
                behaviours.behaviours.compactMap { try? Prediction(topology, behaviour: $0) }
            }
            followed = []
        }
        for observation in seen.dropFirst(followed.count) {
            left = left?.compactMap { prediction in
                var next = prediction
                return next.perform(observation.writes) && next.tree == observation.tree ? next : nil
            }
        }
        followed = seen
    }

    /// Tries each step's way back on machines in thought, one for each behaviour.
    public func wayBack(of plan: Plan) -> WayBackAnswer? {
        guard triesWaysBack else { return nil }
        guard let initial, TreeState(initial) == plan.before else { return nil }
        return WayBackProof(initial, behaviours).answer(for: plan)
    }

    // MARK: When the machine disagrees

    /// Tries the behaviours that the kernel may have, then the others.
    /// - Complexity: O(behaviours x writes) operations of the twin.
    public func explain(_ seen: [Observation]) -> String? {
        state = nil
        guard let initial else { return nil }
        for candidate in candidates {
            guard var prediction = try? Prediction(initial, behaviour: candidate) else { continue }
            let agrees = seen.allSatisfy { prediction.perform($0.writes) && prediction.tree == $0.tree }
            guard agrees else { continue }
            behaviour = candidate
            state = prediction
            return candidate.name
        }
        return nil
    }

    /// From the state that the explanation led to.
    public func outcome(of writes: [SystemWrite]) -> TreeState? {
        guard var copy = state, copy.perform(writes) else { return nil }
        return copy.tree
    }

    /// Asks the planner; where no behaviour explains what was seen, each of them in turn.
    public func planBack(from now: TreeState, for goals: [Goal]) -> Plan? {
        guard plansBack, let topology = try? readTopology(), TreeState(topology) == now else { return nil }
        let goals = goals.filter { $0.address.map { topology[$0] != nil } ?? true }
        guard !goals.isEmpty else { return nil }
        for candidate in state == nil ? candidates : [behaviour] {
            let planner = Planner(topology: topology, behaviour: candidate)
            guard let plan = try? planner.plan(goals: goals), plan.verdict.answer == .act
            else { continue }
            return plan
        }
        return nil
    }

    /// Asks the planner, where the addresses of the wish still mean the same functions.
    public func planAnew() -> Plan? {
        guard state != nil, let wish, let initial, let topology = try? readTopology() else { return nil }
        var addresses = wish.constraints.keep.union(wish.constraints.allowDisturb)
        if let port = wish.constraints.onlyBelow { addresses.insert(port) }
        for goal in wish.goals { goal.address.map { _ = addresses.insert($0) } }
        func place(_ address: FunctionAddress, _ topology: Topology) -> TopologyPath? {
            topology.position(of: address).map { topology.path(of: $0) }
        }
        guard addresses.allSatisfy({ place($0, initial) == place($0, topology) }) else { return nil }
        return try? Planner(topology: topology, behaviour: behaviour)
            .plan(goals: wish.goals, constraints: wish.constraints)
    }

    /// Asks the planner, with the goals and constraints of the wish, or of the plan alone where nobody wished for more.
    public func planOn(after plan: Plan, from now: TreeState) -> Plan? {
        guard let topology = try? readTopology(), TreeState(topology) == now else { return nil }
        let agreement = StoppingAgreement(plan, now)
        func renamed(_ addresses: Set<FunctionAddress>) -> Set<FunctionAddress> {
            Set(addresses.map { agreement.renamed[$0] ?? $0 })
        }
        var constraints = wish?.constraints ?? Constraints()
        constraints.keep = renamed(constraints.keep)
        constraints.allowDisturb = renamed(constraints.allowDisturb)
        constraints.onlyBelow = constraints.onlyBelow.map { agreement.renamed[$0] ?? $0 }
        for function in topology.functions where !function.isBridge && !agreement.covers(function.address) {
            constraints.keep.insert(function.address)
        }
        let goals = (wish?.goals ?? plan.goals).compactMap { $0.renamed(agreement.renamed) }
        guard !goals.isEmpty,
            let next = try? Planner(topology: topology, behaviour: behaviour)
                .plan(goals: goals, constraints: constraints)
        else { return nil }
        // What is seen from here on is explained from here.
        initial = topology
        state = nil
        return next
    }
}

extension Goal {
    /// The goal with the address that its function has now; nil for a layout that a plan names but does not hold.
    func renamed(_ addresses: [FunctionAddress: FunctionAddress]) -> Goal? {
        func now(_ address: FunctionAddress) -> FunctionAddress { addresses[address] ?? address }
        return switch self {
        case .everythingRequired: self
        case .place(let address): .place(now(address))
        case .resize(let address, let bar, let size): .resize(now(address), bar: bar, size: size)
        case .reserve(let address, let room): .reserve(now(address), room)
        case .virtualFunctions(let address, let count): .virtualFunctions(now(address), count: count)
        case .restore(let layout): layout.places.isEmpty ? nil : self
        }
    }

    /// The function that the goal names, or nil.
    var address: FunctionAddress? {
        switch self {
        case .everythingRequired, .restore: nil
        case .place(let address), .resize(let address, _, _), .reserve(let address, _),
            .virtualFunctions(let address, _):
            address
        }
    }
}
