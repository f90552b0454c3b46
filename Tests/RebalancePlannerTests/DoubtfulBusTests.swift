// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// Machines of the laboratory whose firmware gave too few bus numbers, and on which kernels were seen to lose something.
@Suite("bus numbers of which nobody can tell whose they are")
struct DoubtfulBusTests {
    private func plan(_ name: String) throws -> Plan {
        let topology = try fixture(name)
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        return try Planner(topology: topology, behaviour: behaviour).plan(goals: [.everythingRequired])
    }

    /// Where a write of bus numbers goes.
    private func renumbered(_ write: SystemWrite) -> FunctionAddress? {
        if case .config(let address, 0x18, _, _, _) = write { address } else { nil }
    }

    /// 00:04.0 has no bus and takes bus 02 by its registers, on which the kernel lists 02:00.0 behind 01:00.0: with other
    /// numbers there a switch port answered as 02:00.0 (6.12.118), and going back left 00:03.0 without its bus.
    @Test("a port that may be the one above a card gets no other numbers while the card stays")
    func doubtfulCard() throws {
        let port = try #require(FunctionAddress(parsing: "00:04.0"))
        let card = try #require(FunctionAddress(parsing: "02:00.0"))
        let plan = try plan("hidden-doubtful-6.12/boot.snapshot.json")
        let state = try #require(plan.before[card])
        #expect(state.path.description == "0000:00:02.0/00.0/00.0")
        #expect(state.otherPlaces.map(\.description) == ["0000:00:04.0/00.0"])
        let writes = plan.steps.flatMap(\.writes)
        if let index = writes.firstIndex(where: { renumbered($0) == port }) {
            let removed = writes[..<index].contains { write in
                guard case .remove(let address) = write, let root = plan.before[address] else { return false }
                return root.path.isAncestorOrSelf(of: state.path)
            }
            #expect(removed, "\(writes)")
        }
    }

    /// Root buses 0c and 0d are the kernel's own making; 08:00.0 has [bus 09-0e]. Scanned with these numbers, 7.2.13 took
    /// root bus 0c for the bus of a port below and went down in `pbus_validate_busn`.
    @Test("no bridge with the number of a root bus among its own is scanned")
    func rootBusBelow() throws {
        let plan = try plan("hidden-root-bus-7/hot-add.snapshot.json")
        #expect(plan.verdict.answer == .act)
        let switches = ["08:00.0", "00:03.0"].compactMap { FunctionAddress(parsing: $0) }
        let writes = plan.steps.flatMap(\.writes)
        let first = try #require(writes.firstIndex { if case .rescanBus = $0 { true } else { false } })
        #expect(Set(switches).isSubset(of: Set(writes[..<first].compactMap(renumbered))), "\(writes)")
        for function in plan.after.functions {
            guard let range = function.busRange else { continue }
            #expect(
                !range.contains(BusNumber(0x0c)) && !range.contains(BusNumber(0x0d)),
                "\(function.address) \(range)"
            )
        }
    }
}
