// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Whether members of a conflict fit in one space after all: every choice of windows, and every order of neighbours.
///
/// For given windows and a given order of neighbours all conditions say "not before" and "a multiple of", so that each
/// start has a least value, and all least values hold together; the members fit exactly when these keep the upper bounds.
/// Neighbours are put in order only where their least places overlap.
struct SpaceSearch {
    /// The search is longer than is worth it.
    struct TooLarge: Error {}

    /// What takes a range: an aperture, a window, a member, an obstacle.
    private struct Node {
        /// What it may lie in; empty for apertures.
        var homes: [Int] = []
        var isWindow = false
        /// Start and end of windows are multiples of this; starts of others are.
        var granule: UInt64 = 1
        var size: UInt64 = 1
        var limits: AddressRange = .all
        /// Where it is, if it does not move.
        var fixed: AddressRange?
        /// Whether it comes first in its window.
        var isFirst = false
    }

    private var nodes: [Node] = []
    private var apertures: [(node: Int, takesAll: Bool)] = []
    private var windowNodes: [Int: [Certificate.WindowKind: Int]] = [:]
    private let certificate: Certificate
    /// Comparisons of two nodes that are left.
    private(set) var budget: Int

    // Of the search.
    private var home: [Int?] = []
    private var before: Set<[Int]> = []

    /// The members of one space.
    ///
    /// - Parameters:
    ///   - certificate: whose apertures and bridges count.
    ///   - members: those of the conflict, of any space.
    ///   - space: the space that is looked at.
    ///   - budget: how many comparisons of two nodes may be made.
    init(_ certificate: Certificate, _ members: [Certificate.Member], _ space: Space, budget: Int) {
        self.certificate = certificate
        self.budget = budget
        for aperture in certificate.apertures where Space(aperture.kind) == space {
            apertures.append((nodes.count, aperture.kind != .prefetchable))
            nodes.append(Node(isWindow: true, fixed: aperture.range))
        }
        if space == .bus, let numbers = certificate.busNumbers {
            apertures.append((nodes.count, true))
            nodes.append(Node(isWindow: true, fixed: numbers))
        }
        addWindows(members, space)
        for member in members where Space(member.kind) == space { add(member) }
    }

    /// The spaces that do not compete with each other.
    enum Space: CaseIterable {
        case io
        case memory
        case bus

        init(_ kind: ResourceKind) { self = kind == .io ? .io : .memory }

        init(_ kind: Certificate.Member.Kind) {
            switch kind {
            case .io: self = .io
            case .memory, .prefetchable: self = .memory
            case .bus, .busNumbers: self = .bus
            }
        }

        init(_ kind: Certificate.WindowKind) {
            switch kind {
            case .io: self = .io
            case .memory, .prefetchable: self = .memory
            case .bus: self = .bus
            }
        }
    }

    // MARK: - Nodes

    private mutating func addWindows(_ members: [Certificate.Member], _ space: Space) {
        var kept: [Int: [Certificate.WindowKind: AddressRange?]] = [:]
        for member in members {
            guard case .window(let range) = member.role, let bridge = member.bridge,
                let kind = Certificate.WindowKind(member.kind)
            else { continue }
            kept[bridge, default: [:]][kind] = .some(range)
        }
        for (b, bridge) in certificate.bridges.enumerated() {
            for window in bridge.windows where Space(window.kind) == space {
                var node = Node(isWindow: true, granule: window.granule, limits: window.limits)
                if let keeps = kept[b]?[window.kind] {
                    // A window that stays closed takes nothing in.
                    guard let range = keeps else { continue }
                    node.fixed = range
                }
                node.homes = homes(behind: bridge.parent, window.kind.carriers, node.fixed)
                windowNodes[b, default: [:]][window.kind] = nodes.count
                nodes.append(node)
            }
        }
    }

    private mutating func add(_ member: Certificate.Member) {
        let carriers = Certificate.WindowKind.carriers(of: member.kind)
        switch member.role {
        case .window: break
        case .obstacle(let range): addBlocker(range)
        case .place(let size, let alignment, let limits):
            var node = Node(granule: alignment, size: size, limits: limits)
            node.homes = homes(behind: member.bridge, carriers, nil)
            node.isFirst = member.kind == .bus
            nodes.append(node)
        case .stay(let range):
            var node = Node(size: range.clampedSize, fixed: range)
            node.homes = homes(behind: member.bridge, carriers, range)
            node.isFirst = member.kind == .bus
            // What lies outside of all that could forward it holds its range and proves nothing else.
            if node.homes.isEmpty || !apertures.contains(where: { nodes[$0.node].fixed?.contains(range) == true }) {
                return addBlocker(range)
            }
            nodes.append(node)
        }
    }

    /// A range on the root bus that nobody may have.
    private mutating func addBlocker(_ range: AddressRange) {
        for aperture in apertures {
            guard let part = nodes[aperture.node].fixed?.intersection(range) else { continue }
            var node = Node(size: part.clampedSize, fixed: part)
            node.homes = [aperture.node]
            nodes.append(node)
        }
    }

    /// What something behind a bridge, or on a root bus, may lie in, by the kinds of window that would carry it.
    private func homes(behind bridge: Int?, _ carriers: [Certificate.WindowKind], _ fixed: AddressRange?) -> [Int] {
        if let bridge {
            let all = carriers.compactMap { windowNodes[bridge]?[$0] }
            guard let fixed else { return all }
            // What does not move lies in the window that forwards it, where one that does not move either does.
            let fitting = all.filter { nodes[$0].fixed?.contains(fixed) ?? true }
            return fitting.isEmpty ? all : fitting
        }
        let needsAll = !carriers.contains(.prefetchable)
        return apertures.filter { aperture in
            (aperture.takesAll || !needsAll) && (fixed.map { nodes[aperture.node].fixed?.contains($0) == true } ?? true)
        }.map(\.node)
    }

    // MARK: - Search

    /// Whether everything fits.
    ///
    /// - Throws: `TooLarge` when the budget does not suffice to say.
    /// - Complexity: exponential in the number of members that compete, at most the budget.
    mutating func fits() throws(TooLarge) -> Bool {
        home = Array(repeating: nil, count: nodes.count)
        before = []
        // Windows that keep their ranges are there, whether anything is in them or not.
        let given = nodes.indices.filter { !nodes[$0].isWindow || nodes[$0].fixed != nil && !nodes[$0].homes.isEmpty }
        return try assign(given[...])
    }

    /// Chooses windows for what is open, members first, then the windows that they chose.
    private mutating func assign(_ open: ArraySlice<Int>) throws(TooLarge) -> Bool {
        guard let n = open.first else { return try order() }
        for choice in nodes[n].homes {
            home[n] = choice
            // A window is placed once, when the first thing in it is.
            var next = open.dropFirst()
            let isAperture = apertures.contains { $0.node == choice }
            let isNew = !isAperture && home[choice] == nil && !next.contains(choice)
            if isNew { next = [choice] + next }
            if try places() != nil, try assign(next) { return true }
            home[n] = nil
        }
        return false
    }

    /// Puts neighbours that overlap in order, both ways.
    private mutating func order() throws(TooLarge) -> Bool {
        guard let place = try places() else { return false }
        guard let (a, b) = overlapping(place) else { return true }
        for pair in [[a, b], [b, a]] {
            let known = before
            close(over: pair)
            let isDone = before.contains([a, a]) || before.contains([b, b]) ? false : try order()
            before = known
            if isDone { return true }
        }
        return false
    }

    /// Adds an order with all that follows from it.
    private mutating func close(over pair: [Int]) {
        let first = [pair[0]] + before.filter { $0[1] == pair[0] }.map { $0[0] }
        let second = [pair[1]] + before.filter { $0[0] == pair[1] }.map { $0[1] }
        for x in first { for y in second { before.insert([x, y]) } }
    }

    private func overlapping(_ place: [AddressRange?]) -> (Int, Int)? {
        for a in nodes.indices {
            guard let range = place[a], let over = home[a] else { continue }
            for b in nodes.indices where b > a && home[b] == over {
                guard let other = place[b], range.overlaps(other) else { continue }
                if nodes[a].fixed == nil || nodes[b].fixed == nil { return (a, b) }
            }
        }
        return nil
    }

    /// The least place of everything that has a home by now; nil where an upper bound is exceeded.
    private mutating func places() throws(TooLarge) -> [AddressRange?]? {
        guard budget > 0 else { throw TooLarge() }
        budget -= nodes.count * nodes.count
        var starts: [UInt64?] = Array(repeating: nil, count: nodes.count)
        var lasts = starts
        for n in nodes.indices where home[n] != nil || nodes[n].homes.isEmpty && nodes[n].fixed != nil {
            guard last(n, &starts, &lasts) != nil else { return nil }
        }
        return nodes.indices.map { n in
            guard let first = starts[n], let last = lasts[n] else { return nil }
            return AddressRange(first: first, last: last)
        }
    }

    private func start(_ n: Int, _ starts: inout [UInt64?], _ lasts: inout [UInt64?]) -> UInt64? {
        if let known = starts[n] { return known }
        let node = nodes[n]
        var least = node.limits.first
        if let over = home[n] {
            guard let start = start(over, &starts, &lasts) else { return nil }
            if !isBothFixed(n) { least = max(least, start) }
            for other in nodes.indices where other != n && home[other] == over {
                let isOrdered = before.contains([other, n]) || nodes[other].isFirst && !node.isFirst
                if isOrdered, nodes[other].fixed == nil || node.fixed == nil {
                    guard let last = last(other, &starts, &lasts), last < .max else { return nil }
                    least = max(least, last + 1)
                }
            }
        }
        if node.isWindow, node.fixed == nil {
            // What comes first in a window begins it.
            for child in nodes.indices where home[child] == n && nodes[child].isFirst {
                least = max(least, nodes[child].fixed?.first ?? nodes[child].limits.first)
            }
        }
        guard let aligned = node.fixed == nil ? alignUp(least, node.granule) : node.fixed?.first else { return nil }
        guard least <= aligned else { return nil }
        if node.isFirst, let over = home[n], let begin = starts[over], aligned != begin { return nil }
        starts[n] = aligned
        return aligned
    }

    /// Whether a range and what it lies in both do not move: what they are to each other proves nothing.
    private func isBothFixed(_ n: Int) -> Bool {
        guard nodes[n].fixed != nil else { return false }
        return home[n].map { nodes[$0].fixed != nil } ?? true
    }

    private func last(_ n: Int, _ starts: inout [UInt64?], _ lasts: inout [UInt64?]) -> UInt64? {
        if let known = lasts[n] { return known }
        let node = nodes[n]
        guard let start = start(n, &starts, &lasts) else { return nil }
        var end = start
        if let fixed = node.fixed {
            end = fixed.last
        } else if node.isWindow {
            end = start | (node.granule - 1)
            for child in nodes.indices where home[child] == n {
                guard let inner = last(child, &starts, &lasts) else { return nil }
                end = max(end, inner | (node.granule - 1))
            }
        } else {
            let (sum, overflow) = start.addingReportingOverflow(node.size - 1)
            if overflow { return nil }
            end = sum
        }
        guard end <= node.limits.last || node.fixed != nil else { return nil }
        if let over = home[n], let outer = nodes[over].fixed, !isBothFixed(n), end > outer.last { return nil }
        lasts[n] = end
        return end
    }
}

extension Certificate.WindowKind {
    /// The kinds of window above that a window of this kind may lie in.
    var carriers: [Certificate.WindowKind] { self == .prefetchable ? [.prefetchable, .memory] : [self] }

    /// The kinds of window that forward what a member needs.
    static func carriers(of kind: Certificate.Member.Kind) -> [Certificate.WindowKind] {
        switch kind {
        case .io: [.io]
        case .memory: [.memory]
        case .prefetchable: [.prefetchable, .memory]
        case .bus, .busNumbers: [.bus]
        }
    }

    /// The window that a member of this kind is.
    init?(_ kind: Certificate.Member.Kind) {
        switch kind {
        case .io: self = .io
        case .memory: self = .memory
        case .prefetchable: self = .prefetchable
        case .bus: self = .bus
        case .busNumbers: return nil
        }
    }
}
