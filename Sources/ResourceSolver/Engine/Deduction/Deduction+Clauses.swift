// SPDX-License-Identifier: GPL-2.0-or-later

extension Deduction {
    /// Adds a clause of the problem: at least one of `literals` is true. Outside of any choice.
    mutating func addClause(_ literals: [Literal]) {
        var kept: [Literal] = []
        for l in literals {
            if isTrue(l) { return }
            if !isFalse(l), !kept.contains(l) { kept.append(l) }
        }
        guard let first = kept.first else {
            isRefuted = true
            return
        }
        if kept.count == 1 { settle(first) } else { attach(kept, spread: 0) }
    }

    @discardableResult
    mutating func attach(_ literals: [Literal], spread: Int32) -> Int {
        let id = clauses.count
        clauses.append(
            Clause(
                start: Int32(truncatingIfNeeded: clauseLiterals.count),
                count: Int32(truncatingIfNeeded: literals.count),
                activity: clauseIncrement,
                spread: spread
            )
        )
        clauseLiterals.append(contentsOf: literals)
        if spread > 0 { learnedCount += 1 }
        watch(id, literals[0], blocker: literals[1])
        watch(id, literals[1], blocker: literals[0])
        return id
    }

    @inline(__always)
    private mutating func watch(_ clause: Int, _ l: Literal, blocker: Literal) {
        let opposite = negation(l)
        watches[opposite.view].append(
            Watch(clause: Int32(truncatingIfNeeded: clause), threshold: opposite.bound, blocker: blocker)
        )
    }

    /// Draws the consequences of clauses from the raise of `view`. False on a contradiction.
    @inline(__always)
    mutating func propagateClauses(_ view: Int) -> Bool {
        if watches[view].isEmpty { return true }
        let now = lower[view]
        var list: [Watch] = []
        swap(&list, &watches[view])
        let n = list.count
        steps += n >> 2
        var kept = 0
        var i = 0
        var isConsistent = true
        while i < n {
            let w = list[i]
            i += 1
            if w.threshold > now || isTrue(w.blocker) {
                list[kept] = w
                kept += 1
                continue
            }
            let id = Int(w.clause)
            let start = Int(clauses[id].start)
            let end = start + Int(clauses[id].count)
            // The literal that became false goes second. No two literals of a clause have the same view.
            if clauseLiterals[start].view == view ^ 1 { clauseLiterals.swapAt(start, start + 1) }
            let first = clauseLiterals[start]
            if isTrue(first) {
                list[kept] = Watch(clause: w.clause, threshold: w.threshold, blocker: first)
                kept += 1
                continue
            }
            var k = start + 2
            while k < end, isFalse(clauseLiterals[k]) { k += 1 }
            if k < end {
                clauseLiterals.swapAt(k, start + 1)
                watch(id, clauseLiterals[start + 1], blocker: first)
                continue
            }
            list[kept] = w
            kept += 1
            if isFalse(first) {
                conflict.removeAll(keepingCapacity: true)
                for k in start..<end { conflict.append(negation(clauseLiterals[k])) }
                isConsistent = false
                break
            }
            record(first.view, first.bound, reason: id, count: levelStart.isEmpty ? 0 : Entry.byClause)
        }
        while i < n {
            list[kept] = list[i]
            kept += 1
            i += 1
        }
        list.removeLast(n - kept)
        // A clause may have come to watch this very view at another bound.
        if !watches[view].isEmpty { list.append(contentsOf: watches[view]) }
        swap(&list, &watches[view])
        return isConsistent
    }

    /// Forgets the worse half of the learned clauses, and what is true without any choice. Outside of any choice.
    mutating func forget() {
        let candidates = clauses.indices.filter { clauses[$0].spread > 2 }
            .sorted { a, b in
                let x = clauses[a]
                let y = clauses[b]
                return x.spread != y.spread ? x.spread > y.spread : x.activity < y.activity
            }
        var isDropped = Array(repeating: false, count: clauses.count)
        for c in candidates.prefix(candidates.count / 2) { isDropped[c] = true }
        let old = clauses
        let oldLiterals = clauseLiterals
        clauses.removeAll(keepingCapacity: true)
        clauseLiterals.removeAll(keepingCapacity: true)
        learnedCount = 0
        for v in watches.indices { watches[v].removeAll(keepingCapacity: true) }
        var left: [Literal] = []
        for (c, clause) in old.enumerated() where !isDropped[c] {
            left.removeAll(keepingCapacity: true)
            var isSatisfied = false
            for i in Int(clause.start)..<Int(clause.start + clause.count) {
                if isTrue(oldLiterals[i]) { isSatisfied = true }
                if !isFalse(oldLiterals[i]) { left.append(oldLiterals[i]) }
            }
            if isSatisfied { continue }
            guard left.count > 1 else {
                if let only = left.first { settle(only) } else { isRefuted = true }
                continue
            }
            let id = attach(left, spread: clause.spread)
            clauses[id].activity = clause.activity
        }
        // Reasons of what holds without any choice are never asked for; their clauses may be gone.
        for t in trail.indices { trail[t].count = 0 }
    }
}
