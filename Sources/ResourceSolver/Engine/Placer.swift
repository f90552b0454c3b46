// SPDX-License-Identifier: GPL-2.0-or-later

/// Answers one question about a set of evicted devices: can everything that is free be placed around the pins that stay?
///
/// The pins of a line cut it into gaps. A free item (a leaf, or a whole window without pins below) whose window has pins
/// can lie only in a gap next to or inside that window's pins; inside a gap, the items of the left neighbour's windows
/// come first, innermost first, then those of the window that spans the gap, then those of the right neighbour's
/// windows, outermost first. So a placement is an assignment of items to gaps, and each gap is decided by orders alone.
struct Placer {
    let forest: Forest
    var table: ShapeTable

    /// What is known about a set of evicted devices.
    enum Verdict {
        /// Everything fits.
        case fits
        /// Nothing fits; `isProof` when that is certain.
        case fails(isProof: Bool)
    }

    /// A free leaf or window whose window above stays.
    struct Item {
        var node: Int
        var window: Int
        var shape: Int
        var alignment: Int
        var volume: Int
        var low: Int
        var high: Int
        var takesPrefetchableRegion: Bool
    }

    /// The space between two neighbouring pins, or between a pin and the end of a region.
    struct Gap {
        var low: Int
        var high: Int
        var left: Int
        var right: Int
        /// The window that spans the gap.
        var span: Int
        var takesAll: Bool
    }

    enum Zone { case none, left, middle, right }

    private(set) var isEvicted: [Bool]
    private(set) var cost = 0
    /// Per node with a pin: holders that are not evicted, plus one when locked.
    private var holdCount: [Int]
    private(set) var pinsBelow: [Int]
    /// Leaves without a pin of their own.
    private var loose: [Int] = []
    private var freed: [Int] = []
    private var shapeOf: [Int]
    private var mark: [Int]
    private var waiting: [(line: Int, item: Item)] = []
    private var waitingLines: [Int] = []
    private var epoch = 0

    // The line under work.
    private(set) var gaps: [Gap] = []
    private(set) var activePins: [Int] = []
    private(set) var items: [Item] = []
    private var firstPin: [Int]
    private var lastPin: [Int]
    private var pinMark: [Int]
    private var pinEpoch = 0
    private var content: [[Int]] = []
    private var chosen: [Int] = []
    private var nodeBudget = 0
    private var allExact = true
    /// The first item that found no place, in the order of placing; -1 when none.
    private(set) var firstStuck = -1
    /// Items (index into `items`) without any place even alone.
    private(set) var hopeless: [Int] = []
    private(set) var failedLine = -1
    /// Assignments of the last success: per line its gaps, items and contents.
    private(set) var solution: [LineSolution] = []

    struct LineSolution {
        var gaps: [Gap]
        var items: [Item]
        var content: [[Int]]
    }

    init(_ forest: Forest, table: ShapeTable = ShapeTable()) {
        self.forest = forest
        self.table = table
        isEvicted = Array(repeating: false, count: forest.deviceOf.count)
        holdCount = Array(repeating: 0, count: forest.count)
        pinsBelow = Array(repeating: 0, count: forest.count)
        shapeOf = Array(repeating: -2, count: forest.count)
        mark = Array(repeating: 0, count: forest.count)
        firstPin = Array(repeating: -1, count: forest.count)
        lastPin = firstPin
        pinMark = mark
        for node in 0..<forest.count where forest.hasPin(node) {
            holdCount[node] = forest.holders[node].count + (forest.isLocked[node] ? 1 : 0)
            if holdCount[node] > 0 { adjust(above: node, by: 1) }
        }
        for node in Forest.rootCount..<max(forest.count, Forest.rootCount)
        where forest.granule[node] == 0 && !forest.hasPin(node) {
            loose.append(node)
        }
    }

    private mutating func adjust(above node: Int, by change: Int) {
        var above = forest.parent[node]
        while above >= 0 {
            pinsBelow[above] += change
            // A rigid window's own pin hides what is below it.
            if forest.isRigid[above], holdCount[above] > 0 { return }
            above = forest.parent[above]
        }
    }

    /// Whether the pin of `node` holds.
    @inline(__always)
    func isPinned(_ node: Int) -> Bool { holdCount[node] > 0 }

    /// Whether window `node` is free to move with all it holds.
    @inline(__always)
    func isFree(_ node: Int) -> Bool {
        node >= Forest.rootCount && pinsBelow[node] == 0 && !(forest.isRigid[node] && holdCount[node] > 0)
    }

    /// The line that `window` belongs to at present: the nearest window that keeps its range, or the root.
    func line(of window: Int) -> Int {
        var line = window
        while line >= Forest.rootCount, !(forest.isRigid[line] && holdCount[line] > 0) { line = forest.parent[line] }
        return line
    }

    /// Evicts device `d`: pins that nobody else holds are released. No effect on an evicted or immovable device.
    mutating func evict(_ d: Int) {
        guard !isEvicted[d], forest.weight[d] >= 0 else { return }
        isEvicted[d] = true
        cost += forest.weight[d]
        for node in forest.pinsOf[d] {
            holdCount[node] -= 1
            if holdCount[node] == 0 { release(node) }
        }
    }

    private mutating func release(_ node: Int) {
        // What a rigid window hid counts for the windows above from now on.
        adjust(above: node, by: forest.isRigid[node] ? pinsBelow[node] - 1 : -1)
    }

    /// Takes the eviction of device `d` back.
    mutating func restore(_ d: Int) {
        guard isEvicted[d] else { return }
        isEvicted[d] = false
        cost -= forest.weight[d]
        for node in forest.pinsOf[d] {
            holdCount[node] += 1
            if holdCount[node] == 1 { hold(node) }
        }
    }

    private mutating func hold(_ node: Int) {
        adjust(above: node, by: forest.isRigid[node] ? 1 - pinsBelow[node] : 1)
    }

    /// Makes exactly the devices of `set` evicted.
    mutating func setEvicted(_ set: [Int]) {
        for d in isEvicted.indices where isEvicted[d] { restore(d) }
        for d in set { evict(d) }
    }

    /// The evicted devices, ascending.
    var evicted: [Int] { isEvicted.indices.filter { isEvicted[$0] } }

    /// The class of a free node, -1 when it holds nothing.
    mutating func shape(_ node: Int) -> Int {
        if shapeOf[node] != -2 { return shapeOf[node] }
        var shape = -1
        if forest.granule[node] == 0 {
            shape = table.leaf(size: forest.size[node], alignment: forest.alignment[node])
        } else {
            var inside: [Int] = []
            for c in forest.children[node].indices {
                let child = self.shape(forest.children[node][c])
                if child >= 0 { inside.append(child) }
            }
            shape = table.window(granule: forest.granule[node], children: inside) ?? -1
        }
        shapeOf[node] = shape
        return shape
    }

    /// Decides whether all free leaves can be placed around the pins that stay.
    ///
    /// `budget` is in search nodes per line.
    /// - Complexity: O(pins x depth) per line with free items, plus the search.
    mutating func place(budget: Int) -> Verdict {
        solution.removeAll(keepingCapacity: true)
        failedLine = -1
        collectItems()
        for line in waitingLines {
            prepare(line)
            let verdict = assign(budget: budget)
            if case .fails = verdict {
                failedLine = line
                return verdict
            }
            solution.append(LineSolution(gaps: gaps, items: items, content: Array(content[..<gaps.count])))
        }
        return .fits
    }

    /// Gathers the free items of all lines, lines ascending.
    private mutating func collectItems() {
        epoch += 1
        waiting.removeAll(keepingCapacity: true)
        waitingLines.removeAll(keepingCapacity: true)
        for i in loose.indices { visit(loose[i]) }
        for d in isEvicted.indices where isEvicted[d] {
            for p in forest.pinsOf[d].indices {
                let node = forest.pinsOf[d][p]
                if holdCount[node] == 0 && forest.granule[node] == 0 { visit(node) }
            }
        }
        waitingLines.sort()
    }

    private mutating func visit(_ leaf: Int) {
        var node = leaf
        while isFree(forest.parent[node]) { node = forest.parent[node] }
        guard mark[node] != epoch else { return }
        mark[node] = epoch
        let shape = shape(node)
        guard shape >= 0 else { return }
        let window = forest.parent[node]
        let line = line(of: window)
        var item = Item(
            node: node,
            window: window,
            shape: shape,
            alignment: table.alignment[shape],
            volume: table.volume[shape],
            low: forest.low[node],
            high: forest.high[node],
            takesPrefetchableRegion: forest.isPrefetchable[node]
        )
        if forest.granule[node] > 0 { narrow(&item, below: node) }
        if !waitingLines.contains(line) { waitingLines.append(line) }
        waiting.append((line, item))
    }

    private mutating func narrow(_ item: inout Item, below node: Int) {
        for child in forest.children[node] where forest.granule[child] == 0 || shape(child) >= 0 {
            item.low = max(item.low, forest.low[child])
            item.high = min(item.high, forest.high[child])
            if forest.granule[child] > 0 { narrow(&item, below: child) }
        }
    }

    // MARK: - The gaps of a line

    /// Lays out pins, gaps and items of `line` for `assign` and for the search for evictions.
    private mutating func prepare(_ line: Int) {
        items.removeAll(keepingCapacity: true)
        for (owner, item) in waiting where owner == line { items.append(item) }
        items.sort { a, b in
            if a.alignment != b.alignment { return a.alignment > b.alignment }
            if a.volume != b.volume { return a.volume > b.volume }
            if a.window != b.window { return a.window < b.window }
            if a.shape != b.shape { return a.shape < b.shape }
            return a.node < b.node
        }
        buildGaps(line)
        for g in content.indices { content[g].removeAll(keepingCapacity: true) }
        while content.count < gaps.count { content.append([]) }
        chosen.removeAll(keepingCapacity: true)
        for _ in items { chosen.append(-1) }
    }

    /// Cuts `line` at the pins that hold, and notes for every window above them its first and last pin.
    private mutating func buildGaps(_ line: Int) {
        activePins.removeAll(keepingCapacity: true)
        pinEpoch += 1
        firstPin[line] = -1
        for p in forest.pins[line].indices {
            let node = forest.pins[line][p]
            guard holdCount[node] > 0 else { continue }
            // What never moves shows up where the windows around it have gone.
            if forest.isLocked[node], forest.line[node] != line, self.line(of: forest.parent[node]) != line { continue }
            let i = activePins.count
            activePins.append(node)
            var above = forest.parent[node]
            while above >= 0 {
                if pinMark[above] != pinEpoch {
                    pinMark[above] = pinEpoch
                    firstPin[above] = i
                }
                lastPin[above] = i
                if above == line { break }
                above = forest.parent[above]
            }
        }
        gaps.removeAll(keepingCapacity: true)
        if line < Forest.rootCount {
            var i = 0
            for r in forest.regions[line].indices {
                let region = forest.regions[line][r]
                var low = region.low
                var left = -1
                while i < activePins.count, forest.pinLow[activePins[i]] < region.high {
                    let pin = activePins[i]
                    if forest.pinHigh[pin] > region.low {
                        appendGap(low: low, high: forest.pinLow[pin], left: left, right: pin, line, region.takesAll)
                        low = max(low, forest.pinHigh[pin])
                        left = pin
                    }
                    i += 1
                }
                appendGap(low: low, high: region.high, left: left, right: -1, line, region.takesAll)
            }
        } else {
            var low = forest.pinLow[line]
            var left = -1
            for i in activePins.indices {
                let pin = activePins[i]
                appendGap(low: low, high: forest.pinLow[pin], left: left, right: pin, line, true)
                low = max(low, forest.pinHigh[pin])
                left = pin
            }
            appendGap(low: low, high: forest.pinHigh[line], left: left, right: -1, line, true)
        }
    }

    private mutating func appendGap(low: Int, high: Int, left: Int, right: Int, _ line: Int, _ takesAll: Bool) {
        guard low < high else { return }
        var span = line
        if left >= 0, right >= 0 {
            span = forest.parent[left]
            while !forest.isAncestor(span, right) { span = forest.parent[span] }
        }
        gaps.append(Gap(low: low, high: high, left: left, right: right, span: span, takesAll: takesAll))
    }

    /// Where in gap `g` the items of `window` lie.
    private func zone(_ item: Item, _ g: Gap) -> Zone {
        let window = item.window
        if window == g.span {
            guard g.takesAll || item.takesPrefetchableRegion || window >= Forest.rootCount else { return .none }
            if forest.header[window] >= 0, window >= Forest.rootCount {
                // The first number of a bus range is the bridge's own bus; here it would be among the others.
                if item.node == forest.header[window], pinMark[window] == pinEpoch { return .none }
            }
            return .middle
        }
        if g.left >= 0, forest.isAncestor(window, g.left), forest.isAncestor(g.span, window) {
            return item.node == forest.header[window] ? .none : .left
        }
        if g.right >= 0, forest.isAncestor(window, g.right), forest.isAncestor(g.span, window) {
            let header = forest.header[window]
            return header >= 0 && holdCount[header] > 0 ? .none : .right
        }
        return .none
    }

    // MARK: - Assigning items to gaps

    private var candidates: [[Int]] = []
    private var ranking: [(key: Int, gap: Int)] = []

    private mutating func assign(budget: Int) -> Verdict {
        firstStuck = -1
        hopeless.removeAll(keepingCapacity: true)
        allExact = true
        nodeBudget = budget
        while candidates.count < items.count { candidates.append([]) }
        for i in items.indices {
            if i > 0, isTwin(items[i - 1], items[i]) {
                candidates[i] = candidates[i - 1]
                if hopeless.last == i - 1 { hopeless.append(i) }
                continue
            }
            rankGaps(i)
            if candidates[i].isEmpty {
                hopeless.append(i)
                if stopsAtFirstStuck { break }
            }
        }
        if let first = hopeless.first {
            firstStuck = first
            return .fails(isProof: allExact)
        }
        if !levelsSuffice() { return .fails(isProof: true) }
        if descend(0) { return .fits }
        return .fails(isProof: allExact && nodeBudget >= 0)
    }

    /// The gaps in which item `i` fits alone: small gaps first, the outer sides of a window after its inside.
    private mutating func rankGaps(_ i: Int) {
        ranking.removeAll(keepingCapacity: true)
        single[0] = i
        let item = items[i]
        table.steps += 1 + gaps.count / 8
        for g in gaps.indices {
            let size = gaps[g].high - gaps[g].low
            guard size >= item.volume, gaps[g].low < item.high, gaps[g].high > item.low else { continue }
            let zone = zone(item, gaps[g])
            guard zone != .none else { continue }
            table.steps += 1
            guard fits(gaps[g], single) else { continue }
            ranking.append((size * 2 + (zone == .middle ? 0 : 1), g))
        }
        ranking.sort { ($0.key, $0.gap) < ($1.key, $1.gap) }
        candidates[i].removeAll(keepingCapacity: true)
        for r in ranking { candidates[i].append(r.gap) }
    }

    private var single = [0]
    /// Whether a decision may stop at the first item that has no place, leaving the rest of `hopeless` out.
    var stopsAtFirstStuck = false

    private func isTwin(_ a: Item, _ b: Item) -> Bool {
        a.shape == b.shape && a.window == b.window && a.low == b.low && a.high == b.high
            && a.takesPrefetchableRegion == b.takesPrefetchableRegion && !forest.isHeader[a.node]
            && !forest.isHeader[b.node]
    }

    /// Whether the gaps of the line have enough aligned slots of every size for all items together.
    private mutating func levelsSuffice() -> Bool {
        var mask: UInt64 = 1
        for item in items { mask |= table.levelMask[item.shape] }
        while mask != 0 {
            let k = mask.trailingZeroBitCount
            mask &= mask - 1
            var need = 0
            for item in items { need += table.slots[item.shape * ShapeTable.levels + k] }
            guard need > 0 else { continue }
            for gap in gaps {
                let slots = (gap.high >> k) - ((gap.low + ((1 << k) - 1)) >> k)
                if slots > 0 { need -= slots }
                if need <= 0 { break }
            }
            if need > 0 {
                firstStuck = items.indices.first { table.slots[items[$0].shape * ShapeTable.levels + k] > 0 } ?? 0
                return false
            }
        }
        return true
    }

    private mutating func descend(_ i: Int) -> Bool {
        if i == items.count { return true }
        nodeBudget -= 1
        if nodeBudget < 0 { return false }
        var from = 0
        if i > 0, isTwin(items[i - 1], items[i]) {
            // Equal items take gaps in order: the later one never goes back.
            from = chosen[i - 1]
        }
        for c in from..<max(from, candidates[i].count) {
            let g = candidates[i][c]
            table.steps += 1
            content[g].append(i)
            if content[g].count == 1 || fits(gaps[g], content[g]) {
                chosen[i] = c
                if descend(i + 1) { return true }
                if nodeBudget < 0 { return false }
            }
            content[g].removeLast()
        }
        if firstStuck < 0 { firstStuck = i }
        return false
    }

    // MARK: - One gap

    /// Whether the items `inside` (indices into `items`) fit in `gap` together.
    private mutating func fits(_ gap: Gap, _ inside: [Int]) -> Bool {
        var volume = 0
        for i in inside { volume += items[i].volume }
        guard volume <= gap.high - gap.low else { return false }
        var low = gap.low
        if gap.left >= 0 {
            var window = forest.parent[gap.left]
            while window != gap.span {
                guard let end = run(inside, of: window, isMirrored: false, from: low, limit: gap.high) else {
                    return false
                }
                low = roundUp(end, forest.granule[window])
                window = forest.parent[window]
            }
        }
        var high = -gap.high
        if gap.right >= 0 {
            var window = forest.parent[gap.right]
            while window != gap.span {
                guard let end = run(inside, of: window, isMirrored: true, from: high, limit: -low) else { return false }
                high = roundUp(end, forest.granule[window])
                window = forest.parent[window]
            }
        }
        return run(inside, of: gap.span, isMirrored: false, from: low, limit: -high) != nil
    }

    private var entries: [OrderSearch.Entry] = []

    /// The entries for the items of `window` among `inside`; mirrored items have mirrored bounds.
    private mutating func gather(_ inside: [Int], of window: Int, isMirrored: Bool) {
        entries.removeAll(keepingCapacity: true)
        for i in inside where items[i].window == window {
            let item = items[i]
            let low = isMirrored ? -item.high : item.low
            let high = isMirrored ? -item.low : item.high
            var e = 0
            while e < entries.count,
                entries[e].shape != item.shape || entries[e].low != low || entries[e].high != high
            {
                e += 1
            }
            if e < entries.count {
                entries[e].count += 1
            } else {
                entries.append(OrderSearch.Entry(shape: item.shape, count: 1, low: low, high: high))
            }
        }
    }

    /// The end of the items of `window` among `inside` when they start at `start`, or nil beyond `limit`.
    private mutating func run(_ inside: [Int], of window: Int, isMirrored: Bool, from start: Int, limit: Int) -> Int? {
        gather(inside, of: window, isMirrored: isMirrored)
        guard !entries.isEmpty else { return start <= limit ? start : nil }
        let result = OrderSearch.leastEnd(entries, from: start, limit: limit, in: &table, budget: orderBudget)
        guard result.end != .max else {
            if !result.isExact { allExact = false }
            return nil
        }
        if !result.isExact { allExact = false }
        return result.end
    }

    /// The most search nodes for the order inside one gap.
    var orderBudget = 500
}

// MARK: - Addresses

extension Placer {
    /// The addresses of all leaves, in units, after a `place` that fits: pins where they are, the rest as found.
    ///
    /// - Returns: per node the start, or `Int.min` for windows and leaves that are nowhere.
    mutating func addresses() -> [Int] {
        var start = Array(repeating: Int.min, count: forest.count)
        for node in 0..<forest.count where forest.granule[node] == 0 && isPinned(node) {
            start[node] = forest.pinLow[node]
        }
        for line in solution {
            items = line.items
            for (g, inside) in line.content.enumerated() where !inside.isEmpty {
                emit(line.gaps[g], inside, into: &start)
            }
        }
        return start
    }

    private mutating func emit(_ gap: Gap, _ inside: [Int], into start: inout [Int]) {
        var low = gap.low
        if gap.left >= 0 {
            var window = forest.parent[gap.left]
            while window != gap.span {
                low = emitRun(inside, of: window, isMirrored: false, from: low, limit: gap.high, into: &start)
                low = roundUp(low, forest.granule[window])
                window = forest.parent[window]
            }
        }
        var high = -gap.high
        if gap.right >= 0 {
            var window = forest.parent[gap.right]
            while window != gap.span {
                high = emitRun(inside, of: window, isMirrored: true, from: high, limit: -low, into: &start)
                high = roundUp(high, forest.granule[window])
                window = forest.parent[window]
            }
        }
        _ = emitRun(inside, of: gap.span, isMirrored: false, from: low, limit: -high, into: &start)
    }

    private mutating func emitRun(
        _ inside: [Int],
        of window: Int,
        isMirrored: Bool,
        from first: Int,
        limit: Int,
        into start: inout [Int]
    ) -> Int {
        gather(inside, of: window, isMirrored: isMirrored)
        guard !entries.isEmpty else { return first }
        let gathered = entries
        // The same search as in `fits`: it stops at the same end, within the same limit.
        let result = OrderSearch.leastEnd(
            gathered,
            from: first,
            limit: limit,
            in: &table,
            budget: orderBudget,
            needsOrder: true
        )
        var waiting: [[Int]] = gathered.map { entry in
            inside.filter { i in
                let item = items[i]
                let low = isMirrored ? -item.high : item.low
                let high = isMirrored ? -item.low : item.high
                return item.window == window && item.shape == entry.shape && low == entry.low && high == entry.high
            }
            .map { items[$0].node }
        }
        for e in waiting.indices { waiting[e].reverse() }
        var position = first
        var order = result.order.map { (entry: $0, node: waiting[$0].popLast() ?? -1) }
        if isMirrored, let h = order.firstIndex(where: { $0.node >= 0 && forest.isHeader[$0.node] }) {
            // Bus numbers have no alignment: any order ends alike, and the header must end up lowest.
            order.append(order.remove(at: h))
        } else if let h = order.firstIndex(where: { $0.node >= 0 && forest.isHeader[$0.node] }) {
            order.insert(order.remove(at: h), at: 0)
        }
        for (entry, node) in order where node >= 0 {
            let shape = gathered[entry].shape
            let begin = table.firstStart(shape, from: max(position, gathered[entry].low))
            var exact = true
            let end = table.end(shape, startingAt: begin, exact: &exact)
            emitNode(node, from: begin, isMirrored: isMirrored, length: end - begin, into: &start)
            position = end
        }
        return position
    }

    private mutating func emitNode(_ node: Int, from begin: Int, isMirrored: Bool, length: Int, into start: inout [Int])
    {
        if forest.granule[node] == 0 {
            start[node] = isMirrored ? -(begin + forest.size[node]) : begin
            return
        }
        if forest.root[node] == 2 {
            emitNumbers(node, from: isMirrored ? -(begin + length) : begin, into: &start)
            return
        }
        let parts = table.parts[shape(node)]
        var waiting: [[Int]] = parts.map { _ in [] }
        for child in forest.children[node].reversed() {
            let shape = shape(child)
            if let p = parts.firstIndex(where: { $0.shape == shape }) { waiting[p].append(child) }
        }
        let inner = parts.map { OrderSearch.Entry(shape: $0.shape, count: $0.count) }
        // The length was found at the residue; the same query gives the same order.
        let residue = begin & (table.alignment[shape(node)] - 1)
        let result = OrderSearch.leastEnd(
            inner,
            from: residue,
            in: &table,
            budget: table.innerBudget,
            needsOrder: true
        )
        var position = begin
        for e in result.order {
            guard let child = waiting[e].popLast() else { continue }
            let first = table.firstStart(inner[e].shape, from: position)
            var exact = true
            let end = table.end(inner[e].shape, startingAt: first, exact: &exact)
            emitNode(child, from: first, isMirrored: isMirrored, length: end - first, into: &start)
            position = end
        }
    }

    /// Bus numbers: the header first, then the others in node order, without gaps.
    private mutating func emitNumbers(_ node: Int, from begin: Int, into start: inout [Int]) {
        var position = begin
        let header = forest.header[node]
        if header >= 0 {
            start[header] = position
            position += forest.size[header]
        }
        for child in forest.children[node] where child != header {
            let shape = shape(child)
            guard shape >= 0 else { continue }
            if forest.granule[child] == 0 {
                start[child] = position
                position += forest.size[child]
            } else {
                emitNumbers(child, from: position, into: &start)
                position += table.volume[shape]
            }
        }
    }
}
