// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver
import Testing

/// The judge of all layouts, judged: a layout that keeps every rule, and for each rule one that breaks it by as little as
/// can be.
///
///     aperture e0000000-e0ffffff, buses 0-ff, an obstacle at e0800000-e08fffff
///      └ port, memory e0000000-e02fffff, buses 2-4
///         ├ left   1 MiB at e0000000
///         ├ right  1 MiB at e0100000, fixed
///         └ new    1 MiB, has no place yet, below 4 GiB
@Suite("the checker of layouts")
struct LayoutCheckerTests {
    private static let base: UInt64 = 0xe000_0000
    private static let mib: UInt64 = 1 << 20

    private func range(_ first: UInt64, _ last: UInt64) -> AddressRange? { AddressRange(first: first, last: last) }

    private func mebibyte(_ n: UInt64) -> AddressRange? {
        AddressRange(first: Self.base + n * Self.mib, size: Self.mib)
    }

    private func drawing() -> Drawing {
        var p = Drawing(.memory, Self.base, Self.base + 16 * Self.mib - 1, buses: 0...255)
        p.problem.hosts[0].obstacles = [
            Problem.Obstacle(label: "obstacle", space: .memory, range: mebibyte(8) ?? .all)
        ]
        let port = p.bridge(
            "port",
            windows: [.memory: (Self.base, Self.base + 3 * Self.mib - 1), .bus: (2, 4)]
        )
        let left = p.device("left", below: port, weight: 2)
        let right = p.device("right", below: port, weight: 5)
        let new = p.device("new", below: port)
        p.bar(left, Self.mib, at: Self.base)
        p.bar(right, Self.mib, at: Self.base + Self.mib, fixed: true)
        p.bar(new, Self.mib, below4G: true)
        p.secondary(port, at: 2, holders: [left])
        return p
    }

    private func layout(_ problem: Problem) -> Layout {
        Layout(
            placements: [mebibyte(0), mebibyte(1), mebibyte(2), range(2, 2)],
            windows: [problem.bridges[0].windows.map(\.current)],
            disturbed: [],
            cost: 0,
            proof: .optimal
        )
    }

    /// What the checker says after both were changed.
    private func defects(
        _ changeProblem: (inout Problem) -> Void = { _ in },
        _ change: (inout Layout) -> Void
    ) -> [String] {
        var problem = drawing().problem
        var layout = layout(problem)
        changeProblem(&problem)
        change(&layout)
        return LayoutChecker(problem).defects(of: layout)
    }

    private func memoryWindow(_ layout: inout Layout, _ first: UInt64, _ last: UInt64) {
        for w in layout.windows[0].indices where layout.windows[0][w]?.contains(Self.base) == true {
            layout.windows[0][w] = range(first, last)
        }
    }

    @Test("a layout that keeps every rule has no defect, filled to the last byte")
    func sound() {
        #expect(defects { _ in } == [])
    }

    @Test("an overlap by one address, with a neighbour and with an obstacle")
    func overlaps() {
        let neighbours = defects({ $0.requests[2].alignment = 1 }) { layout in
            layout.placements[2] = AddressRange(first: Self.base + 2 * Self.mib - 1, size: Self.mib)
        }
        #expect(neighbours.count == 1 && neighbours[0].contains("overlap on the bus behind port"), "\(neighbours)")
        let obstacle = defects { self.memoryWindow(&$0, Self.base, Self.base + 9 * Self.mib - 1) }
        #expect(obstacle.contains { $0.contains("obstacle") && $0.contains("overlap on a root bus") }, "\(obstacle)")
        let before = defects { self.memoryWindow(&$0, Self.base, Self.base + 8 * Self.mib - 1) }
        #expect(!before.contains { $0.contains("overlap") }, "\(before)")
    }

    @Test("size, alignment, limits: one byte less, one step beside, one byte beyond")
    func singleRanges() {
        let short = defects { $0.placements[2] = AddressRange(first: Self.base + 2 * Self.mib, size: Self.mib - 1) }
        #expect(short.contains("new BAR 0 has size 0xfffff, expected 0x100000"), "\(short)")
        let beside = defects({ $0.requests[2].alignment = 2 * Self.mib }) { $0.placements[2] = self.mebibyte(3) }
        #expect(beside.contains { $0.contains("expected a multiple of 0x200000") }, "\(beside)")
        for (last, isBeyond) in [(Self.base + 3 * Self.mib - 1, false), (Self.base + 3 * Self.mib - 2, true)] {
            let limited = defects({ $0.requests[2].limits = self.range(0, last) ?? .all }) { _ in }
            #expect(limited.contains { $0.hasSuffix("beyond its limits") } == isBeyond, "\(limited)")
        }
        let missing = defects { $0.placements[2] = nil }
        #expect(missing == ["new BAR 0 is required and has no range"])
    }

    @Test("what is fixed or frozen stays")
    func fixed() {
        let moved = defects { layout in
            layout.placements[1] = self.mebibyte(2)
            layout.placements[2] = self.mebibyte(1)
        }
        #expect(moved.contains("right BAR 0 is fixed at 0xe0100000 and was moved to 0xe0200000"), "\(moved)")
        let frozen = defects({ problem in
            for w in problem.bridges[0].windows.indices { problem.bridges[0].windows[w].isFrozen = true }
        }) { self.memoryWindow(&$0, Self.base, Self.base + 4 * Self.mib - 1) }
        #expect(frozen.contains("port memory window is frozen and changed"), "\(frozen)")
    }

    @Test("windows: granules, limits, what lies in none of them, and apertures")
    func windows() {
        let crooked = defects { self.memoryWindow(&$0, Self.base, Self.base + 3 * Self.mib + 0xfff) }
        #expect(crooked.contains { $0.contains("whole granules") }, "\(crooked)")
        let narrow = defects { self.memoryWindow(&$0, Self.base, Self.base + 2 * Self.mib - 1) }
        #expect(narrow.contains { $0.hasPrefix("new BAR 0") && $0.contains("lies in no window of port") }, "\(narrow)")
        let beyond = defects { self.memoryWindow(&$0, Self.base, Self.base + 17 * Self.mib - 1) }
        #expect(
            beyond.contains { $0.hasPrefix("port memory window") && $0.contains("lies in no aperture") },
            "\(beyond)"
        )
        let limited = defects({ problem in
            for w in problem.bridges[0].windows.indices where problem.bridges[0].windows[w].kind == .memory {
                problem.bridges[0].windows[w].limits = self.range(0, Self.base + 3 * Self.mib - 2) ?? .all
            }
        }) { _ in }
        #expect(
            limited.contains { $0.hasPrefix("port memory window") && $0.hasSuffix("is beyond its limits") },
            "\(limited)"
        )
        let fewer = defects { $0.windows[0].removeLast() }
        #expect(fewer == ["port has 1 windows, expected 2"])
    }

    @Test("memory that is not prefetchable does not lie in a prefetchable window; prefetchable lies in either")
    func kinds() {
        for (kind, isRight) in [(Problem.Kind.memory, false), (.prefetchable, true)] {
            let found = defects({ problem in
                problem.hosts[0].apertures[0].kind = .memory
                problem.requests[2].kind = kind
                for w in problem.bridges[0].windows.indices where problem.bridges[0].windows[w].kind == .memory {
                    problem.bridges[0].windows[w].kind = .prefetchable
                }
                problem.requests[0].kind = .prefetchable
                problem.requests[1].kind = .prefetchable
            }) { _ in }
            #expect(found.contains { $0.hasPrefix("new BAR 0") } != isRight, "\(found)")
        }
    }

    @Test("buses: the header is the first number of its range, and the range is the host bridge's")
    func buses() {
        let late = defects { $0.placements[3] = self.range(3, 3) }
        #expect(late.contains("port secondary bus is not the first number of its bus range"), "\(late)")
        let foreign = defects({ $0.hosts[0].busNumbers = self.range(0, 3) }) { _ in }
        #expect(foreign.contains { $0.hasPrefix("port bus range") && $0.contains("lies in no aperture") }, "\(foreign)")
        #expect(defects({ $0.hosts[0].busNumbers = self.range(2, 4) }) { _ in } == [])
    }

    @Test("whoever moves is listed, with the sum of the weights; nobody is listed who must not be disturbed")
    func disturbance() {
        func swap(_ layout: inout Layout) {
            layout.placements[0] = mebibyte(2)
            layout.placements[2] = mebibyte(0)
        }
        let silent = defects { swap(&$0) }
        #expect(silent == ["left is disturbed (left BAR 0 moved) and not listed"])
        let left = drawing().problem.devices.firstIndex { $0.label == "left" } ?? -1
        #expect(
            defects {
                swap(&$0)
                $0.disturbed = [left]
                $0.cost = 2
            } == []
        )
        let cheap = defects {
            swap(&$0)
            $0.disturbed = [left]
            $0.cost = 1
        }
        #expect(cheap == ["the cost is 2, stated as 1"])
        let kept = defects({ $0.devices[left].weight = nil }) {
            swap(&$0)
            $0.disturbed = [left]
        }
        #expect(kept == ["left must not be disturbed"])
        #expect(defects { $0.disturbed = [99] } == ["device 99 is listed as disturbed and does not exist"])
    }

    @Test("on a stock kernel a window that changes disturbs all below it, with bridges that move theirs do not")
    func rules() {
        func grow(_ layout: inout Layout) { memoryWindow(&layout, Self.base, Self.base + 4 * Self.mib - 1) }
        let stock = defects({ $0.rule = .stock }) { grow(&$0) }
        #expect(
            stock.count == 3 && stock.allSatisfy { $0.contains("(port memory window changed) and not listed") },
            "\(stock)"
        )
        #expect(defects({ $0.rule = .movable }) { grow(&$0) } == [])
    }

    @Test("a layout of another problem is told so")
    func foreign() {
        #expect(defects { $0.placements.removeLast() } == ["the layout has 3 placements and 1 bridges"])
        #expect(defects { $0.windows = [] } == ["the layout has 4 placements and 0 bridges"])
    }
}

/// Exact fits, and one granule less.
@Suite("exact fits")
struct ExactFitTests {
    private static let mib: UInt64 = 1 << 20

    @Test("an aperture filled to its last byte, and one that ends one granule before", arguments: [0, 1] as [UInt64])
    func aperture(missing: UInt64) throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe000_0000 + (4 - missing) * Self.mib - 1)
        let port = p.bridge("port", windows: [.memory: (0, 0)])
        for n in 0..<4 { p.bar(p.device("d\(n)", below: port), Self.mib) }
        let outcome = try Solver().smallestChange(p.problem)
        if missing == 0 {
            let layout = try #require(outcome.layout)
            #expect(LayoutChecker(p.problem).defects(of: layout) == [])
            #expect(layout.windows[0][0] == AddressRange(first: 0xe000_0000, size: 4 * Self.mib))
        } else {
            #expect(outcome.conflict != nil)
        }
    }

    @Test(
        "the highest address that is allowed is used when it is the last byte, not when it is one less",
        arguments: [0, 1] as [UInt64]
    )
    func highestAddress(less: UInt64) throws {
        var p = Drawing(.memory, 0xe000_0000, 0xefff_ffff)
        let card = p.device("card", below: nil)
        let r = p.bar(card, 2 * Self.mib)
        p.problem.requests[r].limits = try #require(
            AddressRange(first: 0xe000_0000, last: 0xe000_0000 + 2 * Self.mib - 1 - less)
        )
        let outcome = try Solver().smallestChange(p.problem)
        #expect((outcome.layout != nil) == (less == 0))
        if let layout = outcome.layout { #expect(layout.placements[r]?.first == 0xe000_0000) }
    }

    @Test("the only hole is the last one, between neighbours that stay")
    func lastHole() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe000_0000 + 8 * Self.mib - 1)
        for n in 0..<7 as Range<UInt64> {
            p.bar(p.device("d\(n)", below: nil, weight: nil), Self.mib, at: 0xe000_0000 + n * Self.mib)
        }
        let r = p.bar(p.device("new", below: nil), Self.mib)
        let layout = try #require(try Solver().smallestChange(p.problem).layout)
        #expect(layout.placements[r] == AddressRange(first: 0xe070_0000, size: Self.mib))
        #expect(layout.disturbed.isEmpty)
    }
}
