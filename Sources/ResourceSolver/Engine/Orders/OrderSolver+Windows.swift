// SPDX-License-Identifier: GPL-2.0-or-later

// What the children of one window say together.
extension OrderSolver {
    /// The most children for which all pairs of ends are compared.
    private static let most = 60

    mutating func examine(_ w: Int) -> Bool {
        let count = children(w).count
        guard count > 0 else { return true }
        core.steps += count >> 2
        for side in 0..<2 {
            guard beginsWithFirst(w, side) else { return false }
            if isLoose[w] { guard holdsPresent(w, side) else { return false } }
            guard count > 1, count <= Self.most else { continue }
            guard pushesTogether(w, side) else { return false }
        }
        return count < 2 || hasRoom(w)
    }

    /// A window that nothing forces to be longer begins with the first of its children.
    private mutating func beginsWithFirst(_ w: Int, _ side: Int) -> Bool {
        guard forestNode[w] >= Forest.rootCount else { return true }
        if forest.isRigid[forestNode[w]] {
            guard release[w] >= 0, core.isYes(release[w]) else { return true }
        }
        let outer = ends[side][w]
        var least = Int.max
        for i in children(w) where !fails(childrenOf[i].guardView) {
            let e = ends[side][Int(childrenOf[i].node)]
            least = min(least, core.lower[e.startView] + e.startOffset)
            if least <= core.lower[outer.startView] { return true }
        }
        guard least < .max else { return true }
        least = roundDown(least, core.step[outer.startView >> 1])
        guard least > core.lower[outer.startView] else { return true }
        let from = core.arena.count
        for i in children(w) {
            let m = childrenOf[i]
            if fails(m.guardView) {
                core.arena.append(Literal.said(Int(m.guardView) ^ 1))
            } else {
                let e = ends[side][Int(m.node)]
                core.arena.append(core.literal(e.startView, least - e.startOffset))
            }
        }
        if release[w] >= 0 { core.arena.append(Literal.yes(release[w])) }
        return core.imply(outer.startView, least, from: from)
    }

    /// A window whose content is not certain is long enough for what is in it now.
    private mutating func holdsPresent(_ w: Int, _ side: Int) -> Bool {
        let outer = ends[side][w]
        let position = core.lower[outer.startView] + outer.startOffset
        var mask: UInt64 = 1
        for i in children(w) where holds(childrenOf[i].guardView) {
            let n = Int(childrenOf[i].node)
            if let c = classInside(n) { mask |= table.levelMask[c] }
        }
        var bound = position
        var level = 0
        while mask != 0 {
            let k = mask.trailingZeroBitCount
            mask &= mask - 1
            var count = 0
            for i in children(w) where holds(childrenOf[i].guardView) {
                if let c = classInside(Int(childrenOf[i].node)) { count += table.slots[c * ShapeTable.levels + k] }
            }
            guard count > 0 else { continue }
            let end = (((position + ((1 << k) - 1)) >> k) + count) << k
            if end > bound {
                bound = end
                level = k
            }
        }
        guard bound - outer.endOffset > core.lower[outer.endView] else { return true }
        let from = core.arena.count
        core.arena.append(Literal(view: outer.startView, bound: core.lower[outer.startView]))
        for i in children(w) where holds(childrenOf[i].guardView) {
            guard let c = classInside(Int(childrenOf[i].node)) else { continue }
            if table.slots[c * ShapeTable.levels + level] > 0 { addGuard(childrenOf[i].guardView) }
        }
        return core.imply(outer.endView, bound - outer.endOffset, from: from)
    }

    private func classInside(_ n: Int) -> Int? {
        let node = forestNode[n]
        guard node >= 0, classOf[node] >= 0 else { return nil }
        return classOf[node]
    }

    /// Children that all start at or after a place end no earlier than their lengths together: there the window ends,
    /// and there starts whoever comes behind all of them.
    private mutating func pushesTogether(_ w: Int, _ side: Int) -> Bool {
        let outer = ends[side][w]
        let list = children(w)
        if forestNode[w] >= Forest.rootCount {
            group.removeAll(keepingCapacity: true)
            for i in list { addToGroup(Int(childrenOf[i].node), childrenOf[i].guardView, side) }
            let bound = endOfGroup()
            if bound.end - outer.endOffset > core.lower[outer.endView] {
                let from = core.arena.count
                addGroup(from: bound.begin, side)
                guard core.imply(outer.endView, bound.end - outer.endOffset, from: from) else { return false }
            }
        }
        core.steps += list.count * list.count >> 4
        for i in list {
            let j = Int(childrenOf[i].node)
            let o = ends[side][j]
            guard holds(childrenOf[i].guardView), core.lower[o.startView] + core.lower[o.startView ^ 1] < 0 else {
                continue
            }
            group.removeAll(keepingCapacity: true)
            for k in neighbours(j) where precedes(k, side) {
                addToGroup(Int(neighboursOf[k].other), neighboursOf[k].theirs, side)
            }
            guard group.count > 1 else { continue }
            let bound = endOfGroup()
            guard bound.end - o.startOffset > core.lower[o.startView] else { continue }
            let from = core.arena.count
            addGroup(from: bound.begin, side)
            for k in neighbours(j) where precedes(k, side) {
                let c = Int(neighboursOf[k].other)
                let e = ends[side][c]
                guard length[c] > 0, core.lower[e.startView] + e.startOffset >= bound.begin else { continue }
                core.arena.append(Literal.said(Int(neighboursOf[k].before) ^ side ^ 1))
            }
            addGuard(childrenOf[i].guardView)
            guard core.imply(o.startView, bound.end - o.startOffset, from: from) else { return false }
        }
        return true
    }

    /// Whether neighbour `k` (an index of `neighboursOf`) surely comes first on `side`, both being in the window.
    @inline(__always)
    private func precedes(_ k: Int, _ side: Int) -> Bool {
        let view = Int(neighboursOf[k].before) ^ side ^ 1
        return core.lower[view] >= 1 - (view & 1) && holds(neighboursOf[k].theirs) && holds(neighboursOf[k].mine)
    }

    @inline(__always)
    private mutating func addToGroup(_ c: Int, _ guardView: Int32, _ side: Int) {
        guard length[c] > 0, holds(guardView) else { return }
        let e = ends[side][c]
        group.append((core.lower[e.startView] + e.startOffset, c, Int(guardView)))
    }

    /// The largest least end over all tails of `group`, and the start of that tail.
    private mutating func endOfGroup() -> (end: Int, begin: Int) {
        group.sort { $0.at != $1.at ? $0.at > $1.at : $0.node < $1.node }
        var best = (end: Int.min / 2, begin: Int.min / 2)
        var sum = 0
        for (at, c, _) in group {
            sum += length[c]
            if at + sum > best.end { best = (at + sum, at) }
        }
        return best
    }

    private mutating func addGroup(from begin: Int, _ side: Int) {
        for (at, c, guardView) in group where at >= begin {
            let e = ends[side][c]
            core.arena.append(core.literal(e.startView, begin - e.startOffset))
            addGuard(Int32(truncatingIfNeeded: guardView))
        }
    }

    /// Children that must lie in an interval have room in it together; of many only the intervals are looked at that begin
    /// with the first of them, and what lies between apertures counts as well.
    private mutating func hasRoom(_ w: Int) -> Bool {
        let isLarge = children(w).count > Self.most
        group.removeAll(keepingCapacity: true)
        var first = Int.max
        for i in children(w) {
            let c = Int(childrenOf[i].node)
            guard length[c] > 0 || isLarge && isGap(c), holds(childrenOf[i].guardView) else { continue }
            group.append((latestEnd(c), c, Int(childrenOf[i].guardView)))
            first = min(first, earliestStart(c))
        }
        group.sort { $0.at != $1.at ? $0.at < $1.at : $0.node < $1.node }
        core.steps += isLarge ? group.count >> 2 : group.count * group.count >> 5
        for i in isLarge ? group.indices.prefix(1) : group.indices[...] {
            let begin = isLarge ? first : earliestStart(group[i].node)
            var sum = 0
            for (end, c, _) in group where earliestStart(c) >= begin {
                sum += isGap(c) ? latestEnd(c) - earliestStart(c) : length[c]
                guard sum > end - begin else { continue }
                core.conflict.removeAll(keepingCapacity: true)
                for (other, d, guardView) in group where other <= end && earliestStart(d) >= begin {
                    let e = ends[0][d]
                    let m = ends[1][d]
                    core.conflict.append(core.literal(e.startView, begin - e.startOffset))
                    core.conflict.append(core.literal(m.startView, -end - m.startOffset))
                    if guardView >= 0 { core.conflict.append(Literal.said(guardView)) }
                }
                return false
            }
        }
        return true
    }

    /// Whether `c` is the space between two regions, where nobody may lie.
    @inline(__always)
    private func isGap(_ c: Int) -> Bool { forestNode[c] < 0 && !sparing.contains(c) }

    @inline(__always)
    private func earliestStart(_ c: Int) -> Int { core.lower[ends[0][c].startView] + ends[0][c].startOffset }

    @inline(__always)
    private func latestEnd(_ c: Int) -> Int { -(core.lower[ends[1][c].startView] + ends[1][c].startOffset) }
}
