// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// Whether a card fits: at the size of the window and one power of two beyond.
@Suite("whether a card fits at a port")
struct FitQuestionTests {
    private typealias Machine = WriteMachine
    private static let mib: UInt64 = 1 << 20

    private func question(_ port: FunctionAddress, _ topology: Topology? = nil) throws -> FitQuestion {
        let machine =
            try topology
            ?? Machine(enabledVFs: 0) { topology in
                for address in [Machine.empty, Machine.full, Machine.root] {
                    topology.update(address) { $0.use.slotDriver = .pciehp }
                }
            }.topology
        return FitQuestion(topology: machine, behaviour: .linux6_12, port: port)
    }

    private func window(_ topology: Topology, _ address: FunctionAddress, _ index: ResourceIndex) throws -> UInt64 {
        let range = try #require(topology[address]?.resource(index)?.range)
        return range.last - range.first + 1
    }

    private func isNow(_ answer: FitAnswer) -> Bool { if case .now = answer.verdict { true } else { false } }

    @Test("a card as large as the window fits now, and the largest that fits now is no larger than the window")
    func exactFit() throws {
        let question = try question(Machine.empty)
        let memory = try window(question.topology, Machine.empty, .memoryWindow)
        let wide = try window(question.topology, Machine.empty, .prefetchableWindow)
        let fitting = try question.answer(for: .endpoint(memory: memory))
        #expect(isNow(fitting) && fitting.missing.isEmpty && !fitting.isReplaced)
        #expect(fitting.largestNow == ByteCount(memory))
        #expect(fitting.largestAfterPlan.map { $0 >= ByteCount(memory) } == true)
        let over = try question.answer(for: .endpoint(memory: 2 * memory), measuresLargest: false)
        #expect(!isNow(over) && over.missing.count == 1)
        #expect(over.missing.first?.resource == .bar(0))
        #expect(over.largestNow == nil && over.largestAfterPlan == nil, "nobody asked")
        // One size after another: the largest power of two that fits.
        var largest: UInt64?
        for exponent in 20..<40 as Range<UInt64> {
            let one = try question.answer(for: .endpoint(prefetchable: 1 << exponent), measuresLargest: false)
            guard isNow(one) else { break }
            largest = 1 << exponent
        }
        let prefetchable = try question.answer(for: .endpoint(prefetchable: wide))
        #expect(isNow(prefetchable) && prefetchable.largestNow == largest.map { ByteCount($0) })
        let both = try question.answer(for: .endpoint(memory: memory, prefetchable: wide), measuresLargest: false)
        #expect(isNow(both))
    }

    @Test("a card of the smallest size tells how large it could be; a larger aperture allows no more than itself")
    func largest() throws {
        let question = try question(Machine.empty)
        let memory = try window(question.topology, Machine.empty, .memoryWindow)
        let small = try question.answer(for: .endpoint(memory: 4096))
        #expect(isNow(small) && small.largestNow == ByteCount(memory))
        // 256 MiB is the aperture below 4 GiB; part of it is held.
        let most = try #require(small.largestAfterPlan)
        #expect(most >= ByteCount(memory) && most <= ByteCount(128 * Self.mib))
        #expect(most.rawValue.nonzeroBitCount == 1)
        // An I/O card has no memory BAR to measure.
        let io = try question.answer(for: .endpoint(io: 16))
        #expect(io.largestNow == nil && io.largestAfterPlan == nil)
    }

    @Test("what is at the port already is thought away, and said to be")
    func replaced() throws {
        let question = try question(Machine.full)
        let answer = try question.answer(for: .endpoint(memory: Self.mib), measuresLargest: false)
        #expect(answer.isReplaced)
        #expect(isNow(answer))
    }

    @Test("no port, no answer")
    func refusals() throws {
        let nobody = FunctionAddress(bus: BusNumber(0x3d), devfn: 0)
        var error = #expect(throws: FitError.self) { try question(nobody).answer(for: .endpoint(memory: 4096)) }
        #expect(error?.description == "no function at 0000:3d:00.0")
        error = #expect(throws: FitError.self) { try question(Machine.card).answer(for: .endpoint(memory: 4096)) }
        #expect(error?.description == "0000:03:00.0 is no port: expected a bridge")
    }

    @Test("the largest BAR of a card is resized, wherever it is, and only that one")
    func resized() {
        let identity = Function.Identity(vendor: 1, device: 1, classCode: 0xff_0000)
        let inner = CardFunction(
            identity: identity,
            bars: [.memory(0, 8 * Self.mib), .memory(2, 8 * Self.mib, is64Bit: true, isPrefetchable: true)]
        )
        let bridge = CardFunction(identity: identity, portType: .upstreamPort, bridge: CardBridge(children: [inner]))
        let flat = CardFunction(identity: identity, bars: [.io(1, 1 << 16), .memory(0, 4 * Self.mib)])
        let card = CardProfile(name: "card", functions: [flat, bridge])
        #expect(card.largestMemoryBAR == 8 * Self.mib && card.wantsPrefetchable)
        let larger = card.resized(to: 64 * Self.mib)
        #expect(larger.functions[0] == flat)
        #expect(larger.functions[1].bridge?.children[0].bars.map(\.size) == [64 * Self.mib, 8 * Self.mib])
        let single = CardProfile(name: "card", functions: [flat])
        #expect(single.largestMemoryBAR == 4 * Self.mib && !single.wantsPrefetchable)
        #expect(single.resized(to: 1).functions[0].bars.map(\.size) == [1 << 16, 1])
        let io = CardProfile(name: "io", functions: [CardFunction(identity: identity, bars: [.io(0, 16)])])
        #expect(io.largestMemoryBAR == nil && io.resized(to: 1) == io)
    }

    @Test("power that is off and the driver of the slot are told with the answer")
    func told() throws {
        let answer = try question(Machine.empty).answer(for: .endpoint(memory: Self.mib), measuresLargest: false)
        #expect(answer.slotDriver == .pciehp && !answer.isPowerOff)
        let unknown = FitAnswer(unknown: [], card: .endpoint(memory: 1))
        if case .cannotTell = unknown.verdict {} else { Issue.record("expected cannot tell") }
    }
}
