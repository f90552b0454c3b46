// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ProofChecker
internal import ResourceSolver

/// Proves that no plan weighs less, as conflicts: whatever is spared below a weight, the solver names who cannot all stay.
///
/// The cheapest set of holders that resolves all conflicts found so far is let go and everybody else kept; that does not
/// fit, which is the next conflict; until the cheapest set weighs as much as the plan (implicit hitting sets).
struct LeastDisturbanceProof {
    let bound: DisturbanceBound
    let problem: Problem
    let limit: UInt64?
    let effort: Effort
    /// Per device: what the plan's weight counts for it.
    private let weights: [Int]
    /// Devices that every plan stops.
    private let certain: [Int]

    /// The most conflicts of one proof.
    private static let most = 48

    init(
        _ bound: DisturbanceBound,
        _ topology: Topology,
        _ weights: DisturbanceWeights,
        limit: UInt64?,
        effort: Effort
    ) {
        self.bound = bound
        self.limit = limit
        self.effort = effort
        let problem = bound.problem(topology, protecting: weights, limit: limit)
        self.problem = problem
        let numbers = problem.devices.indices.map { bound.number(ofDevice: $0, topology) }
        self.weights = problem.devices.indices.map { d in
            if problem.devices[d].weight == nil { return ConflictTranslation.immovable }
            return numbers[d].map { bound.context.weight[$0] } ?? 0
        }
        certain = problem.devices.indices.filter { numbers[$0].map { bound.certain.contains($0) } ?? false }
    }

    /// The certificate that no plan weighs less than `cost`; nil where the solver cannot show it.
    ///
    /// - Complexity: at most `most` searches for a conflict.
    func certificate(of cost: Int) -> Certificate? {
        let translation = ConflictTranslation(problem, limit: limit, weights: weights)
        var conflicts: [Conflict] = []
        while true {
            guard let moved = cheapest(conflicts, translation) else { return nil }
            let weight = moved.union(certain).reduce(0) { $0 + weights[$1] }
            if weight >= cost { break }
            guard conflicts.count < Self.most, let next = conflict(keepingAllBut: moved) else { return nil }
            conflicts.append(next)
        }
        let host = conflicts.first?.host ?? problem.requests.first?.host ?? 0
        guard conflicts.allSatisfy({ $0.host == host }) else { return nil }
        return translation.certificate(.least(cost), host: host, conflicts: conflicts, certain: certain)
    }

    /// Who cannot all stay when nobody but `moved` and those who are stopped anyway may move.
    private func conflict(keepingAllBut moved: Set<Int>) -> Conflict? {
        var kept = problem
        let free = moved.union(certain)
        for d in kept.devices.indices where !free.contains(d) { kept.devices[d].weight = nil }
        guard let outcome = try? Solver(effort: effort, explainsConflicts: true).smallestChange(kept) else {
            return nil
        }
        return outcome.conflict
    }

    /// The cheapest devices that resolve every conflict; nil where one cannot be resolved, or to find out takes too long.
    private func cheapest(_ conflicts: [Conflict], _ translation: ConflictTranslation) -> Set<Int>? {
        let choices = conflicts.map { conflict in
            conflict.members.compactMap { member -> Set<Int>? in
                switch member.role {
                case .request, .obstacle: nil
                case .holder, .frozenWindow: Set(translation.holders(of: member.role)).subtracting(certain)
                }
            }
        }
        var best: Set<Int>?
        var least = Int.max
        var steps = 100_000
        func resolve(_ n: Int, _ moved: Set<Int>) -> Bool {
            steps -= 1
            guard steps > 0 else { return false }
            let weight = moved.reduce(0) { $0 + weights[$1] }
            guard weight < least else { return true }
            guard n < choices.count else {
                (best, least) = (moved, weight)
                return true
            }
            if choices[n].contains(where: { $0.isSubset(of: moved) }) { return resolve(n + 1, moved) }
            return choices[n].allSatisfy { resolve(n + 1, moved.union($0)) }
        }
        return resolve(0, []) ? best : nil
    }
}
