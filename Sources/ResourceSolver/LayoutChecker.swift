// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Checks a layout against its problem, sharing nothing with the search that made it.
///
/// The rules, in the words of the problem: every placed range has its size, alignment and limits; it lies in a window of
/// the bridge above that may hold its kind, or in an aperture; windows keep granule and limits and lie inside the
/// windows above; within a window or a root bus nothing overlaps; what is fixed or frozen has not moved; whoever is
/// disturbed is listed, and the cost is the sum of their weights.
public struct LayoutChecker: Sendable {
    private let problem: Problem

    /// Creates a checker for `problem`.
    public init(_ problem: Problem) { self.problem = problem }

    /// What is wrong with `layout`, a sentence each; empty when it keeps every rule.
    ///
    /// `sizes` holds per request the size that it should have; without it the sizes stated in the problem count.
    /// - Complexity: O(n log n) plus the number of devices below windows.
    public func defects(of layout: Layout, sizes: [UInt64]? = nil) -> [String] {
        var found: [String] = []
        guard layout.placements.count == problem.requests.count, layout.windows.count == problem.bridges.count else {
            return ["the layout has \(layout.placements.count) placements and \(layout.windows.count) bridges"]
        }
        for (b, bridge) in problem.bridges.enumerated() where layout.windows[b].count != bridge.windows.count {
            found.append("\(bridge.label) has \(layout.windows[b].count) windows, expected \(bridge.windows.count)")
        }
        guard found.isEmpty else { return found }
        checkPlacements(layout, sizes ?? problem.requests.map(\.size), &found)
        checkWindows(layout, &found)
        for host in problem.hosts.indices { checkBuses(layout, host, &found) }
        checkDisturbance(layout, &found)
        return found
    }

    // MARK: - Single ranges

    private func checkPlacements(_ layout: Layout, _ sizes: [UInt64], _ found: inout [String]) {
        for (r, request) in problem.requests.enumerated() {
            guard let range = layout.placements[r] else {
                if request.tier == .required { found.append("\(request.label) is required and has no range") }
                continue
            }
            let size = range.size ?? .max
            if case .reserve = request.tier {
                if size > sizes[r] { found.append("\(request.label) has \(size), more than the \(sizes[r]) asked for") }
            } else if size != sizes[r] && !request.alternatives.contains(size) {
                found.append("\(request.label) has size \(hex(size)), expected \(hex(sizes[r]))")
            }
            let alignment = size == request.size ? request.alignment : min(request.alignment, size)
            if range.first % max(alignment, 1) != 0 {
                found.append("\(request.label) is at \(hex(range.first)), expected a multiple of \(hex(alignment))")
            }
            if !request.limits.contains(range) { found.append("\(request.label) is at \(range), beyond its limits") }
            if request.isFixed, let current = request.current, current != range.first {
                found.append("\(request.label) is fixed at \(hex(current)) and was moved to \(hex(range.first))")
            }
            if request.kind == .busHeader, let b = request.bridge,
                window(layout, b, .bus)?.first != range.first
            {
                found.append("\(request.label) is not the first number of its bus range")
            }
        }
    }

    private func checkWindows(_ layout: Layout, _ found: inout [String]) {
        for (b, bridge) in problem.bridges.enumerated() {
            for (w, window) in bridge.windows.enumerated() {
                let name = "\(bridge.label) \(window.kind.word)"
                if window.isFrozen, layout.windows[b][w] != window.current {
                    found.append("\(name) is frozen and changed")
                }
                guard let range = layout.windows[b][w], !window.isFrozen else { continue }
                let granule = max(window.granule, 1)
                if range.first % granule != 0 || (range.last &+ 1) % granule != 0 {
                    // The wrap at 2^64 gives 0, a multiple of everything.
                    found.append("\(name) \(range) is not made of whole granules of \(hex(granule))")
                }
                if !window.limits.contains(range) { found.append("\(name) \(range) is beyond its limits") }
            }
        }
    }

    // MARK: - Nesting

    private struct Piece {
        var range: AddressRange
        var name: String
        var prefetchable: Bool
        var window: Problem.WindowKind?
    }

    private func window(_ layout: Layout, _ b: Int, _ kind: Problem.WindowKind) -> AddressRange? {
        for (w, window) in problem.bridges[b].windows.enumerated() where window.kind == kind {
            return layout.windows[b][w]
        }
        return nil
    }

    private func checkBuses(_ layout: Layout, _ host: Int, _ found: inout [String]) {
        var onRoot: [Problem.Space: [Piece]] = [:]
        var onBridge: [Int: [Problem.Space: [Piece]]] = [:]
        func add(_ piece: Piece, to bridge: Int?, _ space: Problem.Space) {
            if let bridge {
                onBridge[bridge, default: [:]][space, default: []].append(piece)
            } else {
                onRoot[space, default: []].append(piece)
            }
        }
        for (r, request) in problem.requests.enumerated() where request.host == host {
            guard let range = layout.placements[r] else { continue }
            let piece = Piece(
                range: range,
                name: request.label,
                prefetchable: request.kind == .prefetchable,
                window: nil
            )
            add(piece, to: request.bridge, request.kind.space)
        }
        for (b, bridge) in problem.bridges.enumerated() where bridge.host == host {
            for (w, window) in bridge.windows.enumerated() {
                guard let range = layout.windows[b][w] else { continue }
                let piece = Piece(
                    range: range,
                    name: "\(bridge.label) \(window.kind.word)",
                    prefetchable: window.kind == .prefetchable,
                    window: window.kind
                )
                add(piece, to: bridge.parent, window.kind.space)
            }
        }
        for obstacle in problem.hosts[host].obstacles {
            onRoot[obstacle.space, default: []].append(
                Piece(range: obstacle.range, name: obstacle.label, prefetchable: true, window: nil)
            )
        }
        for space in Problem.Space.allCases {
            let pieces = onRoot[space] ?? []
            checkOverlaps(pieces, "a root bus of host bridge \(problem.hosts[host].label)", &found)
            for piece in pieces where !isInAperture(piece, host, space) && !isObstacle(piece, host) {
                found.append("\(piece.name) \(piece.range) lies in no aperture that takes it")
            }
        }
        for (b, bridge) in problem.bridges.enumerated() where bridge.host == host {
            for space in Problem.Space.allCases {
                let pieces = onBridge[b]?[space] ?? []
                checkOverlaps(pieces, "the bus behind \(bridge.label)", &found)
                for piece in pieces where !isInWindow(piece, layout, b, space) {
                    found.append("\(piece.name) \(piece.range) lies in no window of \(bridge.label) that takes it")
                }
            }
        }
    }

    private func checkOverlaps(_ pieces: [Piece], _ place: String, _ found: inout [String]) {
        let sorted = pieces.sorted { $0.range < $1.range }
        for i in sorted.indices.dropFirst() where sorted[i - 1].range.last >= sorted[i].range.first {
            found.append(
                "\(sorted[i - 1].name) \(sorted[i - 1].range) and \(sorted[i].name) \(sorted[i].range) overlap on \(place)"
            )
        }
    }

    private func isObstacle(_ piece: Piece, _ host: Int) -> Bool {
        problem.hosts[host].obstacles.contains { $0.label == piece.name && $0.range == piece.range }
    }

    private func isInAperture(_ piece: Piece, _ host: Int, _ space: Problem.Space) -> Bool {
        switch space {
        case .bus: problem.hosts[host].busNumbers?.contains(piece.range) ?? false
        case .io: problem.hosts[host].apertures.contains { $0.kind == .io && $0.range.contains(piece.range) }
        case .memory:
            problem.hosts[host].apertures.contains {
                $0.range.contains(piece.range)
                    && ($0.kind == .memory || ($0.kind == .prefetchable && piece.prefetchable))
            }
        }
    }

    private func isInWindow(_ piece: Piece, _ layout: Layout, _ b: Int, _ space: Problem.Space) -> Bool {
        for (w, window) in problem.bridges[b].windows.enumerated() where window.kind.space == space {
            guard let range = layout.windows[b][w], range.contains(piece.range) else { continue }
            if window.kind != .prefetchable || piece.prefetchable { return true }
        }
        return false
    }

    // MARK: - Disturbance

    private func checkDisturbance(_ layout: Layout, _ found: inout [String]) {
        var must = Array(repeating: false, count: problem.devices.count)
        var reasons = Array(repeating: "", count: problem.devices.count)
        func disturb(_ d: Int, _ reason: String) {
            if !must[d] { reasons[d] = reason }
            must[d] = true
        }
        func disturbBelow(_ b: Int, _ reason: String) {
            for (d, device) in problem.devices.enumerated() {
                var above = device.bridge
                while let p = above {
                    if p == b {
                        disturb(d, reason)
                        break
                    }
                    above = problem.bridges[p].parent
                }
            }
        }
        var bridgeOf: [Int: Int] = [:]
        for (b, bridge) in problem.bridges.enumerated() {
            if let d = bridge.device { bridgeOf[d] = b }
        }
        for (r, request) in problem.requests.enumerated() {
            guard request.current != nil else { continue }
            let placed = layout.placements[r]
            if placed == request.currentRange { continue }
            if placed == nil, case .optional = request.tier { continue }
            for d in request.holders {
                disturb(d, "\(request.label) moved")
                if problem.rule == .stock, let b = bridgeOf[d] { disturbBelow(b, "\(request.label) moved") }
            }
        }
        if problem.rule == .stock {
            for (b, bridge) in problem.bridges.enumerated() {
                for (w, window) in bridge.windows.enumerated() {
                    guard let current = window.current, current != layout.windows[b][w] else { continue }
                    disturbBelow(b, "\(bridge.label) \(window.kind.word) changed")
                }
            }
        }
        let listed = Set(layout.disturbed)
        var cost = 0
        for d in layout.disturbed {
            guard problem.devices.indices.contains(d) else {
                found.append("device \(d) is listed as disturbed and does not exist")
                continue
            }
            guard let weight = problem.devices[d].weight else {
                found.append("\(problem.devices[d].label) must not be disturbed")
                continue
            }
            cost += min(max(weight, 1), 1 << 32)
        }
        for d in problem.devices.indices where must[d] && !listed.contains(d) {
            found.append("\(problem.devices[d].label) is disturbed (\(reasons[d])) and not listed")
        }
        if cost != layout.cost { found.append("the cost is \(cost), stated as \(layout.cost)") }
    }
}
