// SPDX-License-Identifier: GPL-2.0-or-later

/// Solves problems: the smallest change that fits, or the best layout from scratch.
public struct Solver: Sendable {
    /// How much work one host bridge may take.
    public var effort: Effort

    /// Creates a solver.
    public init(effort: Effort = .standard) { self.effort = effort }

    /// The layout that places everything required and disturbs the least weight of devices.
    public func smallestChange(_ problem: Problem) -> Outcome {
        let index = ProblemIndex(problem)
        var builder = LayoutBuilder(problem)
        var disturbed: [Int] = []
        var cost = 0
        var bound = 0
        let selection = Selection(problem)
        for host in problem.hosts.indices {
            let forest = Forest(problem, host: host, selection: selection, index: index)
            var search = RepairSearch(Placer(forest), effort: effort)
            let answer = search.run()
            var placer = search.placer
            guard let evicted = answer.evicted else {
                guard answer.bound == .max else { return .undecided }
                return .conflict(
                    Conflict(host: host, members: [], isIrreducible: false, shortage: 0, summary: "", derivation: [], hints: [])
                )
            }
            placer.setEvicted(evicted)
            guard case .fits = placer.place(budget: 100_000) else { return .undecided }
            builder.enter(&placer, selection: selection)
            disturbed.append(contentsOf: evicted.map { forest.deviceOf[$0] })
            cost += answer.cost
            bound += answer.bound
        }
        let layout = Layout(
            placements: builder.placements,
            windows: builder.windows,
            disturbed: disturbed,
            cost: cost,
            proof: bound >= cost ? .optimal : .within(bound: bound)
        )
        return .layout(layout)
    }
}
