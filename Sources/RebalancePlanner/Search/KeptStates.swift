// SPDX-License-Identifier: GPL-2.0-or-later

/// The machines of a search by node: the first, and as many of the latest as fit into a bound of memory.
struct KeptStates {
    private var states: [Int: SearchState] = [:]
    /// The nodes whose machines are kept, the oldest first, from `oldest` on.
    private var order: [Int] = []
    private var oldest = 0
    private let capacity: Int

    /// Functions of all kept machines together; one takes about two kilobytes.
    private static let functions = 48_000

    init() { capacity = 0 }

    /// Begins with the machine of node 0, which stays.
    init(_ start: SearchState) {
        capacity = max(8, Self.functions / max(start.context.count, 1))
        states[0] = start
    }

    subscript(_ node: Int) -> SearchState? { states[node] }

    /// Keeps the machine of a node; the oldest goes where that is one too many.
    mutating func keep(_ state: SearchState, of node: Int) {
        guard states.updateValue(state, forKey: node) == nil else { return }
        order.append(node)
        guard order.count - oldest > capacity else { return }
        states[order[oldest]] = nil
        oldest += 1
        if oldest > 1024, oldest > order.count / 2 {
            order.removeFirst(oldest)
            oldest = 0
        }
    }
}
