// SPDX-License-Identifier: GPL-2.0-or-later

extension OrderSolver {
    /// How a search ended.
    enum Ending: Equatable {
        /// There is no layout within the limit of the sum under `assumptions`; with assumptions, `blamed` cannot hold
        /// together.
        case refuted(blamed: [Literal])
        /// A layout was found; it is in `answer`.
        case solved
        /// The work that was allowed is done.
        case exhausted
    }

    /// Which cost is tried for next.
    ///
    /// Before there is a layout: small costs first, since they leave little to choose from. After: some way between the
    /// proved bound and the layout, nearer to the layout the longer nothing comes of it.
    struct Target {
        var isUsed = false
        var hasLayout = false
        /// The cost tried for before there is a layout; nil: any.
        var deep: Int? = 0
        /// How far from the bound to the layout, in 256ths.
        var share = 128
        /// Contradictions that one target may cost.
        var budget = 100
        var spent = 0
    }

    /// What is proved to be the least cost.
    var leastCost: Int { core.lower[2 * sums[0].variable] }

    /// From now on only layouts that cost at most `limit` count.
    mutating func limitCost(_ limit: Int) {
        backtrack(to: 0)
        core.settle(Literal(view: 2 * sums[0].variable + 1, bound: -limit))
    }

    /// Says of every device with weight whether it leaves; those without weight may.
    mutating func settleDevices(_ leaves: (Int) -> Bool) {
        backtrack(to: 0)
        for d in deviceVariable.indices {
            if leaves(d) {
                core.settle(Literal.yes(deviceVariable[d]))
            } else if forest.weight[d] != 0 {
                core.settle(Literal.no(deviceVariable[d]))
            }
        }
    }

    /// Searches until a layout within the limit is found, none is proved to exist, or `steps` are spent.
    ///
    /// `placer` is one for the same forest; it is asked when it is decided who leaves.
    mutating func search(_ placer: inout Placer, assumptions: [Literal] = [], steps: Int) -> Ending {
        let stop = core.steps + steps
        backtrack(to: 0)
        var sinceRestart = 0
        var restartLimit = 64 * Self.luby(restarts)
        while true {
            if core.isRefuted { return .refuted(blamed: []) }
            if !propagate() {
                core.conflictCount += 1
                sinceRestart += 1
                target.spent += 1
                backtrack(to: core.conflictLevel())
                if core.level == 0 {
                    core.isRefuted = true
                    continue
                }
                backtrack(to: core.analyze())
                learn()
                continue
            }
            if core.steps >= stop {
                backtrack(to: 0)
                return .exhausted
            }
            if sinceRestart >= restartLimit {
                restarts += 1
                sinceRestart = 0
                restartLimit = 64 * Self.luby(restarts)
                backtrack(to: 0)
                if core.learnedCount > learnedLimit {
                    core.forget()
                    learnedLimit += learnedLimit / 10
                }
                continue
            }
            if core.level < assumptions.count {
                let l = assumptions[core.level]
                if core.isFalse(l) {
                    let blamed = core.choices(behind: core.negation(l)).filter { assumptions.contains($0) }
                    backtrack(to: 0)
                    return .refuted(blamed: blamed + [l])
                }
                core.choose(l)
                continue
            }
            if target.isUsed, core.level == 0, let l = nextTarget() {
                core.choose(l)
                continue
            }
            if openPremises == 0, isSolvedByPlacer(&placer) { return .solved }
            guard let v = core.nextChoice() else {
                takeAnswer()
                backtrack(to: 0)
                return .solved
            }
            core.choose(core.phase[v] ? Literal.yes(v) : Literal.no(v))
        }
    }

    /// The limit of the sum to try under; nil: none below the present one.
    private mutating func nextTarget() -> Literal? {
        let view = 2 * sums[0].variable
        let least = core.lower[view]
        let most = -core.lower[view + 1]
        let isSpent = target.spent >= target.budget
        if isSpent { target.spent = 0 }
        var limit = most
        if !target.hasLayout {
            guard !isSpent, let deep = target.deep else {
                target.deep = nil
                return nil
            }
            // What was refuted makes the next target at least twice as large.
            limit = deep < least ? max(least, 2 * deep) : deep
            target.deep = limit
        } else {
            if isSpent {
                target.share += (256 - target.share) / 2 + 1
                if target.share > 248 {
                    target.share = 256
                    target.budget *= 2
                }
            }
            guard target.share < 256 else { return nil }
            limit = least + (most - least) * target.share / 256
        }
        return limit < most ? Literal(view: view + 1, bound: -limit) : nil
    }

    private func leaving() -> [Int] {
        deviceVariable.indices.filter { core.isYes(deviceVariable[$0]) }
    }

    /// Who leaves is decided: perhaps the gaps show at once that all fits.
    private mutating func isSolvedByPlacer(_ placer: inout Placer) -> Bool {
        guard !options.explains, forest.adrift.isEmpty, !options.triesBothWindows || keepsToParents else {
            return false
        }
        let set = leaving()
        guard set != lastTried else { return false }
        lastTried = set
        let before = placer.table.steps
        placer.setEvicted(set)
        let verdict = placer.place(budget: 100)
        core.steps += placer.table.steps - before + 20
        guard case .fits = verdict else { return false }
        answer = Answer(evicted: set, cost: sums[0].now)
        backtrack(to: 0)
        return true
    }

    /// Whether everything lies in the window that the forest gives it.
    private var keepsToParents: Bool {
        forestNode.indices.allSatisfy { n in
            windows(n).allSatisfy { i in
                let w = forestNode[Int(windowsOf[i].node)]
                return w == forest.parent[max(forestNode[n], 0)] || forestNode[n] < 0 || fails(windowsOf[i].guardView)
            }
        }
    }

    /// Everything is decided: the least bounds are the layout.
    private mutating func takeAnswer() {
        var starts = Array(repeating: Int.min, count: forest.count)
        var inside = forest.parent
        for n in forestNode.indices where forestNode[n] >= Forest.rootCount {
            if isLeaf[n] { starts[forestNode[n]] = core.lower[ends[0][n].startView] }
            for i in windows(n) where holds(windowsOf[i].guardView) {
                inside[forestNode[n]] = forestNode[Int(windowsOf[i].node)]
            }
        }
        for pin in forest.adrift where forest.granule[pin] == 0 { starts[pin] = forest.pinLow[pin] }
        answer = Answer(evicted: leaving(), cost: sums[0].now, starts: starts, windows: inside)
    }

    private mutating func learn() {
        let clause = core.learned
        let first = clause[0]
        if clause.count == 1 {
            core.settle(first)
            return
        }
        let id = core.attach(clause, spread: core.learnedSpread)
        core.record(first.view, first.bound, reason: id, count: core.level == 0 ? 0 : Deduction.Entry.byClause)
    }

    /// 1 1 2 1 1 2 4 1 1 2 …, the order of restart limits that is best when nothing is known.
    private static func luby(_ n: Int) -> Int {
        var i = n + 1
        while true {
            var k = 1
            while (1 << k) - 1 < i { k += 1 }
            if (1 << k) - 1 == i { return 1 << (k - 1) }
            i -= (1 << (k - 1)) - 1
        }
    }
}
