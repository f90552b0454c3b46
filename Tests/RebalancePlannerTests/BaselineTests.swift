// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

@testable internal import AllocationPolicies
@testable internal import RebalancePlanner

/// What counts as worse than before, one thing at a time.
@Suite("nothing worse than before")
struct BaselineTests {
    private typealias Machine = WriteMachine
    private static let width = TwinSummary.width

    private struct Verdict: Equatable {
        var harm: Int
        var remarks: Int
        var words: [String]
        var repairs: [Demand]
    }

    private func judge(
        _ machine: WriteMachine,
        asked: [Demand] = [],
        tiers: OptionalTiers = OptionalTiers(),
        _ change: (inout TwinSummary) -> Void
    ) -> Verdict {
        var later = machine.state.summary
        change(&later)
        let baseline = Baseline(context: machine.state.context, summary: machine.state.summary, tiers: tiers)
        let harm = baseline.harmCount(in: later, asked: asked)
        #expect(baseline.isHarmed(in: later, asked: asked) == (harm > 0))
        let losses = baseline.losses(in: later, asked: asked)
        return Verdict(
            harm: harm,
            remarks: baseline.remarkCount(in: later),
            words: losses.map(\.text),
            repairs: baseline.repairs(in: later, asked: asked)
        )
    }

    @Test("nothing changed, or something gained, is no loss")
    func nothing() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        #expect(judge(machine) { _ in } == Verdict(harm: 0, remarks: 0, words: [], repairs: []))
        let gained = judge(machine) {
            $0.sizes[card * Self.width] *= 2
            $0.enabledVFs[card] += 1
        }
        #expect(gained == Verdict(harm: 0, remarks: 0, words: [], repairs: []))
        // Another place is none either.
        #expect(judge(machine) { $0.starts[card * Self.width] += 1 << 30 }.harm == 0)
    }

    @Test(
        "a BAR or VF BAR without its address, or with half of it, is harm and is to be placed",
        arguments: [0, 1, 2, 7]
    )
    func resources(index: Int) throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        let name = try #require(ResourceIndex(index))
        let had = machine.state.summary.sizes[card * Self.width + index]
        #expect(had > 0)
        for has in [0, had / 2] {
            let verdict = judge(machine) { $0.sizes[card * Self.width + index] = has }
            #expect(verdict.harm == 1)
            #expect(verdict.repairs == [.address(card, name)])
            let keeps = has == 0 ? "none" : "\(ByteCount(has))"
            #expect(verdict.words == ["\(Machine.card) \(name) had \(ByteCount(had)), keeps \(keeps)"])
            // VF BARs are in the tie-breaker, BARs are harm anyway.
            #expect(verdict.remarks == (index < 6 ? 0 : 1))
        }
        // The size that was asked for is no loss, another one is.
        let asked = judge(machine, asked: [.size(card, name, had / 2)]) {
            $0.sizes[card * Self.width + index] = had / 2
        }
        #expect(asked.harm == 0 && asked.words == [] && asked.repairs == [])
        let other = judge(machine, asked: [.size(card, name, had / 2)]) {
            $0.sizes[card * Self.width + index] = had / 4
        }
        #expect(other.harm == 1 && other.repairs == [.address(card, name)])
        let none = judge(machine, asked: [.size(card, name, had / 2)]) { $0.sizes[card * Self.width + index] = 0 }
        #expect(none.harm == 1 && none.repairs == [.address(card, name)])
    }

    @Test("what may be dropped is no harm: I/O without I/O, VF BARs without VFs, and nothing else")
    func tiers() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        for (index, tier) in [(1, OptionalTiers.Tier.io), (7, .virtualFunctions)] {
            for other in OptionalTiers.Tier.allCases {
                let harm = judge(machine, tiers: OptionalTiers(dropped: [other])) {
                    $0.sizes[card * Self.width + index] = 0
                }.harm
                #expect(harm == (other == tier ? 0 : 1), "\(index) \(other)")
            }
        }
        for other in OptionalTiers.Tier.allCases {
            #expect(
                judge(machine, tiers: OptionalTiers(dropped: [other])) { $0.sizes[card * Self.width] = 0 }.harm == 1
            )
        }
    }

    @Test("a ROM is a remark, and harm where ROMs are required")
    func rom() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        var with = machine.state.summary
        with.sizes[card * Self.width + 6] = 0x10000
        for (tiers, harm) in [
            (OptionalTiers(), 0), (OptionalTiers(required: [.rom]), 1), (OptionalTiers(required: [.io]), 0),
        ] {
            let baseline = Baseline(context: machine.state.context, summary: with, tiers: tiers)
            #expect(baseline.harmCount(in: machine.state.summary, asked: []) == harm)
            #expect(baseline.remarkCount(in: machine.state.summary) == 1)
            #expect(baseline.losses(in: machine.state.summary, asked: []).count == 1)
        }
    }

    @Test("windows count for what they hold: an empty hot-plug port's is a remark, or required")
    func windows() throws {
        let machine = try Machine()
        let full = try machine.number(Machine.full)
        let empty = try machine.number(Machine.empty)
        #expect(
            judge(machine) { $0.sizes[full * Self.width + 14] = 0 }
                == Verdict(harm: 0, remarks: 0, words: [], repairs: [])
        )
        let had = machine.state.summary.sizes[empty * Self.width + 14]
        #expect(had > 0)
        let lost = judge(machine) { $0.sizes[empty * Self.width + 14] = 0 }
        #expect(lost.harm == 0 && lost.remarks == 1 && lost.words.count == 1 && lost.repairs == [])
        let required = judge(machine, tiers: OptionalTiers(required: [.reserve])) {
            $0.sizes[empty * Self.width + 14] -= 1
        }
        #expect(required.harm == 1)
        #expect(required.repairs == [.window(empty, .memoryWindow, had)])
        // The window of a port with something below is none to keep, even then.
        #expect(
            judge(machine, tiers: OptionalTiers(required: [.reserve])) { $0.sizes[full * Self.width + 14] = 0 }.harm
                == 0
        )
    }

    @Test("a bridge without its bus, fewer VFs, something unreachable, somebody gone: harm each")
    func rest() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        let full = try machine.number(Machine.full)
        let empty = try machine.number(Machine.empty)
        let bar = try #require(ResourceIndex.bar(2))
        let bus = judge(machine) { $0.buses[full] = nil }
        #expect(bus.harm == 1 && bus.repairs == [.bus(full)] && bus.words == ["\(Machine.full) loses its bus"])
        let vfs = judge(machine) { $0.enabledVFs[card] = 1 }
        #expect(vfs.harm == 1 && vfs.words == ["\(Machine.card) had 2 VFs enabled, keeps 1"])
        let cutOff = judge(machine) { $0.unreachable[card] = 0b100 }
        #expect(cutOff.harm == 1 && cutOff.words == ["\(Machine.card) BAR 2 becomes unreachable"])
        #expect(cutOff.repairs == [.address(card, bar)])
        let gone = judge(machine) {
            $0.isKnown[full] = false
            $0.buses[full] = nil
        }
        #expect(gone.harm == 8 && gone.words == ["\(Machine.full) is gone"] && gone.repairs == [.bus(full)])
        // Fewer numbers for a hot-plug port are a remark.
        let range = try #require(machine.state.summary.buses[empty])
        if range.count > 1 {
            let fewer = judge(machine) { $0.buses[empty] = BusRange(range.first) }
            #expect(fewer.harm == 0 && fewer.remarks == 1)
            #expect(fewer.words == ["\(Machine.empty) keeps 1 of \(range.count) bus numbers"])
        }
        // What was unreachable before does not become so.
        var before = machine.state.summary
        before.unreachable[card] = 0b100
        let baseline = Baseline(context: machine.state.context, summary: before)
        #expect(baseline.harmCount(in: before, asked: []) == 0 && baseline.losses(in: before, asked: []).isEmpty)
    }

    @Test("bus ranges: the parent's exactly, one beyond it, a neighbour's number, the parent's own bus")
    func numbers() throws {
        let machine = try Machine()
        let full = try machine.number(Machine.full)
        let empty = try machine.number(Machine.empty)
        let upstream = try machine.number(Machine.upstream)
        let outer = try #require(machine.state.summary.buses[upstream])
        let beside = try #require(machine.state.summary.buses[empty])
        func harm(_ i: Int, _ first: Int, _ last: Int) throws -> Int {
            let range = try #require(BusRange(first: BusNumber(UInt8(first)), last: BusNumber(UInt8(last))))
            return judge(machine) { $0.buses[i] = range }.harm
        }
        let first = Int(outer.first.rawValue)
        #expect(try harm(full, first + 1, Int(beside.first.rawValue) - 1) == 0)
        // Reaching into the neighbour misnumbers both.
        #expect(try harm(full, first + 1, Int(beside.first.rawValue)) == 2)
        #expect(try harm(full, first, Int(beside.first.rawValue) - 1) == 1)
        #expect(try harm(empty, Int(beside.first.rawValue), Int(outer.last.rawValue)) == 0)
        #expect(try harm(empty, Int(beside.first.rawValue), Int(outer.last.rawValue) + 1) == 1)
        // Root ports: neighbours on the root bus count as well.
        let narrow = try machine.number(Machine.narrow)
        #expect(try harm(narrow, Int(outer.last.rawValue), Int(outer.last.rawValue)) == 2)
    }

    @Test("demands are met at exactly what they ask for, not one less")
    func demands() throws {
        let machine = try Machine()
        let context = machine.state.context
        let card = try machine.number(Machine.card)
        let empty = try machine.number(Machine.empty)
        let upstream = try machine.number(Machine.upstream)
        let bar = try #require(ResourceIndex.bar(2))
        func isMet(_ demand: Demand, _ change: (inout TwinSummary) -> Void = { _ in }) -> Bool {
            var summary = machine.state.summary
            change(&summary)
            return demand.isMet(in: summary, context)
        }
        #expect(isMet(.address(card, bar)))
        #expect(!isMet(.address(card, bar)) { $0.sizes[card * Self.width + 2] = 0 })
        #expect(!isMet(.address(card, bar)) { $0.unreachable[card] = 0b100 })
        #expect(isMet(.address(card, bar)) { $0.unreachable[card] = 0b1011 })
        #expect(!isMet(.address(card, bar)) { $0.isKnown[card] = false })
        #expect(isMet(.size(card, bar, 64 << 20)))
        #expect(!isMet(.size(card, bar, 32 << 20)) && !isMet(.size(card, bar, 128 << 20)))
        #expect(!isMet(.size(card, bar, 64 << 20)) { $0.unreachable[card] = 0b100 })
        let window = machine.state.summary.size(empty, .memoryWindow)
        #expect(isMet(.window(empty, .memoryWindow, window)) && !isMet(.window(empty, .memoryWindow, window + 1)))
        let range = try #require(machine.state.summary.buses[upstream])
        #expect(isMet(.buses(upstream, range.count)) && !isMet(.buses(upstream, range.count + 1)))
        let used = context.children[upstream].reduce(0) { $0 + (machine.state.summary.buses[$1]?.count ?? 0) }
        let free = range.count - 1 - used
        #expect(isMet(.freeBuses(upstream, free)) && !isMet(.freeBuses(upstream, free + 1)))
        #expect(isMet(.bus(upstream)) && !isMet(.bus(upstream)) { $0.buses[upstream] = nil })
        #expect(isMet(.room(empty, .memory, window)) && !isMet(.room(empty, .memory, window + 1)))
    }

    @Test("room below a port: what cards there take is not free, in each kind's window")
    func room() throws {
        let machine = try Machine()
        let context = machine.state.context
        let summary = machine.state.summary
        let full = try machine.number(Machine.full)
        for (kind, index) in [(ResourceKind.io, 13), (.memory, 14), (.prefetchable, 15)] {
            let window = try #require(summary.range(full, index), "\(kind)")
            // Counted in pages: which of them a BAR of a card below lies in.
            let page: UInt64 = kind == .io ? 16 : 4096
            var free = window.clampedSize / page
            for child in context.children[full] where !summary.isVirtual[child] {
                for bar in 0..<13 {
                    guard let range = summary.range(child, bar), window.first <= range.first, range.last <= window.last
                    else { continue }
                    free -= (range.clampedSize + page - 1) / page
                }
            }
            #expect(FreeRoom(below: full, kind, summary, context).bytes / page == free, "\(kind)")
        }
        // Without a prefetchable window of its own, prefetchable memory goes into the memory window.
        let narrow = try machine.number(Machine.narrow)
        #expect(FreeRoom(below: narrow, .memory, summary, context).bytes >= 0)
    }

    @Test("the highest address: a BAR that is placed may end there, and not one byte above")
    func highestAddress() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        let at = card * Self.width + 2
        var before = machine.state.summary
        before.sizes[at] = 0
        let size = machine.state.summary.sizes[at]
        let last = machine.state.summary.starts[at] + size - 1
        func accepts(_ limit: UInt64?, _ original: TwinSummary) -> Bool {
            let baseline = Baseline(context: machine.state.context, summary: original)
            return Acceptance(baseline, problems: [], highestAddress: limit)
                .accepts(machine.state, wanted: [])
        }
        #expect(accepts(nil, before) && accepts(last, before) && accepts(.max, before))
        #expect(!accepts(last - 1, before))
        // What stays where it was may lie anywhere; what moves may not.
        #expect(accepts(last - 1, machine.state.summary))
        var moved = machine.state.summary
        moved.starts[at] += size
        #expect(!accepts(last - 1, moved) && accepts(last, moved))
        // I/O is no memory address.
        var withoutIO = machine.state.summary
        withoutIO.sizes[card * Self.width + 1] = 0
        #expect(accepts(0, withoutIO))
    }

    @Test("a plan may not end while a demand is open, a BAR is grown, or a problem is new")
    func acceptance() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        let bar = try #require(ResourceIndex.bar(2))
        let baseline = Baseline(context: machine.state.context, summary: machine.state.summary)
        var acceptance = Acceptance(baseline, problems: [], highestAddress: nil)
        #expect(acceptance.accepts(machine.state, wanted: [.address(card, bar)]))
        #expect(!acceptance.accepts(machine.state, wanted: [.size(card, bar, 128 << 20)]))
        acceptance.reached = [.size(card, bar, 128 << 20)]
        #expect(!acceptance.accepts(machine.state, wanted: []))
        #expect(acceptance.distance(machine.state, wanted: []) == 4)
        #expect(acceptance.distance(machine.state, wanted: [.size(card, bar, 256 << 20)]) == 8)
        // Somebody was stopped and not found again: a demand that was reached, and harm.
        acceptance.reached = []
        var gone = machine.state
        let done = gone.carryOut(Stage(roots: [card]))
        #expect(done)
        #expect(!acceptance.accepts(gone, wanted: []))
        #expect(acceptance.distance(gone, wanted: []) > 0)
        #expect(acceptance.pending([.address(card, bar)], in: gone).first == .address(card, bar))
    }

    @Test("who moved is who has another address or size without having been stopped")
    func moved() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        let baseline = Baseline(context: machine.state.context, summary: machine.state.summary)
        let acceptance = Acceptance(baseline, problems: [], highestAddress: nil)
        func moved(_ stopped: [Int] = [], _ change: (inout TwinSummary) -> Void) -> [Int] {
            var later = machine.state.summary
            change(&later)
            return acceptance.moved(from: machine.state.summary, to: later, stopped: FunctionSet(stopped)).members
        }
        #expect(moved { _ in } == [])
        for index in [0, 1, 2, 7] {
            #expect(moved { $0.starts[card * Self.width + index] += 4096 } == [card], "\(index)")
            #expect(moved { $0.sizes[card * Self.width + index] *= 2 } == [card], "\(index)")
        }
        #expect(moved([card]) { $0.starts[card * Self.width] += 4096 } == [])
        #expect(moved { $0.isKnown[card] = false } == [])
        #expect(moved { $0.sizes[card * Self.width] = 0 } == [])
        // Windows are not what drivers see.
        let full = try machine.number(Machine.full)
        #expect(moved { $0.starts[full * Self.width + 14] += 1 << 20 } == [])
    }
}
