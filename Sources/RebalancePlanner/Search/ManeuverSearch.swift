// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import HeapModule
internal import PCITopology

/// Finds the cheapest sequence of stages after which everything that was wanted holds and nothing is worse.
///
/// Best first, with the twin as the simulator: sequences are taken in order of weight, then stages, and a sequence is
/// simulated only when no cheaper one is left untried. A bound from below on the weight of any plan (`DisturbanceBound`)
/// puts off whatever cannot be a whole plan by itself. Situations that were seen before are not taken up again.
///
/// Cost, in this order: weight of what is disturbed (each function once) and one for every endpoint in use that gets
/// another bus number; stages; optional things lost; functions disturbed; writes; order of generation.
struct ManeuverSearch {
    let acceptance: Acceptance
    let wanted: [Demand]
    let maximumStages: Int
    /// The greatest number of functions with a weight that may be disturbed, or nil.
    let maxMoves: Int?
    /// What is disturbed already, by earlier parts of the plan.
    let already: FunctionSet
    /// No plan weighs less.
    var bound = 0
    /// Functions that a layout with the least disturbance moves.
    var suggested = FunctionSet()
    /// How many stages may still be simulated.
    var budget: Int
    /// How many were.
    private(set) var simulations = 0

    /// A sequence that reaches the goal.
    struct Solution {
        var maneuvers: [Maneuver]
        var situation: Situation
        var disturbed: FunctionSet
        var weight: Int
        fileprivate var stages: Int
        fileprivate var rank: [Int]
    }

    private struct Node {
        var situation: Situation
        var maneuvers: [Maneuver]
        var disturbed: FunctionSet
        var renumbered: Int
    }

    private struct Candidate: Comparable {
        var weight: Int
        /// The weight, or the bound where that is greater.
        var estimate: Int
        var stages: Int
        /// The stages that a whole plan through here has at least.
        var leastStages: Int
        var functions: Int
        var writes: Int
        var serial: Int
        var node: Int
        var maneuver: Maneuver
        var disturbed: FunctionSet
        var renumbered: Int

        private var key: (Int, Int, Int, Int, Int) { (estimate, leastStages, functions, writes, serial) }
        static func < (a: Candidate, b: Candidate) -> Bool { a.key < b.key }
        static func == (a: Candidate, b: Candidate) -> Bool { a.serial == b.serial }
    }

    private var nodes: [Node] = []
    private var queue = Heap<Candidate>()
    private var serial = 0
    private var seen: Set<UInt64> = []
    private var ground: Ground { acceptance.original.ground }
    /// Further equals looked at once a solution is known.
    private static let equals = 12

    init(
        _ acceptance: Acceptance,
        wanted: [Demand],
        already: FunctionSet,
        maximumStages: Int,
        maxMoves: Int?,
        budget: Int
    ) {
        self.acceptance = acceptance
        self.wanted = wanted
        self.already = already
        self.maximumStages = maximumStages
        self.maxMoves = maxMoves
        self.budget = budget
    }

    /// Searches from `start`; nil when no sequence of at most `maximumStages` stages reaches the goal, or the budget ran out.
    ///
    /// May be called again with a larger budget, or another bound: it goes on where it stopped.
    mutating func solve(from start: Situation) -> Solution? {
        if nodes.isEmpty {
            seen = [start.glance.key]
            nodes = [Node(situation: start, maneuvers: [], disturbed: already, renumbered: 0)]
            expand(0)
        } else {
            weighAgain()
        }
        var best: Solution?
        var equals = 0
        while let candidate = queue.min {
            if let best {
                guard (candidate.estimate, candidate.leastStages) <= (best.weight, best.stages), equals < Self.equals else {
                    break
                }
                equals += 1
            }
            guard simulations < budget else {
                return best.map { trimmed($0, from: start) }
            }
            queue.removeMin()
            if let found = simulate(candidate), isBetter(found, than: best) {
                best = found
                equals = 0
            }
        }
        return best.map { trimmed($0, from: start) }
    }

    /// Whether the search has looked at everything that was offered.
    var isExhausted: Bool { queue.isEmpty && !nodes.isEmpty }

    private func isBetter(_ a: Solution, than b: Solution?) -> Bool {
        guard let b else { return true }
        if (a.weight, a.stages) != (b.weight, b.stages) { return (a.weight, a.stages) < (b.weight, b.stages) }
        return a.rank.lexicographicallyPrecedes(b.rank)
    }

    // MARK: - Candidates

    private mutating func expand(_ n: Int) {
        let node = nodes[n]
        var source = ManeuverSource(situation: node.situation, wanted: wanted)
        source.suggested = suggested
        if n > 0 { source.setsPerBus = 6 }
        for offer in source.offers() {
            push(offer.maneuver, stopped: offer.stopped, renumbered: offer.renumbered, from: n)
        }
    }

    private mutating func push(_ maneuver: Maneuver, stopped: FunctionSet, renumbered: Int, from n: Int) {
        let node = nodes[n]
        var disturbed = node.disturbed
        disturbed.formUnion(stopped)
        if let maxMoves, movers(disturbed) > maxMoves { return }
        let total = node.renumbered + renumbered
        let weight = weight(of: disturbed) + total
        let stages = node.maneuvers.count + 1
        guard stages <= maximumStages else { return }
        serial += 1
        queue.insert(
            Candidate(
                weight: weight,
                estimate: max(weight, bound),
                stages: stages,
                leastStages: stages + (weight < bound || !maneuver.alignments.isEmpty ? 1 : 0),
                functions: disturbed.count,
                writes: maneuver.roots.count + maneuver.extraWrites,
                serial: serial,
                node: n,
                maneuver: maneuver,
                disturbed: disturbed,
                renumbered: total
            )
        )
    }

    /// Puts what waits in order under a new bound.
    private mutating func weighAgain() {
        var waiting = Heap<Candidate>()
        for var candidate in queue.unordered {
            candidate.estimate = max(candidate.weight, bound)
            candidate.leastStages =
                candidate.stages + (candidate.weight < bound || !candidate.maneuver.alignments.isEmpty ? 1 : 0)
            waiting.insert(candidate)
        }
        queue = waiting
        if !suggested.isEmpty { expand(0) }
    }

    private func weight(of set: FunctionSet) -> Int { set.members.reduce(0) { $0 + ground.weight[$1] } }

    private func movers(_ set: FunctionSet) -> Int { set.members.count { ground.weight[$0] > 0 } }

    // MARK: - Simulation

    private mutating func simulate(_ candidate: Candidate) -> Solution? {
        simulations += 1
        let parent = nodes[candidate.node]
        var situation = parent.situation
        guard situation.carryOut(candidate.maneuver) else { return nil }
        var disturbed = candidate.disturbed
        let moved = acceptance.moved(from: parent.situation.glance, to: situation.glance, stopped: disturbed)
        if !moved.isEmpty {
            guard !moved.members.contains(where: { ground.isProtected[$0] }) else { return nil }
            disturbed.formUnion(moved)
            if let maxMoves, movers(disturbed) > maxMoves { return nil }
        }
        let weight = weight(of: disturbed) + candidate.renumbered
        let maneuvers = parent.maneuvers + [candidate.maneuver]
        if acceptance.accepts(situation, wanted: wanted) {
            return Solution(
                maneuvers: maneuvers,
                situation: situation,
                disturbed: disturbed,
                weight: weight,
                stages: maneuvers.count,
                rank: rank(maneuvers, situation, disturbed)
            )
        }
        guard candidate.stages < maximumStages else { return nil }
        offerAlignments(candidate, situation)
        guard seen.insert(situation.glance.key).inserted else { return nil }
        nodes.append(
            Node(
                situation: situation,
                maneuvers: maneuvers,
                disturbed: disturbed,
                renumbered: candidate.renumbered
            )
        )
        expand(nodes.count - 1)
        return nil
    }

    private func rank(_ maneuvers: [Maneuver], _ situation: Situation, _ disturbed: FunctionSet) -> [Int] {
        [
            acceptance.original.remarkCount(in: situation.glance), disturbed.count,
            maneuvers.reduce(0) { $0 + $1.roots.count + $1.extraWrites },
        ]
    }

    /// Where a stage left a BAR without a place, the same stage once more with another function's BARs grown meanwhile:
    /// slack in the windows above, which a further stage then uses.
    private mutating func offerAlignments(_ candidate: Candidate, _ situation: Situation) {
        guard candidate.maneuver.alignments.isEmpty, !candidate.maneuver.roots.isEmpty,
            candidate.stages + 1 <= maximumStages
        else { return }
        var removed = FunctionSet()
        for root in candidate.maneuver.roots { for i in ground.subtree[root] { removed.insert(i) } }
        var orders: Set<Int> = []
        var failing = FunctionSet()
        for i in removed.members where situation.glance.isKnown[i] && situation.glance.lacking[i] != 0 {
            for resource in ground.function(i).resources
            where resource.index.isBAR && resource.kind != .io
                && situation.glance.lacking[i] >> UInt32(resource.index.rawValue) & 1 == 1
            {
                guard let size = resource.size?.rawValue, size > 1 << 20 else { continue }
                orders.insert(63 - size.leadingZeroBitCount)
                failing.insert(i)
            }
        }
        for case .room(_, let kind, let bytes) in acceptance.unmet(wanted, in: situation) where kind != .io && bytes > 0 {
            orders.insert(64 - (bytes - 1).leadingZeroBitCount)
        }
        guard !orders.isEmpty else { return }
        var offered = 0
        for order in orders.sorted().prefix(2) {
            for i in removed.members where offered < 12 && !failing.contains(i) && situation.glance.isKnown[i] {
                guard !ground.isBridge(i), !ground.function(i).isVirtual, canGrow(i, to: order, situation.glance) else {
                    continue
                }
                var maneuver = candidate.maneuver
                maneuver.alignments = [Maneuver.AlignmentRequest(function: i, order: order)]
                push(maneuver, stopped: removed, renumbered: 0, from: candidate.node)
                offered += 1
            }
        }
    }

    private func canGrow(_ i: Int, to order: Int, _ glance: TwinGlance) -> Bool {
        ground.function(i).resources.contains { resource in
            let size = glance.size(i, resource.index)
            return resource.index.isBAR && resource.kind != .io && size > 0 && size < 1 << UInt64(order)
        }
    }

    // MARK: - Afterwards

    /// The solution without removals that cost nothing and help nothing.
    private mutating func trimmed(_ solution: Solution, from start: Situation) -> Solution {
        var best = solution
        for stage in best.maneuvers.indices {
            for root in best.maneuvers[stage].roots.reversed() where ground.subtreeWeight[root] == 0 {
                guard best.maneuvers[stage].roots.count > 1, simulations < budget + 24 else { break }
                var maneuvers = best.maneuvers
                maneuvers[stage].roots.removeAll { $0 == root }
                let dropped = FunctionSet(ground.subtree[root])
                maneuvers[stage].numbering.removeAll { dropped.contains($0.bridge) }
                maneuvers[stage].windows.removeAll { dropped.contains($0.bridge) }
                guard let shorter = replay(maneuvers, from: start, like: best), !isBetter(best, than: shorter) else {
                    continue
                }
                best = shorter
            }
        }
        return best
    }

    private mutating func replay(_ maneuvers: [Maneuver], from start: Situation, like solution: Solution) -> Solution? {
        var situation = start
        var disturbed = already
        for maneuver in maneuvers {
            simulations += 1
            let before = situation.glance
            guard situation.carryOut(maneuver) else { return nil }
            for root in maneuver.usesResizeFiles ? maneuver.stopped : maneuver.roots {
                for i in ground.subtree[root] { disturbed.insert(i) }
            }
            let moved = acceptance.moved(from: before, to: situation.glance, stopped: disturbed)
            guard !moved.members.contains(where: { ground.isProtected[$0] }) else { return nil }
            disturbed.formUnion(moved)
        }
        guard acceptance.accepts(situation, wanted: wanted) else { return nil }
        let renumbered = solution.weight - weight(of: solution.disturbed)
        return Solution(
            maneuvers: maneuvers,
            situation: situation,
            disturbed: disturbed,
            weight: weight(of: disturbed) + renumbered,
            stages: maneuvers.count,
            rank: rank(maneuvers, situation, disturbed)
        )
    }
}
