// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ResourceSolver

// Why a group of demands cannot be had, and what would change that.
extension PlanningRun {
    /// Why a group cannot be had.
    enum Obstacle {
        /// The way leads over these protected functions; with them permitted, this many functions in use stop.
        case protected([Int], stopped: Int)
        /// The way disturbs more functions than this many.
        case tooManyMoves(Int)
        /// No way, proved where there is a conflict.
        case none(DisturbanceBound.Answer?)
    }

    /// Whether anything is forbidden that might help.
    private var isRestricted: Bool { weights.hasProtections || constraints.maxMoves != nil }

    /// Protected functions that are tried to be left out, one after the other.
    private static let mostProtected = 6

    /// Says which of several sizes it became, and whether something forbidden keeps the best from being had.
    mutating func noteSizes(_ wanted: [Demand], _ cluster: DemandCatalogue.Cluster, isProven: Bool) {
        var words: String?
        if let best = cluster.choices.first, best != wanted, !isProven, isRestricted {
            switch obstacle(best, budget: Self.oneOfSeveral) {
            case .protected(let functions, _): words = assembly.protectionSentence(functions)
            case .tooManyMoves(let limit): words = "more than \(limit) functions would be disturbed"
            case .none: break
            }
        }
        assembly.noteSizes(wanted, cluster, words)
    }

    /// Says why a group cannot be had: safety, the limit of functions, or no way at all.
    mutating func explain(_ wanted: [Demand]) {
        switch isRestricted ? obstacle(wanted, budget: constraints.simulationBudget) : .none(conflict(wanted)) {
        case .protected(let needed, let stopped):
            assembly.note(refused: wanted, protected: needed, stopped: stopped)
        case .tooManyMoves(let limit):
            assembly.note(
                refusal: "too-many-moves",
                "more functions would be disturbed than the limit of \(limit) allows"
            )
        case .none(let answer): assembly.note(impossible: wanted, answer, isShortOfBuses: isShortOfBuses(wanted))
        }
    }

    /// Why the solver has no layout for a group; nil when it has one, or cannot tell.
    func conflict(_ wanted: [Demand]) -> DisturbanceBound.Answer? {
        let bound = DisturbanceBound(current, wanted: wanted, already: disturbed)
        return answer(bound, current, weights, explains: true)
    }

    /// The same as if nothing were protected.
    private func unrestrictedConflict(_ wanted: [Demand]) -> DisturbanceBound.Answer? {
        let free = unrestrictedWeights
        let searchState = SearchState(SearchContext(planner.topology, weights: free), at: current)
        let bound = DisturbanceBound(searchState, wanted: wanted, already: disturbed)
        return answer(bound, searchState, free, explains: true)
    }

    private var unrestrictedWeights: DisturbanceWeights {
        var lifted = constraints
        lifted.maxMoves = nil
        lifted.keep = []
        lifted.onlyBelow = nil
        return DisturbanceWeights(planner.topology, constraints: lifted, ignoresProtection: true)
    }

    /// Whether bus numbers are what is missing, where addresses are wanted as well: not when the numbers alone can be had.
    private func isShortOfBuses(_ wanted: [Demand]) -> Bool {
        let numbers = wanted.filter(\.wantsBuses)
        guard !numbers.isEmpty, numbers.count < wanted.count else { return !numbers.isEmpty }
        guard isOpen(numbers) else { return false }
        if case .solved = search(numbers, budget: Self.oneOfSeveral) { return false }
        return true
    }

    /// What stands in the way of a group: searched for once more as if nothing were forbidden.
    private func obstacle(_ wanted: [Demand], budget: Int) -> Obstacle {
        switch search(wanted, budget: budget, permitting: nil) {
        case .solved(let solution):
            let needed = solution.disturbed.members.filter { weights.protection($0) != nil }
            guard !needed.isEmpty else { return constraints.maxMoves.map { .tooManyMoves($0) } ?? .none(nil) }
            let (least, found) = leastPermission(wanted, needed, solution)
            return .protected(least, stopped: found.disturbed.members.count { start.context.weight[$0] > 0 })
        case .conflict: return .none(unrestrictedConflict(wanted))
        case .nothing: return .none(nil)
        }
    }

    /// The functions of `needed` without whose permission there is no way, each left out in turn, the dearest first.
    ///
    /// - Complexity: one short search for each of `needed`; none for one, or more than `mostProtected`.
    private func leastPermission(
        _ wanted: [Demand],
        _ needed: [Int],
        _ solution: StageSearch.Solution
    ) -> ([Int], StageSearch.Solution) {
        guard 2...Self.mostProtected ~= needed.count else { return (needed, solution) }
        var least = needed
        var best = solution
        for i in needed.sorted(by: { (weights.weight($1), $0) < (weights.weight($0), $1) }) {
            let fewer = least.filter { $0 != i }
            guard !fewer.isEmpty,
                case .solved(let found) = search(wanted, budget: Self.oneOfSeveral, permitting: fewer)
            else { continue }
            least = found.disturbed.members.filter { weights.protection($0) != nil }
            best = found
            if least.count < 2 { break }
        }
        return (least, best)
    }

    /// Searches with some protected functions permitted, or all (nil), and without a limit of functions.
    private func search(_ wanted: [Demand], budget: Int, permitting permitted: [Int]?) -> Result {
        search(wanted, permitted.map { weights.permitting($0) } ?? unrestrictedWeights, budget: budget)
    }

    private func search(_ wanted: [Demand], _ free: DisturbanceWeights, budget: Int) -> Result {
        let context = SearchContext(planner.topology, weights: free)
        let baseline = Baseline(
            context: context,
            summary: acceptance.original.summary,
            tiers: acceptance.original.tiers
        )
        var relaxed = Acceptance(baseline, problems: acceptance.problems, highestAddress: acceptance.highestAddress)
        relaxed.reached = acceptance.reached
        var pool = budget
        return search(
            wanted,
            from: SearchState(context, at: current),
            relaxed,
            free,
            already: disturbed,
            maxMoves: nil,
            budget: budget,
            &pool
        )
    }
}
