// SPDX-License-Identifier: GPL-2.0-or-later

/// Deduction over bounds that learns: what follows from a few choices, and from every dead end a clause that keeps the
/// search out of it for good.
///
/// This is lazy clause generation. Rules raise the lower bounds of views and give their reasons as literals. From a
/// contradiction the reasons are resolved back to the one literal of the last level that all of it hangs on; the
/// resulting clause is kept. This core knows clauses only; the rules about windows are `OrderSolver`'s.
struct Deduction {
    /// One raise of a lower bound.
    struct Entry {
        var view: Int32
        /// The entry that raised the same view before, -1 for none.
        var previous: Int32
        /// The first reason in `arena`, or a clause.
        var reason: Int32
        /// The number of reasons in `arena`, or one of the marks below.
        var count: Int32
        /// How many entries of the same view are before it, and one of them: following the latter where it is not too far
        /// finds any in a logarithmic number of steps. The first names itself.
        var depth: Int32
        var jump: Int32
        var old: Int

        /// `reason` is a clause.
        static let byClause: Int32 = -1
        /// A choice has no reason.
        static let byChoice: Int32 = -2
    }

    struct Watch {
        var clause: Int32
        /// The watched literal is false from this bound of the opposite view on.
        var threshold: Int
        /// Another literal of the clause: while it is true there is nothing to do.
        var blocker: Literal
    }

    struct Clause {
        var start: Int32
        var count: Int32
        var activity: Float
        /// How many levels its literals came from when it was learned; 0 for clauses of the problem.
        var spread: Int32
    }

    // Views.
    var lower: [Int] = []
    /// Per variable: its values are multiples of this power of two.
    var step: [Int] = []
    /// Per view: its latest entry, -1 for none.
    var last: [Int32] = []
    var watches: [[Watch]] = []

    // The trail.
    var trail: [Entry] = []
    /// Entries before this one have had their consequences.
    var head = 0
    var levelStart: [Int] = []
    var arenaStart: [Int] = []
    var arena: [Literal] = []

    // Clauses.
    var clauses: [Clause] = []
    var clauseLiterals: [Literal] = []
    var learnedCount = 0
    var clauseIncrement: Float = 1

    // Choices.
    var isChoice: [Bool] = []
    /// Per variable: the value that it had last, which it is given first.
    var phase: [Bool] = []
    var activity: [Double] = []
    var activityIncrement = 1.0
    var heap: [Int32] = []
    var heapIndex: [Int32] = []

    // Learning.
    /// Literals that are all true and cannot be.
    var conflict: [Literal] = []
    /// What was learned last: a clause, its consequence first.
    var learned: [Literal] = []
    var learnedSpread: Int32 = 0
    var need: [Int] = []
    var needIndex: [Int32] = []
    var touched: [Int] = []
    var isTouched: [Bool] = []
    var levelMark: [Int32] = []
    var levelEpoch: Int32 = 0

    /// Whether there is a contradiction without any choice.
    var isRefuted = false
    var conflictCount = 0
    /// Work done: entries, watches and pairs that were looked at.
    var steps = 0

    /// How many choices are in force.
    var level: Int { levelStart.count }

    // MARK: - Variables

    /// A new variable from `low` to `high`, rounded inwards to multiples of `step`.
    mutating func variable(_ low: Int, _ high: Int, step s: Int, isChoice choice: Bool) -> Int {
        let v = step.count
        step.append(s)
        lower.append(roundUp(low, s))
        lower.append(-roundDown(high, s))
        for _ in 0..<2 {
            last.append(-1)
            watches.append([])
            need.append(0)
            needIndex.append(-1)
            isTouched.append(false)
        }
        activity.append(0)
        phase.append(false)
        isChoice.append(choice)
        heapIndex.append(-1)
        if choice { heapInsert(v) }
        return v
    }

    @inline(__always) func isTrue(_ l: Literal) -> Bool { lower[l.view] >= l.bound }
    @inline(__always) func isFalse(_ l: Literal) -> Bool { -lower[l.view ^ 1] < l.bound }
    /// Whether yes-or-no variable `v` is decided neither way.
    @inline(__always) func isOpen(_ v: Int) -> Bool { lower[2 * v] + lower[2 * v + 1] < 0 }
    /// Whether variable `v` is 1.
    @inline(__always) func isYes(_ v: Int) -> Bool { lower[2 * v] >= 1 }
    /// Whether variable `v` is 0.
    @inline(__always) func isNo(_ v: Int) -> Bool { lower[2 * v + 1] >= 0 }

    /// The opposite of `l`.
    @inline(__always)
    func negation(_ l: Literal) -> Literal {
        Literal(view: l.view ^ 1, bound: roundUp(1 - l.bound, step[l.view >> 1]))
    }

    /// "View `view` is at least `bound`", with the bound rounded up to a value that the view can have.
    @inline(__always)
    func literal(_ view: Int, _ bound: Int) -> Literal {
        Literal(view: view, bound: roundUp(bound, step[view >> 1]))
    }

    // MARK: - Raising bounds

    /// Raises `view` to `bound` because of the literals in `arena` from `from` on.
    ///
    /// - Returns: false on a contradiction, which is then in `conflict`.
    @inline(__always)
    mutating func imply(_ view: Int, _ bound: Int, from: Int) -> Bool {
        let bound = roundUp(bound, step[view >> 1])
        if bound <= lower[view] {
            arena.removeLast(arena.count - from)
            return true
        }
        if bound > -lower[view ^ 1] {
            conflict.removeAll(keepingCapacity: true)
            for i in from..<arena.count { conflict.append(arena[i]) }
            conflict.append(negation(Literal(view: view, bound: bound)))
            arena.removeLast(arena.count - from)
            return false
        }
        // What holds without any choice needs no reasons.
        if levelStart.isEmpty { arena.removeLast(arena.count - from) }
        record(view, bound, reason: from, count: Int32(truncatingIfNeeded: arena.count - from))
        return true
    }

    /// Raises a bound for good, outside of any choice.
    mutating func settle(_ l: Literal) {
        if !imply(l.view, l.bound, from: arena.count) { isRefuted = true }
    }

    /// Enters a raise. `view` must be below `bound`, and `bound` a value that it can have.
    @inline(__always)
    mutating func record(_ view: Int, _ bound: Int, reason: Int, count: Int32) {
        let previous = last[view]
        let this = Int32(truncatingIfNeeded: trail.count)
        var depth: Int32 = 0
        var jump = this
        if previous >= 0 {
            let near = trail[Int(previous)].jump
            let far = trail[Int(near)].jump
            depth = trail[Int(previous)].depth + 1
            let isSkipped = depth - 1 - trail[Int(near)].depth == trail[Int(near)].depth - trail[Int(far)].depth
            jump = isSkipped ? far : previous
        }
        trail.append(
            Entry(
                view: Int32(truncatingIfNeeded: view),
                previous: previous,
                reason: Int32(truncatingIfNeeded: reason),
                count: count,
                depth: depth,
                jump: jump,
                old: lower[view]
            )
        )
        last[view] = this
        lower[view] = bound
    }

    /// Opens a level with choice `l`; an empty one when `l` is true already.
    mutating func choose(_ l: Literal) {
        levelStart.append(trail.count)
        arenaStart.append(arena.count)
        if !isTrue(l) { record(l.view, l.bound, reason: 0, count: Entry.byChoice) }
    }
}
