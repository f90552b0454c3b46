// SPDX-License-Identifier: GPL-2.0-or-later

/// Decides by deduction whether everything fits at a cost within a limit, or proves that it does not.
///
/// A forest becomes variables and orders: the start of every leaf, both ends of every window, who leaves its place, and
/// of every two neighbours in a window which comes first. Once it is decided who leaves and who comes first, every bound
/// is a monotone function of others, so that the least bounds are a layout: positions are never guessed.
struct OrderSolver {
    /// A node as seen from one side. Side 0 counts addresses upwards, side 1 is the mirror image. The start is
    /// `startView` plus `startOffset`, the end likewise.
    struct Ends {
        var startView: Int
        var startOffset: Int
        var endView: Int
        var endOffset: Int
    }

    /// Another node of the same window.
    struct Neighbour {
        var other: Int32
        /// What `Literal.said` says of it: the node comes before `other` (on side 0).
        var before: Int32
        /// What says that the node is in the window, and that `other` is; -1: always.
        var mine: Int32
        var theirs: Int32
    }

    /// A place of a node in a window.
    struct Membership {
        /// A node: the window for a node's list, the child for a window's list.
        var node: Int32
        /// What says that the node is in the window; -1: always.
        var guardView: Int32
    }

    enum Role: UInt8 {
        case leaf, windowStart, windowEnd
        /// Which of two neighbours comes first.
        case pair
        /// A device leaves its place, or a pin does.
        case device, pin
        /// A node is in a window, a size is chosen, an element takes part.
        case choice
        /// A sum with a limit.
        case sum

        var isChoice: Bool { self == .pair || self == .device || self == .pin || self == .choice }
        /// Whether it must be decided before the placer can be asked.
        var isPremise: Bool { self == .device || self == .pin || self == .choice }
    }

    let forest: Forest
    let options: Options
    var table = ShapeTable()
    var core = Deduction()

    // Nodes: those of the forest that matter, then barriers between regions.
    var forestNode: [Int] = []
    var nodeOf: [Int] = []
    var ends: [[Ends]] = [[], []]
    var isLeaf: [Bool] = []
    /// A class of what is surely inside, -1 for none.
    var shape: [Int] = []
    /// A lower bound of the node's length.
    var length: [Int] = []
    var windowsStart: [Int32] = [0]
    var windowsOf: [Membership] = []
    var childrenStart: [Int32] = [0]
    var childrenOf: [Membership] = []
    var neighboursStart: [Int32] = [0]
    var neighboursOf: [Neighbour] = []
    /// Per window: whether something inside may be elsewhere.
    var isLoose: [Bool] = []
    /// Per node: the variable that says that it leaves its place; -1: it has none, or never leaves it.
    var release: [Int] = []
    var pinLow: [Int] = []
    var pinHigh: [Int] = []
    /// Per window: its header, or -1.
    var header: [Int] = []

    // Variables.
    var role: [Role] = []
    /// The node, pair or device of a variable.
    var owner: [Int32] = []
    /// Per device or pin: the nodes that keep their place while it is 0.
    var pinned: [[Int32]] = []
    /// Per view: nodes that it puts into a window.
    var joins: [Int: [(node: Int32, window: Int32)]] = [:]
    var isJoin: [Bool] = []
    var pairFirst: [Membership] = []
    var pairSecond: [Membership] = []
    var deviceVariable: [Int] = []
    /// What leaving costs, and what smaller sizes lose.
    var sums: [Sum] = []
    /// Per variable: the sum that it adds to, -1 for none, and how much.
    var sumOf: [Int8] = []
    var weight: [Int] = []
    /// What takes part in an explanation, and the literal that says so.
    var elements: [(element: Element, holds: Literal)] = []

    // Of use while compiling.
    var isCertain: [Bool] = []
    var mayHold: [Bool] = []
    var classOf: [Int] = []
    var childLists: [[Membership]] = []
    var windowLists: [[Membership]] = []
    /// Per node: what says that it is somewhere, one of them at least; empty: it is.
    var presence: [[Literal]] = []
    var sparing: Set<Int> = []
    /// Nodes that fit nowhere within their limits.
    var placeless: [Int] = []

    // Search.
    var openPremises = 0
    /// Whether nothing has been concluded yet.
    var isFresh = false
    var queue: [Int32] = []
    var isQueued: [Bool] = []
    var group: [(at: Int, node: Int, guardView: Int)] = []
    var restarts = 0
    var learnedLimit = 2_000
    var lastTried: [Int]?
    var answer: Answer?
    var target = Target()

    /// What is compiled.
    struct Options {
        /// Whether prefetchable requests and windows may lie in memory windows as well as in prefetchable ones.
        var triesBothWindows = false
        /// Whether every demand and holder takes part only as long as its variable in `elements` says so.
        var explains = false
    }

    /// A demand or a holder of space.
    enum Element: Hashable {
        case request(Int)
        case holder(Int)
        case window(Int, Int)
        case obstacle(Int)
    }

    /// Yes-or-no variables with weights, and a limit of their sum.
    struct Sum {
        var variable: Int
        /// Members by falling weight.
        var members: [(variable: Int, weight: Int)] = []
        var now = 0
        /// Members that are 1, in the order in which they became so.
        var paid: [Int32] = []
    }

    /// A layout that was found.
    struct Answer {
        /// Devices that leave, ascending.
        var evicted: [Int]
        var cost: Int
        /// Per forest node the start of leaves, `Int.min` for others; nil: the placer has the places.
        var starts: [Int]?
        /// Per forest node: the window that it lies in.
        var windows: [Int]?
    }

    /// Whether what `view` says is true; -1 always is.
    @inline(__always)
    func holds(_ view: Int32) -> Bool { view < 0 || core.lower[Int(view)] >= 1 - Int(view & 1) }

    /// Whether what `view` says is false.
    @inline(__always)
    func fails(_ view: Int32) -> Bool { view >= 0 && core.lower[Int(view) ^ 1] >= Int(view & 1) }
}
