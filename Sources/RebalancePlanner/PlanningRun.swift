// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ProofChecker
internal import ResourceSolver

/// One planning run: takes groups of demands one after the other, each from where the last one led.
struct PlanningRun {
    let planner: Planner
    let constraints: Constraints
    let weights: DisturbanceWeights
    var acceptance: Acceptance
    var current: SearchState
    var assembly: PlanAssembly
    /// Everything that the plan disturbs so far.
    var disturbed = FunctionSet()
    /// What the bound is about: everything that the plan provides.
    private var provided: [Demand] = []
    /// The work that is left for searches.
    let allowance: SearchAllowance
    let start: SearchState
    /// The machine under the other behaviours, as far as the plan has come.
    private var rivals: RivalBehaviours

    /// Stages simulated although the solver proved that nothing serves.
    private static let doubt = 32

    /// Stages simulated for one of several things that would do, or do in part.
    static let oneOfSeveral = 600

    /// The most combinations of sizes that are searched for in vain without the proof that there is no layout.
    private static let mostUnproved = 24

    /// Stages simulated for all parts of a group that cannot be had as a whole; each gets a few even after that.
    private static let allParts = 1800

    /// Work for the solver where a plan hangs on it.
    private static let effort = Effort(steps: 60_000)

    init(
        planner: Planner,
        goals: [Goal],
        constraints: Constraints,
        weights: DisturbanceWeights,
        acceptance: Acceptance,
        start: SearchState,
        rivals: RivalBehaviours = RivalBehaviours(),
        allowance: SearchAllowance
    ) {
        self.allowance = allowance
        self.planner = planner
        self.constraints = constraints
        self.weights = weights
        self.acceptance = acceptance
        self.start = start
        self.rivals = rivals
        current = start
        assembly = PlanAssembly(planner: planner, goals: goals, start: start, weights: weights)
    }

    /// Plans for a group: the first of its choices that can be met, then its wishes as far as they go.
    mutating func take(_ cluster: DemandCatalogue.Cluster) {
        allowance.beginGroup()
        takeUp(cluster)
    }

    private mutating func takeUp(_ cluster: DemandCatalogue.Cluster) {
        for demand in cluster.choices.last ?? [] {
            guard let no = obstruction(of: demand) else { continue }
            if planner.certifies, let certificate = conflict(cluster.choices.last ?? [])?.certificate {
                assembly.certificates.append(certificate)
            }
            return assembly.note(impossible: no.reason, no.sentence)
        }
        var isSettled = false
        var hopeless: [[Demand]] = []
        var unproved = 0
        for (n, wanted) in cluster.choices.enumerated() where !isSettled {
            guard isOpen(wanted) else {
                isSettled = true
                provided += wanted
                noteSizes(wanted, cluster, isProven: !hopeless.isEmpty)
                continue
            }
            let isLast = n == cluster.choices.count - 1
            guard isLast || unproved < Self.mostUnproved, !hopeless.contains(where: { isNoLess(wanted, than: $0) })
            else { continue }
            switch search(wanted, budget: isLast ? constraints.simulationBudget : Self.oneOfSeveral) {
            case .solved(let solution):
                isSettled = true
                noteSizes(wanted, cluster, isProven: !hopeless.isEmpty)
                accept(solution, wanted)
            case .conflict: hopeless.append(wanted)
            case .nothing: unproved += 1
            }
        }
        if isSettled {
            for wish in cluster.wishes where isOpen([wish]) {
                if case .solved(let solution) = search([wish], budget: Self.oneOfSeveral) {
                    accept(solution, [wish])
                } else {
                    assembly.note(unfulfilled: wish)
                }
            }
            return
        }
        guard cluster.apart.isEmpty else {
            for part in cluster.apart { takeUp(part) }
            return
        }
        guard let wanted = cluster.choices.last else { return }
        takeParts(wanted)
    }

    /// Why no sequence of operations can meet `demand`, a slug and a sentence: it is larger than every aperture that could
    /// hold it, or its place is in no aperture or not PCI's. Nil where it is not so, and where the apertures are not known.
    private func obstruction(of demand: Demand) -> (reason: String, sentence: String)? {
        let topology = start.context.topology
        let host = topology.hostBridges[start.context.host[demand.function]]
        guard host.source != .unknown else { return nil }
        if case .located(let i, let index, let first) = demand {
            return obstruction(of: i, index, at: first, host).map { ($0.reason, $0.sentence) }
        }
        guard case .room(let i, let kind, let bytes) = demand else { return nil }
        let sizes = host.apertures.filter { $0.isIO == (kind == .io) }.map(\.range.clampedSize)
        guard let largest = sizes.max(), bytes > largest else { return nil }
        let what = kind == .io ? "I/O" : "memory"
        return (
            "mmio-window-too-small",
            "\(ByteCount(bytes)) below \(start.context.address(i)) fits nowhere: the largest \(what) aperture of its "
                + "host bridge is \(ByteCount(largest))"
        )
    }

    private func obstruction(
        of i: Int,
        _ index: ResourceIndex,
        at first: UInt64,
        _ host: HostBridge
    ) -> (reason: String, sentence: String)? {
        let resource = start.context.function(i).resource(index)
        guard let size = resource?.size?.rawValue, let range = AddressRange(first: first, size: size) else {
            return nil
        }
        let isIO = start.context.kind(i, index) == .io
        let apertures = host.apertures.filter { $0.isIO == isIO }
        let name = "0x\(bareHex(range.first))-0x\(bareHex(range.last)) for \(start.context.address(i)) \(index)"
        guard apertures.contains(where: { $0.range.contains(range) }) else {
            let list = apertures.map { "0x\(bareHex($0.range.first))-0x\(bareHex($0.range.last))" }
            return (
                "outside-apertures",
                "\(name) lies in no aperture of its host bridge: \(list.isEmpty ? "none" : list.joined(separator: ", "))"
            )
        }
        // What lies inside a BAR or a window belongs to a driver, not to the platform.
        let foreign = planner.topology.blockers.first { blocker in
            blocker.isIO == isIO && blocker.range.overlaps(range)
                && !planner.topology.functions.contains { function in
                    function.resources.contains {
                        $0.range?.overlaps(blocker.range) == true && ($0.kind == .io) == isIO
                    }
                }
        }
        return foreign.map { ("address-taken", "\(name) is not PCI's: \($0.name) lies there") }
    }

    /// Where a group cannot be had as a whole: as many functions' demands as can be, the most telling first.
    ///
    /// - Complexity: one search per function that lacks something, at most `mostParts`.
    private mutating func takeParts(_ wanted: [Demand]) {
        let open = acceptance.unmet(wanted, in: current)
        var parts: [[Demand]] = []
        for demand in open.sorted(by: { rank($0) < rank($1) }) {
            // I/O is taken by itself: drivers do without it sooner than without memory.
            let isIO = isIO(demand)
            if let n = parts.firstIndex(where: { $0[0].function == demand.function && self.isIO($0[0]) == isIO }) {
                parts[n].append(demand)
            } else {
                parts.append([demand])
            }
        }
        guard parts.count > 1 else { return explain(wanted) }
        var taken: [Demand] = []
        var best: StageSearch.Solution?
        var left: [Demand] = []
        var pool = Self.allParts
        for part in parts.prefix(Self.mostParts) {
            // Whoever stays without memory has no use for ports.
            if isIO(part[0]), left.contains(where: { $0.function == part[0].function }) {
                left += part
                continue
            }
            // Ports alone are no success; whether they could be had is worth a look, not a search.
            let share = isIO(part[0]) && best == nil ? Self.doubt : max(Self.doubt, min(Self.oneOfSeveral, pool))
            if case .solved(let solution) = search(taken + part, budget: share, &pool) {
                taken += part
                best = solution
            } else {
                left += part
            }
        }
        left += parts.dropFirst(Self.mostParts).flatMap { $0 }
        // Ports alone are no success: drivers of functions with memory do without them.
        if let best, taken.contains(where: { !isIO($0) }) {
            accept(best, taken)
        } else if !taken.isEmpty {
            for i in FunctionSet(taken.map(\.function)).members {
                let address = start.context.address(i)
                assembly.remarks.append("\(address) by itself can be helped: --place \(address)")
            }
            left = wanted
        }
        explain(left.isEmpty ? wanted : left)
    }

    /// The most functions of a group that are tried one after the other.
    private static let mostParts = 12

    /// Buses first, then memory, then I/O; large before small.
    private func rank(_ demand: Demand) -> (Int, UInt64, Int) {
        let i = demand.function
        switch demand {
        case .bus, .buses, .freeBuses: return (0, 0, i)
        case .address(_, let index), .size(_, let index, _), .located(_, let index, _):
            let size = start.context.function(i).resource(index)?.size?.rawValue ?? 0
            return (isIO(demand) ? 2 : 1, .max - size, i)
        case .window, .room, .stretch, .cleared: return (3, 0, i)
        }
    }

    private func isIO(_ demand: Demand) -> Bool {
        guard case .address(let i, let index) = demand else { return false }
        return start.context.kind(i, index) == .io
    }

    func isOpen(_ wanted: [Demand]) -> Bool {
        if !acceptance.unmet(wanted, in: current).isEmpty { return true }
        // What only findings tell is met when the tree no longer shows it.
        let cleared = wanted.filter(\.needsFindings)
        guard !cleared.isEmpty, let topology = try? current.simulation.topology() else { return false }
        let problems = Set(Acceptance.problems(topology.findings(explains: false), in: topology, current.context))
        return cleared.contains { demand in
            guard case .cleared(let i, let code, let resource) = demand else { return false }
            return problems.contains(Acceptance.Problem(function: i, code: code, resource: resource))
        }
    }

    /// Whether every size in `a` is at least the one in `b`, the present size counting as the largest.
    private func isNoLess(_ a: [Demand], than b: [Demand]) -> Bool {
        guard a.count == b.count else { return false }
        func size(_ demand: Demand) -> UInt64 { if case .size(_, _, let size) = demand { size } else { .max } }
        return zip(a, b).allSatisfy { $0.function == $1.function && size($0) >= size($1) }
    }

    // MARK: - Searching

    enum Result {
        case solved(StageSearch.Solution)
        /// The solver proved that no layout has it.
        case conflict
        case nothing
    }

    /// Searches the cheap first; where that ends without the proof that nothing is cheaper, the solver's bound and its
    /// layout's choice of functions guide the rest.
    func search(_ wanted: [Demand], budget: Int) -> Result {
        var pool = budget
        return search(wanted, budget: budget, &pool)
    }

    /// The same; what it costs is taken from `pool`.
    private func search(_ wanted: [Demand], budget: Int, _ pool: inout Int) -> Result {
        search(
            wanted,
            from: current,
            acceptance,
            weights,
            already: disturbed,
            maxMoves: constraints.maxMoves,
            budget: budget,
            rivals: rivals,
            &pool
        )
    }

    func search(
        _ wanted: [Demand],
        from searchState: SearchState,
        _ acceptance: Acceptance,
        _ weights: DisturbanceWeights,
        already: FunctionSet,
        maxMoves: Int?,
        budget: Int,
        rivals: RivalBehaviours = RivalBehaviours(),
        _ pool: inout Int
    ) -> Result {
        let bound = DisturbanceBound(searchState, wanted: wanted, already: already)
        let functions = searchState.context.count
        if var quick = quickSearch(bound, searchState, acceptance, wanted, already, maxMoves, rivals),
            let solution = quick.solveWithinBound(from: searchState)
        {
            pool -= quick.simulations
            allowance.spend(quick.simulations, functions: functions, permitted: budget, wanted: budget, found: true)
            return .solved(solution)
        }
        let answer = answer(bound, searchState, weights)
        // What the solver proves impossible is tried a little all the same: the proof is about the solver's model.
        let wish = min(answer.conflict != nil ? min(budget, Self.doubt) : budget, constraints.simulationBudget)
        let budget = min(wish, allowance.stages(functions))
        var search = StageSearch(
            acceptance,
            wanted: wanted,
            already: already,
            bound: max(bound.certainWeight, answer.bound),
            suggested: answer.suggested,
            maximumStages: planner.maximumStages,
            maxMoves: maxMoves,
            budget: budget
        )
        search.rivals = rivals
        let solution = search.solve(from: searchState)
        pool -= search.simulations
        allowance.spend(
            search.simulations,
            functions: functions,
            permitted: budget,
            wanted: wish,
            found: solution != nil || answer.conflict != nil
        )
        if let solution { return .solved(solution) }
        return answer.conflict == nil ? .nothing : .conflict
    }

    /// The search that needs no word of the solver's: among what disturbs no more than every plan must; nil where that is
    /// not known to be anything.
    private func quickSearch(
        _ bound: DisturbanceBound,
        _ searchState: SearchState,
        _ acceptance: Acceptance,
        _ wanted: [Demand],
        _ already: FunctionSet,
        _ maxMoves: Int?,
        _ rivals: RivalBehaviours
    ) -> StageSearch? {
        guard !bound.certain.isEmpty else { return nil }
        var search = StageSearch(
            acceptance,
            wanted: wanted,
            already: already,
            bound: bound.certainWeight,
            maximumStages: 1,
            maxMoves: maxMoves,
            budget: Self.doubt
        )
        search.rivals = rivals
        return search
    }

    /// What the solver says of a search state.
    func answer(
        _ bound: DisturbanceBound,
        _ searchState: SearchState,
        _ weights: DisturbanceWeights,
        explains: Bool = false
    ) -> DisturbanceBound.Answer {
        guard let topology = try? searchState.simulation.topology() else {
            return DisturbanceBound.Answer(bound: bound.certainWeight, isUndecided: true)
        }
        return bound.answer(
            topology,
            protecting: weights,
            limit: constraints.highestAddress,
            effort: Self.effort,
            explains: explains
        )
    }

    mutating func accept(_ solution: StageSearch.Solution, _ wanted: [Demand]) {
        let first = assembly.steps.count
        assembly.append(solution.stages, from: current)
        if !rivals.isEmpty { rivals.perform(assembly.steps[first...].flatMap(\.writes)) }
        disturbed.formUnion(solution.disturbed)
        current = solution.searchState
        acceptance.reached += wanted
        provided += wanted
        assembly.asked += wanted
    }

    /// Takes over what was planned for a part of the tree that shares nothing with the rest.
    ///
    /// - Parameters:
    ///   - part: the run.
    ///   - numbers: per function of the part its number here.
    mutating func takeOver(_ part: PlanningRun, numbers: [Int]) {
        func renumbered(_ demands: [Demand]) -> [Demand] { demands.map { $0.of(numbers[$0.function]) } }
        assembly.append(part: part.assembly, asked: renumbered(part.assembly.asked))
        let met = renumbered(part.provided)
        provided += met
        acceptance.reached += met
    }

    // MARK: - The end

    /// The plan.
    ///
    /// - Parameter result: what the steps come to.
    /// - Returns: the plan, with what it leads to under the other behaviours.
    func finish(_ result: PlanAssembly.Result) -> Plan {
        var assembly = assembly
        if allowance.isSpent {
            assembly.remarks.append(
                "the search gave up before it had tried everything: --effort lets it work longer"
            )
        }
        var plan = assembly.finish(result)
        if plan.verdict.answer == .act, !planner.others.isEmpty {
            plan.outlooks = ([planner.behaviour] + planner.others).map { outlook(of: $0, plan) }
        }
        return plan
    }

    /// What the steps come to.
    func result() -> PlanAssembly.Result {
        let cost = disturbed.members.reduce(0) { $0 + start.context.weight[$1] }
        var bound = 0
        var certificates: [Certificate] = []
        if !assembly.steps.isEmpty {
            let joint = DisturbanceBound(start, wanted: provided, already: FunctionSet())
            bound = joint.certainWeight
            if cost > bound {
                let answer = joint.answer(
                    planner.topology,
                    protecting: weights,
                    limit: constraints.highestAddress,
                    effort: Self.effort
                )
                if answer.conflict == nil { bound = max(bound, answer.bound) }
            }
            if planner.certifies, cost <= bound, !joint.asksForPlaces {
                let proof = LeastDisturbanceProof(
                    joint,
                    planner.topology,
                    weights,
                    limit: constraints.highestAddress,
                    effort: Self.effort
                )
                if let certificate = proof.certificate(of: cost) { certificates.append(certificate) }
            }
        }
        let losses = acceptance.original.losses(in: current.summary, asked: provided).filter { $0.grade == .remark }
        return PlanAssembly.Result(
            disturbed: assembly.disturbances(disturbed, current),
            cost: cost,
            bound: bound,
            losses: losses.map(\.text),
            certificates: certificates
        )
    }

    /// Where the steps lead under a behaviour.
    private func outlook(of behaviour: KernelBehaviour, _ plan: Plan) -> BehaviourOutlook {
        var outlook = BehaviourOutlook(behaviour: behaviour.name, outcome: .asPlanned)
        guard var simulation = try? TwinSimulation(planner.topology, behaviour: behaviour) else {
            return BehaviourOutlook(behaviour: behaviour.name, outcome: .refused, differsAfterStep: 1)
        }
        for (n, step) in plan.steps.enumerated() {
            guard simulation.perform(step.writes) else {
                return BehaviourOutlook(
                    behaviour: behaviour.name,
                    outcome: .refused,
                    differsAfterStep: outlook.differsAfterStep ?? n + 1
                )
            }
            guard outlook.differsAfterStep == nil else { continue }
            let tree = (try? simulation.topology()).map { TreeState($0) }
            if tree != step.after { outlook.differsAfterStep = n + 1 }
        }
        guard outlook.differsAfterStep != nil else { return outlook }
        outlook.outcome = acceptance.outlook(SearchState(start.context, simulation), wanted: provided)
        return outlook
    }
}
