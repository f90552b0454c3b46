// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology
public import RebalancePlanner

/// Predictor by the twin: all behaviours that the kernel may have, and for explanations the alternatives to the likeliest.
public final class TwinPredictor: Predictor {
    private(set) var initial: Topology? { didSet { course = initial.map(PredictedCourse.init) } }
    /// Where the steps lead from `initial`.
    private var course: PredictedCourse?
    /// The behaviours that this kernel may have, as far as was known before the first write.
    public let behaviours: BehaviourSet
    /// Whether `wayBack(of:)` tries the ways back in thought; without it the answer is that it cannot be told.
    public var triesWaysBack = false
    private let readTopology: () throws -> Topology
    private let wish: (goals: [Goal], constraints: Constraints)?
    private var behaviour: KernelBehaviour
    /// The machine in thought where it was seen last; nil while nobody has explained how it came there.
    private var state: Prediction?
    /// The behaviours that agree with all of `followed`.
    private var left: [KernelBehaviour]?
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
        course = initial.map(PredictedCourse.init)
        self.behaviours = behaviours
        behaviour = behaviours.first
        self.readTopology = readTopology
        self.wish = wish
    }

    /// Creates a predictor for a machine in thought that many others begin with, too.
    init(_ course: PredictedCourse, _ behaviours: BehaviourSet, readTopology: @escaping () throws -> Topology) {
        initial = course.initial
        self.course = course
        self.behaviours = behaviours
        behaviour = behaviours.first
        self.readTopology = readTopology
        wish = nil
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

    /// The words of the command line and of the files that were read with the machine.
    public var addressWords: [AddressWord] { initial?.addressWords ?? [] }

    // MARK: The behaviours left

    /// - Complexity: O(behaviours left x writes) operations of the twin; steps that were followed before cost nothing.
    public func foresee(_ writes: [SystemWrite], after seen: [Observation]) -> [ForeseenState] {
        follow(seen)
        guard let course else { return [] }
        let steps = seen.map(\.writes) + (writes.isEmpty ? [] : [writes])
        return (left ?? []).compactMap { behaviour in
            guard let moment = course.moment(after: steps, behaviour) else { return nil }
            return ForeseenState(
                behaviour: behaviour.name,
                tree: moment.tree,
                registers: moment.prediction.registers
            )
        }
    }

    /// Brings `left` to where all of `seen` leads.
    private func follow(_ seen: [Observation]) {
        if left == nil || !seen.starts(with: followed) {
            left = course.map { course in behaviours.behaviours.filter { course.moment(after: [], $0) != nil } }
            followed = []
        }
        for n in followed.count..<seen.count {
            left = left?.filter { course?.moment(after: seen[...n].map(\.writes), $0)?.tree == seen[n].tree }
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
        guard let course else { return nil }
        for candidate in candidates {
            let agrees = seen.indices.allSatisfy { n in
                course.moment(after: seen[...n].map(\.writes), candidate)?.tree == seen[n].tree
            }
            guard agrees, let end = course.moment(after: seen.map(\.writes), candidate) else { continue }
            behaviour = candidate
            state = end.prediction
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
        let goals = goals.filter { $0.subject.map { topology[$0] != nil } ?? true }
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
        addresses.formUnion(wish.constraints.conditions.flatMap(\.addresses))
        addresses.formUnion(wish.goals.compactMap(\.subject))
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
        constraints.conditions = constraints.conditions.map { $0.mapped { agreement.renamed[$0] ?? $0 } }
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
        case .everythingRequired, .compact: self
        case .place(let address): .place(now(address))
        case .resize(let address, let bar, let size): .resize(now(address), bar: bar, size: size)
        case .located(let address, let bar, let start): .located(now(address), bar: bar, address: start)
        case .reserve(let address, let room): .reserve(now(address), room)
        case .virtualFunctions(let address, let count): .virtualFunctions(now(address), count: count)
        case .restore(let layout): layout.places.isEmpty ? nil : self
        }
    }
}

/// Where steps lead from one tree, one behaviour at a time; what was followed once is known.
final class PredictedCourse {
    /// The machine after some of the steps.
    struct Moment {
        var prediction: Prediction
        var tree: TreeState
    }

    private struct Key: Hashable {
        var behaviour: String
        var steps: [[SystemWrite]]
    }

    /// The machine before the first step.
    let initial: Topology
    private var known: [Key: Moment?] = [:]

    init(_ initial: Topology) { self.initial = initial }

    /// The machine after `steps`, each some writes; nil when a kernel of this behaviour would refuse one of them, or the
    /// twin cannot say.
    ///
    /// - Complexity: O(steps that were not followed before) operations of the twin.
    func moment(after steps: [[SystemWrite]], _ behaviour: KernelBehaviour) -> Moment? {
        let key = Key(behaviour: behaviour.name, steps: steps)
        if let found = known[key] { return found }
        var prediction: Prediction?
        if let last = steps.last {
            prediction = moment(after: steps.dropLast(), behaviour)?.prediction
            if prediction?.perform(last) != true { prediction = nil }
        } else {
            prediction = try? Prediction(initial, behaviour: behaviour)
        }
        let found = prediction.flatMap { prediction in
            prediction.tree.map { Moment(prediction: prediction, tree: $0) }
        }
        known[key] = found
        return found
    }
}
