// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// Registers as firmware left them, written from what its log says and decoded here by hand.
@Suite("registers that firmware left")
struct FirmwareImageTests {
    private typealias Machine = WriteMachine

    private func image(
        _ address: FunctionAddress,
        offset: Int64 = 0,
        _ change: ((inout FirmwareState.Registers) -> Void)?
    ) throws -> ConfigSpace {
        var topology = try Machine(enabledVFs: 0).topology
        if offset != 0 {
            var host = topology.hostBridges[0]
            host.apertures = host.apertures.map {
                Aperture(range: $0.range, flags: $0.flags, offset: $0.isIO ? 0 : offset)
            }
            topology = try Topology(kernel: topology.kernel, hostBridges: [host], functions: topology.functions)
        }
        let i = try #require(topology.position(of: address))
        var state = FirmwareState()
        if let change {
            var registers = FirmwareState.Registers()
            change(&registers)
            state.functions[address] = registers
        }
        return state.image(of: i, in: topology)
    }

    private func bar(_ n: Int) throws -> ResourceIndex { try #require(ResourceIndex.bar(n)) }

    @Test("BARs: 32 bits, I/O, and both halves of 64 bits; the type bits stay")
    func bars() throws {
        let (zero, one, two) = (try bar(0), try bar(1), try bar(2))
        let config = try image(Machine.card) { registers in
            registers.bars = [zero: 0x9120_0000, one: 0x2f00, two: 0x12_3400_0000]
        }
        #expect(config.long(0x10) == 0x9120_0000)
        #expect(config.long(0x14) == 0x2f01)
        #expect(config.long(0x18) == 0x3400_000c && config.long(0x1c) == 0x12)
        // A BAR that the log does not name keeps what it holds; without a word about the function all are zero.
        let kept = try image(Machine.card) { $0.bars = [zero: 0x9120_0000] }
        let now = try #require(try Machine(enabledVFs: 0).topology[Machine.card]).config
        #expect(kept.long(0x14) == now.long(0x14) && kept.long(0x1c) == now.long(0x1c))
        let cold = try image(Machine.card, nil)
        #expect(cold.long(0x10) == 0 && cold.long(0x14) == 1 && cold.long(0x18) == 0xc && cold.long(0x1c) == 0)
        // VF BARs are zero unless firmware is known to have set them.
        let sriov = try #require(try Machine(enabledVFs: 0).topology[Machine.card]?.capabilities.sriov)
        #expect(cold.long(Int(sriov.offset) + 0x24) == 0xc && cold.long(Int(sriov.offset) + 0x28) == 0)
    }

    @Test("a bridge: numbers and the three windows, upper halves included")
    func bridge() throws {
        func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
            try #require(AddressRange(first: first, last: last))
        }
        let (io, memory, wide) = try (
            range(0x3000, 0x4fff), range(0x9100_0000, 0x92ff_ffff), range(0x12_0000_0000, 0x13_4fff_ffff)
        )
        let config = try image(Machine.full) { registers in
            registers.buses = (BusNumber(7), BusNumber(9))
            registers.windows = [.io: io, .memory: memory, .prefetchable: wide]
        }
        #expect(config.byte(0x18) == 2 && config.byte(0x19) == 7 && config.byte(0x1a) == 9)
        #expect((config.byte(0x1c) ?? 0) & 0xf0 == 0x30 && (config.byte(0x1d) ?? 0) & 0xf0 == 0x40)
        #expect(config.word(0x30) == 0 && config.word(0x32) == 0)
        #expect(config.word(0x20) == 0x9100 && config.word(0x22) == 0x92f0)
        #expect((config.word(0x24) ?? 0) & 0xfff0 == 0 && (config.word(0x26) ?? 0) & 0xfff0 == 0x4ff0)
        #expect(config.long(0x28) == 0x12 && config.long(0x2c) == 0x13)
        #expect((config.word(0x24) ?? 0) & 0xf == 1 && (config.word(0x26) ?? 0) & 0xf == 1, "64 bits wide")
        let wideIO = try range(0x12_3000, 0x34_4fff)
        let high = try image(Machine.full) { $0.windows = [.io: wideIO] }
        #expect(high.word(0x30) == 0x12 && high.word(0x32) == 0x34)
        // Windows of which nothing is said are closed: base above limit.
        #expect(high.word(0x20) == 0xfff0 && high.word(0x22) == 0)
        #expect((high.word(0x24) ?? 0) & 0xfff0 == 0xfff0 && (high.word(0x26) ?? 0) & 0xfff0 == 0)
        // One that the log does not know at all comes out of reset: no numbers, nothing open.
        let reset = try image(Machine.full, nil)
        #expect([0x18, 0x19, 0x1a].allSatisfy { reset.byte($0) == 0 })
        #expect(reset.word(0x20) == 0 && reset.word(0x22) == 0 && reset.long(0x28) == 0 && reset.long(0x2c) == 0)
        #expect((reset.byte(0x1c) ?? 0) & 0xf0 == 0 && (reset.byte(0x1d) ?? 0) & 0xf0 == 0)
        let kept = try image(Machine.full) { _ in }
        let now = try #require(try Machine(enabledVFs: 0).topology[Machine.full]).config
        #expect([0x18, 0x19, 0x1a].allSatisfy { kept.byte($0) == now.byte($0) })
    }

    @Test("a host bridge that shifts addresses: registers hold bus addresses")
    func shifted() throws {
        let zero = try bar(0)
        let window = try #require(AddressRange(first: 0x8100_0000, last: 0x812f_ffff))
        let config = try image(Machine.card, offset: 0x4000_0000) { $0.bars = [zero: 0x8120_0000] }
        #expect(config.long(0x10) == 0x4120_0000)
        let bridge = try image(Machine.full, offset: 0x4000_0000) { $0.windows = [.memory: window] }
        #expect(bridge.word(0x20) == 0x4100 && bridge.word(0x22) == 0x4120)
        // Outside of every aperture nothing shifts.
        let outside = try image(Machine.card, offset: 0x4000_0000) { $0.bars = [zero: 0x9f00_0000] }
        #expect(outside.long(0x10) == 0x9f00_0000)
        // Zero is no address.
        let none = try image(Machine.card, offset: 0x4000_0000) { $0.bars = [zero: 0] }
        #expect(none.long(0x10) == 0)
    }
}
