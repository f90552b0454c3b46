// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import ResourceSolver

/// Orders of blocks in a line, against every order there is.
@Suite("Orders of blocks")
struct OrderSearchTests {
    /// A block of a size with an alignment, or a window with blocks inside; with the addresses that it may have.
    private indirect enum Block {
        case leaf(size: Int, alignment: Int)
        case window(granule: Int, [Block])

        func shape(_ table: inout ShapeTable) -> Int {
            switch self {
            case .leaf(let size, let alignment): return table.leaf(size: size, alignment: alignment)
            case .window(let granule, let inside):
                var shapes: [Int] = []
                for block in inside { shapes.append(block.shape(&table)) }
                return table.window(granule: granule, children: shapes) ?? -1
            }
        }

        /// Where it ends when nothing may lie before `position`.
        func end(from position: Int) -> Int {
            switch self {
            case .leaf(let size, let alignment): return Self.up(position, alignment) + size
            case .window(let granule, let inside):
                let start = Self.up(position, granule)
                let end = permutations(inside).map { $0.reduce(start) { $1.end(from: $0) } }.min() ?? start
                return Self.up(end, granule)
            }
        }

        private static func up(_ value: Int, _ alignment: Int) -> Int {
            value % alignment == 0 ? value : value - value % alignment + alignment
        }
    }

    private static func permutations<T>(_ list: [T]) -> [[T]] {
        guard list.count > 1 else { return [list] }
        return list.indices.flatMap { i in
            var rest = list
            let first = rest.remove(at: i)
            return permutations(rest).map { [first] + $0 }
        }
    }

    private static func leaf(_ dice: inout Dice) -> Block {
        let alignment = 1 << dice.roll(4)
        return .leaf(size: alignment * (1 + dice.roll(3)), alignment: alignment)
    }

    @Test("the least end is that of the best of all orders, and a limit below it is refused", arguments: 0..<12)
    func leastEnd(block: Int) {
        for seed in 0..<25 {
            var dice = Dice(UInt64(block * 100 + seed))
            let blocks = (0..<(1 + dice.roll(4))).map { _ -> Block in
                dice.isOne(in: 3)
                    ? .window(granule: 4, (0..<(1 + dice.roll(3))).map { _ in Self.leaf(&dice) }) : Self.leaf(&dice)
            }
            let start = dice.roll(20)
            let expected = Self.permutations(blocks).map { $0.reduce(start) { $1.end(from: $0) } }.min() ?? start
            var table = ShapeTable()
            var entries: [OrderSearch.Entry] = []
            for block in blocks { entries.append(OrderSearch.Entry(shape: block.shape(&table), count: 1)) }
            let name = "\(block * 100 + seed)"
            let found = OrderSearch.leastEnd(entries, from: start, in: &table, budget: 10_000)
            #expect(found.end == expected && found.isExact, "\(name)")
            #expect(OrderSearch.levelBound(entries, from: start, in: table) <= expected, "\(name)")
            let exact = OrderSearch.leastEnd(entries, from: start, limit: expected, in: &table, budget: 10_000)
            #expect(exact.end == expected, "\(name)")
            let less = OrderSearch.leastEnd(entries, from: start, limit: expected - 1, in: &table, budget: 10_000)
            #expect(less.end == .max && less.isExact, "\(name)")
            // The order that is told ends there.
            let ordered = OrderSearch.leastEnd(entries, from: start, in: &table, budget: 10_000, needsOrder: true)
            #expect(ordered.order.sorted() == Array(blocks.indices), "\(name)")
            #expect(ordered.order.reduce(start) { blocks[$1].end(from: $0) } == expected, "\(name)")
        }
    }

    @Test("blocks keep within their own limits", arguments: 0..<8)
    func limits(block: Int) {
        for seed in 0..<25 {
            var dice = Dice(UInt64(5_000 + block * 100 + seed))
            struct Item {
                var size: Int
                var alignment: Int
                var low: Int
                var high: Int
            }
            let items = (0..<(1 + dice.roll(4))).map { _ -> Item in
                let alignment = 1 << dice.roll(3)
                let low = dice.roll(12)
                return Item(
                    size: alignment * (1 + dice.roll(2)),
                    alignment: alignment,
                    low: low,
                    high: low + 4 + dice.roll(28)
                )
            }
            func end(_ order: [Item], _ start: Int) -> Int? {
                var position = start
                for item in order {
                    let from = max(position, item.low)
                    let first = (from + item.alignment - 1) / item.alignment * item.alignment
                    guard first + item.size <= item.high else { return nil }
                    position = first + item.size
                }
                return position
            }
            let start = dice.roll(8)
            let expected = Self.permutations(items).compactMap { end($0, start) }.min()
            var table = ShapeTable()
            var entries: [OrderSearch.Entry] = []
            for item in items {
                let shape = table.leaf(size: item.size, alignment: item.alignment)
                entries.append(OrderSearch.Entry(shape: shape, count: 1, low: item.low, high: item.high))
            }
            let found = OrderSearch.leastEnd(entries, from: start, in: &table, budget: 10_000)
            #expect(found.end == expected ?? .max && found.isExact, "\(block * 100 + seed)")
        }
    }

    @Test("equal blocks count as often as they are there")
    func counts() {
        var table = ShapeTable()
        let small = table.leaf(size: 1, alignment: 1)
        let large = table.leaf(size: 8, alignment: 8)
        let odd = table.leaf(size: 6, alignment: 2)
        #expect(table.leaf(size: 8, alignment: 8) == large && table.leaf(size: 8, alignment: 4) != large)
        // From 1: seven small ones up to 8, then twice 8, then the eighth.
        let entries = [OrderSearch.Entry(shape: small, count: 8), OrderSearch.Entry(shape: large, count: 2)]
        #expect(OrderSearch.leastEnd(entries, from: 1, in: &table, budget: 1_000).end == 25)
        #expect(OrderSearch.leastEnd([.init(shape: odd, count: 3)], from: 1, in: &table, budget: 1_000).end == 20)
        #expect(table.window(granule: 4, children: []) == nil)
    }

    @Test("the smallest room for a host bridge: exact by the best order, above what stands before")
    func span() throws {
        // Two of 1 MiB and one of 4 MiB from 1 MiB on: 1, 1, then 4 at 4 MiB: up to 8 MiB.
        var p = Drawing(.memory, 0, 0xff_ffff)
        let card = p.device("card", below: nil)
        for size in [1, 1, 4] as [UInt64] { p.bar(card, size << 20) }
        let span = Solver().smallestSpan(of: p.problem, host: 0, space: .memory, startingAt: 1 << 20)
        #expect(span == Span(length: 7 << 20, bound: 7 << 20) && span?.isExact == true)
        #expect(Solver().smallestSpan(of: p.problem, host: 0, space: .memory, startingAt: 0)?.length == 6 << 20)
        #expect(Solver().smallestSpan(of: p.problem, host: 0, space: .io, startingAt: 0) == nil)
        #expect(Solver().smallestSpan(of: p.problem, host: 1, space: .memory, startingAt: 0) == nil)
        #expect(Solver().smallestSpan(of: p.problem, host: 0, space: .memory, startingAt: 1 << 60) == nil)
    }

    // MARK: Sizes

    /// The chooser with requests whose sizes fit where `fits` says so; gives what was chosen and how often it tried.
    private func choose(_ ladders: [[UInt64]], _ fits: ([UInt64]) -> Bool?) -> (sizes: [UInt64]?, tries: Int) {
        var p = Drawing(.memory, 0, 0xffff_ffff)
        let card = p.device("card", below: nil)
        for ladder in ladders { p.bar(card, ladder[0], alternatives: Array(ladder.dropFirst())) }
        var tries = 0
        var last: [UInt64] = []
        let chooser = SizeChooser(problem: p.problem, requests: Array(ladders.indices))
        let result = chooser.choose { sizes in
            tries += 1
            last = sizes
            switch fits(sizes) {
            case true?:
                let index = ProblemIndex(p.problem)
                var solver = HostSolver(p.problem, host: 0, index: index, effort: .standard, keepsPresent: true)
                return solver.solve()
            case false?: return .impossible(Selection(p.problem))
            case nil: return .unknown
            }
        }
        if case .found = result { return (last, tries) }
        return (nil, tries)
    }

    @Test("the largest sum that fits is taken, equal sums by the order of the requests")
    func sizes() {
        // Sums fall: 24, 20, 20, 18, 18, 16, ...
        let ladders: [[UInt64]] = [[16, 8, 4], [8, 4]]
        #expect(choose(ladders) { _ in true }.sizes == [16, 8])
        #expect(choose(ladders) { $0.reduce(0, +) <= 20 }.sizes == [16, 4])
        #expect(choose(ladders) { $0.reduce(0, +) <= 16 }.sizes == [8, 8])
        #expect(choose(ladders) { $0[0] <= 4 }.sizes == [4, 8])
        #expect(choose(ladders) { _ in false }.sizes == nil)
        // Two that can give 8 each: the first stays large.
        #expect(choose([[16, 8], [16, 8]]) { $0.reduce(0, +) <= 24 }.sizes == [16, 8])
        // Larger alternatives than the size that is wanted are none.
        #expect(choose([[8, 16, 4]]) { $0[0] != 8 }.sizes == [4])
    }

    @Test("what is impossible rules out everything larger; what is unknown rules out nothing")
    func hopeless() {
        // The ladder of two with four steps each: none fits but the smallest; 16 combinations, each tried at most once.
        let ladders: [[UInt64]] = [[64, 32, 16, 8], [64, 32, 16, 8]]
        let all = choose(ladders) { $0 == [8, 8] }
        #expect(all.sizes == [8, 8] && all.tries == 16)
        #expect(choose(ladders) { $0 == [8, 8] ? true : nil }.sizes == [8, 8])
    }
}
