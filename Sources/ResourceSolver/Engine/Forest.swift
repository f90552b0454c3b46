// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// One host bridge's problem, compiled: a forest of windows and leaves in flat arrays.
///
/// Three roots (I/O, memory, bus numbers), then windows, then leaves, each in key order, so that the order of the input
/// is gone. A *line* is an interval space of its own: a root, or a window that keeps its range for now (*rigid*: frozen,
/// or under the rule `stock` with somebody below). A *pin* is a leaf or a rigid window with a present range; it holds as
/// long as any of its holders is not evicted.
struct Forest {
    /// A region of a root in which children may lie.
    struct Region {
        var low: Int
        var high: Int
        /// Whether non-prefetchable children may lie here.
        var takesAll: Bool
        /// The index of the aperture in the host, -1 for bus numbers.
        var aperture: Int
    }

    static let rootCount = 3

    let host: Int
    private(set) var parent: [Int] = []
    private(set) var children: [[Int]] = []
    private(set) var depth: [Int] = []
    private(set) var enter: [Int] = []
    private(set) var leave: [Int] = []
    /// The root above, 0 to 2.
    private(set) var root: [Int] = []
    /// 0 for leaves.
    private(set) var granule: [Int] = []
    /// Leaf size and alignment, 0 for windows.
    private(set) var size: [Int] = []
    private(set) var alignment: [Int] = []
    /// Where the node's range may lie, half-open.
    private(set) var low: [Int] = []
    private(set) var high: [Int] = []
    /// Whether the node may lie in a region that takes prefetchable children only.
    private(set) var isPrefetchable: [Bool] = []
    /// Another window that the node may lie in instead of its parent, -1 for none.
    private(set) var alternative: [Int] = []
    /// Where the node's range may lie on its own account, whatever window it is in.
    private(set) var ownLow: [Int] = []
    private(set) var ownHigh: [Int] = []
    /// The present range, half-open; low > high when there is none.
    private(set) var pinLow: [Int] = []
    private(set) var pinHigh: [Int] = []
    /// Whether the pin never goes.
    private(set) var isLocked: [Bool] = []
    /// Whether the node is a window that keeps its range while pinned.
    private(set) var isRigid: [Bool] = []
    /// The leaf that must come first in a bus range, -1 elsewhere.
    private(set) var header: [Int] = []
    private(set) var isHeader: [Bool] = []
    /// The nearest line above the node: a rigid window or a root.
    private(set) var line: [Int] = []
    /// Devices whose eviction together releases the pin; ascending.
    private(set) var holders: [[Int]] = []
    /// Per device (forest index): the pins that it holds.
    private(set) var pinsOf: [[Int]] = []
    private(set) var weight: [Int] = []
    /// Pins of each line in ascending order of address.
    private(set) var pins: [[Int]] = []
    private(set) var regions: [[Region]] = [[], [], []]
    /// The request of a leaf, -1 for obstacles and windows.
    private(set) var request: [Int] = []
    /// The obstacle of a leaf, -1 elsewhere.
    private(set) var obstacle: [Int] = []
    /// Bridge and window index of a window node, -1 elsewhere.
    private(set) var bridge: [Int] = []
    private(set) var windowIndex: [Int] = []
    /// Problem device of a forest device; -1 for the stand-in of a range that nobody holds.
    private(set) var deviceOf: [Int] = []
    /// Devices that are disturbed in any case: a BAR of theirs changes its size, or lies where it cannot stay.
    private(set) var mustGo: [Int] = []
    /// Devices (a superset of `mustGo`) without which what stays keeps all rules in the windows that the forest gives;
    /// more than `mustGo` only where present ranges contradict each other.
    private(set) var misfits: [Int] = []
    /// Whether pins that never move contradict each other in the windows that the forest gives them.
    private(set) var isTorn = false
    /// Locked pins outside of apertures or limits, or on top of each other: nothing can be done about them, they just
    /// hold their ranges.
    private(set) var adrift: [Int] = []
    /// Requests that have no window to lie in.
    private(set) var homeless: [Int] = []
    /// log2 of the unit of each root, in bytes or numbers.
    static let unitLog = [2, 4, 0]
    /// Bounds of the engine's arithmetic: 2^60 units.
    static let far = 1 << 60

    var count: Int { parent.count }

    /// Whether `a` is `b` or an ancestor of `b`.
    @inline(__always)
    func isAncestor(_ a: Int, _ b: Int) -> Bool { enter[a] <= enter[b] && leave[b] <= leave[a] }

    @inline(__always)
    func hasPin(_ node: Int) -> Bool { pinLow[node] < pinHigh[node] }
}

/// What a compilation takes from the problem.
struct Selection {
    /// Per request: whether it takes part.
    var isIncluded: [Bool]
    /// Per request: the size it is to have.
    var size: [UInt64]
    /// Per request: the kind of window that it lies in, where both kinds would do; nil: the one that forwards it now, else
    /// the prefetchable one.
    var window: [Problem.WindowKind?]
    /// Per bridge: the same for its prefetchable window and the windows above.
    var nesting: [Problem.WindowKind?]
    /// Whether present addresses count; false packs from scratch, where only fixed ones stay.
    var keepsPresent = true
    /// Per device: whether it counts as free to move although its weight forbids it.
    var isLifted: [Bool]?
    /// Per device: whether it stays where it is although its weight lets it leave.
    var isHeld: [Bool]?
    /// Per bridge: whether it takes part; nil: all do. Without a bridge nothing below it may take part.
    var takesBridge: [Bool]?

    init(_ problem: Problem) {
        isIncluded = Array(repeating: true, count: problem.requests.count)
        size = problem.requests.map(\.size)
        window = Array(repeating: nil, count: problem.requests.count)
        nesting = Array(repeating: nil, count: problem.bridges.count)
    }
}

extension Forest {
    /// Compiles what `selection` takes of host bridge `host`.
    init(_ problem: Problem, host: Int, selection: Selection, index: ProblemIndex) {
        self.host = host
        let hostBridge = problem.hosts[host]
        for root in 0..<Self.rootCount {
            appendNode(parent: -1, low: -Self.far, high: Self.far)
            self.root[root] = root
            granule[root] = 1
        }
        buildRegions(hostBridge)

        // Devices.
        var forestDevice: [Int: Int] = [:]
        for d in index.devices[host] {
            forestDevice[d] = deviceOf.count
            deviceOf.append(d)
            let device = problem.devices[d]
            let lifted = selection.isLifted?[d] ?? false
            let mayLeave = selection.isHeld?[d] != true
            weight.append(
                mayLeave ? device.weight.map { min(max($0, 1), 1 << 32) } ?? (lifted ? 1 << 32 : -1) : -1
            )
            pinsOf.append([])
        }

        // Windows, parents first.
        var windowNode: [Int: [Int]] = [:]
        for b in index.bridges[host] where selection.takesBridge?[b] ?? true {
            let bridge = problem.bridges[b]
            var nodes = [-1, -1, -1, -1]
            for (w, window) in bridge.windows.enumerated() where nodes[Int(window.kind.rawValue)] < 0 {
                let outer = windowAbove(window, of: bridge, chosen: selection.nesting[b], problem, windowNode)
                guard let outer else { continue }
                let above = outer.node
                let unit = Self.unitLog[Int(window.kind.space.rawValue)]
                let node = appendNode(
                    parent: above,
                    low: Self.units(up: window.limits.first, unit),
                    high: Self.unitsAfter(window.limits.last, unit)
                )
                alternative[node] = outer.other
                low[node] = max(low[node], low[above])
                high[node] = min(high[node], high[above])
                granule[node] = max(1, Int(clamping: window.granule >> UInt64(unit)))
                isPrefetchable[node] = window.kind == .prefetchable
                self.bridge[node] = b
                windowIndex[node] = w
                if let current = window.current {
                    pinLow[node] = Self.units(up: current.first, unit)
                    pinHigh[node] = Self.unitsAfter(current.last, unit)
                }
                nodes[Int(window.kind.rawValue)] = node
            }
            windowNode[b] = nodes
        }

        // Leaves.
        for r in index.requests[host] where selection.isIncluded[r] {
            appendLeaf(
                problem,
                r,
                selection: selection,
                windowNode: windowNode,
                forestDevice: forestDevice,
                index: index
            )
        }
        for (o, obstacle) in hostBridge.obstacles.enumerated() {
            let space = Int(obstacle.space.rawValue)
            let unit = Self.unitLog[space]
            let node = appendNode(parent: space, low: -Self.far, high: Self.far)
            pinLow[node] = Int(clamping: obstacle.range.first >> UInt64(unit))
            pinHigh[node] = Self.unitsAfterUp(obstacle.range.last, unit)
            size[node] = pinHigh[node] - pinLow[node]
            alignment[node] = 1
            isLocked[node] = true
            isPrefetchable[node] = true
            self.obstacle[node] = o
        }
        number()
        bindPins(problem, selection: selection, index: index, forestDevice: forestDevice)
        releaseMisplaced()
    }

    private static func units(up value: UInt64, _ unit: Int) -> Int {
        let half: UInt64 = (1 << UInt64(unit)) - 1
        let (sum, overflow) = value.addingReportingOverflow(half)
        return overflow ? far : Int(clamping: min(sum >> UInt64(unit), UInt64(far)))
    }

    /// The unit after the one that ends at or before `last`.
    static func unitsAfter(_ last: UInt64, _ unit: Int) -> Int {
        last == .max ? far : Int(clamping: min((last + 1) >> UInt64(unit), UInt64(far)))
    }

    /// The unit after the one that holds `last`.
    private static func unitsAfterUp(_ last: UInt64, _ unit: Int) -> Int {
        Int(clamping: min(last >> UInt64(unit), UInt64(far) - 1)) + 1
    }

    @discardableResult
    private mutating func appendNode(parent above: Int, low: Int, high: Int) -> Int {
        let node = parent.count
        parent.append(above)
        children.append([])
        if above >= 0 { children[above].append(node) }
        depth.append(above >= 0 ? depth[above] + 1 : 0)
        root.append(above >= 0 ? root[above] : node)
        granule.append(0)
        size.append(0)
        alignment.append(0)
        self.low.append(low)
        self.high.append(high)
        isPrefetchable.append(false)
        alternative.append(-1)
        ownLow.append(low)
        ownHigh.append(high)
        pinLow.append(0)
        pinHigh.append(-1)
        isLocked.append(false)
        isRigid.append(false)
        header.append(-1)
        isHeader.append(false)
        line.append(0)
        holders.append([])
        request.append(-1)
        obstacle.append(-1)
        bridge.append(-1)
        windowIndex.append(-1)
        return node
    }

    private mutating func buildRegions(_ host: Problem.Host) {
        for (i, aperture) in host.apertures.enumerated() {
            let root = aperture.kind == .io ? 0 : 1
            let unit = Self.unitLog[root]
            let region = Region(
                low: Self.units(up: aperture.range.first, unit),
                high: Self.unitsAfter(aperture.range.last, unit),
                takesAll: aperture.kind != .prefetchable,
                aperture: i
            )
            if region.low < region.high { regions[root].append(region) }
        }
        if let numbers = host.busNumbers {
            regions[2].append(
                Region(
                    low: Self.units(up: numbers.first, 0),
                    high: Self.unitsAfter(numbers.last, 0),
                    takesAll: true,
                    aperture: -1
                )
            )
        }
        for root in 0..<Self.rootCount { regions[root].sort { $0.low < $1.low } }
    }

    /// The window above that takes `window`, and another one that would; nil when there is none.
    ///
    /// A prefetchable window may lie inside a memory window, never the other way. A window that is inside one of them at
    /// present belongs there.
    private func windowAbove(
        _ window: Problem.Window,
        of bridge: Problem.Bridge,
        chosen: Problem.WindowKind?,
        _ problem: Problem,
        _ windowNode: [Int: [Int]]
    ) -> (node: Int, other: Int)? {
        guard let above = bridge.parent else { return (Int(window.kind.space.rawValue), -1) }
        guard let nodes = windowNode[above] else { return nil }
        let same = nodes[Int(window.kind.rawValue)]
        guard window.kind == .prefetchable else { return same < 0 ? nil : (same, -1) }
        let memory = nodes[Int(Problem.WindowKind.memory.rawValue)]
        guard same >= 0, memory >= 0 else { return max(same, memory) < 0 ? nil : (max(same, memory), -1) }
        let range = window.current
        let present = problem.bridges[above].windows.first { outer in
            (outer.kind == .memory || outer.kind == .prefetchable)
                && range.map { outer.current?.contains($0) ?? false } ?? false
        }
        let isInMemory = (chosen ?? present?.kind) == .memory
        return isInMemory ? (memory, same) : (same, memory)
    }

    private mutating func appendLeaf(
        _ problem: Problem,
        _ r: Int,
        selection: Selection,
        windowNode: [Int: [Int]],
        forestDevice: [Int: Int],
        index: ProblemIndex
    ) {
        let request = problem.requests[r]
        let space = Int(request.kind.space.rawValue)
        let unit = Self.unitLog[space]
        var above = space
        var other = -1
        if let b = request.bridge {
            let nodes = windowNode[b] ?? [-1, -1, -1, -1]
            let memory = nodes[Int(Problem.WindowKind.memory.rawValue)]
            switch request.kind {
            case .io: above = nodes[Int(Problem.WindowKind.io.rawValue)]
            case .memory: above = memory
            case .busHeader, .busRoom: above = nodes[Int(Problem.WindowKind.bus.rawValue)]
            case .prefetchable:
                above = nodes[Int(Problem.WindowKind.prefetchable.rawValue)]
                guard above >= 0, memory >= 0 else {
                    above = max(above, memory)
                    break
                }
                let range = selection.keepsPresent ? request.currentRange : nil
                let present = problem.bridges[b].windows.first { window in
                    window.kind.space == .memory && range.map { window.current?.contains($0) ?? false } ?? false
                }
                other = memory
                if (selection.window[r] ?? present?.kind) == .memory { swap(&above, &other) }
            }
        }
        guard above >= 0 else {
            homeless.append(r)
            return
        }
        let wanted = selection.size[r]
        // A resizable BAR is aligned to its size; a reserve that is granted in part keeps its alignment.
        let isAlternative = wanted != request.size && request.alternatives.contains(wanted)
        let alignmentBytes = isAlternative ? wanted : request.alignment
        let unitBytes: UInt64 = 1 << UInt64(unit)
        let units = Self.units(up: wanted, unit)
        let node = appendNode(
            parent: above,
            low: max(low[above], Self.units(up: request.limits.first, unit)),
            high: min(high[above], Self.unitsAfter(request.limits.last, unit))
        )
        alternative[node] = other
        ownLow[node] = Self.units(up: request.limits.first, unit)
        ownHigh[node] = Self.unitsAfter(request.limits.last, unit)
        size[node] = max(1, units)
        alignment[node] = max(1, Int(clamping: max(alignmentBytes, unitBytes) >> UInt64(unit)))
        isPrefetchable[node] = request.kind == .prefetchable
        self.request[node] = r
        if request.kind == .busHeader, above >= Self.rootCount, header[above] < 0 {
            header[above] = node
            isHeader[node] = true
        }
        let isResized = wanted != request.currentSize ?? request.size
        if isResized, request.current != nil, selection.keepsPresent {
            mustGo.append(contentsOf: request.holders.compactMap { forestDevice[$0] })
        }
        if let current = request.current, !isResized, selection.keepsPresent || request.isFixed {
            pinLow[node] = Int(clamping: current >> UInt64(unit))
            pinHigh[node] = pinLow[node] + size[node]
            isLocked[node] = request.isFixed
        }
    }

    /// Numbers the nodes in depth-first order, for ancestor tests in constant time.
    private mutating func number() {
        enter = Array(repeating: 0, count: count)
        leave = enter
        var clock = 0
        var stack: [(node: Int, next: Int)] = []
        for root in 0..<Self.rootCount {
            stack.append((root, 0))
            enter[root] = clock
            clock += 1
            while let top = stack.last {
                if top.next < children[top.node].count {
                    let child = children[top.node][top.next]
                    stack[stack.count - 1].next += 1
                    enter[child] = clock
                    clock += 1
                    stack.append((child, 0))
                } else {
                    leave[top.node] = clock
                    stack.removeLast()
                }
            }
        }
    }

    /// Decides which windows are rigid, who holds which pin, and sorts the pins of every line.
    private mutating func bindPins(
        _ problem: Problem,
        selection: Selection,
        index: ProblemIndex,
        forestDevice: [Int: Int]
    ) {
        let isStock = problem.rule == .stock
        for node in Self.rootCount..<max(count, Self.rootCount) {
            if granule[node] > 0 {
                let window = problem.bridges[bridge[node]].windows[windowIndex[node]]
                if window.isFrozen, hasPin(node) {
                    isRigid[node] = true
                    isLocked[node] = true
                } else if isStock, selection.keepsPresent, hasPin(node) {
                    let below = index.devicesBelow[bridge[node]].compactMap { forestDevice[$0] }.sorted()
                    isRigid[node] = !below.isEmpty
                    holders[node] = below
                }
                if !isRigid[node] {
                    pinLow[node] = 0
                    pinHigh[node] = -1
                }
            } else if hasPin(node), request[node] >= 0 {
                var held: [Int] = []
                for d in problem.requests[request[node]].holders {
                    if isStock, let b = index.bridgeOfDevice[d] {
                        // Removing a bridge removes everything below it.
                        held.append(contentsOf: index.devicesBelow[b].compactMap { forestDevice[$0] })
                    }
                    if let f = forestDevice[d] { held.append(f) }
                }
                held.sort()
                var unique: [Int] = []
                for d in held where unique.last != d { unique.append(d) }
                holders[node] = unique
                if unique.isEmpty, !isLocked[node] {
                    // Nobody minds: a stand-in of no weight, so that it still stays where it can.
                    holders[node] = [deviceOf.count]
                    deviceOf.append(-1)
                    weight.append(0)
                    pinsOf.append([])
                }
            }
            if isHeader[node], isRigid[parent[node]] {
                // A bus range that keeps its numbers keeps the first of them.
                holders[node] = holders[parent[node]]
            }
            if hasPin(node), holders[node].contains(where: { weight[$0] < 0 }) { isLocked[node] = true }
        }
        pins = Array(repeating: [], count: count)
        for node in Self.rootCount..<max(count, Self.rootCount) {
            var above = parent[node]
            while above >= Self.rootCount, !isRigid[above] { above = parent[above] }
            line[node] = above
            guard hasPin(node) else { continue }
            pins[above].append(node)
            if isLocked[node] {
                // It stays when the windows around it change.
                while above >= Self.rootCount {
                    above = parent[above]
                    if above < Self.rootCount || isRigid[above] { pins[above].append(node) }
                }
            }
            for d in holders[node] { pinsOf[d].append(node) }
        }
        for node in 0..<count where pins[node].count > 1 {
            let lows = pinLow
            let highs = pinHigh
            pins[node].sort { (lows[$0], highs[$0], $0) < (lows[$1], highs[$1], $1) }
        }
    }

    /// Finds present ranges that cannot stay whatever happens: outside apertures or limits, overlapping, or tearing a
    /// window apart. Their holders must go; a pin without holders to blame is dropped.
    private mutating func releaseMisplaced() {
        var dropped = Array(repeating: false, count: count)
        // Out of bounds on its own, whatever the others do.
        var isLost = dropped
        for line in 0..<count where !pins[line].isEmpty {
            var kept: [Int] = []
            for pin in pins[line] where self.line[pin] == line {
                if !isInBounds(pin, line) {
                    // In another window it may be right.
                    let isHopeless = alternative[pin] < 0
                    if isLocked[pin] {
                        if isHopeless { adrift.append(pin) } else { isTorn = true }
                        kept.append(pin)
                    } else {
                        dropped[pin] = true
                        isLost[pin] = isHopeless
                    }
                    continue
                }
                while let last = kept.last, !areCompatible(last, pin, line, kept) {
                    if isLocked[pin], isLocked[last] {
                        if pinLow[pin] < pinHigh[last], granule[pin] == 0, granule[last] == 0 {
                            adrift.append(pin)
                        } else {
                            isTorn = true
                        }
                        break
                    }
                    guard isLocked[pin] else {
                        dropped[pin] = true
                        break
                    }
                    dropped[last] = true
                    kept.removeLast()
                }
                if !dropped[pin] { kept.append(pin) }
            }
        }
        misfits = mustGo
        for pin in 0..<count where dropped[pin] {
            misfits.append(contentsOf: holders[pin])
            if isLost[pin] { mustGo.append(contentsOf: holders[pin]) }
        }
        mustGo = Self.sortedSet(mustGo)
        misfits = Self.sortedSet(misfits)
    }

    private static func sortedSet(_ list: [Int]) -> [Int] {
        var unique: [Int] = []
        for d in list.sorted() where unique.last != d { unique.append(d) }
        return unique
    }

    private func isInBounds(_ pin: Int, _ line: Int) -> Bool {
        guard pinLow[pin] >= low[pin], pinHigh[pin] <= high[pin] else { return false }
        if alignment[pin] > 1, pinLow[pin] & (alignment[pin] - 1) != 0 { return false }
        if line >= Self.rootCount { return pinLow[line] <= pinLow[pin] && pinHigh[pin] <= pinHigh[line] }
        let mayShare = isPrefetchable[topmost(pin, below: line)]
        return regions[line].contains { region in
            region.low <= pinLow[pin] && pinHigh[pin] <= region.high && (region.takesAll || mayShare)
        }
    }

    private func areInOneRegion(_ a: Int, _ b: Int, _ line: Int) -> Bool {
        regions[line].contains { $0.low <= pinLow[a] && pinHigh[b] <= $0.high }
    }

    private func topmost(_ node: Int, below line: Int) -> Int {
        var node = node
        while parent[node] != line { node = parent[node] }
        return node
    }

    /// Whether neighbours `a` and `b` (a lower) leave room for the granules of their windows, and `b` re-enters no
    /// window that `kept` has left.
    private func areCompatible(_ a: Int, _ b: Int, _ line: Int, _ kept: [Int]) -> Bool {
        var span = parent[a]
        while !isAncestor(span, b) { span = parent[span] }
        var end = pinHigh[a]
        var window = parent[a]
        while window != span {
            end = roundUp(end, granule[window])
            window = parent[window]
        }
        var begin = pinLow[b]
        window = parent[b]
        while window != span {
            begin = roundDown(begin, granule[window])
            window = parent[window]
        }
        guard end <= begin, span == line || line >= Self.rootCount || areInOneRegion(a, b, line) else { return false }
        // A window between `b` and `span` must not have been seen before.
        window = parent[b]
        while window != span {
            if kept.contains(where: { isAncestor(window, $0) }) { return false }
            window = parent[window]
        }
        if isHeader[b], kept.contains(where: { isAncestor(parent[b], $0) }) { return false }
        return true
    }
}
