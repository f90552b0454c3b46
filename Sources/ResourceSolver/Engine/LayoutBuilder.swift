// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Turns the addresses of leaves into ranges of requests and windows.
struct LayoutBuilder {
    let problem: Problem
    private(set) var placements: [AddressRange?]
    private(set) var windows: [[AddressRange?]]

    init(_ problem: Problem) {
        self.problem = problem
        placements = Array(repeating: nil, count: problem.requests.count)
        windows = problem.bridges.map { Array(repeating: nil, count: $0.windows.count) }
    }

    /// Enters what `placer` found for its host bridge; requests of other hosts stay as they are.
    ///
    /// Every window becomes the hull of what it holds, rounded to its granule; then windows that can have their present
    /// range get it, outermost first.
    mutating func enter(_ placer: inout Placer, selection: Selection, starts: [Int]? = nil) {
        let forest = placer.forest
        let start = starts ?? placer.addresses()
        var low = Array(repeating: Int.max, count: forest.count)
        var high = Array(repeating: Int.min, count: forest.count)
        for node in stride(from: forest.count - 1, through: Forest.rootCount, by: -1) {
            if forest.granule[node] == 0 {
                guard start[node] != .min else { continue }
                low[node] = start[node]
                high[node] = start[node] + forest.size[node]
                if forest.request[node] >= 0 {
                    let r = forest.request[node]
                    let unit = UInt64(Forest.unitLog[forest.root[node]])
                    if let first = bytes(low[node], unit) {
                        placements[r] = AddressRange(first: first, size: selection.size[r])
                    }
                }
            }
        }
        // Children come after their parents in node order.
        for node in stride(from: forest.count - 1, through: Forest.rootCount, by: -1) {
            if forest.isRigid[node], placer.isPinned(node) {
                low[node] = forest.pinLow[node]
                high[node] = forest.pinHigh[node]
            }
            guard low[node] < high[node] else { continue }
            let above = forest.parent[node]
            guard above >= Forest.rootCount else { continue }
            low[above] = min(low[above], roundDown(low[node], forest.granule[above]))
            high[above] = max(high[above], roundUp(high[node], forest.granule[above]))
        }
        keepPresent(forest, placer, &low, &high)
        for node in Forest.rootCount..<max(forest.count, Forest.rootCount) where forest.bridge[node] >= 0 {
            let window = problem.bridges[forest.bridge[node]].windows[forest.windowIndex[node]]
            if window.isFrozen, window.current != nil {
                windows[forest.bridge[node]][forest.windowIndex[node]] = window.current
                continue
            }
            guard low[node] < high[node] else { continue }
            let unit = UInt64(Forest.unitLog[forest.root[node]])
            guard let first = bytes(low[node], unit), let after = bytes(high[node], unit) else { continue }
            // A window that ends with the 64-bit space ends at its last byte: `after` wraps to 0 and back.
            windows[forest.bridge[node]][forest.windowIndex[node]] = AddressRange(first: first, last: after &- 1)
        }
    }

    /// Lets what is somewhere else than at present leave large free blocks whole.
    mutating func tidy() { placements = GapChoice.placements(problem, placements, windows: windows) }

    /// The devices that the entered ranges disturb, ascending by index: some range of theirs is elsewhere than at present.
    func moved() -> [Int] {
        var isMoved = Array(repeating: false, count: problem.devices.count)
        for (r, request) in problem.requests.enumerated() {
            guard let current = request.currentRange, placements[r] != current else { continue }
            for d in request.holders { isMoved[d] = true }
        }
        return isMoved.indices.filter { isMoved[$0] }
    }

    private func bytes(_ units: Int, _ log: UInt64) -> UInt64? {
        units < 0 ? nil : UInt64(units) << log
    }

    /// Gives windows their present range where it contains what they hold and nobody else is in it.
    private func keepPresent(_ forest: Forest, _ placer: Placer, _ low: inout [Int], _ high: inout [Int]) {
        for node in Forest.rootCount..<max(forest.count, Forest.rootCount) where forest.bridge[node] >= 0 {
            if forest.isRigid[node], placer.isPinned(node) { continue }
            let window = problem.bridges[forest.bridge[node]].windows[forest.windowIndex[node]]
            let unit = UInt64(Forest.unitLog[forest.root[node]])
            guard let current = window.current, !window.isFrozen, current.first % max(window.granule, 1) == 0,
                (current.last &+ 1) % max(window.granule, 1) == 0
            else { continue }
            let first = Int(clamping: current.first >> unit)
            let after = Forest.unitsAfter(current.last, Int(unit))
            if low[node] < high[node] {
                guard first <= low[node], high[node] <= after else { continue }
                // The first number of a bus range is the bridge's own.
                if forest.root[node] == 2, forest.header[node] >= 0, first != low[node] { continue }
            } else if forest.root[node] == 2 {
                continue
            }
            let above = forest.parent[node]
            if above < Forest.rootCount {
                guard
                    forest.regions[above].contains(where: {
                        $0.low <= first && after <= $0.high && ($0.takesAll || forest.isPrefetchable[node])
                    })
                else { continue }
            } else {
                guard low[above] <= first, after <= high[above], low[above] < high[above] else { continue }
                if forest.root[node] == 2, forest.header[above] >= 0, first == low[above] { continue }
            }
            let collides = forest.children[above].contains { other in
                other != node && low[other] < high[other] && low[other] < after && first < high[other]
            }
            if collides { continue }
            low[node] = first
            high[node] = after
        }
    }
}
