// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// The writes of a stage, one by one, and what they leave in registers, decoded here.
@Suite("writes of a stage")
struct StopWriteTests {
    private typealias Machine = WriteMachine

    /// What a bridge forwards, by the PCI-to-PCI bridge specification; nil when the base is above the limit.
    private struct Windows {
        var bytes = [UInt8](repeating: 0, count: 64)

        init(_ machine: WriteMachine, _ i: Int) {
            for offset in stride(from: 0, to: 64, by: 4) {
                store(machine.state.simulation.twin.register(ofNumber: i, at: offset, width: 4) ?? 0, offset, 4)
            }
        }

        mutating func store(_ value: UInt32, _ offset: Int, _ width: Int) {
            for k in 0..<width { bytes[offset + k] = UInt8(truncatingIfNeeded: value >> UInt32(8 * k)) }
        }

        func load(_ offset: Int, _ width: Int) -> UInt64 {
            (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
        }

        mutating func apply(_ writes: [SystemWrite], to address: FunctionAddress) {
            for case .config(address, let offset, let width, let mask, let value) in writes {
                store(UInt32(load(offset, width)) & ~mask | value & mask, offset, width)
            }
        }

        func range(_ kind: ResourceKind) -> ClosedRange<UInt64>? {
            let first: UInt64
            let last: UInt64
            switch kind {
            case .io:
                first = (load(0x1c, 1) & 0xf0) << 8
                last = (load(0x1d, 1) & 0xf0) << 8 | 0xfff
            case .memory:
                first = (load(0x20, 2) & 0xfff0) << 16
                last = (load(0x22, 2) & 0xfff0) << 16 | 0xf_ffff
            case .prefetchable:
                let isWide = load(0x24, 1) & 0xf == 1
                first = (load(0x24, 2) & 0xfff0) << 16 | (isWide ? load(0x28, 4) << 32 : 0)
                last = (load(0x26, 2) & 0xfff0) << 16 | 0xf_ffff | (isWide ? load(0x2c, 4) << 32 : 0)
            }
            return first <= last ? first...last : nil
        }
    }

    private static let mib: UInt64 = 1 << 20

    @Test(
        "a window that is opened has the size asked for, and decoding goes off before",
        arguments: [
            (ResourceKind.io, 0x1000, WriteMachine.root), (.io, 0x3000, WriteMachine.root),
            (.io, 0xf000, WriteMachine.root),
            (.memory, 1 << 20, WriteMachine.root), (.memory, 2 << 20, WriteMachine.root),
            (.memory, 0x1230_0000, WriteMachine.root), (.memory, 0xffe0_0000, WriteMachine.root),
            (.prefetchable, 1 << 20, WriteMachine.root), (.prefetchable, 3 << 20, WriteMachine.root),
            (.prefetchable, 1 << 32, WriteMachine.root), (.prefetchable, 5 << 32, WriteMachine.root),
            (.prefetchable, 1 << 20, WriteMachine.narrow), (.prefetchable, 3 << 20, WriteMachine.narrow),
            (.prefetchable, 0xffe0_0000, WriteMachine.narrow),
        ] as [(ResourceKind, UInt64, FunctionAddress)]
    )
    func opening(kind: ResourceKind, size: UInt64, bridge: FunctionAddress) throws {
        let machine = try Machine()
        let i = try machine.number(bridge)
        let stage = Stage(roots: [i], windows: [.init(bridge: i, kind: kind, size: size)])
        let writes = machine.state.stopWrites(stage).filter {
            if case .config(bridge, _, _, _, _) = $0 { true } else { false }
        }
        #expect(writes.first == .config(bridge, offset: 4, width: 2, mask: 0x3, value: 0))
        var windows = Windows(machine, i)
        let others = [ResourceKind.io, .memory, .prefetchable].filter { $0 != kind }.map { windows.range($0) }
        windows.apply(writes, to: bridge)
        let range = try #require(windows.range(kind))
        #expect(range.upperBound - range.lowerBound + 1 == size)
        #expect(range.lowerBound > 0, "no window begins at 0, which is the sign of one that is not implemented")
        #expect([ResourceKind.io, .memory, .prefetchable].filter { $0 != kind }.map { windows.range($0) } == others)
    }

    @Test("an I/O or 32-bit window that is asked for more than there is ends at the last byte of its space")
    func openingTooMuch() throws {
        let machine = try Machine()
        for (kind, bridge, last) in [
            (ResourceKind.io, Machine.root, 0xffff), (.memory, Machine.root, 0xffef_ffff),
            (.prefetchable, Machine.narrow, 0xffef_ffff),
        ] as [(ResourceKind, FunctionAddress, UInt64)] {
            let i = try machine.number(bridge)
            for size in [UInt64(1) << 40, .max] {
                let stage = Stage(roots: [i], windows: [.init(bridge: i, kind: kind, size: size)])
                var windows = Windows(machine, i)
                windows.apply(machine.state.stopWrites(stage), to: bridge)
                #expect(windows.range(kind)?.upperBound == last, "\(kind)")
            }
        }
    }

    @Test(
        "a window that is closed forwards nothing, in the upper halves too, and no other window changes",
        arguments: [
            (ResourceKind.io, WriteMachine.root), (.memory, WriteMachine.root), (.prefetchable, WriteMachine.root),
            (.prefetchable, WriteMachine.narrow),
        ]
    )
    func closing(kind: ResourceKind, bridge: FunctionAddress) throws {
        let machine = try Machine()
        let i = try machine.number(bridge)
        #expect(machine.state.isOpen(i, kind))
        let stage = Stage(roots: [i], windows: [.init(bridge: i, kind: kind, size: 0)])
        let writes = machine.state.stopWrites(stage)
        var windows = Windows(machine, i)
        let others = [ResourceKind.io, .memory, .prefetchable].filter { $0 != kind }
        let before = others.map { windows.range($0) }
        windows.apply(writes, to: bridge)
        #expect(windows.range(kind) == nil)
        #expect(others.map { windows.range($0) } == before)
        if kind == .prefetchable {
            // Where only the lower halves are read, and where only the upper ones differ.
            #expect(windows.load(0x24, 2) & 0xfff0 > windows.load(0x26, 2) & 0xfff0)
            #expect(bridge == Machine.narrow || windows.load(0x28, 4) > windows.load(0x2c, 4))
        }
        // The twin reads the registers as the kernel does: closed, and only that one.
        var simulation = machine.state.simulation
        let done = simulation.perform(writes.filter { if case .config = $0 { true } else { false } })
        #expect(done)
        let closed = SearchState(machine.state.context, simulation)
        #expect(!closed.isOpen(i, kind))
        for other in others { #expect(closed.isOpen(i, other) == machine.state.isOpen(i, other)) }
    }

    @Test("VFs first, drivers before decoding, decoding before sizes, below before above, numbers last")
    func order() throws {
        let machine = try Machine()
        let card = try machine.number(Machine.card)
        let sibling = try machine.number(Machine.sibling)
        let full = try machine.number(Machine.full)
        let stage = try machine.emptying { stage in
            stage.resizes = [.init(function: card, bar: 2, exponent: 8, controlOffset: 0x108, isBound: true)]
            stage.silenced = [sibling]
            stage.windows = [.init(bridge: full, kind: .io, size: 0)]
            stage.numbering = [
                .init(
                    bridge: full,
                    primary: BusNumber(2),
                    range: try #require(BusRange(first: BusNumber(3), last: BusNumber(4)))
                )
            ]
        }
        #expect(
            machine.state.stopWrites(stage) == [
                .sriovNumVFs(Machine.card, count: 0),
                // Its number is wanted by the port beside it.
                .remove(Machine.empty),
                .unbindDriver(Machine.card),
                .config(Machine.card, offset: 4, width: 2, mask: 0x7, value: 0),
                .config(Machine.card, offset: 0x108, width: 4, mask: 0x3f00, value: 8 << 8),
                .remove(Machine.card),
                .unbindDriver(Machine.sibling),
                .config(Machine.sibling, offset: 4, width: 2, mask: 0x7, value: 0),
                .remove(Machine.sibling),
                .config(Machine.full, offset: 0x1c, width: 2, mask: 0xf0f0, value: 0x00f0),
                .config(Machine.full, offset: 0x18, width: 4, mask: 0x00ff_ffff, value: 0x0004_0302),
                .remove(Machine.full),
                .remove(Machine.upstream),
            ]
        )
    }

    @Test("what no register is written of goes with one removal; VFs are taken away all the same")
    func plainRemoval() throws {
        func writes(_ machine: WriteMachine) throws -> [SystemWrite] {
            machine.state.stopWrites(try machine.emptying())
        }
        #expect(
            try writes(Machine()) == [
                .sriovNumVFs(Machine.card, count: 0), .remove(Machine.upstream),
            ]
        )
        #expect(
            try writes(Machine(enabledVFs: 0)) == [.remove(Machine.upstream)]
        )
    }

    @Test("a driver that is not bound is not unbound; one that is gets its device back after the resize file")
    func resizeFiles() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        var stage = Stage(
            resizes: [.init(function: card, bar: 2, exponent: 7, controlOffset: 0x108, isBound: true)],
            rescans: [.resizeFiles]
        )
        var parts: [(SearchState.Part.Purpose, [SystemWrite])] = []
        var state = machine.state
        let done = state.carryOut(stage) { part, _ in parts.append((part.purpose, part.writes)) }
        #expect(done)
        #expect(parts.map(\.0) == [.stop, .find(.resizeFiles)])
        #expect(parts.first?.1 == [.unbindDriver(Machine.card)])
        #expect(
            parts.last?.1 == [.resizeBAR(Machine.card, bar: 2, exponent: 7), .probeDriver(Machine.card)]
        )
        #expect(state.summary.sizes[card * TwinSummary.width + 2] == 128 << 20)
        stage.resizes[0].isBound = false
        #expect(machine.state.stopWrites(stage) == [])
    }

    @Test("a stage that took VFs away enables as many again, last of all")
    func virtualFunctions() throws {
        let machine = try Machine()
        var parts: [(SearchState.Part.Purpose, [SystemWrite])] = []
        var state = machine.state
        let emptying = try machine.emptying()
        let done = state.carryOut(emptying) { part, _ in parts.append((part.purpose, part.writes)) }
        #expect(done)
        let root = try machine.number(Machine.root)
        let card = try machine.number(Machine.card)
        #expect(parts.map(\.0) == [.stop, .find(.bus(behind: root)), .enableVFs])
        #expect(parts.last?.1 == [.sriovNumVFs(Machine.card, count: 2)])
        #expect(state.summary.enabledVFs[card] == 2)
    }

    @Test("a function that nobody enables again decodes as before: the bits that it had, no others")
    func decoding() throws {
        for bits in [0x1, 0x2, 0x3, 0x7] as [UInt32] {
            let machine = try Machine(enabledVFs: 0) {
                $0.update(Machine.card) { function in
                    function.use.driver = nil
                    function.config.write(bits, at: 4, width: 2)
                }
                $0.update(Machine.sibling) { $0.use.driver = nil }
            }
            let card = try machine.number(Machine.card)
            var last: [SystemWrite] = []
            var state = machine.state
            let stage = try machine.emptying { $0.silenced = [card] }
            let done = state.carryOut(stage) { part, _ in if part.purpose == .decode { last = part.writes } }
            #expect(done)
            #expect(last == [.config(Machine.card, offset: 4, width: 2, mask: bits, value: bits)], "\(bits)")
            #expect(state.simulation.twin.register(ofNumber: card, at: 4, width: 2).map { $0 & 7 } == bits)
        }
    }

    @Test("a function that lacked a place before, too, decodes again as before")
    func decodingWithout() throws {
        let machine = try Machine(enabledVFs: 0) {
            $0.update(Machine.card) { function in
                function.use.driver = nil
                function.config.write(2, at: 4, width: 2)
                // BAR 1, which are ports, has none.
                for i in function.resources.indices where function.resources[i].index == .bar(1) {
                    function.resources[i].assignment = .unassigned
                }
                if function.lines.count > 1 {
                    function.lines[1] = ResourceLine(start: 0, end: 0xff, flags: [.io, .unset])
                }
            }
            $0.update(Machine.sibling) { $0.use.driver = nil }
        }
        let card = try machine.number(Machine.card)
        var state = machine.state
        try #require(state.summary.lacking[card] | state.summary.wiped[card] != 0)
        let stage = try machine.emptying { $0.silenced = [card] }
        let done = state.carryOut(stage)
        #expect(done)
        #expect(state.simulation.twin.register(ofNumber: card, at: 4, width: 2).map { $0 & 2 } == 2)
    }

    @Test(
        "what an alignment request makes deaf decodes again as before where no driver enables it, unless a BAR has no place",
        arguments: [true, false]
    )
    func growing(ofBridge: Bool) throws {
        let machine = try Machine(enabledVFs: 0) {
            for address in [Machine.card, Machine.sibling, Machine.full] {
                $0.update(address) { function in
                    function.use.driver = nil
                    function.config.write(6, at: 4, width: 2)
                }
            }
        }
        let deaf = ofBridge ? Machine.full : Machine.card
        let number = try machine.number(deaf)
        var parts: [(SearchState.Part.Purpose, [SystemWrite])] = []
        var state = machine.state
        let stage = try machine.emptying { $0.alignments = [.init(function: number, order: 20)] }
        #expect(state.carryOut(stage) { part, _ in parts.append((part.purpose, part.writes)) })
        let isPlaced = state.summary.lacking[number] | state.summary.wiped[number] == 0
        // In the same part as the rescan: nobody looks before.
        #expect(parts.filter { $0.0 == .decode }.isEmpty)
        let writes = parts.flatMap(\.1).filter { if case .config(_, 4, _, _, _) = $0 { true } else { false } }
        // A port's own driver enables it.
        #expect(writes == (isPlaced && !ofBridge ? [.config(deaf, offset: 4, width: 2, mask: 2, value: 2)] : []))
        #expect(state.simulation.twin.register(ofNumber: number, at: 4, width: 2).map { $0 & 2 } == (isPlaced ? 2 : 0))
    }

    @Test("a bridge that gets a neighbour's numbers is written after the neighbour is gone")
    func neighbours() throws {
        let machine = try Machine(enabledVFs: 0)
        let full = try machine.number(Machine.full)
        let empty = try machine.number(Machine.empty)
        func range(_ first: UInt8, _ last: UInt8) throws -> BusRange {
            try #require(BusRange(first: BusNumber(first), last: BusNumber(last)))
        }
        let behindEmpty = try #require(machine.topology.functions[empty].bridge?.busRange)
        // The full port takes the number of the empty one, which goes first; and the other way round.
        for (taker, other, wanted) in [
            (full, empty, behindEmpty), (empty, full, try range(3, 3)),
        ] {
            let stage = Stage(
                roots: [full, empty],
                numbering: [.init(bridge: taker, primary: BusNumber(2), range: wanted)],
                rescans: [.bus(behind: try machine.number(Machine.upstream))]
            )
            let writes = machine.state.stopWrites(stage)
            let removal = try #require(writes.firstIndex(of: .remove(machine.topology.functions[other].address)))
            let numbered = try #require(
                writes.firstIndex { if case .config(_, 0x18, _, _, _) = $0 { true } else { false } }
            )
            #expect(removal < numbered, "\(writes)")
        }
    }

    @Test("the way back: the searched bus, then VFs; the resize files' is to give the driver its device")
    func wayBack() throws {
        let machine = try Machine(constraints: Constraints(allowDisturb: [Machine.card]))
        let planner = Planner(topology: machine.topology, behaviour: .linux6_12)
        let weights = DisturbanceWeights(machine.topology, constraints: Constraints(allowDisturb: [Machine.card]))
        func steps(_ stage: Stage) -> [PlanStep] {
            var assembly = PlanAssembly(planner: planner, goals: [], start: machine.state, weights: weights)
            assembly.append([stage], from: machine.state)
            return assembly.steps
        }
        let emptied = steps(try machine.emptying())
        #expect(emptied.count == 3)
        #expect(
            emptied[0].wayBack == [
                .rescanBus(segment: 0, bus: BusNumber(1)), .sriovNumVFs(Machine.card, count: 2),
            ]
        )
        #expect(emptied[1].preconditions == [.treeAsPredicted, .busIsEmpty(segment: 0, bus: BusNumber(1))])
        let beside = steps(
            Stage(
                roots: [try machine.number(Machine.full)],
                rescans: [.aboveBridge(try machine.number(Machine.upstream))]
            )
        )
        #expect(
            beside[0].wayBack == [.rescanDevice(Machine.upstream), .sriovNumVFs(Machine.card, count: 2)]
        )
        #expect(beside[1].preconditions == [.treeAsPredicted])
        let one = steps(
            Stage(
                roots: [try machine.number(Machine.empty)],
                rescans: [.bus(behind: try machine.number(Machine.upstream))]
            )
        )
        // The bus is not empty: its other port stays.
        #expect(one[1].preconditions == [.treeAsPredicted])
        #expect(one[0].wayBack == [.rescanBus(segment: 0, bus: BusNumber(2))])
    }

    @Test("who is stopped must be there with its ids, and must not have come into use")
    func preconditions() throws {
        let machine = try Machine(enabledVFs: 0)
        func conditions(_ constraints: Constraints) throws -> [Precondition] {
            let planner = Planner(topology: machine.topology, behaviour: .linux6_12)
            let weights = DisturbanceWeights(machine.topology, constraints: constraints)
            var assembly = PlanAssembly(planner: planner, goals: [], start: machine.state, weights: weights)
            assembly.append([try machine.emptying()], from: machine.state)
            return try #require(assembly.steps.first).preconditions
        }
        let present = Precondition.present(Machine.upstream, ids: 0x1b36_000c)
        #expect(
            try conditions(Constraints())
                == [.treeAsPredicted, present, .notInUse(Machine.card), .notInUse(Machine.sibling)]
        )
        #expect(
            try conditions(Constraints(allowDisturb: [Machine.card]))
                == [.treeAsPredicted, present, .notInUse(Machine.sibling)]
        )
    }

    @Test(
        "registers that are made to agree forward nothing in between but what they did, or will",
        arguments: [
            // Closed; closed in the upper halves alone; open below 4 GiB; open above, at another place.
            (0x0001_fff1, 0, 0), (0x0001_0001, 5, 4), (0x9ff1_9001, 0, 0), (0x1ff1_1001, 0x70, 0x71),
        ] as [(UInt32, UInt32, UInt32)]
    )
    func repairedWindows(low: UInt32, base: UInt32, limit: UInt32) throws {
        let machine = try Machine {
            $0.update(Machine.root) { function in
                function.config.write(low, at: 0x24, width: 4)
                function.config.write(base, at: 0x28, width: 4)
                function.config.write(limit, at: 0x2c, width: 4)
                function.config.write(0x00f0, at: 0x1c, width: 2)
                function.config.write(0x0000_fff0, at: 0x20, width: 4)
            }
        }
        let root = try machine.number(Machine.root)
        var state = machine.state
        var writes: [SystemWrite] = []
        let done = state.carryOut(Stage(repairedBridges: [root])) { part, _ in writes += part.writes }
        #expect(done)
        var windows = Windows(machine, root)
        let old = windows.range(.prefetchable)
        let line = try #require(machine.topology[Machine.root]).lines[15]
        for write in writes {
            windows.apply([write], to: Machine.root)
            let range = windows.range(.prefetchable)
            #expect(range == nil || range == old || range == line.start...line.end, "after \(write)")
        }
        for (kind, index) in [(ResourceKind.io, 13), (.memory, 14), (.prefetchable, 15)] {
            let held = try #require(machine.topology[Machine.root]).lines[index]
            #expect(windows.range(kind) == held.start...held.end, "\(kind)")
        }
        #expect(state.summary.diverging[root] == 0)
    }

    @Test("registers after a search: numbers and windows of every bridge with a bus, as they read then")
    func expectations() throws {
        let machine = try Machine()
        let expected = PlanAssembly.expectations(machine.topology)
        let bridges = machine.topology.functions.filter { $0.bridge?.busRange != nil }
        #expect(Set(expected.map(\.address)) == Set(bridges.map(\.address)))
        for bridge in bridges {
            let mine = expected.filter { $0.address == bridge.address }
            #expect(mine.map(\.offset) == [0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c])
            for one in mine {
                let bytes = (0..<one.width).map { UInt32(bridge.config.byte(one.offset + $0) ?? 0) << UInt32(8 * $0) }
                let value = bytes.reduce(0, |)
                #expect(one.value == value & one.mask, "\(bridge.address) \(one.offset)")
            }
            // The secondary latency timer is the kernel's; the low nibbles of windows say what they are.
            #expect(mine.map(\.mask) == [0x00ff_ffff, 0xf0f0, 0xfff0_fff0, 0xfff0_fff0, .max, .max])
            #expect(mine.map(\.width) == [4, 2, 4, 4, 4, 4])
        }
    }
}
