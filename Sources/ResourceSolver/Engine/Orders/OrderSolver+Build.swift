// SPDX-License-Identifier: GPL-2.0-or-later

extension OrderSolver {
    /// Compiles the forest that `placer` holds.
    init(_ placer: inout Placer, options: Options = Options()) {
        forest = placer.forest
        self.options = options
        isCertain = Array(repeating: false, count: forest.count)
        mayHold = isCertain
        nodeOf = Array(repeating: -1, count: forest.count)
        classOf = nodeOf
        surveyContent()
        buildClasses(&placer.table)
        table = placer.table
        sums = [Sum(variable: -1)]
        buildDevices()
        for root in 0..<Forest.rootCount { buildRoot(root) }
        for node in Forest.rootCount..<max(forest.count, Forest.rootCount) where forest.granule[node] > 0 {
            buildWindow(node)
        }
        for node in Forest.rootCount..<max(forest.count, Forest.rootCount) where forest.granule[node] == 0 {
            buildLeaf(node)
        }
        buildBarriers()
        for n in placeless {
            for m in windowLists[n] {
                if m.guardView < 0 { core.isRefuted = true } else { core.settle(negated(m.guardView)) }
            }
        }
        buildLists()
        buildPairs()
        settleHeaders()
        sums[0].variable = newVariable(0, sums[0].members.reduce(0) { $0 + $1.weight }, step: 1, .sum, 0)
        for s in sums.indices { sums[s].members.sort { ($1.weight, $0.variable) < ($0.weight, $1.variable) } }
        isQueued = Array(repeating: false, count: forestNode.count)
        openPremises = role.count { $0.isPremise }
        isFresh = true
    }

    // MARK: - What is inside

    /// Finds out which windows hold something for sure, and which may.
    private mutating func surveyContent() {
        for node in stride(from: forest.count - 1, through: Forest.rootCount, by: -1) {
            if forest.granule[node] == 0 {
                mayHold[node] = true
                isCertain[node] = !options.explains
            } else if forest.isRigid[node], forest.hasPin(node), forest.isLocked[node] || !options.explains {
                // It holds its range, whatever is inside.
                mayHold[forest.parent[node]] = true
                if forest.isLocked[node], !options.explains { isCertain[forest.parent[node]] = true }
            }
            guard mayHold[node] else { continue }
            let other = options.triesBothWindows ? forest.alternative[node] : -1
            mayHold[forest.parent[node]] = true
            if other >= 0 {
                mayHold[other] = true
            } else if isCertain[node] {
                isCertain[forest.parent[node]] = true
            }
        }
    }

    /// The class of what is surely inside every node.
    private mutating func buildClasses(_ table: inout ShapeTable) {
        var inside: [[Int]] = Array(repeating: [], count: forest.count)
        for node in stride(from: forest.count - 1, through: Forest.rootCount, by: -1) {
            if forest.granule[node] == 0 {
                if forest.obstacle[node] < 0 {
                    classOf[node] = table.leaf(size: forest.size[node], alignment: forest.alignment[node])
                }
            } else {
                classOf[node] = table.window(granule: forest.granule[node], children: inside[node]) ?? -1
            }
            let isMovable = options.triesBothWindows && forest.alternative[node] >= 0
            if classOf[node] >= 0, isCertain[node], !isMovable { inside[forest.parent[node]].append(classOf[node]) }
        }
    }

    // MARK: - Variables

    private mutating func newVariable(_ low: Int, _ high: Int, step: Int, _ role: Role, _ owner: Int) -> Int {
        let v = core.variable(low, max(roundUp(low, step), high), step: step, isChoice: role.isChoice)
        self.role.append(role)
        self.owner.append(Int32(truncatingIfNeeded: owner))
        pinned.append([])
        weight.append(0)
        sumOf.append(-1)
        isJoin.append(false)
        return v
    }

    /// A yes-or-no variable that means what `role` says.
    private mutating func newChoice(_ role: Role = .choice, _ owner: Int = -1) -> Int {
        newVariable(0, 1, step: 1, role, owner)
    }

    private mutating func buildDevices() {
        guard !options.explains else { return }
        for d in forest.deviceOf.indices {
            let v = newChoice(.device, d)
            deviceVariable.append(v)
            if forest.weight[d] > 0 {
                sumOf[v] = 0
                weight[v] = forest.weight[d]
                sums[0].members.append((v, forest.weight[d]))
            }
        }
        for d in forest.mustGo where forest.weight[d] >= 0 { core.settle(Literal.yes(deviceVariable[d])) }
        for (d, v) in deviceVariable.enumerated() where core.isOpen(v) {
            // Who holds nothing has nothing to leave.
            if forest.weight[d] < 0 || forest.pinsOf[d].isEmpty { core.settle(Literal.no(v)) }
        }
        if forest.mustGo.contains(where: { forest.weight[$0] < 0 }) { core.isRefuted = true }
    }

    // MARK: - Nodes

    @discardableResult
    private mutating func append(_ node: Int, start: Int, end: Int, offset: Int, isLeaf leaf: Bool, length l: Int)
        -> Int
    {
        let n = forestNode.count
        forestNode.append(node)
        ends[0].append(Ends(startView: 2 * start, startOffset: 0, endView: 2 * end, endOffset: offset))
        ends[1].append(Ends(startView: 2 * end + 1, startOffset: -offset, endView: 2 * start + 1, endOffset: 0))
        isLeaf.append(leaf)
        shape.append(node >= 0 && !leaf ? classOf[node] : -1)
        length.append(l)
        release.append(-1)
        pinLow.append(0)
        pinHigh.append(0)
        header.append(-1)
        isLoose.append(false)
        childLists.append([])
        windowLists.append([])
        presence.append([])
        if node >= 0 { nodeOf[node] = n }
        return n
    }

    private func extent(_ root: Int) -> (low: Int, high: Int) {
        let regions = forest.regions[root]
        return (regions.map(\.low).min() ?? 0, regions.map(\.high).max() ?? 0)
    }

    private mutating func buildRoot(_ root: Int) {
        let (low, high) = extent(root)
        let n = forestNode.count
        let s = newVariable(low, low, step: 1, .windowStart, n)
        let e = newVariable(high, high, step: 1, .windowEnd, n)
        append(root, start: s, end: e, offset: 0, isLeaf: false, length: 0)
    }

    private mutating func buildWindow(_ node: Int) {
        let isLocked = forest.isRigid[node] && forest.hasPin(node) && forest.isLocked[node]
        // Where everything movable moves, only what never moves holds a window.
        let isRigid = forest.isRigid[node] && forest.hasPin(node) && (isLocked || !options.explains)
        guard mayHold[node] || isRigid else { return }
        let n = forestNode.count
        let root = extent(forest.root[node])
        let low = max(forest.ownLow[node], root.low)
        let high = min(forest.ownHigh[node], root.high)
        let place = (low: forest.pinLow[node], high: forest.pinHigh[node])
        let isConstant = isRigid && (!mayHold[node] || (isLocked && !options.explains))
        let s =
            isConstant
            ? newVariable(place.low, place.low, step: 1, .windowStart, n)
            : newVariable(low, high, step: forest.granule[node], .windowStart, n)
        let e =
            isConstant
            ? newVariable(place.high, place.high, step: 1, .windowEnd, n)
            : newVariable(low, high, step: forest.granule[node], .windowEnd, n)
        append(
            node,
            start: s,
            end: e,
            offset: 0,
            isLeaf: false,
            length: isConstant ? place.high - place.low : classOf[node] >= 0 ? table.volume[classOf[node]] : 0
        )
        if isRigid { pin(n, node, isLocked: isLocked) }
        if !isConstant,
            roundUp(low, forest.granule[node]) + forest.granule[node] > roundDown(high, forest.granule[node])
        {
            placeless.append(n)
        }
        let keeps = isRigid && release[n] >= 0 ? Int32(truncatingIfNeeded: 2 * release[n] + 1) : -1
        if options.explains, isLocked {
            note(.window(forest.bridge[node], forest.windowIndex[node]), Literal.no(release[n]))
        }
        let other = options.triesBothWindows ? forest.alternative[node] : -1
        let isSure = isCertain[node] || (isLocked && !options.explains)
        if other >= 0, nodeOf[other] >= 0 {
            let a = newChoice()
            let b = newChoice()
            core.addClause([Literal.no(a), Literal.no(b)])
            enter(n, nodeOf[forest.parent[node]], Int32(truncatingIfNeeded: 2 * a))
            enter(n, nodeOf[other], Int32(truncatingIfNeeded: 2 * b))
            if isSure { core.addClause([Literal.yes(a), Literal.yes(b)]) }
            if keeps >= 0 { core.addClause([Literal.yes(a), Literal.yes(b), negated(keeps)]) }
            presence[n] = isSure ? [] : [Literal.yes(a), Literal.yes(b)]
        } else if isSure {
            enter(n, nodeOf[forest.parent[node]], -1)
        } else if !mayHold[node] {
            enter(n, nodeOf[forest.parent[node]], keeps)
            presence[n] = [Literal.said(Int(keeps))]
        } else {
            let used = newChoice()
            enter(n, nodeOf[forest.parent[node]], Int32(truncatingIfNeeded: 2 * used))
            if keeps >= 0 { core.addClause([Literal.yes(used), negated(keeps)]) }
            presence[n] = [Literal.yes(used)]
        }
    }

    private func negated(_ view: Int32) -> Literal { Literal.said(Int(view) ^ 1) }

    private mutating func buildLeaf(_ node: Int) {
        let n = forestNode.count
        let size = forest.size[node]
        let isStuck = forest.hasPin(node) && forest.isLocked[node]
        // What is fixed in a wrong place keeps no rule; the placer works around it.
        if forest.adrift.contains(node) { return }
        let root = extent(forest.root[node])
        let low = max(forest.ownLow[node], root.low)
        let high = min(forest.ownHigh[node], root.high)
        let x =
            isStuck
            ? newVariable(forest.pinLow[node], forest.pinLow[node], step: 1, .leaf, n)
            : newVariable(low, high - size, step: forest.alignment[node], .leaf, n)
        append(node, start: x, end: x, offset: size, isLeaf: true, length: size)
        if !isStuck, roundUp(low, forest.alignment[node]) > high - size { placeless.append(n) }
        var isThere: Int32 = -1
        if options.explains {
            let v = newChoice()
            isThere = Int32(truncatingIfNeeded: 2 * v)
            let o = forest.obstacle[node]
            let element: Element =
                o >= 0 ? .obstacle(o) : isStuck ? .holder(forest.request[node]) : .request(forest.request[node])
            note(element, Literal.yes(v))
        } else if forest.hasPin(node), !isStuck {
            pin(n, node, isLocked: false)
        }
        let other = options.triesBothWindows ? forest.alternative[node] : -1
        if other >= 0, nodeOf[other] >= 0 {
            let a = newChoice()
            let b = newChoice()
            core.addClause([Literal.no(a), Literal.no(b)])
            var clause = [Literal.yes(a), Literal.yes(b)]
            if isThere >= 0 {
                clause.append(negated(isThere))
                core.addClause([Literal.no(a), Literal.said(Int(isThere))])
                core.addClause([Literal.no(b), Literal.said(Int(isThere))])
            }
            core.addClause(clause)
            enter(n, nodeOf[forest.parent[node]], Int32(truncatingIfNeeded: 2 * a))
            enter(n, nodeOf[other], Int32(truncatingIfNeeded: 2 * b))
        } else {
            enter(n, nodeOf[forest.parent[node]], isThere)
        }
    }

    /// Node `n` is in window `w` while `view` says so; then `w` is somewhere, too.
    private mutating func enter(_ n: Int, _ w: Int, _ view: Int32) {
        windowLists[n].append(Membership(node: Int32(truncatingIfNeeded: w), guardView: view))
        childLists[w].append(Membership(node: Int32(truncatingIfNeeded: n), guardView: view))
        if view >= 0 {
            isLoose[w] = true
            isJoin[Int(view) >> 1] = true
            joins[Int(view), default: []].append((Int32(truncatingIfNeeded: n), Int32(truncatingIfNeeded: w)))
            if !presence[w].isEmpty { core.addClause(presence[w] + [negated(view)]) }
        }
    }

    /// Node `n` has a place that it keeps until all its holders have left theirs.
    private mutating func pin(_ n: Int, _ node: Int, isLocked: Bool) {
        pinLow[n] = forest.pinLow[node]
        pinHigh[n] = forest.pinHigh[node]
        if options.explains {
            guard isLocked else { return }
            release[n] = newChoice(.pin, n)
        } else {
            let holders = forest.holders[node]
            guard !isLocked, let only = holders.first else { return }
            if holders.count == 1 {
                release[n] = deviceVariable[only]
            } else {
                let v = newChoice(.pin, n)
                release[n] = v
                for d in holders { core.addClause([Literal.no(v), Literal.yes(deviceVariable[d])]) }
            }
        }
        pinned[release[n]].append(Int32(truncatingIfNeeded: n))
    }

    private mutating func note(_ element: Element, _ l: Literal) {
        elements.append((element, l))
    }

    // MARK: - Barriers

    /// The space between regions, and regions that a child may not use, as nodes on the roots that never move.
    private mutating func buildBarriers() {
        for root in 0..<Forest.rootCount {
            let regions = forest.regions[root]
            for (i, region) in regions.enumerated() {
                if !region.takesAll { appendBarrier(root, region.low, region.high, spares: true) }
                if i + 1 < regions.count { appendBarrier(root, region.high, regions[i + 1].low, spares: false) }
            }
        }
    }

    private mutating func appendBarrier(_ root: Int, _ low: Int, _ high: Int, spares: Bool) {
        guard low <= high else { return }
        let n = forestNode.count
        let x = newVariable(low, low, step: 1, .leaf, n)
        append(-1, start: x, end: x, offset: high - low, isLeaf: true, length: 0)
        enter(n, root, -1)
        if spares { sparing.insert(n) }
    }

    // MARK: - Lists

    private mutating func buildLists() {
        for n in forestNode.indices {
            windowsOf.append(contentsOf: windowLists[n])
            windowsStart.append(Int32(truncatingIfNeeded: windowsOf.count))
            childrenOf.append(contentsOf: childLists[n])
            childrenStart.append(Int32(truncatingIfNeeded: childrenOf.count))
        }
    }

    private mutating func buildPairs() {
        var lists: [[Neighbour]] = Array(repeating: [], count: forestNode.count)
        // The order of two that stay where they are is no question.
        let isSettled = forestNode.indices.map { isFixed($0) && isGiven($0) }
        for w in forestNode.indices where !isLeaf[w] {
            let list = childLists[w]
            var movable: [Int] = []
            for i in list.indices {
                if isSettled[Int(list[i].node)] {
                    for j in movable { pair(list[j], list[i], &lists) }
                } else {
                    for j in 0..<i { pair(list[j], list[i], &lists) }
                    movable.append(i)
                }
            }
        }
        for list in lists {
            neighboursOf.append(contentsOf: list)
            neighboursStart.append(Int32(truncatingIfNeeded: neighboursOf.count))
        }
        childLists.removeAll()
        windowLists.removeAll()
        presence.removeAll()
    }

    private mutating func pair(_ x: Membership, _ y: Membership, _ lists: inout [[Neighbour]]) {
        let a = Int(x.node)
        let b = Int(y.node)
        if isSpared(a, by: b) || isSpared(b, by: a) { return }
        let v = newVariable(0, 1, step: 1, .pair, pairFirst.count)
        pairFirst.append(x)
        pairSecond.append(y)
        let before = Int32(truncatingIfNeeded: 2 * v)
        lists[a].append(Neighbour(other: y.node, before: before, mine: x.guardView, theirs: y.guardView))
        lists[b].append(Neighbour(other: x.node, before: before + 1, mine: y.guardView, theirs: x.guardView))
        if x.guardView < 0, y.guardView < 0, areTwins(a, b) { core.settle(Literal.yes(v)) }
    }

    /// Whether `n` is a barrier or a place that is kept; anything else is fixed only because a single place is left, and
    /// that one may be taken.
    private func isGiven(_ n: Int) -> Bool {
        let node = forestNode[n]
        guard node >= 0 else { return true }
        return forest.hasPin(node) && (forest.isLocked[node] || (forest.isRigid[node] && !mayHold[node]))
    }

    private func isFixed(_ n: Int) -> Bool {
        let e = ends[0][n]
        return core.lower[e.startView] == -core.lower[e.startView ^ 1]
            && core.lower[e.endView] == -core.lower[e.endView ^ 1]
    }

    /// Whether barrier `barrier` is none for `n`.
    private func isSpared(_ n: Int, by barrier: Int) -> Bool {
        guard forestNode[barrier] < 0, forestNode[n] >= 0 else { return false }
        return sparing.contains(barrier) && forest.isPrefetchable[forestNode[n]]
    }

    /// Whether `a` and `b` are alike in everything, so that their order can be chosen once and for all.
    private func areTwins(_ a: Int, _ b: Int) -> Bool {
        let x = forestNode[a]
        let y = forestNode[b]
        guard x >= 0, y >= 0, classOf[x] >= 0, classOf[x] == classOf[y] else { return false }
        guard !forest.isHeader[x], !forest.isHeader[y], !options.triesBothWindows, !options.explains else {
            return false
        }
        return limits(x) == limits(y) && limits(x) != nil
    }

    /// The limits of everything in `node`; nil when something in it has a place, or limits of its own.
    private func limits(_ node: Int) -> [Int]? {
        guard !forest.hasPin(node) else { return nil }
        let own = [forest.low[node], forest.high[node], forest.isPrefetchable[node] ? 1 : 0]
        guard forest.granule[node] > 0 else { return own }
        for child in forest.children[node] where mayHold[child] {
            guard let inner = limits(child), inner[0] <= own[0], inner[1] >= own[1] else { return nil }
        }
        return own
    }

    private mutating func settleHeaders() {
        for w in forestNode.indices where !isLeaf[w] && forestNode[w] >= Forest.rootCount {
            let h = forest.header[forestNode[w]]
            guard h >= 0, nodeOf[h] >= 0 else { continue }
            header[w] = nodeOf[h]
            for i in neighbours(nodeOf[h]) where forestNode[Int(neighboursOf[i].other)] >= 0 {
                core.settle(Literal.said(Int(neighboursOf[i].before)))
            }
        }
    }

    func neighbours(_ n: Int) -> Range<Int> { Int(neighboursStart[n])..<Int(neighboursStart[n + 1]) }
    func children(_ w: Int) -> Range<Int> { Int(childrenStart[w])..<Int(childrenStart[w + 1]) }
    func windows(_ n: Int) -> Range<Int> { Int(windowsStart[n])..<Int(windowsStart[n + 1]) }
}
