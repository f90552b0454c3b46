// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Solves problems: the smallest change that fits, or the best layout from scratch.
///
/// The objective is lexicographic: required requests, with the largest sum of sizes where there are alternatives;
/// preferred requests by rank; the least weight of disturbed devices; optional requests by rank, without disturbing
/// anybody else; reserves in equal shares; then large free blocks left whole, and short ways. The same problem with the same effort gives the same answer, in whatever order
/// its elements are listed.
public struct Solver: Sendable {
    /// How much work one search may take.
    public var effort: Effort
    /// Whether a conflict names a blocking set; to find a small one costs many searches. Without, a conflict names its
    /// host bridge only.
    public var explainsConflicts: Bool

    /// Creates a solver.
    public init(effort: Effort = .standard, explainsConflicts: Bool = true) {
        self.effort = effort
        self.explainsConflicts = explainsConflicts
    }

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

    /// The layout from scratch of one host bridge, beside a layout that the others keep; nil when none was found.
    ///
    /// - Parameters:
    ///   - problem: the problem; it may have more requests than the one that `others` was made for.
    ///   - host: the host bridge that is laid out.
    ///   - others: the layout of the others.
    /// - Returns: the layout; its cost and proof are those of `others`.
    /// - Throws: `ProblemError` when the problem cannot be read.
    public func fromScratch(_ problem: Problem, host: Int, beside others: Layout) throws(ProblemError) -> Layout? {
        try problem.validate()
        var builder = LayoutBuilder(problem)
        let effort = effort.shared(amongHosts: problem.hosts.count)
        var solver = HostSolver(
            problem,
            host: host,
            index: ProblemIndex(problem),
            effort: effort,
            keepsPresent: false
        )
        guard case .found(var found) = solver.solve() else { return nil }
        builder.enter(&found.placer, selection: found.selection, starts: found.starts)
        builder.tidy()
        var result = others
        result.placements = problem.requests.indices.map { r in
            problem.requests[r].host == host || r >= others.placements.count
                ? builder.placements[r] : others.placements[r]
        }
        for b in problem.bridges.indices where problem.bridges[b].host == host {
            result.windows[b] = builder.windows[b]
        }
        return result
    }

    private func solve(_ problem: Problem, keepsPresent: Bool) throws(ProblemError) -> Outcome {
        try problem.validate()
        let index = ProblemIndex(problem)
        var builder = LayoutBuilder(problem)
        var disturbed: [Int] = []
        var bound = 0
        let effort = effort.shared(amongHosts: problem.hosts.count)
        for host in problem.hosts.indices {
            var solver = HostSolver(problem, host: host, index: index, effort: effort, keepsPresent: keepsPresent)
            switch solver.solve() {
            case .found(var found):
                builder.enter(&found.placer, selection: found.selection, starts: found.starts)
                disturbed.append(contentsOf: found.evicted.map { found.placer.forest.deviceOf[$0] }.filter { $0 >= 0 })
                bound += found.bound
            case .impossible(let selection):
                guard explainsConflicts else {
                    return .conflict(
                        Conflict(
                            host: host,
                            members: [],
                            isIrreducible: false,
                            shortage: 0,
                            summary: "not everything fits",
                            derivation: [],
                            hints: []
                        )
                    )
                }
                let finder = ConflictFinder(
                    problem,
                    host: host,
                    index: index,
                    selection: selection,
                    steps: effort.steps
                )
                return .conflict(finder.find())
            case .unknown:
                return .undecided
            }
        }
        builder.tidy()
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
    typealias Found = ChangeSearch.Found

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
    private let changes: ChangeSearch

    init(_ problem: Problem, host: Int, index: ProblemIndex, effort: Effort, keepsPresent: Bool) {
        self.problem = problem
        self.host = host
        self.index = index
        self.effort = effort
        requests = index.requests[host]
        changes = ChangeSearch(problem: problem, host: host, index: index, steps: effort.steps)
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

    private func search(_ selection: Selection) -> Result {
        switch changes.cheapest(selection) {
        case .found(let found): .found(found)
        case .impossible: .impossible(selection)
        case .unknown: .unknown
        }
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
        if let better = changes.place(trial, like: found) { return better }
        guard waiting.count > 1 else { return found }
        let middle = waiting.startIndex + waiting.count / 2
        return add(waiting[middle...], to: add(waiting[..<middle], to: found))
    }

    private func ranked(_ rank: (Problem.Tier) -> Int?) -> [Int] {
        requests.compactMap { r in rank(problem.requests[r].tier).map { (rank: $0, request: r) } }
            .sorted { ($0.rank, problem.requests[$0.request].key) < ($1.rank, problem.requests[$1.request].key) }
            .map(\.request)
    }

    // MARK: - Reserves

    /// Grants reserves max-min fairly: the share of what is asked rises for all alike (or faster for larger weights) until
    /// somebody's cannot rise any more; theirs stays, the others' rise on.
    private func shareReserves(_ found: Found) -> Found {
        var reserves: [Reserve] = []
        for r in requests {
            guard case .reserve(let weight) = problem.requests[r].tier else { continue }
            let request = problem.requests[r]
            let steps = request.size / max(request.alignment, 1)
            if steps > 0 {
                reserves.append(Reserve(request: r, weight: UInt64(min(max(1, weight), 1 << 16)), steps: steps))
            }
        }
        guard let heaviest = reserves.map(\.weight).max(), let lightest = reserves.map(\.weight).min() else {
            return found
        }
        // Here the lightest has all, too.
        let top = Reserve.full * ((heaviest + lightest - 1) / lightest)
        var best = found
        var open = Array(reserves.indices)
        var level: UInt64 = 0
        /// What everybody gets at `level`, those who stopped keeping what they have.
        func grants(_ rising: [Int], _ level: UInt64) -> [UInt64] {
            reserves.indices.map {
                rising.contains($0) ? reserves[$0].granted(at: level, heaviest) : reserves[$0].granted
            }
        }
        func attempt(_ grants: [UInt64]) -> Bool {
            var trial = found.selection
            for (reserve, steps) in zip(reserves, grants) {
                trial.isIncluded[reserve.request] = steps > 0
                trial.size[reserve.request] = max(steps, 1) * problem.requests[reserve.request].alignment
            }
            guard let better = changes.place(trial, like: found) else { return false }
            best = better
            for i in reserves.indices { reserves[i].granted = grants[i] }
            return true
        }
        while !open.isEmpty, level < top {
            // The highest level that all who still rise can have.
            var high = top
            if attempt(grants(open, high)) { break }
            while high - level > 1 {
                let middle = level + (high - level) / 2
                let wanted = grants(open, middle)
                if wanted == reserves.map(\.granted) || attempt(wanted) { level = middle } else { high = middle }
            }
            // One more level: whoever cannot have it stops here.
            var rising: [Int] = []
            for i in open {
                let wanted = grants(rising + [i], high)
                if wanted[i] == reserves[i].granted || attempt(wanted) { rising.append(i) }
            }
            open = rising.filter { reserves[$0].granted < reserves[$0].steps }
            level = high
        }
        return best
    }

    /// Room to keep free, granted in steps of its alignment.
    private struct Reserve {
        /// Levels of sharing: at this one the heaviest has all that is asked.
        static let full: UInt64 = 1 << 20

        var request: Int
        var weight: UInt64
        var steps: UInt64
        var granted: UInt64 = 0

        /// The steps at `level` where the heaviest weight is `heaviest`: its share of what is asked, at most all.
        func granted(at level: UInt64, _ heaviest: UInt64) -> UInt64 {
            // Weights are at most 2^16 and levels at most 2^36: no product reaches 2^53.
            let all = Self.full * heaviest
            let product = steps.multipliedFullWidth(by: min(level * weight, all))
            return all.dividingFullWidth((product.high, product.low)).quotient
        }
    }
}
