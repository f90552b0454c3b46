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
    /// At most `keep` are returned.
    static func options(for item: Int, in placer: inout Placer, costLimit: Int, keep: Int) -> Result {
        var search = EvictionSearch(placer, costLimit: costLimit)
        search.run(item, &placer)
        return search.finish(keep: keep)
    }

    private init(_ placer: borrowing Placer, costLimit: Int) {
        self.costLimit = costLimit
        marks = Array(repeating: 0, count: placer.isEvicted.count)
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

    private mutating func evict(_ pin: Int, _ placer: inout Placer) {
        guard isValid else { return }
        guard !placer.forest.isLocked[pin] else {
            isValid = false
            return
        }
        for d in placer.forest.holders[pin] where !placer.isEvicted[d] && marks[d] != epoch {
            marks[d] = epoch
            picked.append(d)
            pickedCost += placer.forest.weight[d]
            if pickedCost >= costLimit {
                isValid = false
                return
            }
        }
    }

    private mutating func evict(indices: Range<Int>, _ placer: inout Placer) {
        for i in indices {
            evict(placer.activePins[i], &placer)
            if !isValid { return }
        }
    }

    private mutating func commit() {
        guard isValid, !picked.isEmpty else { return }
        options.append(Option(devices: picked.sorted(), cost: pickedCost))
    }

    // MARK: - All intervals

    private mutating func run(_ item: Int, _ placer: inout Placer) {
        let f = placer.items[item]
        let pins = placer.activePins
        let isLeaf = placer.forest.granule[f.node] == 0
        // W0, W1, … up to the line.
        var chain: [Int] = []
        var window = f.window
        let line = placer.line(of: f.window)
        while true {
            chain.append(window)
            if window == line { break }
            window = placer.forest.parent[window]
        }
        let top = chain.count - 1
        var level: [Int] = []
        var first = Array(repeating: Int.max, count: chain.count)
        var last = Array(repeating: -1, count: chain.count)
        level.reserveCapacity(pins.count)
        for (i, pin) in pins.enumerated() {
            var j = 0
            while !placer.forest.isAncestor(chain[j], pin) { j += 1 }
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
            let above = placer.forest.parent[pin]
            let isDirect = above == chain[level[i]]
            seenLow.append(
                isDirect
                    ? placer.forest.pinLow[pin] : roundDown(placer.forest.pinLow[pin], placer.forest.granule[above])
            )
            seenHigh.append(
                isDirect
                    ? placer.forest.pinHigh[pin] : roundUp(placer.forest.pinHigh[pin], placer.forest.granule[above])
            )
        }
        let outerGranule = max(1, placer.forest.granule[f.window])

        var regions: [Forest.Region] = []
        if line < Forest.rootCount {
            regions = placer.forest.regions[line].filter {
                $0.takesAll || f.takesPrefetchableRegion
            }
        } else {
            regions = [
                Forest.Region(
                    low: placer.forest.pinLow[line],
                    high: placer.forest.pinHigh[line],
                    takesAll: true,
                    aperture: -1
                )
            ]
        }
        for region in regions {
            // Candidate starts: the region's begin and the end of every pin inside.
            var i = 0
            while i < pins.count, placer.forest.pinHigh[pins[i]] <= region.low { i += 1 }
            var candidate = i - 1
            while true {
                let begin = candidate < i ? region.low : max(region.low, seenHigh[candidate])
                let start = placer.table.firstStart(f.shape, from: max(begin, f.low))
                var exact = true
                var end = placer.table.end(f.shape, startingAt: start, exact: &exact)
                if !exact { end = start + placer.table.volume[f.shape] }
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
                        last: last,
                        &placer
                    )
                }
                candidate += 1
                if candidate >= pins.count || placer.forest.pinLow[pins[candidate]] >= region.high { break }
            }
        }
        if line >= Forest.rootCount {
            // The window that keeps its range could change instead, at the price of everybody below.
            begin()
            evict(line, &placer)
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
        last: [Int],
        _ placer: inout Placer
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
            evict(pins[b], &placer)
            if !isValid { return }
            b += 1
            placer.table.steps += 1
        }
        // Bus numbers: I may not lie in front of a header that stays; a header has nothing of its bus in front.
        for (j, window) in chain.enumerated() where j < top || window >= Forest.rootCount {
            let header = placer.forest.header[window]
            guard header >= 0 else { continue }
            if header == node {
                for i in 0...max(a, 0) where i <= a && level[i] == 0 { evict(pins[i], &placer) }
            } else if placer.isPinned(header), placer.forest.pinLow[header] >= interval.lowerBound {
                evict(header, &placer)
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
                evict(indices: first[t - 1]..<(last[t - 1] + 1), &placer)
            }
            guard isValid else { continue }
            if t < m {
                if hasLeft(t) {
                    let near = min(last[t], a)
                    evict(indices: (near + 1)..<(a + 1), &placer)
                } else {
                    let near = max(first[t], b)
                    evict(indices: b..<near, &placer)
                }
                commit()
                continue
            }
            splitForeign(a, b, chain: chain, level: level, &placer)
        }
    }

    private mutating func restart(_ base: [Int], _ baseCost: Int) {
        begin()
        for d in base { marks[d] = epoch }
        picked = base
        pickedCost = baseCost
    }

    /// Commits the present set, once for each side of a foreign window that the interval splits.
    private mutating func splitForeign(_ a: Int, _ b: Int, chain: [Int], level: [Int], _ placer: inout Placer) {
        let pins = placer.activePins
        let saved = picked
        let savedCost = pickedCost
        var l = a
        while l >= 0, !stays(pins[l], placer) { l -= 1 }
        var r = b
        while r < pins.count, !stays(pins[r], placer) { r += 1 }
        guard l >= 0, r < pins.count, level[l] == level[r] else {
            commit()
            return
        }
        let above = chain[level[l]]
        var foreign = pins[l]
        while placer.forest.parent[foreign] != above { foreign = placer.forest.parent[foreign] }
        guard placer.forest.isAncestor(foreign, pins[r]) else {
            commit()
            return
        }
        for takesLeft in [true, false] {
            restart(saved, savedCost)
            if takesLeft {
                var i = l
                while i >= 0, placer.forest.isAncestor(foreign, pins[i]), isValid {
                    evict(pins[i], &placer)
                    i -= 1
                }
            } else {
                var i = r
                while i < pins.count, placer.forest.isAncestor(foreign, pins[i]), isValid {
                    evict(pins[i], &placer)
                    i += 1
                }
            }
            commit()
        }
    }

    private func stays(_ pin: Int, _ placer: borrowing Placer) -> Bool {
        if placer.forest.isLocked[pin] { return true }
        for d in placer.forest.holders[pin] where !placer.isEvicted[d] && marks[d] != epoch { return true }
        return false
    }
}
