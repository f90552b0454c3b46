// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Solves problems: the smallest change that fits, or the best layout from scratch.
///
/// The objective is lexicographic: required requests, with the largest sum of sizes where there are alternatives;
/// preferred requests by rank; the least weight of disturbed devices; optional requests by rank, without disturbing
/// anybody else; reserves in equal shares. The same problem with the same effort gives the same answer, in whatever order
/// its elements are listed.
public struct Solver: Sendable {
    /// How much work one search may take.
    public var effort: Effort

    /// Creates a solver.
    public init(effort: Effort = .standard) { self.effort = effort }

    /// The layout that places everything required and disturbs the least weight of devices.
    ///
    /// - Returns: a layout with its proof status; a conflict when it is proved that none exists; `undecided` when the effort
    ///   ended before either.
    /// - Throws: `ProblemError` when the problem cannot be read.
    public func smallestChange(_ problem: Problem) throws(ProblemError) -> Outcome {
        try solve(problem, keepsPresent: true)
    }

    /// The layout that a firmware with all freedom would choose: present addresses do not count, except what is fixed.
    ///
    /// Disturbance is that of going there from the present layout.
    public func fromScratch(_ problem: Problem) throws(ProblemError) -> Outcome {
        try solve(problem, keepsPresent: false)
    }

    private func solve(_ problem: Problem, keepsPresent: Bool) throws(ProblemError) -> Outcome {
        try problem.validate()
        let index = ProblemIndex(problem)
        var builder = LayoutBuilder(problem)
        var disturbed: [Int] = []
        var bound = 0
        for host in problem.hosts.indices {
            var solver = HostSolver(problem, host: host, index: index, effort: effort, keepsPresent: keepsPresent)
            switch solver.solve() {
            case .found(var found):
                builder.enter(&found.placer, selection: found.selection)
                disturbed.append(contentsOf: found.evicted.map { found.placer.forest.deviceOf[$0] }.filter { $0 >= 0 })
                bound += found.bound
            case .impossible(let selection):
                let finder = ConflictFinder(problem, host: host, index: index, selection: selection)
                return .conflict(finder.find())
            case .unknown:
                return .undecided
            }
        }
        if !keepsPresent { disturbed = builder.moved() }
        let cost = disturbed.reduce(0) { $0 + min(max(problem.devices[$1].weight ?? 1 << 32, 1), 1 << 32) }
        let isOptimal = keepsPresent ? bound >= cost : cost == 0
        return .layout(
            Layout(
                placements: builder.placements,
                windows: builder.windows,
                disturbed: disturbed,
                cost: cost,
                proof: isOptimal ? .optimal : .within(bound: keepsPresent ? bound : 0)
            )
        )
    }
}

/// Solves one host bridge, stage by stage of the objective.
struct HostSolver {
    /// A placement of everything in `selection`.
    struct Found {
        var placer: Placer
        var selection: Selection
        var evicted: [Int]
        var cost: Int
        var bound: Int
    }

    enum Result {
        case found(Found)
        /// Proved for the selection of required requests.
        case impossible(Selection)
        case unknown
    }

    let problem: Problem
    let host: Int
    let index: ProblemIndex
    let effort: Effort
    private let requests: [Int]
    private var base: Selection

    init(_ problem: Problem, host: Int, index: ProblemIndex, effort: Effort, keepsPresent: Bool) {
        self.problem = problem
        self.host = host
        self.index = index
        self.effort = effort
        requests = index.requests[host]
        base = Selection(problem)
        base.keepsPresent = keepsPresent
        for r in requests { base.isIncluded[r] = problem.requests[r].tier == .required }
    }

    mutating func solve() -> Result {
        let required = solveRequired(base)
        guard case .found(var found) = required else { return required }
        found = addPreferred(found)
        found = addOptional(found)
        return .found(shareReserves(found))
    }

    // MARK: - Required requests

    private func solveRequired(_ selection: Selection) -> Result {
        let flexible = requests.filter { selection.isIncluded[$0] && !problem.requests[$0].alternatives.isEmpty }
        let first = search(selection)
        if flexible.isEmpty { return first }
        if case .found = first { return first }
        return SizeChooser(problem: problem, requests: flexible).choose { sizes in
            var trial = selection
            for (r, size) in zip(flexible, sizes) { trial.size[r] = size }
            switch search(trial) {
            case .found(let found): return .found(found)
            case .impossible: return .impossible(trial)
            case .unknown: return .unknown
            }
        }
    }

    /// The best answer over the ways to assign prefetchable requests to windows.
    private func search(_ selection: Selection) -> Result {
        var best = searchOnce(selection)
        if case .found(let found) = best, found.cost == 0 { return best }
        let movable = requests.filter { r in
            let request = problem.requests[r]
            guard selection.isIncluded[r], request.kind == .prefetchable, let b = request.bridge,
                request.current == nil || !selection.keepsPresent
            else { return false }
            let kinds = problem.bridges[b].windows.map(\.kind)
            return kinds.contains(.memory) && kinds.contains(.prefetchable)
        }
        guard !movable.isEmpty else { return best }
        let narrow = movable.filter { problem.requests[$0].limits.last < 1 << 32 }
        for group in narrow.isEmpty || narrow.count == movable.count ? [movable] : [narrow, movable] {
            var trial = selection
            for r in group { trial.prefersMemory[r] = true }
            let other = searchOnce(trial)
            switch (best, other) {
            case (.found(let a), .found(let b)):
                // The bound holds for one assignment; the least of both holds for either.
                var winner = b.cost < a.cost ? b : a
                winner.bound = min(a.bound, b.bound)
                best = .found(winner)
            case (_, .found(var b)):
                if case .unknown = best { b.bound = 0 }
                best = .found(b)
            case (.impossible, .unknown): best = .unknown
            default: break
            }
        }
        return best
    }

    private func searchOnce(_ selection: Selection) -> Result {
        let forest = Forest(problem, host: host, selection: selection, index: index)
        guard forest.homeless.isEmpty else { return .impossible(selection) }
        var search = RepairSearch(Placer(forest), effort: effort)
        let answer = search.run()
        guard let evicted = answer.evicted else {
            return answer.bound == .max ? .impossible(selection) : .unknown
        }
        var placer = search.placer
        placer.setEvicted(evicted)
        guard case .fits = placer.place(budget: 100_000) else { return .unknown }
        return .found(
            Found(placer: placer, selection: selection, evicted: evicted, cost: answer.cost, bound: answer.bound)
        )
    }

    // MARK: - The other tiers

    private func addPreferred(_ found: Found) -> Found {
        var found = found
        for r in ranked({ if case .preferred(let rank) = $0 { rank } else { nil } }) {
            var trial = found.selection
            trial.isIncluded[r] = true
            if case .found(let better) = search(trial) { found = better }
        }
        return found
    }

    private func addOptional(_ found: Found) -> Found {
        let waiting = ranked { if case .optional(let rank) = $0 { rank } else { nil } }
        return add(waiting[...], to: found)
    }

    /// Adds as many of `waiting` as fit, earlier ones first, halving what does not fit as a whole.
    private func add(_ waiting: ArraySlice<Int>, to found: Found) -> Found {
        guard !waiting.isEmpty else { return found }
        var trial = found.selection
        for r in waiting { trial.isIncluded[r] = true }
        if let better = place(trial, like: found) { return better }
        guard waiting.count > 1 else { return found }
        let middle = waiting.startIndex + waiting.count / 2
        return add(waiting[middle...], to: add(waiting[..<middle], to: found))
    }

    private func ranked(_ rank: (Problem.Tier) -> Int?) -> [Int] {
        requests.compactMap { r in rank(problem.requests[r].tier).map { (rank: $0, request: r) } }
            .sorted { ($0.rank, problem.requests[$0.request].key) < ($1.rank, problem.requests[$1.request].key) }
            .map(\.request)
    }

    /// Places `selection` with the evictions of `found` and no others; nil when that does not fit.
    private func place(_ selection: Selection, like found: Found) -> Found? {
        let forest = Forest(problem, host: host, selection: selection, index: index)
        guard forest.homeless.isEmpty else { return nil }
        // Indices of real devices are the same in every forest of a host bridge; stand-ins are not.
        let real = found.evicted.filter { found.placer.forest.deviceOf[$0] >= 0 }
        let known = Set(real)
        guard forest.mustGo.allSatisfy({ known.contains($0) || forest.weight[$0] == 0 }) else { return nil }
        var placer = Placer(forest)
        placer.setEvicted(real)
        if case .fails = placer.place(budget: 500) {
            for d in forest.deviceOf.indices where forest.weight[d] == 0 { placer.evict(d) }
            guard case .fits = placer.place(budget: 2_000) else { return nil }
        }
        return Found(
            placer: placer,
            selection: selection,
            evicted: placer.evicted,
            cost: found.cost,
            bound: found.bound
        )
    }

    // MARK: - Reserves

    /// Grants reserves: the largest share that all can have, then more to one after the other, smallest share first.
    private func shareReserves(_ found: Found) -> Found {
        var waiting: [(request: Int, weight: Int)] = []
        for r in requests {
            if case .reserve(let weight) = problem.requests[r].tier { waiting.append((r, max(1, weight))) }
        }
        guard !waiting.isEmpty else { return found }
        let heaviest = waiting.map(\.weight).max() ?? 1
        let parts = 64
        var share = Array(repeating: 0, count: waiting.count)
        func granted(_ share: [Int]) -> Found? {
            var trial = found.selection
            for (i, reserve) in waiting.enumerated() {
                let request = problem.requests[reserve.request]
                let steps = request.size / request.alignment
                let count =
                    share[i] >= parts
                    ? steps
                    : steps / UInt64(parts) * UInt64(share[i])
                        + steps % UInt64(parts) * UInt64(share[i]) / UInt64(parts)
                trial.isIncluded[reserve.request] = count > 0
                trial.size[reserve.request] = max(count, 1) * request.alignment
            }
            return place(trial, like: found)
        }
        var best = found
        var low = 0
        var high = parts * heaviest
        func common(_ level: Int) -> [Int] { waiting.map { min(parts, level * $0.weight / heaviest) } }
        while low < high {
            let middle = (low + high + 1) / 2
            if let better = granted(common(middle)) {
                best = better
                low = middle
            } else {
                high = middle - 1
            }
        }
        share = common(low)
        for i in waiting.indices.sorted(by: { (share[$0], $0) < (share[$1], $1) }) {
            var low = share[i]
            var high = parts
            while low < high {
                let middle = (low + high + 1) / 2
                var trial = share
                trial[i] = middle
                if let better = granted(trial) {
                    best = better
                    low = middle
                } else {
                    high = middle - 1
                }
            }
            share[i] = low
        }
        return best
    }
}
