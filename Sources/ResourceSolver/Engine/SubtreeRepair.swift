// SPDX-License-Identifier: GPL-2.0-or-later

/// A layout without search, for trees that are too large for deduction to find one soon.
///
/// Everybody below the window above what has no place leaves, then below the window above that, up to the roots, until all
/// fits; then as many as possible come back, large groups of neighbours first. What is found is no more than a layout to
/// begin with: deduction makes it cheaper while its steps last.
struct SubtreeRepair {
    /// The search nodes per line that one try may take.
    static let budget = 10_000

    private var placer: Placer
    /// Work that may still be done, in steps.
    private var steps: Int

    init(_ placer: Placer, steps: Int) {
        self.placer = placer
        self.steps = steps
    }

    /// A placer that has the layout, or nil when none was found; `spent` is the work that it took.
    ///
    /// - Complexity: O(depth + groups) placements, each O(pins x depth).
    static func layout(_ placer: Placer, steps: Int) -> (placer: Placer?, spent: Int) {
        guard !placer.forest.isTorn, placer.forest.adrift.isEmpty else { return (nil, 0) }
        var repair = SubtreeRepair(Placer(placer.forest), steps: steps)
        // Orders inside a window need not be the best ones here.
        repair.placer.table.innerBudget = 30
        repair.placer.orderBudget = 30
        let isFound = repair.run()
        return (isFound ? repair.placer : nil, steps - repair.steps)
    }

    /// Leaves the placer with the layout.
    private mutating func run() -> Bool {
        let forest = placer.forest
        placer.setEvicted(forest.mustGo)
        var tops = Set<Int>()
        for node in Forest.rootCount..<max(forest.count, Forest.rootCount)
        where forest.granule[node] == 0 && !placer.isPinned(node) {
            tops.insert(forest.parent[node])
        }
        while true {
            placer.setEvicted(forest.mustGo)
            for d in leaving(below: tops) { placer.evict(d) }
            if fits() { break }
            let next = Set(tops.map { max(forest.parent[$0], $0 < Forest.rootCount ? $0 : 0) })
            guard next != tops, steps > 0 else { return false }
            tops = next
        }
        bringBack()
        return fits()
    }

    /// The devices that hold pins below `tops`.
    private func leaving(below tops: Set<Int>) -> [Int] {
        let forest = placer.forest
        var result = Set<Int>()
        for node in Forest.rootCount..<forest.count where forest.hasPin(node) {
            guard tops.contains(where: { $0 != node && forest.isAncestor($0, node) }) else { continue }
            result.formUnion(forest.holders[node])
        }
        return result.sorted()
    }

    private mutating func fits() -> Bool {
        let before = placer.table.steps
        let verdict = placer.place(budget: Self.budget)
        // Placing looks at every pin and every free leaf, whatever the orders take.
        steps -= placer.table.steps - before + 4 * placer.forest.count
        if case .fits = verdict { return true }
        return false
    }

    /// Takes evictions back while everything still fits, in groups that stand side by side in the tree.
    private mutating func bringBack() {
        let forest = placer.forest
        let must = Set(forest.mustGo)
        var open = placer.evicted.filter { !must.contains($0) }
        open.sort { (place(of: $0), $0) < (place(of: $1), $1) }
        var size = open.count
        while size > 0, !open.isEmpty {
            var rest: [Int] = []
            var begin = 0
            while begin < open.count {
                let group = open[begin..<min(begin + size, open.count)]
                begin += size
                guard steps > 0 else {
                    rest.append(contentsOf: group)
                    continue
                }
                for d in group { placer.restore(d) }
                if !fits() {
                    for d in group { placer.evict(d) }
                    rest.append(contentsOf: group)
                }
            }
            open = rest
            if steps <= 0 { break }
            size /= 2
        }
    }

    private func place(of device: Int) -> Int {
        placer.forest.pinsOf[device].first.map { placer.forest.enter[$0] } ?? 0
    }
}
