// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import HeapModule
internal import PCITopology

/// Finds the cheapest sequence of stages after which everything that was wanted holds and nothing is worse.
///
/// The twin simulates; what it leads to is judged by `Acceptance`. Single stages come first, in order of weight: they
/// decide nearly every case, and the first that serves is the best single one. When none does, sequences are tried from
/// where the least is missing. Then sequences are taken best first, in order of weight and stages, as long as one could be
/// cheaper than what was found. A bound from below on the weight of any plan (`DisturbanceBound`) ends the search early,
/// and puts off whatever cannot be a whole plan by itself. Search states that were seen before are not taken up again.
///
/// Cost, in this order: weight of what is disturbed (each function once); what hangs on the kernel's behaviour; stages;
/// endpoints in use that get another bus number; optional things lost; time out of service (`outage`); writes; order of
/// generation.
struct StageSearch {
    let acceptance: Acceptance
    let wanted: [Demand]
    let maximumStages: Int
    /// The greatest number of functions with a weight that may be disturbed, or nil.
    let maxMoves: Int?
    /// What is disturbed already, by earlier parts of the plan.
    let already: FunctionSet
    /// No plan weighs less.
    let bound: Int
    /// Functions that a layout with the least disturbance moves.
    let suggested: FunctionSet
    /// How many stages may be simulated.
    let budget: Int
    /// How many were.
    var simulations = 0
    /// The machine under the other behaviours that its kernel may have.
    var rivals = RivalBehaviours()

    /// A sequence that reaches the goal.
    struct Solution {
        var stages: [Stage]
        var searchState: SearchState
        var disturbed: FunctionSet
        var weight: Int
        /// How much hangs on the behaviour that the plan is made for (`RivalBehaviours.risk`), and on what nobody could see
        /// (`SearchState.hasGuessedWindows`).
        var risk = 0
        var rank: [Int]
    }

    struct Node {
        var stages: [Stage]
        var disturbed: FunctionSet
        var weight: Int
        var renumbered: Int
        /// How much is missing or worse here.
        var distance: Int
        /// The node before the last stage.
        var parent = -1
        /// Whether the last stage was offered with slack.
        var slackOffered = false
        /// Whether the search state was seen before: no stage follows, the last one is worth another try with slack alone.
        var isRepeat = false
    }

    /// Something to do next: a stage to simulate, or a search state whose stages are to be thought of.
    struct Candidate: Comparable {
        /// The weight, or the bound where that is greater.
        var estimate: Int
        /// The stages that a whole plan through here has at least.
        var stages: Int
        var renumbered: Int
        var outage: Int
        var writes: Int
        var serial: Int
        var node: Int
        /// The stage; nil to expand the node.
        var stage: Stage?
        var disturbed: FunctionSet
        var weight: Int

        private var key: (Int, Int, Int, Int, Int, Int) { (estimate, stages, renumbered, outage, writes, serial) }
        static func < (a: Candidate, b: Candidate) -> Bool { a.key < b.key }
        static func == (a: Candidate, b: Candidate) -> Bool { a.serial == b.serial }
    }

    var nodes: [Node] = []
    /// The machines that the nodes stand for, as many as are worth their memory.
    private var kept = KeptStates()
    private var singles = Heap<Candidate>()
    var queue = Heap<Candidate>()
    private var serial = 0
    private var seen: Set<UInt64> = []
    /// Stages that led back to a search state seen before, and were kept for another try with slack.
    private var repeats: Set<Repeat> = []

    /// A stage by what it removes and finds, whatever is written in between.
    private struct Repeat: Hashable {
        var node: Int
        var roots: [Int]
        var rescans: [Stage.Rescan]
    }

    var context: SearchContext { acceptance.original.context }
    /// Further equals looked at once a solution is known.
    private static let equals = 12
    /// The same while the best solution does not hold under every behaviour.
    private static let equalsAtRisk = 60

    init(
        _ acceptance: Acceptance,
        wanted: [Demand],
        already: FunctionSet,
        bound: Int,
        suggested: FunctionSet = FunctionSet(),
        maximumStages: Int,
        maxMoves: Int?,
        budget: Int
    ) {
        self.acceptance = acceptance
        self.wanted = wanted
        self.already = already
        self.bound = bound
        self.suggested = suggested
        self.maximumStages = maximumStages
        self.maxMoves = maxMoves
        self.budget = budget
    }

    /// Searches from `start`, the machine as it is; nil when no sequence of at most `maximumStages` stages was found.
    mutating func solve(from start: SearchState) -> Solution? {
        begin(start)
        var best = searchSingles()
        if best == nil, budget > Self.followUpsFrom, let found = searchFollowUps() {
            if found.weight <= bound {
                best = found
            } else {
                searchByDistance(&best, until: budget * 3 / 4)
                if isBetter(found, than: best) { best = found }
            }
        } else if best == nil {
            searchByDistance(&best, until: budget * 3 / 4)
        }
        if best == nil, budget > Self.slackBudget { searchWithSlack(&best, until: simulations + Self.slackBudget) }
        searchInOrder(&best, until: best == nil ? budget : min(budget, simulations + Self.improvement))
        return best.map { trimmed($0, from: start) }
    }

    /// The best single stage that weighs no more than the bound, and holds under every behaviour; nil without one.
    mutating func solveWithinBound(from start: SearchState) -> Solution? {
        begin(start)
        guard let first = singles.min, first.estimate <= bound else { return nil }
        guard let best = searchSingles(within: bound), best.weight <= bound, best.risk == 0 else { return nil }
        return trimmed(best, from: start)
    }

    private mutating func begin(_ start: SearchState) {
        seen = [start.summary.key]
        kept = KeptStates(start)
        nodes = [Node(stages: [], disturbed: already, weight: weight(of: already), renumbered: 0, distance: 0)]
        expand(0)
    }

    /// The machine that node `n` stands for: kept, or simulated again.
    mutating func state(of n: Int) -> SearchState {
        if let state = kept[n] { return state }
        var state = state(of: nodes[n].parent)
        // What was carried out once is carried out again: the twin decides nothing by chance.
        if let stage = nodes[n].stages.last { _ = state.carryOut(stage) }
        kept.keep(state, of: n)
        return state
    }

    /// Stages simulated in search of something cheaper than a single stage that serves.
    private static let improvement = 300

    /// The least budget that is worth slack and its use.
    private static let followUpsFrom = 300

    /// Stages simulated for large removals with slack, where nothing else served.
    private static let slackBudget = 400

    /// The best single stage.
    private mutating func searchSingles(within limit: Int = .max) -> Solution? {
        var best: Solution?
        var equals = 0
        while let candidate = singles.popMin(), simulations < budget, candidate.estimate <= limit {
            if let best {
                guard candidate.estimate <= best.weight,
                    equals < (best.risk > 0 ? Self.equalsAtRisk : Self.equals)
                else {
                    queue.insert(candidate)
                    break
                }
                equals += 1
            }
            if let found = simulate(candidate), isBetter(found, than: best) {
                best = found
                equals = 0
            }
        }
        return best
    }

    /// Sequences in order of weight and stages, while one could be cheaper than `best`.
    private mutating func searchInOrder(_ best: inout Solution?, until limit: Int) {
        while let candidate = queue.min, simulations < limit {
            if let best, candidate.estimate > best.weight || candidate.estimate == best.weight && best.risk == 0 {
                return
            }
            queue.removeMin()
            guard candidate.stage != nil else {
                expand(candidate.node)
                offerAlignments(candidate.node)
                continue
            }
            if let found = simulate(candidate), isBetter(found, than: best) { best = found }
        }
    }

    /// Sequences from the situations where the least is missing: their stages, and the stages that led there once more with
    /// slack in the windows.
    private mutating func searchByDistance(_ best: inout Solution?, until limit: Int) {
        var open = Heap<Lead>()
        var known = 1
        func collect(_ open: inout Heap<Lead>) {
            for n in known..<nodes.count where nodes[n].stages.count < maximumStages {
                var lead = lead(to: n)
                lead.addsSlack = nodes[n].isRepeat
                open.insert(lead)
            }
            known = nodes.count
        }
        collect(&open)
        let putOff = queue
        while best == nil, simulations < limit, let next = open.popMin() {
            queue = Heap<Candidate>()
            if next.addsSlack {
                offerAlignments(next.node)
            } else {
                expand(next.node)
                if !nodes[next.node].slackOffered {
                    nodes[next.node].slackOffered = true
                    var again = lead(to: next.node)
                    again.addsSlack = true
                    open.insert(again)
                }
            }
            while best == nil, simulations < limit, let candidate = queue.popMin() {
                if candidate.stage != nil, let found = simulate(candidate) { best = found }
            }
            collect(&open)
        }
        queue = putOff
        for n in 1..<max(1, nodes.count) where nodes[n].stages.count < maximumStages {
            queue.insert(expansion(of: n))
        }
    }

    /// A search state to go on from.
    private struct Lead: Comparable {
        var distance: Int
        var weight: Int
        var node: Int
        var addsSlack = false

        private var key: (Int, Int, Int, Int) { (distance, weight, node, addsSlack ? 1 : 0) }
        static func < (a: Lead, b: Lead) -> Bool { a.key < b.key }
        static func == (a: Lead, b: Lead) -> Bool { a.key == b.key }
    }

    private func lead(to n: Int) -> Lead { Lead(distance: nodes[n].distance, weight: nodes[n].weight, node: n) }

    func isBetter(_ a: Solution, than b: Solution?) -> Bool {
        guard let b else { return true }
        let first = (a.weight, a.risk, a.stages.count)
        let second = (b.weight, b.risk, b.stages.count)
        if first != second { return first < second }
        return a.rank.lexicographicallyPrecedes(b.rank)
    }

    // MARK: - Candidates

    mutating func expand(_ n: Int) {
        let node = nodes[n]
        guard !node.isRepeat else { return }
        let searchState = state(of: n)
        var source = StageSource(
            searchState: searchState,
            wanted: n == 0 ? wanted : acceptance.pending(wanted, in: searchState)
        )
        source.suggested = suggested
        if n > 0 { source.setsPerBus = 6 }
        for offer in source.offers() {
            push(offer.stage, stopped: offer.stopped, renumbered: offer.renumbered, from: n)
        }
    }

    mutating func push(_ stage: Stage, stopped: FunctionSet, renumbered: Int, from n: Int) {
        let node = nodes[n]
        var disturbed = node.disturbed
        disturbed.formUnion(stopped)
        if let maxMoves, movers(disturbed) > maxMoves { return }
        let weight = weight(of: disturbed)
        let stages = node.stages.count + 1
        let isPart = weight < bound || !stage.alignments.isEmpty
        guard stages + (isPart ? 1 : 0) <= maximumStages else { return }
        serial += 1
        let candidate = Candidate(
            estimate: max(weight, bound),
            stages: stages + (isPart ? 1 : 0),
            renumbered: node.renumbered + renumbered,
            outage: outage(disturbed),
            writes: stage.roots.count + stage.extraWrites,
            serial: serial,
            node: n,
            stage: stage,
            disturbed: disturbed,
            weight: weight
        )
        if stages == 1, !isPart { singles.insert(candidate) } else { queue.insert(candidate) }
    }

    func weight(of set: FunctionSet) -> Int { set.members.reduce(0) { $0 + context.weight[$1] } }

    private func movers(_ set: FunctionSet) -> Int { set.members.count { context.weight[$0] > 0 } }

    // MARK: - Simulation

    mutating func simulate(_ candidate: Candidate) -> Solution? {
        guard let stage = candidate.stage else { return nil }
        simulations += 1
        let parent = nodes[candidate.node]
        let before = state(of: candidate.node)
        var searchState = before
        guard searchState.carryOut(stage) else { return nil }
        var disturbed = candidate.disturbed
        let moved = acceptance.moved(from: before.summary, to: searchState.summary, stopped: disturbed)
        if !moved.isEmpty {
            guard !moved.members.contains(where: { context.isProtected[$0] }) else { return nil }
            disturbed.formUnion(moved)
            if let maxMoves, movers(disturbed) > maxMoves { return nil }
        }
        let stages = parent.stages + [stage]
        if acceptance.accepts(searchState, wanted: wanted) {
            return Solution(
                stages: stages,
                searchState: searchState,
                disturbed: disturbed,
                weight: weight(of: disturbed),
                risk: risk(of: stages) + (searchState.hasGuessedWindows ? 1 : 0),
                rank: rank(stages, searchState, disturbed, candidate.renumbered)
            )
        }
        guard stages.count < maximumStages else { return nil }
        let isRepeat = !seen.insert(searchState.summary.key).inserted
        if isRepeat {
            // A kernel that sizes windows by need comes back to where it was; with slack it need not.
            guard stage.alignments.isEmpty, !stage.roots.isEmpty,
                repeats.insert(
                    Repeat(node: candidate.node, roots: stage.roots, rescans: stage.rescans)
                ).inserted
            else { return nil }
        }
        var node = Node(
            stages: stages,
            disturbed: disturbed,
            weight: weight(of: disturbed),
            renumbered: candidate.renumbered,
            distance: acceptance.distance(searchState, wanted: wanted),
            parent: candidate.node
        )
        node.isRepeat = isRepeat
        nodes.append(node)
        kept.keep(searchState, of: nodes.count - 1)
        queue.insert(expansion(of: nodes.count - 1))
        return nil
    }

    /// The task to think of the stages that may follow node `n`.
    private mutating func expansion(of n: Int) -> Candidate {
        serial += 1
        let node = nodes[n]
        return Candidate(
            estimate: max(node.weight, bound),
            stages: node.stages.count + 1,
            renumbered: node.renumbered,
            outage: outage(node.disturbed),
            writes: 0,
            serial: serial,
            node: n,
            stage: nil,
            disturbed: node.disturbed,
            weight: node.weight
        )
    }

    /// How much hangs on the behaviour that the sequence is made for: the writes that it would do, under each of the others.
    func risk(of stages: [Stage]) -> Int {
        guard !rivals.isEmpty, var searchState = kept[0] else { return 0 }
        var writes: [SystemWrite] = []
        for stage in stages {
            guard searchState.carryOut(stage, report: { part, _ in writes += part.writes }) else { return 0 }
        }
        return rivals.risk(of: writes, acceptance, wanted: wanted)
    }

    /// How long functions are out of service, in tenths of a second, estimated: to find a function again takes about a
    /// tenth, and a driver takes a second to start. It decides between ways of the same weight and length only.
    func outage(_ disturbed: FunctionSet) -> Int {
        disturbed.members.reduce(0) { sum, i in
            let context = acceptance.original.context
            return sum + OutageEstimate.tenths(hasDriver: !context.isBridge(i) && context.hasDriver(i))
        }
    }

    /// How little room the bridges have behind which functions may be that nobody could see: what appears there without a
    /// number for it makes the plan go back, or takes another round.
    private func cramped(_ summary: TwinSummary) -> Int {
        (0..<context.count).reduce(0) { sum, i in
            guard context.isUnseenInside[i], let range = summary.buses[i] else { return sum }
            return sum + BusNumbering.roomForUnseen.count { range.count <= $0 }
        }
    }

    func rank(
        _ stages: [Stage],
        _ searchState: SearchState,
        _ disturbed: FunctionSet,
        _ renumbered: Int
    ) -> [Int] {
        [
            cramped(searchState.summary), renumbered, acceptance.original.remarkCount(in: searchState.summary),
            outage(disturbed),
            stages.reduce(0) { $0 + $1.roots.count + $1.extraWrites },
        ]
    }
}
