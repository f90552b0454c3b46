// SPDX-License-Identifier: GPL-2.0-or-later

/// Finds every inclusion-minimal set of devices whose eviction lets one stuck item lie somewhere.
///
/// Take an item at an interval I. Every pin that overlaps I must go. Number the windows above the item W0, W1, … and
/// give each pin the level of the lowest of them that holds it. All windows are intervals, so going outward from I on
/// either side the levels of the pins that stay never fall: a pin of W0 beyond a pin that is not W0's would put that pin
/// inside W0. Before the eviction the hull of each W is an interval too, which leaves at most one choice per level, and
/// one more where I splits a foreign window. Sliding I to the left until it touches a pin or the end of a region never
/// adds a blocker, so only those positions are looked at.
struct EvictionSearch {
    /// A set of devices and its weight.
    struct Option {
        var devices: [Int]
        var cost: Int
    }

    /// The options below the cost limit, cheapest first.
    struct Result {
        var options: [Option] = []
        /// Whether every minimal option below the limit is among them.
        var isComplete = true
        /// When not complete: no missing option is cheaper than this.
        var missingCost = Int.max
    }

    private let placer: Placer
    private let forest: Forest
    private let costLimit: Int
    private var options: [Option] = []
    private var marks: [Int]
    private var epoch = 0
    private var picked: [Int] = []
    private var pickedCost = 0
    private var isValid = true
    private var seenLow: [Int] = []
    private var seenHigh: [Int] = []

    /// Options for item `item` (index into `placer.items`) that cost less than `costLimit`.
    ///
    /// - Parameter keep: the most options to return.
    static func options(for item: Int, in placer: Placer, costLimit: Int, keep: Int) -> Result {
        var search = EvictionSearch(placer: placer, costLimit: costLimit)
        search.run(item)
        return search.finish(keep: keep)
    }

    private init(placer: Placer, costLimit: Int) {
        self.placer = placer
        forest = placer.forest
        self.costLimit = costLimit
        marks = Array(repeating: 0, count: placer.forest.deviceOf.count)
    }

    private mutating func finish(keep: Int) -> Result {
        options.sort { a, b in
            a.cost != b.cost ? a.cost < b.cost : a.devices.lexicographicallyPrecedes(b.devices)
        }
        var result = Result()
        for option in options {
            if result.options.contains(where: { isSubset($0.devices, option.devices) }) { continue }
            if result.options.count == keep {
                result.isComplete = false
                result.missingCost = option.cost
                break
            }
            result.options.append(option)
        }
        return result
    }

    private func isSubset(_ a: [Int], _ b: [Int]) -> Bool {
        guard a.count <= b.count else { return false }
        var j = 0
        for x in a {
            while j < b.count, b[j] < x { j += 1 }
            guard j < b.count, b[j] == x else { return false }
            j += 1
        }
        return true
    }

    // MARK: - Collecting one option

    private mutating func begin() {
        epoch += 1
        picked.removeAll(keepingCapacity: true)
        pickedCost = 0
        isValid = true
    }

    private mutating func evict(_ pin: Int) {
        guard isValid else { return }
        guard !forest.isLocked[pin] else {
            isValid = false
            return
        }
        for d in forest.holders[pin] where !placer.isEvicted[d] && marks[d] != epoch {
            marks[d] = epoch
            picked.append(d)
            pickedCost += forest.weight[d]
            if pickedCost >= costLimit {
                isValid = false
                return
            }
        }
    }

    private mutating func evict(indices: Range<Int>) {
        for i in indices {
            evict(placer.activePins[i])
            if !isValid { return }
        }
    }

    private mutating func commit() {
        guard isValid, !picked.isEmpty else { return }
        options.append(Option(devices: picked.sorted(), cost: pickedCost))
    }

    // MARK: - All intervals

    private mutating func run(_ item: Int) {
        let f = placer.items[item]
        let table = placer.table
        let pins = placer.activePins
        let isLeaf = forest.granule[f.node] == 0
        // W0, W1, … up to the line.
        var chain: [Int] = []
        var window = f.window
        let line = placer.line(of: f.window)
        while true {
            chain.append(window)
            if window == line { break }
            window = forest.parent[window]
        }
        let top = chain.count - 1
        var level: [Int] = []
        var first = Array(repeating: Int.max, count: chain.count)
        var last = Array(repeating: -1, count: chain.count)
        level.reserveCapacity(pins.count)
        for (i, pin) in pins.enumerated() {
            var j = 0
            while !forest.isAncestor(chain[j], pin) { j += 1 }
            level.append(j)
            for k in j...top {
                first[k] = min(first[k], i)
                last[k] = i
            }
        }
        // The interval that a pin takes from the view of the window at its level.
        seenLow.removeAll(keepingCapacity: true)
        seenHigh.removeAll(keepingCapacity: true)
        for (i, pin) in pins.enumerated() {
            let above = forest.parent[pin]
            let isDirect = above == chain[level[i]]
            seenLow.append(isDirect ? forest.pinLow[pin] : roundDown(forest.pinLow[pin], forest.granule[above]))
            seenHigh.append(isDirect ? forest.pinHigh[pin] : roundUp(forest.pinHigh[pin], forest.granule[above]))
        }
        let outerGranule = max(1, forest.granule[f.window])

        var regions: [Forest.Region] = []
        if line < Forest.rootCount {
            regions = forest.regions[line].filter {
                $0.takesAll || f.takesPrefetchableRegion
            }
        } else {
            regions = [
                Forest.Region(low: forest.pinLow[line], high: forest.pinHigh[line], takesAll: true, aperture: -1)
            ]
        }
        for region in regions {
            // Candidate starts: the region's begin and the end of every pin inside.
            var i = 0
            while i < pins.count, forest.pinHigh[pins[i]] <= region.low { i += 1 }
            var candidate = i - 1
            while true {
                let begin = candidate < i ? region.low : max(region.low, seenHigh[candidate])
                let start = table.firstStart(f.shape, from: max(begin, f.low))
                var exact = true
                var end = table.end(f.shape, startingAt: start, exact: &exact)
                if !exact { end = start + table.volume[f.shape] }
                placer.table.steps += 1
                if start >= region.high { break }
                if end <= min(region.high, f.high) {
                    examine(
                        start..<end,
                        isLeaf: isLeaf,
                        granule: outerGranule,
                        node: f.node,
                        chain: chain,
                        after: candidate,
                        level: level,
                        first: first,
                        last: last
                    )
                }
                candidate += 1
                if candidate >= pins.count || forest.pinLow[pins[candidate]] >= region.high { break }
            }
        }
        if line >= Forest.rootCount {
            // The window that keeps its range could change instead, at the price of everybody below.
            begin()
            evict(line)
            commit()
        }
    }

    private mutating func examine(
        _ interval: Range<Int>,
        isLeaf: Bool,
        granule: Int,
        node: Int,
        chain: [Int],
        after candidate: Int,
        level: [Int],
        first: [Int],
        last: [Int]
    ) {
        let pins = placer.activePins
        let top = chain.count - 1
        let outerLow = isLeaf ? roundDown(interval.lowerBound, granule) : interval.lowerBound
        let outerHigh = isLeaf ? roundUp(interval.upperBound, granule) : interval.upperBound
        // Left of I, I itself, right of I: pins ...a, overlapped, b...
        var a = candidate
        while a + 1 < pins.count, seenHigh[a + 1] <= (level[a + 1] == 0 ? interval.lowerBound : outerLow) { a += 1 }
        while a >= 0, seenHigh[a] > (level[a] == 0 ? interval.lowerBound : outerLow) { a -= 1 }
        var b = a + 1
        begin()
        while b < pins.count, seenLow[b] < (level[b] == 0 ? interval.upperBound : outerHigh) {
            evict(pins[b])
            if !isValid { return }
            b += 1
            placer.table.steps += 1
        }
        // Bus numbers: I may not lie in front of a header that stays; a header has nothing of its bus in front.
        for (j, window) in chain.enumerated() where j < top || window >= Forest.rootCount {
            let header = forest.header[window]
            guard header >= 0 else { continue }
            if header == node {
                for i in 0...max(a, 0) where i <= a && level[i] == 0 { evict(pins[i]) }
            } else if placer.isPinned(header), forest.pinLow[header] >= interval.lowerBound {
                evict(header)
            }
        }
        guard isValid else { return }
        let base = picked
        let baseCost = pickedCost

        // The lowest window with pins left, and the lowest with pins on both sides.
        func hasLeft(_ j: Int) -> Bool { first[j] <= a }
        func hasRight(_ j: Int) -> Bool { last[j] >= b }
        var j0 = 0
        while j0 < top, !hasLeft(j0), !hasRight(j0) { j0 += 1 }
        var m = j0
        while m < top, !(hasLeft(m) && hasRight(m)) { m += 1 }

        for t in j0...m {
            restart(base, baseCost)
            if t > j0 {
                // Nothing below W(t-1) stays.
                evict(indices: first[t - 1]..<(last[t - 1] + 1))
            }
            guard isValid else { continue }
            if t < m {
                if hasLeft(t) {
                    let near = min(last[t], a)
                    evict(indices: (near + 1)..<(a + 1))
                } else {
                    let near = max(first[t], b)
                    evict(indices: b..<near)
                }
                commit()
                continue
            }
            splitForeign(a, b, chain: chain, level: level)
        }
    }

    private mutating func restart(_ base: [Int], _ baseCost: Int) {
        begin()
        for d in base { marks[d] = epoch }
        picked = base
        pickedCost = baseCost
    }

    /// Commits the present set, once for each side of a foreign window that the interval splits.
    private mutating func splitForeign(_ a: Int, _ b: Int, chain: [Int], level: [Int]) {
        let pins = placer.activePins
        let saved = picked
        let savedCost = pickedCost
        func stays(_ i: Int) -> Bool { forest.holders[pins[i]].contains { !placer.isEvicted[$0] && marks[$0] != epoch }
            || forest.isLocked[pins[i]]
        }
        var l = a
        while l >= 0, !stays(l) { l -= 1 }
        var r = b
        while r < pins.count, !stays(r) { r += 1 }
        guard l >= 0, r < pins.count, level[l] == level[r] else {
            commit()
            return
        }
        let above = chain[level[l]]
        func childOfAbove(_ pin: Int) -> Int {
            var node = pin
            while forest.parent[node] != above { node = forest.parent[node] }
            return node
        }
        let foreign = childOfAbove(pins[l])
        guard foreign == childOfAbove(pins[r]) else {
            commit()
            return
        }
        for takesLeft in [true, false] {
            restart(saved, savedCost)
            if takesLeft {
                var i = l
                while i >= 0, forest.isAncestor(foreign, pins[i]), isValid {
                    evict(pins[i])
                    i -= 1
                }
            } else {
                var i = r
                while i < pins.count, forest.isAncestor(foreign, pins[i]), isValid {
                    evict(pins[i])
                    i += 1
                }
            }
            commit()
        }
    }
}
