// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// The last pass over a layout: whatever has to lie somewhere else than at present goes into the smallest free block that
/// takes it, and among equals to the one nearest to its present place.
///
/// Windows, and everything that is where it was, stay. A block is a free range whose size is a power of two and whose
/// start is a multiple of it: those are what later requests need, so the large ones are left whole.
struct GapChoice {
    private let problem: Problem
    private var placements: [AddressRange?]
    private let windows: [[AddressRange?]]

    /// Improves `placements`, for which `windows` are the ranges of the windows.
    ///
    /// - Returns: the placements; the same requests are placed, with the same sizes, in the same windows or apertures.
    /// - Complexity: O(n log n) plus the sum over moved requests of what lies on their buses.
    static func placements(_ problem: Problem, _ placements: [AddressRange?], windows: [[AddressRange?]])
        -> [AddressRange?]
    {
        var choice = GapChoice(problem: problem, placements: placements, windows: windows)
        choice.run()
        return choice.placements
    }

    private init(problem: Problem, placements: [AddressRange?], windows: [[AddressRange?]]) {
        self.problem = problem
        self.placements = placements
        self.windows = windows
    }

    /// A bus: the secondary bus of a bridge, or the root bus of a host bridge.
    private struct Bus: Hashable {
        var host: Int
        var bridge: Int?
    }

    private mutating func run() {
        let free = placements.indices.filter(isFree)
        guard !free.isEmpty else { return }
        let buses = Set(free.map(bus))
        var onBus: [Bus: [Int]] = [:]
        for r in problem.requests.indices where placements[r] != nil && problem.requests[r].kind.space != .bus {
            if buses.contains(bus(r)) { onBus[bus(r), default: []].append(r) }
        }
        var windowsOn: [Bus: [AddressRange]] = [:]
        var portsOn: [Bus: [AddressRange]] = [:]
        for (b, bridge) in problem.bridges.enumerated() {
            let place = Bus(host: bridge.host, bridge: bridge.parent)
            guard buses.contains(place) else { continue }
            for (w, window) in bridge.windows.enumerated() {
                guard let range = windows[b][w] else { continue }
                switch window.kind.space {
                case .memory: windowsOn[place, default: []].append(range)
                case .io: portsOn[place, default: []].append(range)
                case .bus: break
                }
            }
        }
        // Large ones first: what is small fits in more places.
        let order = free.sorted { a, b in
            let (x, y) = (problem.requests[a], problem.requests[b])
            let (s, t) = (placements[a]?.clampedSize ?? 0, placements[b]?.clampedSize ?? 0)
            return (t, x.key) < (s, y.key)
        }
        for r in order {
            let space = problem.requests[r].kind.space
            var taken = (space == .io ? portsOn : windowsOn)[bus(r)] ?? []
            for other in onBus[bus(r)] ?? [] where other != r && problem.requests[other].kind.space == space {
                if let range = placements[other] { taken.append(range) }
            }
            if problem.requests[r].bridge == nil {
                for obstacle in problem.hosts[problem.requests[r].host].obstacles where obstacle.space == space {
                    taken.append(obstacle.range)
                }
            }
            place(r, among: taken)
        }
    }

    private func bus(_ r: Int) -> Bus { Bus(host: problem.requests[r].host, bridge: problem.requests[r].bridge) }

    /// Whether a request may lie somewhere else: it does so already, and is neither room to keep free nor fixed.
    private func isFree(_ r: Int) -> Bool {
        let request = problem.requests[r]
        guard let range = placements[r], range != request.currentRange, !request.isFixed else { return false }
        if case .reserve = request.tier { return false }
        return request.kind.space != .bus
    }

    /// The window or aperture that `range` lies in.
    private func container(_ r: Int, _ range: AddressRange) -> AddressRange? {
        let request = problem.requests[r]
        if let b = request.bridge {
            for (w, window) in problem.bridges[b].windows.enumerated() where window.kind.space == request.kind.space {
                if let room = windows[b][w], room.contains(range) { return room }
            }
            return nil
        }
        return problem.hosts[request.host].apertures.first { aperture in
            (aperture.kind == .io) == (request.kind == .io) && aperture.range.contains(range)
        }?.range
    }

    private mutating func place(_ r: Int, among taken: [AddressRange]) {
        let request = problem.requests[r]
        guard let range = placements[r], let size = range.size, let room = container(r, range),
            let first = Optional(max(room.first, request.limits.first)),
            let last = Optional(min(room.last, request.limits.last)), first <= last
        else { return }
        let alignment = max(size == request.size ? request.alignment : min(request.alignment, size), 1)
        let present = request.current ?? range.first
        var best: (block: UInt64, distance: UInt64, start: UInt64)?
        func consider(_ start: UInt64, in gap: AddressRange) {
            let block = Self.block(around: start, size, in: gap)
            let distance = start > present ? start - present : present - start
            if best.map({ (block, distance, start) < $0 }) ?? true { best = (block, distance, start) }
        }
        for gap in Self.gaps(first, last, taken) {
            let mask = alignment - 1
            let (raised, wraps) = gap.first.addingReportingOverflow(mask)
            let low = raised & ~mask
            guard !wraps, low <= gap.last, gap.last - low >= size - 1 else { continue }
            // Blocks grow from both ends of a gap towards its middle: the smallest that will do holds one of these two.
            consider(low, in: gap)
            consider((gap.last - (size - 1)) & ~mask, in: gap)
            if present % alignment == 0, present >= gap.first, present <= gap.last, gap.last - present >= size - 1 {
                consider(present, in: gap)
            }
        }
        guard let best, let better = AddressRange(first: best.start, size: size) else { return }
        placements[r] = better
    }

    /// The ranges between `taken` from `first` to `last`, ascending.
    private static func gaps(_ first: UInt64, _ last: UInt64, _ taken: [AddressRange]) -> [AddressRange] {
        var gaps: [AddressRange] = []
        var next = first
        for range in taken.sorted() where range.last >= next {
            if range.first > last { break }
            if range.first > next, let gap = AddressRange(first: next, last: range.first - 1) { gaps.append(gap) }
            guard range.last < last else { return gaps }
            next = range.last + 1
        }
        if let gap = AddressRange(first: next, last: last) { gaps.append(gap) }
        return gaps
    }

    /// The size of the largest block of `gap` that `size` bytes from `start` on lie in; those bytes when there is none.
    private static func block(around start: UInt64, _ size: UInt64, in gap: AddressRange) -> UInt64 {
        var largest = size
        for log in 0..<UInt64(64) {
            let block = UInt64(1) << log
            guard block >= size else { continue }
            let first = start & ~(block - 1)
            let last = first | (block - 1)
            guard first >= gap.first, last <= gap.last else { break }
            if start + (size - 1) <= last { largest = block }
        }
        return largest
    }
}
