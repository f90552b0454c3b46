// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// Goals as demands: what each asks for, and what is refused with which words.
@Suite("demands of goals")
struct DemandCatalogueTests {
    private typealias Machine = WriteMachine
    private static let mib: UInt64 = 1 << 20

    private func catalogue(_ machine: WriteMachine, _ tiers: OptionalTiers = OptionalTiers()) -> DemandCatalogue {
        DemandCatalogue(machine.state.context, findings: machine.topology.findings(), tiers: tiers)
    }

    private func choices(_ goals: [Goal], _ machine: WriteMachine) throws -> [[[Demand]]] {
        try catalogue(machine).clusters(for: goals).map(\.choices)
    }

    private func refusal(_ goal: Goal, _ machine: WriteMachine) -> String? {
        #expect(throws: PlanningError.self) { try choices([goal], machine) }?.description
    }

    private func bar(_ n: Int) throws -> ResourceIndex { try #require(ResourceIndex.bar(n)) }

    @Test(
        "a resize to a size on offer is one demand; to the largest, every size from the present one up, largest first"
    )
    func resize() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let two = try bar(2)
        for megabytes: UInt64 in [32, 64, 128, 256, 512] {
            let goal = Goal.resize(Machine.card, bar: 2, size: ByteCount(megabytes * Self.mib))
            #expect(try choices([goal], machine) == [[[.size(card, two, megabytes * Self.mib)]]])
        }
        let largest = try choices([.resize(Machine.card, bar: 2, size: nil)], machine)
        // The BAR has 64 MiB now.
        #expect(largest == [[512, 256, 128, 64].map { [.size(card, two, $0 * Self.mib)] }])
        #expect(
            refusal(.resize(Machine.card, bar: 2, size: ByteCount(16 * Self.mib)), machine)
                == "BAR 2 of 0000:03:00.0 cannot be 16M, expected one of 32M, 64M, 128M, 256M, 512M"
        )
        #expect(
            refusal(.resize(Machine.card, bar: 0, size: nil), machine)
                == "expected a resizable BAR, BAR 0 of 0000:03:00.0 is none"
        )
        let nobody = FunctionAddress(bus: BusNumber(0x3e), devfn: 0)
        #expect(refusal(.resize(nobody, bar: 0, size: nil), machine) == "no function at 0000:3e:00.0")
    }

    @Test("an address: aligned, within 64 bits, within 32 where the register is no wider, and of a BAR that is there")
    func located() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let (zero, one, two) = (try bar(0), try bar(1), try bar(2))
        func demand(_ n: Int, _ start: UInt64) throws -> [[[Demand]]] {
            try choices([.located(Machine.card, bar: n, address: start)], machine)
        }
        #expect(try demand(0, 0x9000_0000) == [[[.located(card, zero, 0x9000_0000)]]])
        #expect(try demand(0, 0xfff0_0000) == [[[.located(card, zero, 0xfff0_0000)]]])
        #expect(try demand(1, 0x1100) == [[[.located(card, one, 0x1100)]]])
        #expect(try demand(2, 1 << 40) == [[[.located(card, two, 1 << 40)]]])
        let top = UInt64.max - 64 * Self.mib + 1
        #expect(try demand(2, top) == [[[.located(card, two, top)]]])
        func words(_ n: Int, _ start: UInt64) -> String? {
            refusal(.located(Machine.card, bar: n, address: start), machine)
        }
        #expect(words(0, 0x9000_1000) == "expected a multiple of 1M for BAR 0 of 0000:03:00.0, found 0x90001000")
        #expect(words(1, 0x1180) == "expected a multiple of 256 for BAR 1 of 0000:03:00.0, found 0x1180")
        #expect(
            words(0, 0x1_0000_0000)
                == "BAR 0 of 0000:03:00.0 is a register of 32 bits, 0x100000000 is too high for it"
        )
        #expect(words(4, 0) == "expected a BAR, 0000:03:00.0 has no BAR 4")
        #expect(words(6, 0) == "expected a BAR, 0000:03:00.0 has no BAR 6")
    }

    @Test("a BAR that never moves is asked for at its own place only")
    func fixedBAR() throws {
        let start = try #require(try Machine(enabledVFs: 0).topology[Machine.card]?.resource(try bar(0))?.range?.first)
        let machine = try Machine(enabledVFs: 0) { topology in
            topology.update(Machine.card) { function in
                for r in function.resources.indices where function.resources[r].index == .bar(0) {
                    function.resources[r].flags.insert(.fixed)
                }
            }
        }
        #expect(try !choices([.located(Machine.card, bar: 0, address: start)], machine).isEmpty)
        let words = refusal(.located(Machine.card, bar: 0, address: start + Self.mib), machine)
        #expect(words == "BAR 0 of 0000:03:00.0 never moves")
    }

    @Test("VFs: 1 up to the number on offer, the whole VF BAR, and numbers for routing ids beyond the bus")
    func virtualFunctions() throws {
        let machine = try Machine(enabledVFs: 0)
        let card = try machine.number(Machine.card)
        let vf = try #require(ResourceIndex.vfBAR(0))
        for count in 1...4 {
            let found = try choices([.virtualFunctions(Machine.card, count: count)], machine)
            // 64 KiB for each of the four that the card can have; offset 2 and stride 1 stay on the bus.
            #expect(found == [[[.size(card, vf, 4 << 16)]]])
        }
        for count in [0, -1, 5] {
            #expect(
                refusal(.virtualFunctions(Machine.card, count: count), machine)
                    == "0000:03:00.0 offers 4 VFs, asked for are \(count)"
            )
        }
        #expect(
            refusal(.virtualFunctions(Machine.sibling, count: 1), machine)
                == "0000:03:00.1 offers no VFs, asked for are 1"
        )
        #expect(
            catalogue(machine).remarks(for: [.virtualFunctions(Machine.card, count: 3), .compact]) == [
                "with room made, the VFs are enabled by: echo 3 > /sys/bus/pci/devices/0000:03:00.0/sriov_numvfs"
            ]
        )
    }

    @Test("a reserve asks for each kind that is not zero, at a bridge")
    func reserve() throws {
        let machine = try Machine(enabledVFs: 0)
        let empty = try machine.number(Machine.empty)
        let table: [(Headroom, [Demand])] = [
            (Headroom(io: ByteCount(1)), [.room(empty, .io, 1)]),
            (Headroom(memory: ByteCount(1)), [.room(empty, .memory, 1)]),
            (Headroom(prefetchable: ByteCount(1)), [.room(empty, .prefetchable, 1)]),
            (Headroom(buses: 1), [.freeBuses(empty, 1)]),
            (
                Headroom(io: ByteCount(2), memory: ByteCount(3), prefetchable: ByteCount(4), buses: 5),
                [.room(empty, .io, 2), .room(empty, .memory, 3), .room(empty, .prefetchable, 4), .freeBuses(empty, 5)]
            ),
        ]
        for (room, demands) in table { #expect(try choices([.reserve(Machine.empty, room)], machine) == [[demands]]) }
        #expect(
            refusal(.reserve(Machine.empty, Headroom()), machine)
                == "expected room to keep below 0000:02:01.0, found none asked for"
        )
        #expect(
            refusal(.reserve(Machine.card, Headroom(buses: 1)), machine)
                == "expected a port to keep room below, 0000:03:00.0 is no bridge"
        )
    }

    /// A machine on which these BARs of the card have no address.
    private func lacking(_ indexes: [Int]) throws -> WriteMachine {
        try Machine(enabledVFs: 0) { topology in
            topology.update(Machine.card) { function in
                for n in indexes { function.lines[n] = .zero }
                for r in function.resources.indices
                where indexes.contains(Int(function.resources[r].index.rawValue)) {
                    function.resources[r].assignment = .wiped
                }
            }
        }
    }

    @Test("what is missing is asked for; a resizable BAR as it is, or smaller, largest first")
    func missing() throws {
        let machine = try lacking([0, 2])
        let card = try machine.number(Machine.card)
        let (zero, two) = (try bar(0), try bar(2))
        let all = try choices([.everythingRequired], machine)
        #expect(
            all == [
                [
                    [.address(card, zero), .address(card, two)],
                    [.address(card, zero), .size(card, two, 32 * Self.mib)],
                ]
            ]
        )
        #expect(try choices([.place(Machine.card)], machine) == all)
        #expect(try choices([.place(Machine.root)], machine) == all)
        #expect(try choices([.place(Machine.narrow)], machine) == [])
        #expect(try choices([.compact], machine) == [])
        let diagnosis = catalogue(machine).diagnosis(of: try catalogue(machine).clusters(for: [.everythingRequired]))
        let lines = diagnosis.filter { $0.code != "cause" }
        #expect(lines.count == 2 && lines.allSatisfy { $0.address == Machine.card })
        #expect(lines[0].text.hasPrefix("0000:03:00.0 BAR 0") && lines[1].text.hasPrefix("0000:03:00.0 BAR 2"))
        #expect(catalogue(machine).diagnosis(of: []) == [])
    }

    @Test("below one root port demands go together; bus numbers join ports of one root bus; a resize as well")
    func groups() throws {
        let machine = try Machine(enabledVFs: 0)
        let (card, narrow, empty) = try (
            machine.number(Machine.card), machine.number(Machine.narrow), machine.number(Machine.empty)
        )
        let room = Headroom(memory: ByteCount(Self.mib))
        var found = try choices([.reserve(Machine.empty, room), .reserve(Machine.narrow, room)], machine)
        #expect(found == [[[.room(empty, .memory, Self.mib)]], [[.room(narrow, .memory, Self.mib)]]])
        found = try choices([.reserve(Machine.empty, room), .reserve(Machine.full, room)], machine)
        #expect(found.count == 1)
        // The same demand twice is one.
        found = try choices([.reserve(Machine.empty, room), .reserve(Machine.empty, room)], machine)
        #expect(found == [[[.room(empty, .memory, Self.mib)]]])
        // A resize takes the whole port that the card is below.
        found = try choices(
            [.resize(Machine.card, bar: 2, size: ByteCount(128 * Self.mib)), .reserve(Machine.empty, room)],
            machine
        )
        #expect(found == [[[.room(empty, .memory, Self.mib), .size(card, try bar(2), 128 * Self.mib)]]])
    }
}
