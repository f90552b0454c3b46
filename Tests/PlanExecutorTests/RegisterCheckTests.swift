// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

@Suite("Registers against the kernel's tree")
struct RegisterCheckTests {
    @Test("a VF answers with ids of all ones and is there all the same; a function of all ones alone is not")
    func silence() {
        var state = Fake.machine().tree
        let i = state.functions.firstIndex { $0.busRange == nil } ?? 0
        state.functions[i].lines = Array(repeating: .zero, count: 13)
        let address = state.functions[i].address
        func sentences(_ config: ConfigSpace) -> [String] {
            let health = [FunctionHealth(address: address, driver: nil, config: config)]
            return RegisterCheck(state, health).differences(state, health).map(\.sentence)
        }
        var virtual = ConfigSpace(Array(repeating: 0, count: 256))
        virtual.write(0xffff_ffff, at: 0, width: 4)
        #expect(sentences(virtual) == [])
        #expect(
            sentences(ConfigSpace(Array(repeating: 0xff, count: 256)))
                == ["\(address) expected to answer, found all ones"]
        )
        #expect(sentences(ConfigSpace()) == ["\(address) expected to answer, found all ones"])
    }

    @Test("a bridge that stopped decoding is a fault of the path, whichever of the bridges above it is")
    func farAbove() throws {
        let machine = Fake.machine()
        let endpoint = Fake.at(Fake.endpoint, machine)
        func faults(_ stopped: [UInt8]?, of addresses: Set<FunctionAddress>) throws -> [String] {
            var state = machine
            if let stopped { state.set(try #require(state.index(stopped)), 4, 0, bytes: 2) }
            let health = state.devices.indices.filter { state.devices[$0].isKnown }.map {
                FunctionHealth(address: state.address($0), driver: nil, config: state.config($0))
            }
            return RegisterCheck.pathFaults(state.tree, health, of: addresses)
        }
        #expect(try faults(nil, of: [endpoint]) == [])
        for hops in [Fake.rootPort, Fake.upstream, Fake.firstPort] {
            let bridge = Fake.at(hops, machine)
            let expected =
                "\(bridge) expected to decode what \(endpoint) below it decodes, found 0x2 of COMMAND off"
            #expect(try faults(hops, of: [endpoint]) == [expected])
        }
        // Beside the way, below it, and where the function itself decodes nothing.
        #expect(try faults(Fake.otherPort, of: [endpoint]) == [])
        #expect(try faults(Fake.firstPort, of: [Fake.at(Fake.upstream, machine)]) == [])
        #expect(try faults(Fake.endpoint, of: [endpoint]) == [])
        // Windows are asked of what is below them.
        #expect(try faults(Fake.rootPort, of: [Fake.at(Fake.upstream, machine)]) == [])
    }

    /// A bridge with a prefetchable window, and the registers as a kernel writes them for it.
    private func bridge(_ window: ResourceLine) throws -> (FunctionState, ConfigSpace) {
        var lines = Array(repeating: ResourceLine.zero, count: 17)
        lines[15] = window
        let state = FunctionState(
            address: try #require(FunctionAddress(parsing: "0000:00:03.0")),
            path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0x18]),
            ids: 0x1b36_000c,
            lines: lines,
            busRange: BusRange(BusNumber(0x13))
        )
        var config = ConfigSpace(Array(repeating: 0, count: 64))
        config.write(0x000c_1b36, at: 0, width: 4)
        config.write(1, at: 0x0e, width: 1)
        config.write(0x0013_1300, at: 0x18, width: 4)
        // I/O and memory closed; 64 bit prefetchable.
        config.write(0x00f1, at: 0x1c, width: 2)
        config.write(0x0000_fff0, at: 0x20, width: 4)
        let low = UInt32(window.end & 0xfff0_0000) | UInt32(window.start >> 16 & 0xfff0)
        config.write(low | 0x1_0001, at: 0x24, width: 4)
        config.write(UInt32(window.start >> 32), at: 0x28, width: 4)
        config.write(UInt32(window.end >> 32), at: 0x2c, width: 4)
        return (state, config)
    }

    private static let flags = ResourceFlags(rawValue: 0x10_2201)

    @Test("a register holds the end of a window to the granule, and what ends inside one agrees with it")
    func granule() throws {
        let (state, config) = try bridge(ResourceLine(start: 0x1_0000_0000, end: 0x1_0192_aaa9, flags: Self.flags))
        let health = [FunctionHealth(address: state.address, driver: nil, config: config)]
        let check = RegisterCheck(TreeState([state]), health)
        #expect(check.differences(TreeState([state]), health).map(\.sentence) == [])
        var larger = state
        larger.lines[15].end += 0x10_0000
        #expect(check.differences(TreeState([larger]), health).count == 1)
        #expect(check.windowWrites(TreeState([state]), health) == [])
    }

    @Test("registers get what the kernel holds, the base above every limit first and to its place last")
    func windows() throws {
        let (state, config) = try bridge(ResourceLine(start: 0x1_0000_0000, end: 0x1_00ff_ffff, flags: Self.flags))
        let health = [FunctionHealth(address: state.address, driver: nil, config: config)]
        let check = RegisterCheck(TreeState([state]), health)
        var moved = state
        moved.lines[15] = ResourceLine(start: 0x2_00a0_0000, end: 0x2_010f_ffff, flags: Self.flags)
        let writes = check.windowWrites(TreeState([moved]), health)
        func write(_ offset: Int, _ mask: UInt32, _ value: UInt32) -> SystemWrite {
            .config(state.address, offset: offset, width: 4, mask: mask, value: value)
        }
        #expect(
            writes == [
                write(0x28, .max, .max), write(0x2c, .max, 2), write(0x24, 0xfff0_fff0, 0x0100_00a0),
                write(0x28, .max, 2),
            ]
        )
        // Carried out, nothing differs any more.
        var after = config
        for case .config(_, let offset, let width, let mask, let value) in writes {
            after.write((after.long(offset) ?? 0) & ~mask | value, at: offset, width: width)
        }
        let then = [FunctionHealth(address: state.address, driver: nil, config: after)]
        #expect(check.differences(TreeState([moved]), then).map(\.sentence) == [])
    }
}
