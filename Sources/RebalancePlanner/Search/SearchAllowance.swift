// SPDX-License-Identifier: GPL-2.0-or-later

/// How much work the searches of one plan may still do, shared fairly among its groups of demands.
///
/// Work is counted, not timed, so that the same question has the same answer: a simulated stage on a tree of n functions is
/// n units. A class, since the parts of a tree take from one allowance.
final class SearchAllowance {
    private let whole: Int
    private var left: Int
    private var groupsLeft = 1
    /// What the group that is being planned may still take.
    private var share: Int
    /// Whether a search ended in vain for want of work, and more might have found something.
    private(set) var isSpent = false

    /// Stages that every search may simulate, however little is left.
    private static let least = 24

    init(_ work: Int) {
        whole = max(0, work)
        left = whole
        share = whole
    }

    /// Says how many groups there are to come.
    func share(among groups: Int) { groupsLeft = max(1, groups) }

    /// The next group is taken up: it may have an equal share of what is left, and at least an eighth of the whole while
    /// that lasts.
    func beginGroup() {
        share = min(left, max(left / max(groupsLeft, 1), whole / 8))
        groupsLeft = max(1, groupsLeft - 1)
    }

    /// The stages that a search may simulate on a tree of `functions` functions.
    func stages(_ functions: Int) -> Int { max(Self.least, share / max(functions, 1)) }

    /// Notes that a search simulated `stages` stages of the `permitted` on a tree of `functions` functions, `wanted` if
    /// there were no end.
    func spend(_ stages: Int, functions: Int, permitted: Int, wanted: Int, found: Bool) {
        let work = stages * max(functions, 1)
        share = max(0, share - work)
        left = max(0, left - work)
        if !found, permitted < wanted, stages >= permitted { isSpent = true }
    }
}
