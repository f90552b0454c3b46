// SPDX-License-Identifier: GPL-2.0-or-later

// The rules by which one bound raises another, each with its reasons.
extension OrderSolver {
    /// Draws every conclusion. False on a contradiction, which is then in `core.conflict`.
    mutating func propagate() -> Bool {
        if isFresh {
            isFresh = false
            guard startOff() else { return false }
        }
        while true {
            while core.head < core.trail.count {
                let view = Int(core.trail[core.head].view)
                core.head += 1
                core.steps += 1
                count(view)
                guard core.propagateClauses(view), raised(view) else { return false }
            }
            guard let w = queue.popLast() else { return true }
            isQueued[Int(w)] = false
            guard examine(Int(w)) else { return false }
        }
    }

    /// What follows from the ranges that are given.
    private mutating func startOff() -> Bool {
        for n in forestNode.indices {
            for side in 0..<2 {
                guard startRaised(n, side), endRaised(n, side) else { return false }
            }
        }
        return true
    }

    @inline(__always)
    private mutating func count(_ view: Int) {
        let v = view >> 1
        guard role[v].isPremise else { return }
        openPremises -= 1
        if view & 1 == 0, sumOf[v] >= 0 {
            let s = Int(sumOf[v])
            sums[s].now += weight[v]
            sums[s].paid.append(Int32(truncatingIfNeeded: v))
        }
    }

    /// Takes back every choice above the first `level`.
    mutating func backtrack(to level: Int) {
        guard core.level > level else { return }
        let begin = core.levelStart[level]
        var t = core.trail.count - 1
        while t >= begin {
            let entry = core.trail[t]
            let view = Int(entry.view)
            let v = view >> 1
            if role[v].isChoice {
                core.phase[v] = view & 1 == 0
                core.heapInsert(v)
                if t < core.head, role[v].isPremise {
                    openPremises += 1
                    if view & 1 == 0, sumOf[v] >= 0 {
                        let s = Int(sumOf[v])
                        sums[s].now -= weight[v]
                        sums[s].paid.removeLast()
                    }
                }
            }
            core.lower[view] = entry.old
            core.last[view] = entry.previous
            t -= 1
        }
        core.trail.removeLast(core.trail.count - begin)
        core.arena.removeLast(core.arena.count - core.arenaStart[level])
        core.levelStart.removeLast(core.levelStart.count - level)
        core.arenaStart.removeLast(core.arenaStart.count - level)
        core.head = min(core.head, begin)
        for w in queue { isQueued[Int(w)] = false }
        queue.removeAll(keepingCapacity: true)
    }

    // MARK: - Events

    @inline(__always)
    private mutating func raised(_ view: Int) -> Bool {
        let v = view >> 1
        switch role[v] {
        case .leaf:
            let n = Int(owner[v])
            let side = view & 1
            return keepsPlace(n, view, pinLow[n]) && liftsHeader(n, view) && startRaised(n, side) && endRaised(n, side)
        case .windowStart:
            let n = Int(owner[v])
            guard keepsPlace(n, view, pinLow[n]) else { return false }
            return view & 1 == 0 ? startRaised(n, 0) : endRaised(n, 1)
        case .windowEnd:
            let n = Int(owner[v])
            guard keepsPlace(n, view, pinHigh[n]) else { return false }
            return view & 1 == 0 ? endRaised(n, 0) : startRaised(n, 1)
        case .pair:
            return isOrdered(v)
        case .device, .pin, .choice:
            if view & 1 == 1, !pinned[v].isEmpty { guard stays(v) else { return false } }
            if isJoin[v] { guard joined(view) else { return false } }
            if view & 1 == 0, sumOf[v] >= 0 { return settleSum(Int(sumOf[v])) }
            return true
        case .sum:
            return settleSum(Int(owner[v]))
        }
    }

    @inline(__always)
    private func reason(_ view: Int) -> Literal { Literal(view: view, bound: core.lower[view]) }

    @inline(__always)
    mutating func addGuard(_ view: Int32) {
        if view >= 0 { core.arena.append(Literal.said(Int(view))) }
    }

    /// A node that is pushed away from its place leaves it.
    @inline(__always)
    private mutating func keepsPlace(_ n: Int, _ view: Int, _ place: Int) -> Bool {
        let r = release[n]
        guard r >= 0, !core.isYes(r) else { return true }
        let place = view & 1 == 0 ? place : -place
        guard core.lower[view] > place else { return true }
        let from = core.arena.count
        core.arena.append(core.literal(view, place + 1))
        return core.imply(2 * r, 1, from: from)
    }

    /// A bus range begins with its header.
    @inline(__always)
    private mutating func liftsHeader(_ n: Int, _ view: Int) -> Bool {
        guard view & 1 == 0, n > 2, forestNode[n] >= 0, forest.isHeader[forestNode[n]] else { return true }
        let m = windowsOf[Int(windowsStart[n])]
        guard header[Int(m.node)] == n, holds(m.guardView) else { return true }
        let from = core.arena.count
        core.arena.append(reason(view))
        addGuard(m.guardView)
        return core.imply(ends[0][Int(m.node)].startView, core.lower[view], from: from)
    }

    /// The start of `n` rose: what is inside starts no earlier, and it ends no earlier than its content needs.
    private mutating func startRaised(_ n: Int, _ side: Int) -> Bool {
        if isLeaf[n] {
            enqueueWindows(n)
            return true
        }
        let e = ends[side][n]
        let position = core.lower[e.startView] + e.startOffset
        for i in children(n) {
            let m = childrenOf[i]
            let inner = ends[side][Int(m.node)]
            let bound = position - inner.startOffset
            guard bound > core.lower[inner.startView] else { continue }
            if holds(m.guardView) {
                let from = core.arena.count
                core.arena.append(reason(e.startView))
                addGuard(m.guardView)
                guard core.imply(inner.startView, bound, from: from) else { return false }
            } else if bound > -core.lower[inner.startView ^ 1], !fails(m.guardView) {
                guard cannotBeIn(m.guardView, reason(e.startView), inner.startView, bound) else { return false }
            }
        }
        if shape[n] >= 0 {
            let least = table.boundedEnd(shape[n], from: position)
            if least - e.endOffset > core.lower[e.endView] {
                let from = core.arena.count
                core.arena.append(reason(e.startView))
                guard core.imply(e.endView, least - e.endOffset, from: from) else { return false }
            }
        }
        enqueueWindows(n)
        enqueue(n)
        return true
    }

    /// `why` would raise `view` to `bound`, which it cannot reach: what `guardView` says is false.
    private mutating func cannotBeIn(_ guardView: Int32, _ why: Literal, _ view: Int, _ bound: Int) -> Bool {
        let from = core.arena.count
        core.arena.append(why)
        core.arena.append(core.negation(core.literal(view, bound)))
        let l = Literal.said(Int(guardView) ^ 1)
        return core.imply(l.view, l.bound, from: from)
    }

    /// The end of `n` rose: its window ends no earlier, and whoever comes behind it starts no earlier.
    private mutating func endRaised(_ n: Int, _ side: Int) -> Bool {
        let e = ends[side][n]
        let end = core.lower[e.endView] + e.endOffset
        for i in windows(n) {
            let m = windowsOf[i]
            let outer = ends[side][Int(m.node)]
            let bound = end - outer.endOffset
            guard bound > core.lower[outer.endView] else { continue }
            if holds(m.guardView) {
                let from = core.arena.count
                core.arena.append(reason(e.endView))
                addGuard(m.guardView)
                guard core.imply(outer.endView, bound, from: from) else { return false }
            } else if bound > -core.lower[outer.endView ^ 1], !fails(m.guardView) {
                guard cannotBeIn(m.guardView, reason(e.endView), outer.endView, bound) else { return false }
            }
        }
        let list = neighbours(n)
        core.steps += list.count >> 3
        for i in list {
            let view = Int(neighboursOf[i].before) ^ side
            let yes = 1 - (view & 1)
            // `other` comes first: nothing to do.
            if core.lower[view ^ 1] >= 1 - yes { continue }
            let o = ends[side][Int(neighboursOf[i].other)]
            if core.lower[view] >= yes {
                if end - o.startOffset > core.lower[o.startView] {
                    guard pushBehind(e, end, o, Literal(view: view, bound: yes), neighboursOf[i]) else { return false }
                }
                continue
            }
            let latest = o.startOffset - core.lower[o.startView ^ 1]
            guard end > latest, holds(neighboursOf[i].mine), holds(neighboursOf[i].theirs) else { continue }
            let from = core.arena.count
            core.arena.append(core.literal(e.endView, latest + 1 - e.endOffset))
            core.arena.append(reason(o.startView ^ 1))
            addGuard(neighboursOf[i].mine)
            addGuard(neighboursOf[i].theirs)
            guard core.imply(view ^ 1, 1 - yes, from: from) else { return false }
        }
        enqueueWindows(n)
        return true
    }

    /// A node that comes behind another one that ends at `end` or later starts there or later.
    @inline(__always)
    private mutating func pushBehind(_ e: Ends, _ end: Int, _ o: Ends, _ before: Literal, _ pair: Neighbour) -> Bool {
        guard holds(pair.mine), holds(pair.theirs) else { return true }
        let s = core.step[o.startView >> 1]
        let bound = roundUp(end - o.startOffset, s)
        let from = core.arena.count
        core.arena.append(before)
        // The weakest end that still has this consequence.
        let weakest = bound - s + 1 + o.startOffset - e.endOffset
        core.arena.append(core.literal(e.endView, min(weakest, core.lower[e.endView])))
        addGuard(pair.mine)
        addGuard(pair.theirs)
        return core.imply(o.startView, bound, from: from)
    }

    /// Pair `v` is decided.
    private mutating func isOrdered(_ v: Int) -> Bool {
        let p = Int(owner[v])
        let isFirst = core.isYes(v)
        let x = isFirst ? pairFirst[p] : pairSecond[p]
        let y = isFirst ? pairSecond[p] : pairFirst[p]
        let a = Int(x.node)
        let b = Int(y.node)
        let l = isFirst ? Literal.yes(v) : Literal.no(v)
        let between = Neighbour(other: y.node, before: 0, mine: x.guardView, theirs: y.guardView)
        for side in 0..<2 {
            let e = ends[side][side == 0 ? a : b]
            let o = ends[side][side == 0 ? b : a]
            let end = core.lower[e.endView] + e.endOffset
            if end - o.startOffset > core.lower[o.startView] {
                guard pushBehind(e, end, o, l, between) else { return false }
            }
        }
        return true
    }

    /// Whatever variable `v` would release keeps its place.
    private mutating func stays(_ v: Int) -> Bool {
        for i in pinned[v].indices {
            let n = Int(pinned[v][i])
            let e = ends[0][n]
            guard stays(v, e.startView, pinLow[n]) else { return false }
            if !isLeaf[n] { guard stays(v, e.endView, pinHigh[n]) else { return false } }
        }
        return true
    }

    private mutating func stays(_ v: Int, _ view: Int, _ place: Int) -> Bool {
        for side in 0..<2 {
            let from = core.arena.count
            core.arena.append(Literal.no(v))
            guard core.imply(view ^ side, side == 0 ? place : -place, from: from) else { return false }
        }
        return true
    }

    /// What `view` says puts nodes into windows.
    private mutating func joined(_ view: Int) -> Bool {
        guard let list = joins[view] else { return true }
        for (node, window) in list {
            let n = Int(node)
            let w = Int(window)
            for side in 0..<2 {
                let outer = ends[side][w]
                let inner = ends[side][n]
                let bound = core.lower[outer.startView] + outer.startOffset - inner.startOffset
                if bound > core.lower[inner.startView] {
                    let from = core.arena.count
                    core.arena.append(reason(outer.startView))
                    core.arena.append(Literal.said(view))
                    guard core.imply(inner.startView, bound, from: from) else { return false }
                }
                guard endRaised(n, side) else { return false }
            }
            for i in neighbours(n) where Int(neighboursOf[i].mine) == view {
                let pair = neighboursOf[i]
                let other = Int(pair.other)
                guard endRaised(other, 0), endRaised(other, 1) else { return false }
            }
            enqueue(w)
        }
        return true
    }

    // MARK: - Sums

    /// Whoever is too heavy for what is left of the limit stays 0.
    private mutating func settleSum(_ s: Int) -> Bool {
        let view = 2 * sums[s].variable
        let limit = -core.lower[view + 1]
        if sums[s].now > limit {
            let from = core.arena.count
            addPaid(s, beyond: limit)
            return core.imply(view, sums[s].now, from: from)
        }
        let slack = limit - sums[s].now
        for i in sums[s].members.indices {
            let member = sums[s].members[i]
            guard member.weight > slack else { break }
            guard core.isOpen(member.variable) else { continue }
            let from = core.arena.count
            core.arena.append(Literal(view: view + 1, bound: -limit))
            addPaid(s, beyond: limit - member.weight)
            guard core.imply(2 * member.variable + 1, 0, from: from) else { return false }
        }
        return true
    }

    /// Enough of the members that are 1 for a sum above `sum`, the earliest first.
    private mutating func addPaid(_ s: Int, beyond sum: Int) {
        var total = 0
        let first = core.arena.count
        defer { core.steps += (core.arena.count - first) / 4 }
        for v in sums[s].paid {
            if total > sum { return }
            total += weight[Int(v)]
            core.arena.append(Literal.yes(Int(v)))
        }
    }

    // MARK: - Windows to be looked at

    @inline(__always)
    mutating func enqueue(_ w: Int) {
        guard !isQueued[w] else { return }
        isQueued[w] = true
        queue.append(Int32(truncatingIfNeeded: w))
    }

    @inline(__always)
    private mutating func enqueueWindows(_ n: Int) {
        for i in windows(n) { enqueue(Int(windowsOf[i].node)) }
    }
}
