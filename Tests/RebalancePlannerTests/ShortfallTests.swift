// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// What a tree lacks, and which addresses reach their function.
@Suite("what is missing in a tree")
struct ShortfallTests {
    private typealias Machine = WriteMachine

    private func bar(_ n: Int) throws -> ResourceIndex { try #require(ResourceIndex.bar(n)) }

    /// The machine with the bytes of one function's configuration space changed.
    private func machine(
        _ address: FunctionAddress,
        _ writes: [(value: UInt32, offset: Int, width: Int)]
    ) throws -> Topology {
        var topology = try Machine(enabledVFs: 0).topology
        topology.update(address) { function in
            for write in writes { function.config.write(write.value, at: write.offset, width: write.width) }
            function.bridge?.registers = BridgeRegisters(function.config)
        }
        return topology
    }

    private func reaches(_ topology: Topology, _ address: FunctionAddress, _ n: Int) throws -> Bool {
        let i = try #require(topology.position(of: address))
        let resource = try #require(topology.functions[i].resource(try bar(n)))
        return topology.isReachable(try #require(resource.range), kind: try #require(resource.kind), from: i)
    }

    @Test("an address is reached when every bridge above forwards the whole of it")
    func reachable() throws {
        let whole = try Machine(enabledVFs: 0).topology
        for n in 0...2 { #expect(try reaches(whole, Machine.card, n), "BAR \(n)") }
        // Memory windows end on 1 MiB: BAR 0 of 1 MiB is cut off when the limit is one unit below.
        let range = try #require(whole[Machine.card]?.resource(try bar(0))?.range)
        for bridge in [Machine.root, Machine.upstream, Machine.full] {
            let base = UInt32(truncatingIfNeeded: range.first >> 16) & 0xfff0
            let limit = UInt32(truncatingIfNeeded: range.last >> 16) & 0xfff0
            let exact = try machine(bridge, [(base, 0x20, 2), (limit, 0x22, 2)])
            #expect(try reaches(exact, Machine.card, 0), "\(bridge)")
            let after = try machine(bridge, [(base + 0x10, 0x20, 2), (limit + 0x10, 0x22, 2)])
            #expect(try !reaches(after, Machine.card, 0), "\(bridge)")
            let before = try machine(bridge, [(base - 0x10, 0x20, 2), (limit - 0x10, 0x22, 2)])
            #expect(try !reaches(before, Machine.card, 0), "\(bridge)")
            let closed = try machine(bridge, [(0xfff0, 0x20, 2), (0, 0x22, 2)])
            #expect(try !reaches(closed, Machine.card, 0), "\(bridge)")
            // The other spaces go their own way.
            #expect(try reaches(closed, Machine.card, 1) && reaches(closed, Machine.card, 2))
            let withoutIO = try machine(bridge, [(0xf0, 0x1c, 1), (0, 0x1d, 1)])
            #expect(try !reaches(withoutIO, Machine.card, 1) && reaches(withoutIO, Machine.card, 0))
        }
        // On a root bus nothing is above.
        let board = FunctionAddress(bus: BusNumber(0), devfn: 24)
        #expect(try reaches(whole, board, 0))
    }

    @Test("a bridge that decodes subtractively forwards everything")
    func subtractive() throws {
        var topology = try machine(Machine.full, [(0xfff0, 0x20, 2), (0, 0x22, 2)])
        #expect(try !reaches(topology, Machine.card, 0))
        topology.update(Machine.full) { $0.bridge?.isSubtractive = true }
        #expect(try reaches(topology, Machine.card, 0))
    }

    @Test("bus numbers, BARs without address and BARs that cannot be reached, in this order at one place")
    func required() throws {
        var topology = try machine(Machine.full, [(0xf0, 0x1c, 1), (0, 0x1d, 1)])
        topology.update(Machine.empty) { $0.bridge?.busRange = nil }
        topology.update(Machine.card) { function in
            for r in function.resources.indices where function.resources[r].index == .bar(2) {
                function.resources[r].assignment = .unassigned
            }
        }
        func path(_ address: FunctionAddress) throws -> TopologyPath {
            topology.path(of: try #require(topology.position(of: address)))
        }
        let expected = [
            Shortfall(path: try path(Machine.card), kind: .resource(try bar(2))),
            Shortfall(path: try path(Machine.card), kind: .unreachable(try bar(1))),
            Shortfall(path: try path(Machine.empty), kind: .bus),
        ]
        #expect(topology.requiredShortfalls == expected.sorted())
        #expect(try Machine(enabledVFs: 2).topology.requiredShortfalls == [])
    }

    @Test("the order: by place, then bus, resources by index, and what cannot be reached")
    func order() throws {
        let near = TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [8])
        let far = TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [16])
        let kinds: [Shortfall.Kind] = [
            .bus, .resource(try bar(0)), .resource(try bar(5)), .resource(.prefetchableWindow),
            .unreachable(try bar(0)), .unreachable(try bar(1)),
        ]
        let sorted = kinds.map { Shortfall(path: near, kind: $0) } + kinds.map { Shortfall(path: far, kind: $0) }
        for (n, a) in sorted.enumerated() {
            for (m, b) in sorted.enumerated() { #expect((a < b) == (n < m), "\(a) \(b)") }
        }
    }
}
