// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver

/// Numbers that look random and are the same on every run.
struct Dice {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &+ 1 }

    mutating func roll(_ bound: Int) -> Int {
        // A linear congruential generator is arithmetic modulo 2^64.
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(max(bound, 1)))
    }

    /// True once in `bound` rolls.
    mutating func isOne(in bound: Int) -> Bool { roll(bound) == 0 }

    mutating func pick<T>(_ list: [T]) -> T { list[roll(list.count)] }
}

/// Random small problems whose present layout is valid.
enum SmallProblems {
    private static let unit: UInt64 = 1 << 16

    /// One aperture of `slots` units of 64 KiB, granule 4 units, at most `devices` devices in place and one new.
    static func memory(_ seed: UInt64, slots: Int = 32, devices: Int = 5) -> Problem {
        var dice = Dice(seed)
        var p = Drawing(.prefetchable, 0, UInt64(slots) * unit - 1)
        var buses: [Int?] = [nil]
        for b in 0..<(1 + dice.roll(4)) {
            let parent = dice.pick(buses)
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
        for d in 0..<(1 + dice.roll(devices)) {
            let device = p.device(
                "d\(d)",
                below: dice.pick(buses),
                weight: dice.isOne(in: 6) ? nil : 1 + dice.roll(3)
            )
            for n in 0..<(1 + dice.roll(2)) {
                let size = 1 << dice.roll(4)
                for _ in 0..<8 {
                    let at = dice.roll(slots / size) * size
                    p.bar(device, UInt64(size) * unit, .prefetchable, at: UInt64(at) * unit, name: "BAR \(n)")
                    if ExhaustivePlacer(problem: p.problem).isPresentConsistent { break }
                    p.problem.requests.removeLast()
                }
            }
        }
        let new = p.device("new", below: dice.pick(buses))
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
            let parent = all.isEmpty || dice.isOne(in: 2) ? nil : dice.pick(all)
            let bridge = p.bridge("b\(b)", below: parent, device: false, windows: [.bus: (0, 0)])
            let holder = p.device("d\(b)", below: bridge, weight: dice.isOne(in: 6) ? nil : 1 + dice.roll(3))
            for _ in 0..<10 {
                p.secondary(bridge, at: UInt64(1 + dice.roll(Int(last))), holders: [holder])
                if ExhaustivePlacer(problem: p.problem).isPresentConsistent { break }
                p.problem.requests.removeLast()
            }
            if p.problem.requests.last?.bridge == bridge {
                all.append(bridge)
            } else {
                p.problem.bridges.removeLast()
                p.problem.devices.removeLast()
            }
        }
        var above = all.isEmpty ? nil : dice.pick(all)
        for n in 0..<(1 + dice.roll(3)) {
            let bridge = p.bridge("new\(n)", below: above, device: false, windows: [.bus: (0, 0)])
            p.secondary(bridge, at: nil, holders: [])
            if n == 0 { above = bridge }
        }
        return p.problem
    }

    /// All kinds at once: memory and prefetchable windows (one, the other or both), I/O, bus numbers, apertures below and
    /// above 4 GiB, 32-bit limits, blocks of VF BARs, fixed BARs, obstacles, frozen windows; under either rule.
    static func mixed(_ seed: UInt64) -> Problem {
        var dice = Dice(seed)
        let low = UInt64(6 + dice.roll(10))
        var p = Drawing(.memory, 0, low * unit - 1, buses: 1...6)
        if dice.isOne(in: 3) {
            // A second aperture below 4 GiB, next to the first or not.
            let first = (low + UInt64(dice.roll(3))) * unit
            p.aperture(.memory, first, first + 8 * unit - 1)
        }
        if !dice.isOne(in: 3) {
            let first = 1 << 32 + UInt64(dice.roll(8)) * unit
            p.aperture(.prefetchable, first, first + UInt64(4 + dice.roll(12)) * unit - 1)
        }
        if dice.isOne(in: 2) { p.aperture(.io, 0x1000, 0x1000 + UInt64(1 + dice.roll(3)) * 0x1000 - 1) }
        p.problem.rule = dice.isOne(in: 2) ? .stock : .movable
        if dice.isOne(in: 4), let range = AddressRange(first: UInt64(dice.roll(Int(low))) * unit, size: unit) {
            p.problem.hosts[0].obstacles = [Problem.Obstacle(label: "reserved", space: .memory, range: range)]
        }
        var buses: [Int?] = [nil]
        for b in 0..<(1 + dice.roll(3)) {
            let parent = dice.pick(buses)
            let device = dice.isOne(in: 2) ? p.device("b\(b)", below: parent, weight: 1 + dice.roll(2)) : nil
            var windows: [Problem.Window] = []
            if !dice.isOne(in: 4) { windows.append(Problem.Window(.memory, granule: 2 * unit)) }
            if windows.isEmpty || !dice.isOne(in: 3) {
                let is32Bit = dice.isOne(in: 3)
                windows.append(
                    Problem.Window(
                        .prefetchable,
                        granule: 2 * unit,
                        limits: is32Bit ? Problem.WindowKind.memory.usualLimits : nil
                    )
                )
            }
            if dice.isOne(in: 3) { windows.append(Problem.Window(.io)) }
            p.problem.bridges.append(
                Problem.Bridge(key: UInt64(b), label: "b\(b)", parent: parent, device: device, windows: windows)
            )
            buses.append(b)
        }
        for d in 0..<(1 + dice.roll(4)) {
            let device = p.device("d\(d)", below: dice.pick(buses), weight: dice.isOne(in: 7) ? nil : 1 + dice.roll(3))
            for n in 0..<(1 + dice.roll(2)) { addPlaced(&p, device, n, &dice) }
        }
        setWindows(&p, &dice)
        let new = p.device("new", below: dice.pick(buses))
        for n in 0..<(1 + dice.roll(2)) { addRequest(&p, new, n, at: nil, &dice) }
        return p.problem
    }

    private static func addPlaced(_ p: inout Drawing, _ device: Int, _ n: Int, _ dice: inout Dice) {
        let copy = dice
        for attempt in 0..<8 {
            // The same request at another address each time.
            dice = copy
            for _ in 0..<attempt { _ = dice.roll(2) }
            let ranges = p.problem.hosts[0].apertures.map(\.range)
            let range = dice.pick(ranges)
            let slots = Int(range.clampedSize >> 10)
            let at = range.first + UInt64(dice.roll(slots)) << 10
            addRequest(&p, device, n, at: at, &dice)
            if ExhaustivePlacer(problem: p.problem).isPresentConsistent { return }
            p.problem.requests.removeLast()
        }
    }

    private static func addRequest(_ p: inout Drawing, _ device: Int, _ n: Int, at: UInt64?, _ dice: inout Dice) {
        let hasIO = p.problem.hosts[0].apertures.contains { $0.kind == .io }
        let kind: Problem.Kind = hasIO && dice.isOne(in: 5) ? .io : dice.isOne(in: 3) ? .memory : .prefetchable
        let alignment: UInt64 = kind == .io ? 1 << UInt64(10 + dice.roll(3)) : unit << UInt64(dice.roll(3))
        let size = dice.isOne(in: 5) ? 3 * alignment : alignment
        p.bar(
            device,
            size,
            kind,
            at: at.map { $0 / alignment * alignment },
            name: "BAR \(n)",
            alignment: alignment,
            below4G: kind == .memory || dice.isOne(in: 3),
            fixed: at != nil && dice.isOne(in: 12)
        )
    }

    /// Gives windows their present ranges: the hull of what they hold, sometimes more; seldom, where windows follow
    /// their content, a range that no machine could have.
    private static func setWindows(_ p: inout Drawing, _ dice: inout Dice) {
        guard let ranges = ExhaustivePlacer(problem: p.problem).presentWindows else { return }
        for (b, bridge) in p.problem.bridges.enumerated() {
            for w in bridge.windows.indices {
                guard let range = ranges[.window(b, w)] ?? nil else { continue }
                p.problem.bridges[b].windows[w].current = range
                if p.problem.rule == .movable, dice.isOne(in: 20) {
                    p.problem.bridges[b].windows[w].current = AddressRange(first: 0, last: range.last)
                }
            }
        }
        for b in p.problem.bridges.indices {
            for w in p.problem.bridges[b].windows.indices {
                guard let range = p.problem.bridges[b].windows[w].current else { continue }
                let before = p.problem
                if dice.isOne(in: 3) {
                    let more = range.last + p.problem.bridges[b].windows[w].granule
                    p.problem.bridges[b].windows[w].current = AddressRange(first: range.first, last: more)
                    if !isPresentConsistent(p.problem) { p.problem = before }
                }
                if dice.isOne(in: 12) {
                    let kept = p.problem
                    p.problem.bridges[b].windows[w].isFrozen = true
                    if !isPresentConsistent(p.problem) { p.problem = kept }
                }
            }
        }
    }

    /// Whether the present layout keeps the rules with every window at its present range.
    private static func isPresentConsistent(_ problem: Problem) -> Bool {
        var frozen = problem
        for b in frozen.bridges.indices {
            for w in frozen.bridges[b].windows.indices where frozen.bridges[b].windows[w].current != nil {
                frozen.bridges[b].windows[w].isFrozen = true
            }
        }
        return ExhaustivePlacer(problem: frozen).isPresentConsistent
    }
}
