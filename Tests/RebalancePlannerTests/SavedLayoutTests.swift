// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// What is kept of a layout, and what restoring it asks for.
@Suite("older layouts")
struct SavedLayoutTests {
    private typealias Machine = WriteMachine

    private func collected(
        _ machine: WriteMachine,
        _ change: (inout SavedLayout) throws -> Void
    ) throws -> (fixed: [Demand], wishes: [Demand], remarks: [String]) {
        var layout = SavedLayout(machine.topology)
        try change(&layout)
        let demands = RestoreDemands(machine.state.context, layout)
        var fixed: [Demand] = []
        var wishes: [Demand] = []
        demands.collect(&fixed, &wishes)
        return (fixed, wishes, demands.remarks)
    }

    /// The entry of a function in a layout.
    private func place(_ layout: SavedLayout, _ machine: WriteMachine, _ address: FunctionAddress) throws -> Int {
        let path = machine.topology.path(of: try machine.number(address))
        return try #require(layout.places.firstIndex { $0.path == path })
    }

    @Test("each function but VFs, with its ids, sizes by index and bus numbers")
    func kept() throws {
        let machine = try Machine(enabledVFs: 2)
        let layout = SavedLayout(machine.topology)
        #expect(layout.fingerprint == TreeState(machine.topology).fingerprint)
        let physical = machine.topology.functions.filter { !$0.isVirtual }
        #expect(physical.count < machine.topology.functions.count)
        #expect(layout.places.count == physical.count)
        for function in physical {
            let i = try machine.number(function.address)
            let one = layout.places[try place(layout, machine, function.address)]
            #expect(one.ids == UInt32(function.identity.vendor) << 16 | UInt32(function.identity.device))
            #expect(one.sizes.count == 17)
            for n in 0..<17 {
                let range = ResourceIndex(n).flatMap { machine.topology.functions[i].resource($0)?.range }
                #expect(one.sizes[n] == range.map { $0.last - $0.first + 1 } ?? 0, "\(function.address) \(n)")
            }
            let buses = function.bridge?.busRange
            #expect(one.buses == buses.map { Int($0.last.rawValue) - Int($0.first.rawValue) + 1 } ?? 0)
        }
        let card = layout.places[try place(layout, machine, Machine.card)]
        #expect(
            card.sizes[0] == 1 << 20 && card.sizes[1] == 256 && card.sizes[2] == 64 << 20 && card.ids == 0x8086_1572
        )
    }

    @Test("what is as it was asks for nothing")
    func nothing() throws {
        let found = try collected(try Machine(enabledVFs: 0)) { _ in }
        #expect(found.fixed == [] && found.wishes == [] && found.remarks == [])
    }

    @Test("a BAR of another size: a resizable one is resized, another wants an address again")
    func bars() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let bar = try #require(ResourceIndex.bar(2))
        for size: UInt64 in [32 << 20, 128 << 20] {
            let found = try collected(machine) { layout in
                layout.places[try place(layout, machine, Machine.card)].sizes[2] = size
            }
            #expect(found.fixed == [.size(card, bar, size)] && found.wishes == [])
        }
        let plain = try collected(machine) { layout in
            layout.places[try place(layout, machine, Machine.card)].sizes[0] = 2 << 20
        }
        #expect(plain.fixed == [.address(card, try #require(ResourceIndex.bar(0)))])
        let gone = try collected(machine) { layout in
            layout.places[try place(layout, machine, Machine.card)].sizes[2] = 0
        }
        #expect(gone.fixed == [])
        let vf = try collected(machine) { layout in
            layout.places[try place(layout, machine, Machine.card)].sizes[7] += 1
        }
        #expect(vf.fixed == [.address(card, try #require(ResourceIndex.vfBAR(0)))])
        // ROMs are not restored.
        let rom = try collected(machine) { layout in
            layout.places[try place(layout, machine, Machine.card)].sizes[6] = 1 << 16
        }
        #expect(rom.fixed == [] && rom.wishes == [])
    }

    @Test("a larger window is wished for below an empty hot-plug port only; a smaller one never")
    func windows() throws {
        let machine = try Machine(enabledVFs: 0)
        let empty = try machine.number(Machine.empty)
        for index in [ResourceIndex.ioWindow, .memoryWindow, .prefetchableWindow] {
            let present = machine.topology.functions[empty].resource(index)?.range?.clampedSize ?? 0
            #expect(present > 0)
            let n = Int(index.rawValue)
            for (size, isWished) in [(present - 1, false), (present, false), (present + 1, true)] {
                let found = try collected(machine) { layout in
                    layout.places[try place(layout, machine, Machine.empty)].sizes[n] = size
                }
                #expect(found.fixed == [] && found.wishes == (isWished ? [.window(empty, index, size)] : []))
            }
            for address in [Machine.full, Machine.upstream] {
                let found = try collected(machine) { layout in
                    layout.places[try place(layout, machine, address)].sizes[n] = 1 << 40
                }
                #expect(found.wishes == [], "\(address)")
            }
        }
    }

    @Test("more bus numbers are wished for; where there are none, a bus is asked for as well")
    func buses() throws {
        let machine = try Machine(enabledVFs: 0)
        let full = try machine.number(Machine.full)
        let present = machine.topology.functions[full].bridge?.busRange?.count ?? 0
        for (count, wishes) in [
            (0, []), (present, []), (present + 1, [Demand.buses(full, present + 1)]),
        ] as [(Int, [Demand])] {
            let found = try collected(machine) { layout in
                layout.places[try place(layout, machine, Machine.full)].buses = count
            }
            #expect(found.fixed == [] && found.wishes == wishes)
        }
        let without = try Machine(enabledVFs: 0) { topology in
            topology.update(Machine.empty) { $0.bridge?.busRange = nil }
        }
        let found = try collected(without) { layout in
            layout.places[try place(layout, without, Machine.empty)].buses = 1
        }
        let empty = try without.number(Machine.empty)
        #expect(found.fixed == [.bus(empty)] && found.wishes == [.buses(empty, 1)])
    }

    @Test("a function that is not there, or is another, is remarked upon and asks for nothing")
    func strangers() throws {
        let machine = try Machine(enabledVFs: 0)
        let other = try collected(machine) { layout in
            let n = try place(layout, machine, Machine.card)
            layout.places[n].ids ^= 1
            layout.places[n].sizes[2] = 128 << 20
        }
        let path = machine.topology.path(of: try machine.number(Machine.card))
        #expect(other.fixed == [])
        #expect(other.remarks == ["\(path) of the saved layout is not there, or another device is"])
        let gone = try collected(machine) { layout in
            layout.places.append(
                .init(
                    path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0xf8]),
                    ids: 1,
                    sizes: [4096],
                    buses: 0
                )
            )
        }
        #expect(gone.fixed == [] && gone.remarks.count == 1)
    }
}
