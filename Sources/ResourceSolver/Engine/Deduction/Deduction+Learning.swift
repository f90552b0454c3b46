// SPDX-License-Identifier: GPL-2.0-or-later

extension Deduction {
    /// The entry that made `l` true, -1 when it always was.
    @inline(__always)
    private func origin(_ l: Literal) -> Int32 {
        var t = last[l.view]
        while t >= 0, trail[Int(t)].old >= l.bound {
            let jump = trail[Int(t)].jump
            t = jump != t && trail[Int(jump)].old >= l.bound ? jump : trail[Int(t)].previous
        }
        return t
    }

    /// The level of the latest literal of `conflict`; 0 when all hold without any choice.
    func conflictLevel() -> Int {
        var latest: Int32 = -1
        for l in conflict { latest = max(latest, origin(l)) }
        return levelOf(latest)
    }

    /// The level that entry `t` belongs to, 0 before the first choice.
    private func levelOf(_ t: Int32) -> Int {
        var low = 0
        var high = level
        while low < high {
            let middle = (low + high) / 2
            if levelStart[middle] <= Int(t) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Takes `l`, which is true, into the set under analysis.
    ///
    /// - Returns: by how much the number of literals from `begin` on grew.
    @inline(__always)
    private mutating func take(_ l: Literal, begin: Int32, rootEnd: Int32) -> Int {
        let before = needIndex[l.view]
        if before >= 0, need[l.view] >= l.bound { return 0 }
        let t = origin(l)
        if t < rootEnd { return 0 }
        if !isTouched[l.view] {
            isTouched[l.view] = true
            touched.append(l.view)
        }
        need[l.view] = l.bound
        needIndex[l.view] = t
        return (t >= begin ? 1 : 0) - (before >= begin ? 1 : 0)
    }

    @inline(__always)
    private mutating func takeReasons(_ t: Int, begin: Int32, rootEnd: Int32) -> Int {
        var grown = 0
        let entry = trail[t]
        if entry.count >= 0 {
            let from = Int(entry.reason)
            for i in from..<(from + Int(entry.count)) { grown += take(arena[i], begin: begin, rootEnd: rootEnd) }
        } else if entry.count == Entry.byClause {
            let id = Int(entry.reason)
            if clauses[id].spread > 0 { clauses[id].activity += clauseIncrement }
            let start = Int(clauses[id].start)
            for i in start..<(start + Int(clauses[id].count)) where clauseLiterals[i].view != Int(entry.view) {
                grown += take(negation(clauseLiterals[i]), begin: begin, rootEnd: rootEnd)
            }
        }
        return grown
    }

    /// Learns from `conflict`, whose latest literal is of the present level: a clause in `learned`, its consequence first.
    ///
    /// - Returns: the level to go back to.
    mutating func analyze() -> Int {
        let begin = Int32(truncatingIfNeeded: levelStart[level - 1])
        let rootEnd = Int32(truncatingIfNeeded: levelStart[0])
        var open = 0
        for l in conflict { open += take(l, begin: begin, rootEnd: rootEnd) }
        var t = trail.count - 1
        var top = -1
        while t >= Int(begin) {
            let view = Int(trail[t].view)
            if needIndex[view] == Int32(truncatingIfNeeded: t) {
                if isChoice[view >> 1] { bump(view >> 1) }
                if open == 1 {
                    top = view
                    break
                }
                needIndex[view] = -1
                open += takeReasons(t, begin: begin, rootEnd: rootEnd) - 1
            }
            t -= 1
        }
        steps += trail.count - t
        learned.removeAll(keepingCapacity: true)
        learned.append(negation(Literal(view: top, bound: need[top])))
        levelEpoch += 1
        learnedSpread = 1
        var back: Int32 = -1
        for view in touched where needIndex[view] >= 0 && view != top {
            // What the other literals imply can go.
            if isImplied(Int(needIndex[view]), rootEnd: rootEnd) { continue }
            learned.append(negation(Literal(view: view, bound: need[view])))
            if isChoice[view >> 1] { bump(view >> 1) }
            noteLevel(needIndex[view])
            if needIndex[view] > back {
                back = needIndex[view]
                learned.swapAt(1, learned.count - 1)
            }
        }
        clearTouched()
        decay()
        return back < 0 ? 0 : levelOf(back)
    }

    @inline(__always)
    private mutating func noteLevel(_ t: Int32) {
        let l = levelOf(t)
        while levelMark.count <= l { levelMark.append(0) }
        if levelMark[l] != levelEpoch {
            levelMark[l] = levelEpoch
            learnedSpread += 1
        }
    }

    /// Whether the reasons of entry `t` are all in the set, or always true.
    private func isImplied(_ t: Int, rootEnd: Int32) -> Bool {
        let entry = trail[t]
        func holds(_ l: Literal) -> Bool {
            // Only what is older than the entry: otherwise two literals could vouch for each other.
            if needIndex[l.view] >= 0, needIndex[l.view] < t, need[l.view] >= l.bound { return true }
            return origin(l) < rootEnd
        }
        if entry.count >= 0 {
            let from = Int(entry.reason)
            for i in from..<(from + Int(entry.count)) where !holds(arena[i]) { return false }
            return true
        }
        guard entry.count == Entry.byClause else { return false }
        let start = Int(clauses[Int(entry.reason)].start)
        let end = start + Int(clauses[Int(entry.reason)].count)
        for i in start..<end where clauseLiterals[i].view != Int(entry.view) {
            if !holds(negation(clauseLiterals[i])) { return false }
        }
        return true
    }

    /// The choices in force that make `l` true.
    mutating func choices(behind l: Literal) -> [Literal] {
        guard level > 0 else { return [] }
        let rootEnd = Int32(truncatingIfNeeded: levelStart[0])
        var found: [Literal] = []
        _ = take(l, begin: 0, rootEnd: rootEnd)
        var t = trail.count - 1
        while t >= Int(rootEnd) {
            let view = Int(trail[t].view)
            if needIndex[view] == Int32(truncatingIfNeeded: t) {
                if trail[t].count == Entry.byChoice { found.append(Literal(view: view, bound: need[view])) }
                needIndex[view] = -1
                _ = takeReasons(t, begin: 0, rootEnd: rootEnd)
            }
            t -= 1
        }
        clearTouched()
        return found
    }

    private mutating func clearTouched() {
        for view in touched {
            needIndex[view] = -1
            isTouched[view] = false
        }
        touched.removeAll(keepingCapacity: true)
    }
}
