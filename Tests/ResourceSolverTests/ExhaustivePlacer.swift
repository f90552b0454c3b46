// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver

/// Tries every set of disturbed devices and every address: small, slow, obviously right.
///
/// One host bridge, one space, one window kind, addresses in units of `unit`. Works on the rule that a layout exists
/// exactly when the granule-rounded hulls of all windows are disjoint among siblings.
struct ExhaustivePlacer {
    let problem: Problem
    let unit: UInt64
    let isBus: Bool

    /// The least cost, or nil when there is no layout.
    func leastCost() -> Int? {
        let movable = problem.devices.indices.filter { problem.devices[$0].weight != nil }
        var best: Int?
        for set in 0..<(1 << movable.count) {
            var isMoved = Array(repeating: false, count: problem.devices.count)
            var cost = 0
            for (i, d) in movable.enumerated() where set >> i & 1 == 1 {
                let holds = problem.requests.contains { $0.holders.contains(d) && $0.current != nil }
                if !holds { cost = .max / 2 }
                isMoved[d] = true
                cost += problem.devices[d].weight ?? 0
                if cost >= .max / 2 { break }
            }
            guard cost < best ?? .max / 2 else { continue }
            if fits(isMoved) { best = cost }
        }
        return best
    }

    private func fits(_ isMoved: [Bool]) -> Bool {
        var start = Array(repeating: -1, count: problem.requests.count)
        var open: [Int] = []
        for (r, request) in problem.requests.enumerated() {
            if let current = request.current, !request.holders.allSatisfy({ isMoved[$0] }) {
                start[r] = Int(current / unit)
            } else {
                open.append(r)
            }
        }
        open.sort { problem.requests[$0].size > problem.requests[$1].size }
        return place(open[...], &start)
    }

    private func place(_ open: ArraySlice<Int>, _ start: inout [Int]) -> Bool {
        guard isConsistent(start) else { return false }
        guard let r = open.first else { return true }
        let request = problem.requests[r]
        let size = Int(request.size / unit)
        let step = Int(max(request.alignment / unit, 1))
        guard let space = isBus ? problem.hosts[0].busNumbers : problem.hosts[0].apertures.first?.range else {
            return false
        }
        let low = Int(space.first / unit)
        let high = Int((space.last + 1) / unit)
        var at = (low + step - 1) / step * step
        while at + size <= high {
            start[r] = at
            if place(open.dropFirst(), &start) { return true }
            at += step
        }
        start[r] = -1
        return false
    }

    /// Whether hulls of what is placed so far are disjoint among siblings; more placements never repair a clash.
    func isConsistent(_ start: [Int]) -> Bool {
        func hulls(of bridge: Int?) -> [(Int, Int)]? {
            var pieces: [(Int, Int)] = []
            var header: Int?
            for (r, request) in problem.requests.enumerated() where request.bridge == bridge && start[r] >= 0 {
                pieces.append((start[r], start[r] + Int(request.size / unit)))
                if request.kind == .busHeader { header = start[r] }
            }
            for (b, child) in problem.bridges.enumerated() where child.parent == bridge {
                guard let inside = hulls(of: b) else { return nil }
                guard let low = inside.map(\.0).min(), let high = inside.map(\.1).max() else { continue }
                let g = Int(max(child.windows[0].granule / unit, 1))
                pieces.append((low / g * g, (high + g - 1) / g * g))
            }
            pieces.sort { $0 < $1 }
            for (a, b) in zip(pieces, pieces.dropFirst()) where a.1 > b.0 { return nil }
            if let header, let first = pieces.first, first.0 < header { return nil }
            return pieces
        }
        guard let top = hulls(of: nil) else { return false }
        guard let space = isBus ? problem.hosts[0].busNumbers : problem.hosts[0].apertures.first?.range else {
            return false
        }
        return top.allSatisfy { $0.0 >= Int(space.first / unit) && $0.1 <= Int((space.last + 1) / unit) }
    }
}

/// Numbers that look random and are the same on every run.
struct Dice {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &+ 1 }

    mutating func roll(_ bound: Int) -> Int {
        // A linear congruential generator is arithmetic modulo 2^64.
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(max(bound, 1)))
    }
}

/// Random small problems whose present layout is valid.
enum SmallProblems {
    /// One aperture of `slots` units of 64 KiB, granule 4 units, at most `devices` devices in place and one new.
    static func memory(_ seed: UInt64, slots: Int = 32, devices: Int = 5) -> Problem {
        var dice = Dice(seed)
        let unit: UInt64 = 1 << 16
        var p = Drawing(.prefetchable, 0, UInt64(slots) * unit - 1)
        var buses: [Int?] = [nil]
        for b in 0..<(1 + dice.roll(4)) {
            let parent = buses[dice.roll(buses.count)]
            p.problem.bridges.append(
                Problem.Bridge(
                    key: UInt64(b),
                    label: "b\(b)",
                    parent: parent,
                    windows: [Problem.Window(.prefetchable, granule: 4 * unit)]
                )
            )
            buses.append(b)
        }
        let placer = { (p: Problem) in
            ExhaustivePlacer(problem: p, unit: unit, isBus: false).isPresentConsistent
        }
        for d in 0..<(1 + dice.roll(devices)) {
            let device = p.device(
                "d\(d)",
                below: buses[dice.roll(buses.count)],
                weight: dice.roll(6) == 0 ? nil : 1 + dice.roll(3)
            )
            for n in 0..<(1 + dice.roll(2)) {
                let size = 1 << dice.roll(4)
                for _ in 0..<8 {
                    let at = dice.roll(slots / size) * size
                    p.bar(device, UInt64(size) * unit, .prefetchable, at: UInt64(at) * unit, name: "BAR \(n)")
                    if placer(p.problem) { break }
                    p.problem.requests.removeLast()
                }
            }
        }
        let new = p.device("new", below: buses[dice.roll(buses.count)])
        for n in 0..<(1 + dice.roll(2)) {
            p.bar(new, UInt64(1 << dice.roll(5)) * unit, .prefetchable, name: "BAR \(n)")
        }
        return p.problem
    }

    /// Bus numbers 1 to `last`, some bridges in place, one to three new below one of them.
    static func buses(_ seed: UInt64, last: UInt64 = 9) -> Problem {
        var dice = Dice(seed)
        var p = Drawing(.memory, 0, 0xffff, buses: 1...last)
        var all: [Int] = []
        for b in 0..<(1 + dice.roll(5)) {
            let parent = all.isEmpty || dice.roll(2) == 0 ? nil : all[dice.roll(all.count)]
            let bridge = p.bridge("b\(b)", below: parent, device: false, windows: [.bus: (0, 0)])
            let holder = p.device("d\(b)", below: bridge, weight: dice.roll(6) == 0 ? nil : 1 + dice.roll(3))
            for _ in 0..<10 {
                p.secondary(bridge, at: UInt64(1 + dice.roll(Int(last))), holders: [holder])
                if ExhaustivePlacer(problem: p.problem, unit: 1, isBus: true).isPresentConsistent { break }
                p.problem.requests.removeLast()
            }
            if p.problem.requests.last?.bridge == bridge {
                all.append(bridge)
            } else {
                p.problem.bridges.removeLast()
                p.problem.devices.removeLast()
            }
        }
        var above = all.isEmpty ? nil : all[dice.roll(all.count)]
        for n in 0..<(1 + dice.roll(3)) {
            let bridge = p.bridge("new\(n)", below: above, device: false, windows: [.bus: (0, 0)])
            p.secondary(bridge, at: nil, holders: [])
            if n == 0 { above = bridge }
        }
        return p.problem
    }
}

extension ExhaustivePlacer {
    /// Whether what is placed at present keeps the rules.
    var isPresentConsistent: Bool {
        isConsistent(problem.requests.map { $0.current.map { Int($0 / unit) } ?? -1 })
    }
}
