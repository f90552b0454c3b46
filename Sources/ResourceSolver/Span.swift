// SPDX-License-Identifier: GPL-2.0-or-later

/// The least length that everything below a host bridge needs in one space when packed from scratch.
public struct Span: Hashable, Sendable {
    /// The length in bytes or bus numbers of the best order that was found.
    public var length: UInt64
    /// No order is shorter.
    public var bound: UInt64

    /// Whether the length is proved least.
    public var isExact: Bool { bound == length }
}

extension Solver {
    /// The least length from `start` to the end of the last range when everything included is packed from scratch.
    ///
    /// Fixed requests and obstacles are left out of account; limits too. Nil when nothing asks for this space or the sum
    /// of all sizes exceeds what the engine counts.
    /// - Complexity: exact within the effort; else the best order that was found, with a lower bound.
    public func smallestSpan(
        of problem: Problem,
        host: Int,
        space: Problem.Space,
        startingAt start: UInt64
    ) -> Span? {
        guard problem.hosts.indices.contains(host), start < 1 << 60 else { return nil }
        var selection = Selection(problem)
        selection.keepsPresent = false
        let index = ProblemIndex(problem)
        let forest = Forest(problem, host: host, selection: selection, index: index)
        var placer = Placer(forest)
        let root = Int(space.rawValue)
        let unit = UInt64(Forest.unitLog[root])
        var shapes: [Int] = []
        for child in forest.children[root] {
            let shape = placer.shape(child)
            if shape >= 0 { shapes.append(shape) }
        }
        shapes.sort()
        guard !shapes.isEmpty else { return nil }
        var entries: [OrderSearch.Entry] = []
        for shape in shapes {
            if entries.last?.shape == shape {
                entries[entries.count - 1].count += 1
            } else {
                entries.append(OrderSearch.Entry(shape: shape, count: 1))
            }
        }
        let from = Int(start >> unit)
        let bound = OrderSearch.levelBound(entries, from: from, in: placer.table)
        let found = OrderSearch.leastEnd(entries, from: from, in: &placer.table, budget: effort.steps / 4)
        guard found.end != .max else { return nil }
        let length = UInt64(found.end - from) << unit
        return Span(length: length, bound: found.isExact ? length : UInt64(bound - from) << unit)
    }
}
