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
        /// The way breaks these conditions, a sentence each; this many functions in use are stopped on it.
        case conditions([String], stopped: Int)
        /// The way disturbs more functions than this many.
        case tooManyMoves(Int)
        /// No way, proved where there is a conflict.
        case none(DisturbanceBound.Answer?)
    }

    /// Whether anything is forbidden that might help.
    private var isRestricted: Bool {
        weights.hasProtections || constraints.maxMoves != nil || !acceptance.conditions.isEmpty
    }

    /// Protected functions that are tried to be left out, one after the other.
    private static let mostProtected = 6

    /// Says which of several sizes it became, and whether something forbidden keeps the best from being had.
    mutating func noteSizes(_ wanted: [Demand], _ cluster: DemandCatalogue.Cluster, isProven: Bool) {
        var words: String?
        if let best = cluster.choices.first, best != wanted, !isProven, isRestricted {
            switch obstacle(best, budget: Self.oneOfSeveral) {
            case .protected(let functions, _): words = assembly.protectionSentence(functions)
            case .conditions(let broken, _): words = broken.joined(separator: "; ")
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
        case .conditions(let broken, let stopped):
            let options = constraints.conditions.map(\.option).joined(separator: " ")
            assembly.note(
                refusal: "condition",
                "the way changes what was asked to be kept: \(broken.joined(separator: "; "))"
            )
            assembly.remarks.append(
                "a way exists without \(options): it stops \(stopped) endpoint\(stopped == 1 ? "" : "s")"
            )
        case .tooManyMoves(let limit):
            assembly.note(
                refusal: "too-many-moves",
                "more functions would be disturbed than the limit of \(limit) allows"
            )
        case .none(let answer):
            if !acceptance.conditions.isEmpty, answer?.conflict == nil {
                let options = constraints.conditions.map(\.option).joined(separator: " ")
                assembly.remarks.append("every way that was tried keeps \(options)")
            }
            for demand in wanted { notePlaces(demand) }
            assembly.note(impossible: wanted, answer, isShortOfBuses: isShortOfBuses(wanted))
        }
    }

    /// Stages tried to say where else a BAR could lie.
    private static let mostPlaces = 96

    /// Says of a place that a BAR does not come to who has it now, and where single removals let it lie instead.
    ///
    /// A kernel gives a BAR the lowest free place and takes no wishes.
    private mutating func notePlaces(_ demand: Demand) {
        guard case .located(let i, let index, let first) = demand else { return }
        let topology = planner.topology
        let name = "\(start.context.address(i)) \(index)"
        if let size = start.context.function(i).resource(index)?.size?.rawValue,
            let range = AddressRange(first: first, size: size)
        {
            let isIO = start.context.kind(i, index) == .io
            var holders: [String] = []
            for (j, function) in topology.functions.enumerated() where j != i {
                for resource in function.resources where !resource.index.isWindow {
                    if resource.range?.overlaps(range) == true, (resource.kind == .io) == isIO {
                        holders.append("\(function.address) \(resource.index)")
                    }
                }
            }
            if !holders.isEmpty {
                assembly.remarks.append(
                    "0x\(bareHex(range.first))-0x\(bareHex(range.last)) is held by \(holders.listed(4))"
                )
            }
        }
        var places: Set<UInt64> = []
        for offer in StageSource(searchState: current, wanted: [demand]).offers().prefix(Self.mostPlaces) {
            var trial = current
            guard trial.carryOut(offer.stage),
                !acceptance.original.isHarmed(in: trial.summary, asked: acceptance.reached),
                let range = trial.summary.range(i, Int(index.rawValue))
            else { continue }
            places.insert(range.first)
        }
        let list = places.sorted().prefix(6).map { "0x\(bareHex($0))" }.joined(separator: ", ")
        if !list.isEmpty {
            assembly.remarks.append(
                "the kernel chooses the place itself, the lowest that is free; one removal brings \(name) to \(list)"
            )
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
        if !acceptance.conditions.isEmpty, let broken = brokenConditions(wanted, budget: budget) { return broken }
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

    /// The conditions that stand in the way while everything else that is forbidden stays so; nil where there is no way even
    /// without them.
    private func brokenConditions(_ wanted: [Demand], budget: Int) -> Obstacle? {
        var free = acceptance
        free.conditions = HeldConditions()
        var pool = budget
        guard
            case .solved(let solution) = search(
                wanted,
                from: current,
                free,
                weights,
                already: disturbed,
                maxMoves: constraints.maxMoves,
                budget: budget,
                &pool
            ), let topology = try? solution.searchState.simulation.topology()
        else { return nil }
        return .conditions(
            acceptance.conditions.broken(by: solution.searchState, topology),
            stopped: solution.disturbed.members.count { start.context.weight[$0] > 0 }
        )
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
        relaxed.conditions = acceptance.conditions
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
