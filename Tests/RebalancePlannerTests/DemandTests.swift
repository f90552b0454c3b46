// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// Kinds of demands, and small collections that the search counts with.
@Suite("demands and sets of the search")
struct DemandTests {
    private typealias Machine = WriteMachine

    private static let all: [Demand] = [
        .address(3, .rom), .bus(3), .size(3, .rom, 5), .located(3, .rom, 6), .stretch(3, .high, 7), .buses(3, 8),
        .window(3, .ioWindow, 9), .room(3, .memory, 10), .freeBuses(3, 11), .cleared(3, .overlap, .rom),
    ]

    @Test("each demand is of its function, and the same of another")
    func functions() {
        let others: [Demand] = [
            .address(4, .rom), .bus(4), .size(4, .rom, 5), .located(4, .rom, 6), .stretch(4, .high, 7), .buses(4, 8),
            .window(4, .ioWindow, 9), .room(4, .memory, 10), .freeBuses(4, 11), .cleared(4, .overlap, .rom),
        ]
        #expect(Self.all.map(\.function) == Array(repeating: 3, count: Self.all.count))
        #expect(Self.all.map { $0.of(4) } == others)
        #expect(Self.all.map(\.needsFindings) == Array(repeating: false, count: 9) + [true])
    }

    @Test("which demands want bus numbers, and which of them the numbers as they are")
    func buses() {
        #expect(Self.all.map(\.wantsBuses) == [false, true, false, false, false, true, false, false, true, false])
        #expect(Demand.stretch(0, .buses, 1).wantsBuses && !Demand.stretch(0, .low, 1).wantsBuses)
        for code in [Finding.Code.busOutsideParent, .busOverlap, .busMismatch] {
            #expect(Demand.cleared(0, code, nil).wantsBuses && Demand.cleared(0, code, nil).isOfNumbersAsTheyAre)
        }
        for code in [Finding.Code.outsideWindow, .registersDiffer, .barUnclaimed] {
            #expect(!Demand.cleared(0, code, nil).wantsBuses && !Demand.cleared(0, code, nil).isOfNumbersAsTheyAre)
        }
        #expect(Self.all.map(\.isOfNumbersAsTheyAre) == [false, true] + Array(repeating: false, count: 8))
        #expect(!Demand.stretch(0, .buses, 1).isOfNumbersAsTheyAre)
    }

    @Test("a set of functions against an ordinary set, over the borders of its words")
    func functionSet() {
        let samples: [[Int]] = [[], [0], [63], [64], [0, 63, 64, 127, 128], [5, 70], [5], [70, 200]]
        for a in samples {
            let set = FunctionSet(a)
            #expect(set.members == a && set.count == a.count && set.isEmpty == a.isEmpty)
            for i in [0, 1, 5, 62, 63, 64, 65, 70, 127, 128, 129, 200, 1000] {
                #expect(set.contains(i) == a.contains(i))
            }
            for b in samples {
                var union = set
                union.formUnion(FunctionSet(b))
                #expect(union.members == Set(a + b).sorted())
                #expect(set.isSubset(of: FunctionSet(b)) == Set(a).isSubset(of: b), "\(a) \(b)")
                #expect(set.isSuperset(of: b) == Set(a).isSuperset(of: b))
            }
        }
        var twice = FunctionSet([7])
        twice.insert(7)
        #expect(twice.count == 1)
    }

    @Test("kept states: the first always, of the others as many as 48000 functions make, 8 at least, the oldest go")
    func keptStates() throws {
        let machine = try Machine(enabledVFs: 0)
        let capacity = 48_000 / machine.state.context.count
        var kept = KeptStates(machine.state)
        #expect(kept[0] != nil && kept[1] == nil)
        for node in 1...(capacity + 2) { kept.keep(machine.state, of: node) }
        #expect(kept[0] != nil)
        #expect(kept[1] == nil && kept[2] == nil && kept[3] != nil && kept[capacity + 2] != nil)
        // One that is there is not counted twice.
        kept.keep(machine.state, of: capacity + 2)
        #expect(kept[3] != nil)
        #expect(KeptStates()[0] == nil)
    }

    @Test("work is shared: an equal part of what is left, or an eighth of the whole, and 24 stages at least")
    func allowance() {
        let allowance = SearchAllowance(8000)
        allowance.share(among: 4)
        allowance.beginGroup()
        #expect(allowance.stages(10) == 200, "2000 of 8000 for ten functions")
        #expect(allowance.stages(0) == 2000 && allowance.stages(1) == 2000)
        allowance.spend(100, functions: 10, permitted: 200, wanted: 300, found: true)
        #expect(allowance.stages(10) == 100)
        // 7000 are left for three.
        allowance.beginGroup()
        #expect(allowance.stages(1) == 2333)
        allowance.spend(5, functions: 1000, permitted: 10, wanted: 10, found: false)
        // 2000 are left for two; an eighth of the whole is no more.
        allowance.beginGroup()
        #expect(allowance.stages(1) == 1000)
        allowance.spend(1900, functions: 1, permitted: 2000, wanted: 2000, found: false)
        #expect(!allowance.isSpent)
        // 100 are left for one; an eighth of the whole would be 1000.
        allowance.beginGroup()
        #expect(allowance.stages(1) == 100 && allowance.stages(10) == 24)
        let none = SearchAllowance(-5)
        none.beginGroup()
        #expect(none.stages(1) == 24)
    }

    @Test("the allowance ended a search: nothing found, less permitted than wanted, and all of it used")
    func spent() {
        let cases: [(used: Int, permitted: Int, wanted: Int, found: Bool, isSpent: Bool)] = [
            (10, 10, 11, false, true), (11, 10, 11, false, true), (9, 10, 11, false, false), (10, 10, 10, false, false),
            (10, 10, 11, true, false),
        ]
        for one in cases {
            let allowance = SearchAllowance(1000)
            allowance.spend(one.used, functions: 1, permitted: one.permitted, wanted: one.wanted, found: one.found)
            #expect(allowance.isSpent == one.isSpent, "\(one)")
        }
    }

    @Test("the largest stretch of a root bus that nobody has, against a count byte by byte")
    func stretches() throws {
        let machine = try Machine(enabledVFs: 0)
        let context = machine.state.context
        let topology = machine.topology
        let roots = topology.roots(of: 0)
        var isFree = Array(repeating: true, count: 64)
        isFree[0] = false
        for i in roots {
            guard let range = topology.functions[i].bridge?.busRange else { continue }
            for bus in range.first.rawValue...range.last.rawValue { isFree[Int(bus)] = false }
        }
        let longest = String(isFree.map { $0 ? "f" : " " }).split(separator: " ").map(\.count).max() ?? 0
        #expect(FreeStretch.buses.size(0, machine.state.summary, context) == UInt64(longest))
        // Memory in pieces of 4 KiB, the least of what stands at the root.
        func largest(_ aperture: ClosedRange<UInt64>) -> UInt64 {
            var taken: [ClosedRange<UInt64>] = []
            for i in roots {
                for resource in topology.functions[i].resources where resource.kind != .io {
                    if let range = resource.range, aperture.contains(range.first) {
                        taken.append(range.first...range.last)
                    }
                }
            }
            taken.sort { $0.lowerBound < $1.lowerBound }
            var at = aperture.lowerBound
            var best: UInt64 = 0
            for range in taken {
                if range.lowerBound > at { best = max(best, range.lowerBound - at) }
                at = max(at, range.upperBound + 1)
            }
            return max(best, aperture.upperBound + 1 - at)
        }
        let low = FreeStretch.low.size(0, machine.state.summary, context)
        #expect(low == largest(0x8000_0000...0x8fff_ffff))
        #expect(FreeStretch.high.size(0, machine.state.summary, context) == largest(0x1_0000_0000...0x4_ffff_ffff))
        #expect(FreeStretch.buses.text(12) == "12" && FreeStretch.low.text(1 << 20) == "1M")
        #expect(FreeStretch.allCases.map(\.name) == ["memory above 4 GiB", "memory below 4 GiB", "bus numbers"])
    }
}
