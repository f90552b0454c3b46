// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
public import RebalancePlanner

/// Foresight by the twin: its behaviour as planned with, then the alternatives to it.
public final class TwinForesight: Foresight {
    private var initial: Topology?
    private let readTopology: () throws -> Topology
    private let wish: (goals: [Goal], constraints: Constraints)?
    private var behaviour: KernelBehaviour
    /// The machine in thought where it was seen last; nil while nobody has explained how it came there.
    private var state: Prediction?

    /// Creates a foresight.
    ///
    /// - Parameters:
    ///   - initial: the machine before the first write, or nil when it is not known, as after a crash.
    ///   - behaviour: the behaviour that the plan was made with.
    ///   - readTopology: reads the machine where it stands.
    ///   - wish: what another plan may be made for; nil when only the first plan was agreed to.
    public init(
        initial: Topology?,
        behaviour: KernelBehaviour,
        readTopology: @escaping () throws -> Topology,
        wish: (goals: [Goal], constraints: Constraints)? = nil
    ) {
        self.initial = initial
        self.behaviour = behaviour
        self.readTopology = readTopology
        self.wish = wish
    }

    /// The behaviour as planned with and the others that a kernel may have.
    private var candidates: [KernelBehaviour] {
        [behaviour] + behaviour.alternatives
    }

    /// Tries the behaviour as planned with, then the others.
    /// - Complexity: O(alternatives x writes) operations of the twin.
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
    public func planBack(from now: TreeState, for addresses: [FunctionAddress]) -> Plan? {
        guard let topology = try? readTopology(), TreeState(topology) == now else { return nil }
        let goals = addresses.filter { topology[$0] != nil }.map(Goal.place)
        guard !goals.isEmpty else { return nil }
        for candidate in state == nil ? candidates : [behaviour] {
            let planner = Planner(topology: topology, behaviour: candidate)
            guard let plan = try? planner.plan(goals: goals), plan.verdict.answer == .act else { continue }
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
