// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Each kind of loss with an example, and beside it what is none.
@Suite("losses")
struct LossTests {
    private static let placed: ResourceFlags = [.memory, .memory64, .prefetchable]

    private func address(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    /// A port with a bus, and a card with BAR 0 (64-bit), a ROM (6) and VF BAR 0 (7).
    private func tree() throws -> TreeState {
        var lines = Array(repeating: ResourceLine.zero, count: 13)
        lines[0] = ResourceLine(start: 0x40_0000_0000, end: 0x40_000f_ffff, flags: Self.placed)
        lines[2] = ResourceLine(start: 0x1000, end: 0x10ff, flags: .io)
        lines[6] = ResourceLine(start: 0xfe00_0000, end: 0xfe00_ffff, flags: .memory)
        lines[7] = ResourceLine(start: 0x41_0000_0000, end: 0x41_0000_ffff, flags: Self.placed)
        lines[12] = ResourceLine(start: 0x42_0000_0000, end: 0x42_0000_ffff, flags: Self.placed)
        let card = FunctionState(
            address: try address("01:00.0"),
            path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [8, 0]),
            ids: 0x8086_1572,
            lines: lines,
            busRange: nil
        )
        var windows = Array(repeating: ResourceLine.zero, count: 17)
        windows[15] = ResourceLine(start: 0x40_0000_0000, end: 0x42_ffff_ffff, flags: [.memory, .window])
        let port = FunctionState(
            address: try address("00:01.0"),
            path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [8]),
            ids: 0x1b36_000c,
            lines: windows,
            busRange: BusRange(BusNumber(1))
        )
        return TreeState([port, card])
    }

    private func losses(ignoringSizes: Bool = false, _ change: (inout TreeState) -> Void) throws -> [String] {
        let before = try tree()
        var now = before
        change(&now)
        return before.losses(in: now, ignoringSizes: ignoringSizes).map { loss in
            switch loss {
            case .function: "function"
            case .bus: "bus"
            case .resource(_, let index, _, _): "resource \(index.rawValue)"
            case .unreachable, .driver, .decode, .payload: "other"
            }
        }
    }

    @Test("every BAR and VF BAR counts, the ROM and windows do not", arguments: 0..<17)
    func resources(index: Int) throws {
        let isLoss = [0, 2, 7, 12].contains(index)
        #expect(
            try losses { if index < 13 { $0.functions[1].lines[index] = .zero } }
                == (isLoss ? ["resource \(index)"] : [])
        )
        #expect(try losses { $0.functions[0].lines[index] = .zero } == [])
    }

    @Test("every way to have no address is one", arguments: [ResourceFlags.unset, .disabled, .startAlign])
    func withoutAddress(flag: ResourceFlags) throws {
        #expect(try losses { $0.functions[1].lines[7].flags.insert(flag) } == ["resource 7"])
    }

    @Test("one byte less is a loss unless sizes do not count; another place, or one byte more, is none")
    func sizes() throws {
        #expect(try losses { $0.functions[1].lines[0].end -= 1 } == ["resource 0"])
        #expect(try losses(ignoringSizes: true) { $0.functions[1].lines[0].end -= 1 } == [])
        #expect(try losses { $0.functions[1].lines[0].end += 1 } == [])
        #expect(
            try losses {
                $0.functions[1].lines[0].start += 0x1000_0000
                $0.functions[1].lines[0].end += 0x1000_0000
            } == []
        )
    }

    @Test("fewer lines than before lose what stood in them")
    func fewerLines() throws {
        #expect(try losses { $0.functions[1].lines.removeLast(6) } == ["resource 7", "resource 12"])
    }

    @Test("a function that is gone, or another in its place, is lost; one with another bus number is the same")
    func functions() throws {
        #expect(try losses { $0.functions.removeLast() } == ["function"])
        #expect(try losses { $0.functions[1].ids += 1 } == ["function"])
        #expect(try losses { $0.functions[0].busRange = nil } == ["bus"])
        let renumbered = FunctionAddress(bus: BusNumber(9), devfn: 0)
        #expect(
            try losses {
                $0.functions[0].busRange = BusRange(BusNumber(9))
                $0.functions[1].address = renumbered
            } == []
        )
    }

    @Test("a function of which nobody knew behind which bridge it stands is the same behind any of those")
    func doubtfulPlaces() throws {
        func place(_ hops: [UInt8]) -> TopologyPath { TopologyPath(segment: 0, rootBus: BusNumber(0), hops: hops) }
        func losses(_ others: [[UInt8]], _ change: (inout TreeState) -> Void) throws -> [Loss] {
            var before = try tree()
            before.functions[1].otherPlaces = others.map(place)
            var now = try tree()
            now.functions[1].path = place([16, 0])
            now.functions[1].place = place([16, 0])
            change(&now)
            return before.losses(in: now)
        }
        #expect(try losses([]) { _ in }.count == 1)
        #expect(try losses([[16, 0]]) { _ in }.isEmpty)
        #expect(try losses([[24, 0]]) { _ in }.count == 1)
        #expect(try losses([[24, 0]]) { $0.functions[1].otherPlaces = [place([24, 0])] }.isEmpty)
        #expect(try losses([]) { $0.functions[1].otherPlaces = [place([8, 0])] }.isEmpty)
        #expect(try losses([[16, 0]]) { $0.functions[1].ids += 1 }.count == 1)
        #expect(try losses([[16, 0]]) { $0.functions[1].lines[0] = .zero }.count == 1)
        // Each function stands for one: of two alike one is gone.
        var before = try tree()
        before.functions[1].otherPlaces = [place([16, 0])]
        var second = before.functions[1]
        second.address = FunctionAddress(bus: BusNumber(2), devfn: 0)
        (second.path, second.place) = (place([24, 0]), place([24, 0]))
        before.functions.append(second)
        var now = before
        now.functions.removeLast()
        (now.functions[1].path, now.functions[1].place) = (place([16, 0]), place([16, 0]))
        now.functions[1].otherPlaces = []
        #expect(before.losses(in: now).count == 1)
    }

    @Test("what stood on a root bus that the kernel made up is the same anywhere below the bridge that passes it on")
    func comeHome() throws {
        func place(_ hops: [UInt8], root: UInt8 = 0) -> TopologyPath {
            TopologyPath(segment: 0, rootBus: BusNumber(root), hops: hops)
        }
        func losses(_ hops: [UInt8], _ change: (inout TreeState) -> Void = { _ in }) throws -> Int {
            var before = try tree()
            before.functions[1].path = place([0], root: 5)
            // The port at 01.0 passes bus 5 on; one unseen bridge is taken to be between.
            before.functions[1].place = place([8, 0, 0])
            change(&before)
            var now = try tree()
            (now.functions[1].path, now.functions[1].place) = (place(hops), place(hops))
            return before.losses(in: now).count
        }
        #expect(try losses([8, 0, 0]) == 0)
        #expect(try losses([8, 3, 0]) == 0 && losses([8, 0, 3, 0]) == 0)
        // Another device number, above the unseen bridge, or below another port: another function.
        #expect(try losses([8, 3, 8]) == 1 && losses([8, 0]) == 1 && losses([16, 3, 0]) == 1)
        #expect(try losses([8, 3, 0]) { $0.functions[1].ids += 1 } == 1)
        // One whose root bus is real stands where it stands.
        #expect(try losses([8, 3, 0]) { $0.functions[1].path = place([8, 0, 0]) } == 1)
    }

    /// Signs of the port and of the card.
    private func healthLosses(
        _ change: (inout [HealthRecord], inout [FunctionHealth]) -> Void
    ) throws -> [Loss] {
        let tree = try tree()
        var records = tree.functions.map {
            HealthRecord(address: $0.address, driver: "driver", decode: [.ioSpace, .memorySpace], maxPayloadSize: 256)
        }
        var health = tree.functions.map {
            FunctionHealth(address: $0.address, driver: "driver", config: Self.config(payload: 1, command: 3))
        }
        change(&records, &health)
        return tree.healthLosses(records, in: tree, health)
    }

    /// Registers with a PCIe capability whose Max_Payload_Size is 128 << payload bytes.
    private static func config(payload: UInt32, command: UInt32, header: UInt32 = 0) -> ConfigSpace {
        var config = ConfigSpace(Array(repeating: 0, count: 256))
        config.write(0x1572_8086, at: 0, width: 4)
        config.write(command, at: 4, width: 2)
        config.write(0x10, at: 6, width: 2)
        config.write(header, at: 0x0e, width: 1)
        config.write(0x40, at: 0x34, width: 1)
        config.write(0x0002_0010, at: 0x40, width: 4)
        config.write(payload << 5, at: 0x48, width: 2)
        return config
    }

    @Test("drivers, decode bits that an address calls for, payloads that the bridge above does not take")
    func health() throws {
        #expect(try healthLosses { _, _ in } == [])
        let card = try tree().functions[1]
        #expect(try healthLosses { $1[1].driver = nil } == [.driver(card, was: "driver")])
        #expect(
            try healthLosses {
                $0[1].driver = nil
                $1[1].driver = nil
            } == []
        )
        #expect(
            try healthLosses { $1[1].config = Self.config(payload: 1, command: 1) } == [
                .decode(card, missing: .memorySpace)
            ]
        )
        #expect(
            try healthLosses { $1[1].config = Self.config(payload: 1, command: 2) } == [
                .decode(card, missing: .ioSpace)
            ]
        )
        // A port whose only window is a memory window does not need to decode I/O.
        #expect(try healthLosses { $1[0].config = Self.config(payload: 1, command: 2) } == [])
        #expect(
            try healthLosses { $1[1].config = Self.config(payload: 2, command: 3) } == [
                .payload(card, size: 512, above: 256)
            ]
        )
        #expect(try healthLosses { $1[1].config = Self.config(payload: 0, command: 3) } == [])
        // It was so before.
        #expect(
            try healthLosses {
                $0[1].maxPayloadSize = 512
                $1[1].config = Self.config(payload: 2, command: 3)
            } == []
        )
    }

    @Test("root buses that firmware numbered otherwise are the same ones in their order")
    func rootBuses() throws {
        func tree(_ roots: [UInt8]) -> TreeState {
            TreeState(
                roots.map {
                    FunctionState(
                        address: FunctionAddress(bus: BusNumber($0), devfn: 8),
                        path: TopologyPath(segment: 0, rootBus: BusNumber($0), hops: [8]),
                        ids: UInt32($0),
                        lines: [],
                        busRange: nil
                    )
                }
            )
        }
        let moved = tree([0, 0x40]).withRootBuses(of: tree([0, 0x80]))
        #expect(moved.functions.map(\.path.rootBus) == [BusNumber(0), BusNumber(0x80)])
        #expect(moved.functions.map(\.path.hops) == [[8], [8]])
        #expect(tree([0, 0x40]).withRootBuses(of: tree([0])) == tree([0, 0x40]))
    }
}

/// Registers that say otherwise than the kernel's tree, in every way there is.
@Suite("registers that differ")
struct RegisterDifferenceTests {
    private static let endpoint = FunctionAddress(bus: BusNumber(1), devfn: 0)
    private static let bridge = FunctionAddress(bus: BusNumber(0), devfn: 8)
    private static let offset: UInt64 = 0x100_0000_0000

    /// BAR 0 is 64 bits wide at 40_1000_0000 on the bus, BAR 2 has 32 bits, BAR 3 is I/O.
    private static func endpointConfig() -> ConfigSpace {
        var config = ConfigSpace(Array(repeating: 0, count: 64))
        config.write(0x1572_8086, at: 0, width: 4)
        config.write(0x1000_000c, at: 0x10, width: 4)
        config.write(0x40, at: 0x14, width: 4)
        config.write(0xfe00_0000, at: 0x18, width: 4)
        config.write(0x1001, at: 0x1c, width: 4)
        return config
    }

    private static func bridgeConfig() -> ConfigSpace {
        var config = ConfigSpace(Array(repeating: 0, count: 64))
        config.write(0x000c_1b36, at: 0, width: 4)
        config.write(1, at: 0x0e, width: 1)
        config.write(0x0003_0100, at: 0x18, width: 4)
        config.write(0x1111, at: 0x1c, width: 2)
        config.write(0xfe10_fe00, at: 0x20, width: 4)
        config.write(0x1ff1_1001, at: 0x24, width: 4)
        config.write(0x40, at: 0x28, width: 4)
        config.write(0x40, at: 0x2c, width: 4)
        return config
    }

    private static func tree() -> TreeState {
        var card = Array(repeating: ResourceLine.zero, count: 13)
        card[0] = ResourceLine(
            start: 0x40_1000_0000 + offset,
            end: 0x40_1fff_ffff + offset,
            flags: [.memory, .memory64, .prefetchable]
        )
        card[2] = ResourceLine(start: 0xfe00_0000 + offset, end: 0xfe0f_ffff + offset, flags: .memory)
        card[3] = ResourceLine(start: 0x1000, end: 0x10ff, flags: .io)
        var windows = Array(repeating: ResourceLine.zero, count: 17)
        windows[13] = ResourceLine(start: 0x1000, end: 0x1fff, flags: [.io, .window])
        windows[14] = ResourceLine(start: 0xfe00_0000 + offset, end: 0xfe1f_ffff + offset, flags: [.memory, .window])
        windows[15] = ResourceLine(
            start: 0x40_1000_0000 + offset,
            end: 0x40_1fff_ffff + offset,
            flags: [.memory, .prefetchable, .window]
        )
        return TreeState([
            FunctionState(
                address: endpoint,
                path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [8, 0]),
                ids: 0x8086_1572,
                lines: card,
                busRange: nil
            ),
            FunctionState(
                address: bridge,
                path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [8]),
                ids: 0x1b36_000c,
                lines: windows,
                busRange: BusRange(first: BusNumber(1), last: BusNumber(3))
            ),
        ])
    }

    private func differences(_ change: (inout ConfigSpace, inout ConfigSpace) -> Void) -> [String] {
        let tree = Self.tree()
        var endpoint = Self.endpointConfig()
        var bridge = Self.bridgeConfig()
        func health() -> [FunctionHealth] {
            [
                FunctionHealth(address: Self.bridge, driver: nil, config: bridge),
                FunctionHealth(address: Self.endpoint, driver: nil, config: endpoint),
            ]
        }
        let check = RegisterCheck(tree, health())
        change(&endpoint, &bridge)
        return check.differences(tree, health()).map(\.sentence)
    }

    @Test("registers that agree, behind a host bridge that shifts addresses, are no difference")
    func agree() {
        #expect(differences { _, _ in } == [])
    }

    @Test(
        "one bit in any address register is a difference of its own resource",
        arguments: [
            (0x11, "BAR 0", 0x01), (0x14, "BAR 0", 0x01), (0x17, "BAR 0", 0x80), (0x1a, "BAR 2", 0x01),
            (0x1d, "BAR 3", 0x20),
        ]
    )
    func bars(offset: Int, name: String, bit: UInt8) {
        let found = differences { endpoint, _ in endpoint.bytes[offset] ^= bit }
        #expect(found.count == 1 && found[0].hasPrefix("\(Self.endpoint) \(name) registers expected"), "\(found)")
    }

    @Test("a BAR whose both halves are zero is closed, one with an upper half alone is not")
    func closed() {
        let both = differences { endpoint, _ in
            endpoint.write(0xc, at: 0x10, width: 4)
            endpoint.write(0, at: 0x14, width: 4)
        }
        #expect(both.count == 1 && both[0].hasSuffix("found closed"), "\(both)")
        let upper = differences { endpoint, _ in endpoint.write(0xc, at: 0x10, width: 4) }
        #expect(upper.count == 1 && upper[0].hasSuffix("found 0x4000000000"), "\(upper)")
    }

    @Test(
        "windows: base, limit, and both upper halves",
        arguments: [
            (0x1c, 0x10, "I/O window"), (0x1d, 0x10, "I/O window"), (0x20, 0x10, "memory window"),
            (0x22, 0x20, "memory window"), (0x24, 0x10, "prefetchable window"), (0x26, 0x10, "prefetchable window"),
            (0x28, 0x01, "prefetchable window"), (0x2c, 0x02, "prefetchable window"),
        ] as [(Int, UInt8, String)]
    )
    func windows(offset: Int, bit: UInt8, name: String) {
        let found = differences { _, bridge in bridge.bytes[offset] ^= bit }
        #expect(found.count == 1 && found[0].hasPrefix("\(Self.bridge) "), "\(name): \(found)")
        let index = name == "I/O window" ? 13 : name == "memory window" ? 14 : 15
        #expect(
            found.first?.contains("\(ResourceIndex(index)?.description ?? "?") registers expected") == true,
            "\(found)"
        )
    }

    @Test("bus registers: secondary and subordinate, not the primary")
    func buses() {
        for (offset, isDifferent) in [(0x18, false), (0x19, true), (0x1a, true)] {
            let found = differences { _, bridge in bridge.bytes[offset] ^= 4 }
            #expect(found.contains { $0.contains("expected bus registers 01-03") } == isDifferent, "\(found)")
            #expect(found.count == (isDifferent ? 1 : 0))
        }
    }

    @Test("a path is open when every bridge above decodes what the function does and takes its payloads")
    func paths() {
        let tree = Self.tree()
        func faults(_ above: UInt32, _ below: UInt32) -> [String] {
            var bridge = Self.bridgeConfig()
            bridge.write(above, at: 4, width: 2)
            var endpoint = Self.endpointConfig()
            endpoint.write(below, at: 4, width: 2)
            return RegisterCheck.pathFaults(
                tree,
                [
                    FunctionHealth(address: Self.bridge, driver: nil, config: bridge),
                    FunctionHealth(address: Self.endpoint, driver: nil, config: endpoint),
                ],
                of: [Self.endpoint]
            )
        }
        #expect(faults(3, 3) == [] && faults(2, 2) == [] && faults(0, 0) == [] && faults(3, 1) == [])
        #expect(faults(1, 3).count == 1 && faults(1, 3)[0].hasSuffix("found 0x2 of COMMAND off"))
        #expect(faults(2, 3).count == 1 && faults(2, 3)[0].hasSuffix("found 0x1 of COMMAND off"))
        #expect(faults(0, 3).first?.hasSuffix("found 0x3 of COMMAND off") == true)
    }
}

/// Preconditions that do not hold: nothing is written.
@Suite("preconditions")
struct PreconditionTests {
    private func exit(_ condition: (FakeMachineState) -> Precondition) throws -> (String, writes: Int) {
        let bench = Bench()
        var plan = Fake.grow(bench.original)
        plan.steps[0].preconditions.append(condition(bench.original))
        let report = try bench.applier.apply(plan)
        return (report.line, bench.machine.trace.count)
    }

    @Test("each kind holds, and does not")
    func kinds() throws {
        let endpoint = { Fake.at(Fake.endpoint, $0) }
        let unmet = "APPLY: failed reason=precondition-failed"
        let cases: [(Bool, (FakeMachineState) -> Precondition)] = [
            (true, { .present(endpoint($0), ids: 0x1b36_0005) }),
            (false, { .present(endpoint($0), ids: 0x1b36_0006) }),
            (false, { _ in .present(FunctionAddress(bus: BusNumber(0xee), devfn: 0), ids: 1) }),
            (true, { .notInUse(endpoint($0)) }),
            (true, { _ in .busIsAbsent(segment: 0, bus: BusNumber(0xee)) }),
            (false, { .busIsAbsent(segment: 0, bus: endpoint($0).bus) }),
            (false, { _ in .busIsEmpty(segment: 0, bus: BusNumber(0xee)) }),
            (false, { .busIsEmpty(segment: 0, bus: endpoint($0).bus) }),
        ]
        for (n, (holds, condition)) in cases.enumerated() {
            let (line, writes) = try exit(condition)
            #expect((line == unmet) == !holds, "\(n): \(line)")
            #expect((writes == 0) == !holds, "\(n)")
        }
    }
}
