// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver

/// Tries every set of disturbed devices, every window that would do and every address: small, slow, obviously right.
///
/// One host bridge. Addresses are looked at in steps of a unit per space. A layout exists exactly when the hulls of all
/// windows, rounded to their granules, are disjoint among neighbours and inside what is above; a window that keeps its
/// range is its range.
struct ExhaustivePlacer {
    let problem: Problem

    /// The step between addresses, in bytes or numbers.
    static func unit(_ space: Problem.Space) -> UInt64 {
        switch space {
        case .io: 1 << 10
        case .memory: 1 << 16
        case .bus: 1
        }
    }

    /// The least cost, or nil when there is no layout.
    func leastCost() -> Int? {
        let movable = problem.devices.indices.filter { problem.devices[$0].weight != nil }
        var sets: [(cost: Int, bits: Int)] = []
        for bits in 0..<(1 << movable.count) {
            var cost = 0
            for (i, d) in movable.enumerated() where bits >> i & 1 == 1 { cost += problem.devices[d].weight ?? 0 }
            sets.append((cost, bits))
        }
        sets.sort { ($0.cost, $0.bits) < ($1.cost, $1.bits) }
        for (cost, bits) in sets {
            var isMoved = Array(repeating: false, count: problem.devices.count)
            for (i, d) in movable.enumerated() where bits >> i & 1 == 1 { isMoved[d] = true }
            if isClosed(isMoved), fits(isMoved) { return cost }
        }
        return nil
    }

    /// Under the rule `stock` whoever is below a disturbed bridge is disturbed.
    private func isClosed(_ isMoved: [Bool]) -> Bool {
        guard problem.rule == .stock else { return true }
        return problem.devices.indices.allSatisfy { d in
            isMoved[d] || bridgesAbove(problem.devices[d].bridge).allSatisfy { !isMovedBridge($0, isMoved) }
        }
    }

    private func isMovedBridge(_ b: Int, _ isMoved: [Bool]) -> Bool {
        problem.bridges[b].device.map { isMoved[$0] } ?? false
    }

    private func bridgesAbove(_ bridge: Int?) -> [Int] {
        var list: [Int] = []
        var above = bridge
        while let b = above {
            list.append(b)
            above = problem.bridges[b].parent
        }
        return list
    }

    // MARK: - Windows that would do

    /// A request or a window of a bridge.
    enum Piece: Hashable {
        case request(Int)
        case window(Int, Int)
    }

    /// The windows (indices of the bridge above) that may hold a piece; nil stands for a root bus.
    private func choices(_ piece: Piece) -> [Int?] {
        let above: Int?
        let kinds: [Problem.WindowKind]
        switch piece {
        case .request(let r):
            above = problem.requests[r].bridge
            kinds =
                switch problem.requests[r].kind {
                case .io: [.io]
                case .memory: [.memory]
                case .prefetchable: [.prefetchable, .memory]
                case .busHeader, .busRoom: [.bus]
                }
        case .window(let b, let w):
            above = problem.bridges[b].parent
            let kind = problem.bridges[b].windows[w].kind
            kinds = kind == .prefetchable ? [.prefetchable, .memory] : [kind]
        }
        guard let above else { return [nil] }
        return problem.bridges[above].windows.indices.filter { kinds.contains(problem.bridges[above].windows[$0].kind) }
    }

    private func fits(_ isMoved: [Bool]) -> Bool {
        var pieces: [Piece] = problem.requests.indices.map { .request($0) }
        for b in problem.bridges.indices {
            for w in problem.bridges[b].windows.indices { pieces.append(.window(b, w)) }
        }
        var inside: [Piece: Int?] = [:]
        return assign(pieces[...], &inside, isMoved)
    }

    private func assign(_ pieces: ArraySlice<Piece>, _ inside: inout [Piece: Int?], _ isMoved: [Bool]) -> Bool {
        guard let piece = pieces.first else { return place(inside, isMoved) }
        let choices = choices(piece)
        if choices.isEmpty {
            // Nothing above takes it: fatal for a request, no matter for a window that stays closed.
            if case .request = piece { return false }
            return assign(pieces.dropFirst(), &inside, isMoved)
        }
        for choice in choices {
            inside[piece] = choice
            if assign(pieces.dropFirst(), &inside, isMoved) { return true }
        }
        inside[piece] = nil
        return false
    }

    // MARK: - Addresses

    private func place(_ inside: [Piece: Int?], _ isMoved: [Bool]) -> Bool {
        var start: [UInt64?] = Array(repeating: nil, count: problem.requests.count)
        var open: [Int] = []
        for (r, request) in problem.requests.enumerated() {
            if let current = request.current, request.isFixed || !request.holders.allSatisfy({ isMoved[$0] }) {
                guard (request.currentSize ?? request.size) == request.size else { return false }
                start[r] = current
            } else {
                open.append(r)
            }
        }
        open.sort { problem.requests[$0].size > problem.requests[$1].size }
        return place(open[...], &start, inside, isMoved)
    }

    private func place(
        _ open: ArraySlice<Int>,
        _ start: inout [UInt64?],
        _ inside: [Piece: Int?],
        _ isMoved: [Bool]
    ) -> Bool {
        guard isConsistent(start, inside, isMoved) else { return false }
        guard let r = open.first else { return true }
        let request = problem.requests[r]
        let step = max(request.alignment, Self.unit(request.kind.space))
        for range in spaces(request.kind.space) {
            var at = (range.first + step - 1) / step * step
            while at + (request.size - 1) <= range.last {
                start[r] = at
                if place(open.dropFirst(), &start, inside, isMoved) { return true }
                at += step
            }
        }
        start[r] = nil
        return false
    }

    private func spaces(_ space: Problem.Space) -> [AddressRange] {
        let host = problem.hosts[0]
        return space == .bus
            ? host.busNumbers.map { [$0] } ?? []
            : host.apertures.filter { ($0.kind == .io) == (space == .io) }.map(\.range)
    }

    // MARK: - Rules

    /// Whether what is placed so far keeps the rules; more placements never repair a clash.
    func isConsistent(_ start: [UInt64?], _ inside: [Piece: Int?], _ isMoved: [Bool]) -> Bool {
        var hulls: [Piece: AddressRange?] = [:]
        for b in problem.bridges.indices {
            for w in problem.bridges[b].windows.indices {
                guard let range = hull(b, w, start, inside, isMoved, &hulls) else { return false }
                // A window that is open needs one around it.
                if range != nil, problem.bridges[b].parent != nil, inside[.window(b, w)] == nil { return false }
            }
        }
        // The root buses.
        for space in Problem.Space.allCases {
            var pieces: [AddressRange] = problem.hosts[0].obstacles.filter { $0.space == space }.map(\.range)
            for (r, request) in problem.requests.enumerated()
            where request.bridge == nil && request.kind.space == space {
                guard let at = start[r] else { continue }
                guard let range = AddressRange(first: at, size: request.size),
                    isInAperture(range, space, request.kind == .prefetchable), request.limits.contains(range)
                else { return false }
                pieces.append(range)
            }
            for (b, bridge) in problem.bridges.enumerated() where bridge.parent == nil {
                for (w, window) in bridge.windows.enumerated() where window.kind.space == space {
                    guard let range = hulls[.window(b, w)] ?? nil else { continue }
                    guard isInAperture(range, space, window.kind == .prefetchable) else { return false }
                    pieces.append(range)
                }
            }
            guard areDisjoint(pieces) else { return false }
        }
        return true
    }

    private func isInAperture(_ range: AddressRange, _ space: Problem.Space, _ prefetchable: Bool) -> Bool {
        if space == .bus { return problem.hosts[0].busNumbers?.contains(range) ?? false }
        return problem.hosts[0].apertures.contains {
            $0.range.contains(range) && ($0.kind == .io) == (space == .io) && ($0.kind != .prefetchable || prefetchable)
        }
    }

    private func areDisjoint(_ pieces: [AddressRange]) -> Bool {
        let sorted = pieces.sorted { $0.first < $1.first }
        return zip(sorted, sorted.dropFirst()).allSatisfy { $0.last < $1.first }
    }

    private func keepsRange(_ b: Int, _ w: Int, _ isMoved: [Bool]) -> AddressRange? {
        let window = problem.bridges[b].windows[w]
        guard let current = window.current else { return nil }
        if window.isFrozen { return current }
        guard problem.rule == .stock else { return nil }
        let isQuiet = problem.devices.indices.contains { d in
            !isMoved[d] && bridgesAbove(problem.devices[d].bridge).contains(b)
        }
        return isQuiet ? current : nil
    }

    /// The range of a window: `.some(nil)` when it is closed, nil when its content breaks a rule.
    private func hull(
        _ b: Int,
        _ w: Int,
        _ start: [UInt64?],
        _ inside: [Piece: Int?],
        _ isMoved: [Bool],
        _ hulls: inout [Piece: AddressRange?]
    ) -> AddressRange?? {
        if let known = hulls[.window(b, w)] { return .some(known) }
        let window = problem.bridges[b].windows[w]
        var pieces: [AddressRange] = []
        var headerAt: UInt64?
        for (r, request) in problem.requests.enumerated() where request.bridge == b && inside[.request(r)] == .some(w) {
            guard let at = start[r] else { continue }
            guard let range = AddressRange(first: at, size: request.size), request.limits.contains(range) else {
                return nil
            }
            pieces.append(range)
            if request.kind == .busHeader { headerAt = at }
        }
        for (c, child) in problem.bridges.enumerated() where child.parent == b {
            for v in child.windows.indices where inside[.window(c, v)] == .some(w) {
                guard let inner = hull(c, v, start, inside, isMoved, &hulls) else { return nil }
                if let inner { pieces.append(inner) }
            }
        }
        guard areDisjoint(pieces) else { return nil }
        if let headerAt, pieces.contains(where: { $0.first < headerAt }) { return nil }
        var range: AddressRange?
        if let kept = keepsRange(b, w, isMoved) {
            guard pieces.allSatisfy({ kept.contains($0) }) else { return nil }
            if let headerAt, headerAt != kept.first { return nil }
            range = kept
        } else if let low = pieces.map(\.first).min(), let high = pieces.map(\.last).max() {
            let g = window.granule
            range = AddressRange(first: low / g * g, last: high / g * g + (g - 1))
            guard let range, window.limits.contains(range) else { return nil }
        }
        hulls[.window(b, w)] = .some(range)
        return .some(range)
    }
}

extension ExhaustivePlacer {
    /// Whether what is placed at present keeps the rules in some choice of windows, nobody being disturbed.
    var isPresentConsistent: Bool { presentWindows != nil }

    /// The ranges of all windows around what is placed at present, in the first choice of windows that keeps the rules.
    var presentWindows: [Piece: AddressRange?]? {
        var pieces: [Piece] = problem.requests.indices.filter { problem.requests[$0].current != nil }.map {
            .request($0)
        }
        for b in problem.bridges.indices {
            for w in problem.bridges[b].windows.indices { pieces.append(.window(b, w)) }
        }
        var inside: [Piece: Int?] = [:]
        return presentFits(pieces[...], &inside) ? hulls(inside) : nil
    }

    private func hulls(_ inside: [Piece: Int?]) -> [Piece: AddressRange?] {
        var hulls: [Piece: AddressRange?] = [:]
        let isMoved = Array(repeating: false, count: problem.devices.count)
        for b in problem.bridges.indices {
            for w in problem.bridges[b].windows.indices {
                _ = hull(b, w, problem.requests.map(\.current), inside, isMoved, &hulls)
            }
        }
        return hulls
    }

    private func presentFits(_ pieces: ArraySlice<Piece>, _ inside: inout [Piece: Int?]) -> Bool {
        guard let piece = pieces.first else {
            let isMoved = Array(repeating: false, count: problem.devices.count)
            return isConsistent(problem.requests.map(\.current), inside, isMoved)
        }
        for choice in choices(piece) {
            inside[piece] = choice
            if presentFits(pieces.dropFirst(), &inside) { return true }
        }
        inside[piece] = nil
        return false
    }
}
