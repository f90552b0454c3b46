// SPDX-License-Identifier: GPL-2.0-or-later

/// The search for the order of several shapes, one after the other, that ends first.
///
/// Because ends are nondecreasing in starts, every arrangement in an interval can be pushed to its left end without
/// harm, so orders are all there is to search. Equal shapes are interchangeable; an order is cut off when a lower bound
/// from level counts reaches the best end, and when the same remainder was reached with no later end before.
struct OrderSearch {
    /// `count` equal shapes that must lie in `low..<high`.
    struct Entry {
        var shape: Int
        var count: Int
        var low: Int = .min / 4
        var high: Int = .max / 4
    }

    /// The least end that was found.
    struct Result {
        /// The end, or `Int.max` when no order ends at or before the limit.
        var end: Int
        /// Whether no order ends earlier (or, without an end, whether none keeps the limit).
        var isExact: Bool
        /// The order as indices of entries; filled on demand.
        var order: [Int] = []
    }

    private let entries: [Entry]
    private var left: [Int]
    private var remaining: Int
    private let bits: [Int]
    private var slots: [Int]
    private let slotsOf: [Int]
    private var weightOf: [Int] = []
    private var index = 0
    private var seen: [Int: Int] = [:]
    private var remembers = false
    private var best = Int.max
    private var bestOrder: [Int] = []
    private var path: [Int] = []
    private var budget: Int
    private var cutShort = false
    private var usedInexact = false
    private let floor: Int
    private let stopAt: Int

    /// The least end of `entries` placed one after the other from `start`, at most `limit`.
    ///
    /// With `stopAtAny` any end within the limit will do.
    /// - Complexity: O(entries x levels) per search node, at most `budget` nodes after the first complete order.
    static func leastEnd(
        _ entries: [Entry],
        from start: Int,
        limit: Int = .max / 4,
        in table: inout ShapeTable,
        budget: Int,
        stopAtAny: Bool = false,
        needsOrder: Bool = false
    ) -> Result {
        if !needsOrder, entries.count == 1, entries[0].count == 1 {
            let entry = entries[0]
            var exact = true
            let end = table.end(
                entry.shape,
                startingAt: table.firstStart(entry.shape, from: max(start, entry.low)),
                exact: &exact
            )
            table.steps += 1
            return end <= min(limit, entry.high) ? Result(end: end, isExact: exact) : Result(end: .max, isExact: exact)
        }
        if !needsOrder, areSimple(entries, from: start, limit: limit, table) {
            table.steps += 1
            let end = levelBound(entries, from: start, in: table)
            return Result(end: end <= limit ? end : .max, isExact: true)
        }
        let bound = levelBound(entries, from: start, in: table)
        guard bound <= limit else {
            table.steps += 1
            return Result(end: .max, isExact: true)
        }
        var search = OrderSearch(
            entries,
            limit: limit,
            floor: bound,
            table: table,
            budget: budget,
            stopAtAny: stopAtAny
        )
        search.descend(from: start, &table)
        let end = search.best > limit ? Int.max : search.best
        let exact = end == bound || !(search.cutShort || search.usedInexact)
        return Result(end: end, isExact: exact, order: search.bestOrder)
    }

    /// Whether level counts alone decide: power-of-two leaves that may lie anywhere between `start` and `limit`.
    private static func areSimple(_ entries: [Entry], from start: Int, limit: Int, _ table: ShapeTable) -> Bool {
        for entry in entries where !table.isSimpleLeaf[entry.shape] || entry.low > start || entry.high < limit {
            return false
        }
        return true
    }

    /// A lower bound of the end of `entries` from `start`, whatever the order: level counts.
    ///
    /// A power-of-two item fills whole aligned slots of every smaller size, so `c` slots of 2^k units that begin at or
    /// after `start` end no earlier than 2^k (ceil(start / 2^k) + c).
    static func levelBound(_ entries: [Entry], from start: Int, in table: ShapeTable) -> Int {
        var mask: UInt64 = 1
        for entry in entries { mask |= table.levelMask[entry.shape] }
        var bound = start
        while mask != 0 {
            let k = mask.trailingZeroBitCount
            mask &= mask - 1
            var count = 0
            for entry in entries { count += table.slots[entry.shape * ShapeTable.levels + k] * entry.count }
            guard count > 0 else { continue }
            let first = (start + ((1 << k) - 1)) >> k
            bound = max(bound, (first + count) << k)
        }
        return bound
    }

    private init(
        _ entries: [Entry],
        limit: Int,
        floor: Int,
        table: ShapeTable,
        budget: Int,
        stopAtAny: Bool
    ) {
        self.entries = entries
        self.budget = budget
        self.floor = floor
        stopAt = stopAtAny ? limit : floor
        best = limit == .max ? limit : limit + 1
        left = entries.map(\.count)
        remaining = left.reduce(0, +)
        var mask: UInt64 = 1
        for entry in entries { mask |= table.levelMask[entry.shape] }
        var bits: [Int] = []
        while mask != 0 {
            bits.append(mask.trailingZeroBitCount)
            mask &= mask - 1
        }
        self.bits = bits
        slots = Array(repeating: 0, count: bits.count)
        var slotsOf: [Int] = []
        slotsOf.reserveCapacity(entries.count * bits.count)
        for entry in entries {
            for (i, k) in bits.enumerated() {
                let count = table.slots[entry.shape * ShapeTable.levels + k]
                slotsOf.append(count)
                slots[i] += count * entry.count
            }
        }
        self.slotsOf = slotsOf
        var weight = 1
        remembers = true
        for entry in entries {
            weightOf.append(weight)
            let (product, overflow) = weight.multipliedReportingOverflow(by: entry.count + 1)
            if overflow {
                remembers = false
                break
            }
            weight = product
        }
        if !remembers { weightOf = Array(repeating: 0, count: entries.count) }
    }

    @inline(__always)
    private func bound(from position: Int) -> Int {
        var bound = position
        for i in 0..<bits.count where slots[i] > 0 {
            let k = bits[i]
            let first = (position + ((1 << k) - 1)) >> k
            bound = max(bound, (first + slots[i]) << k)
        }
        return bound
    }

    @inline(__always)
    private mutating func take(_ e: Int) {
        left[e] -= 1
        remaining -= 1
        index += weightOf[e]
        let base = e * bits.count
        for i in 0..<bits.count { slots[i] -= slotsOf[base + i] }
    }

    @inline(__always)
    private mutating func giveBack(_ e: Int) {
        left[e] += 1
        remaining += 1
        index -= weightOf[e]
        let base = e * bits.count
        for i in 0..<bits.count { slots[i] += slotsOf[base + i] }
    }

    private struct Choice {
        var entry: Int
        var end: Int
        var bound: Int
        var waste: Int
        var alignment: Int
    }

    private mutating func descend(from position: Int, _ table: inout ShapeTable) {
        if remaining == 0 {
            if position < best {
                best = position
                bestOrder = path
            }
            return
        }
        table.steps += 1
        budget -= 1
        if budget < 0, best != .max, !bestOrder.isEmpty {
            cutShort = true
            return
        }
        if budget < -20_000 {
            cutShort = true
            return
        }
        if remembers {
            if let earlier = seen[index], earlier <= position { return }
            if remaining > 1 { seen[index] = position }
        }
        var choices: [Choice] = []
        choices.reserveCapacity(entries.count)
        for e in 0..<entries.count where left[e] > 0 {
            let entry = entries[e]
            let start = table.firstStart(entry.shape, from: max(position, entry.low))
            var exact = true
            let end = table.end(entry.shape, startingAt: start, exact: &exact)
            if !exact { usedInexact = true }
            guard end <= entry.high else { continue }
            take(e)
            let bound = bound(from: end)
            giveBack(e)
            guard bound < best else { continue }
            choices.append(
                Choice(
                    entry: e,
                    end: end,
                    bound: bound,
                    waste: end - position - table.volume[entry.shape],
                    alignment: table.alignment[entry.shape]
                )
            )
        }
        choices.sort { a, b in
            if a.bound != b.bound { return a.bound < b.bound }
            if a.waste != b.waste { return a.waste < b.waste }
            if a.alignment != b.alignment { return a.alignment > b.alignment }
            return a.entry < b.entry
        }
        for choice in choices {
            guard choice.bound < best else { continue }
            take(choice.entry)
            path.append(choice.entry)
            descend(from: choice.end, &table)
            path.removeLast()
            giveBack(choice.entry)
            if best <= stopAt || (cutShort && !bestOrder.isEmpty) { return }
        }
    }
}
