// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// A card that does not fit beside one side of a non-transparent bridge, and beside a card that files name.
@Suite("bridges to other hosts, and functions that files name")
struct OtherHostTests {
    private static let sibling = "0000:03:00.0"

    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    /// The machine whose card of 16 MiB is in the way of one of 1 GiB, as a bridge of these ids and this link status.
    private func machine(device: UInt16, status: UInt32) throws -> Topology {
        var topology = try fixture("first-light-6.12/failed-hot-add.snapshot.json")
        topology.update(try at(Self.sibling)) {
            $0.identity.vendor = 0x8086
            $0.identity.device = device
            $0.identity.classCode = 0x06_8000
            let missing = max(0, 4096 - $0.config.count)
            $0.config.bytes += Array(repeating: 0, count: missing)
            $0.config.write(status, at: 0x1a2, width: 2)
        }
        return topology
    }

    private func plan(_ topology: Topology, _ constraints: Constraints = Constraints(simulationBudget: 400)) throws
        -> Plan
    {
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        return try Planner(topology: topology, behaviour: behaviour)
            .plan(goals: [.everythingRequired], constraints: constraints)
    }

    @Test(
        "a window is not moved under a link that is up or not told; under one that is down it keeps size and alignment"
    )
    func links() throws {
        for (device, status, sentence) in [
            (0x201c, 0x2000, "another host reaches this one through it: its link is up"),
            (0x347e, 0x2000, "whether its link is up is not told"),
        ] as [(UInt16, UInt32, String)] {
            let refused = try plan(machine(device: device, status: status))
            #expect(refused.verdict.line == "PLAN: refused reason=protected")
            #expect(refused.verdict.sentence.contains(sentence), "\(refused.verdict.sentence)")
            #expect(refused.remarks.contains { $0.contains("--allow-disturb \(Self.sibling)") })
        }
        let topology = try machine(device: 0x201c, status: 0)
        let moved = try plan(topology)
        let sibling = try at(Self.sibling)
        #expect(moved.verdict.answer == .act && moved.disturbed.map(\.address).contains(sibling))
        let before = try #require(topology[try at(Self.sibling)])
        let after = try #require(moved.after.functions.first { $0.address.description == Self.sibling })
        var windows = 0
        for window in before.nonTransparentBridge?.windows ?? [] {
            let now = after.lines[window.bar]
            let size = try #require(window.size?.rawValue)
            #expect(now.size?.rawValue == size && now.start % size == 0 && now.start > 0)
            windows += 1
        }
        #expect(windows == 1, "the test device has one BAR among the windows")
        var allowed = Constraints(simulationBudget: 400)
        allowed.allowDisturb = [try at(Self.sibling)]
        #expect(try plan(machine(device: 0x201c, status: 0x2000), allowed).verdict.answer == .act)
    }

    @Test(
        "files that name a function: its number is kept at equal cost, and the notice has the new one where it is not"
    )
    func files() throws {
        let bridge = try at("0000:01:00.0")
        func plan(_ namings: [AddressWord], below: String? = nil) throws -> Plan {
            var topology = try fixture("three-root-ports-6.12/failed-hot-add.snapshot.json")
            topology.namings = namings
            var constraints = Constraints()
            constraints.onlyBelow = try below.map { try at($0) }
            return try self.plan(topology, constraints)
        }
        let guest = AddressWord(word: "libvirt's guest", address: bridge, place: "/etc/libvirt/qemu/web.xml")
        #expect(try plan([]).disturbed.first { $0.address == bridge }?.newAddress != bridge)
        #expect(try plan([guest]).disturbed.first { $0.address == bridge }?.newAddress == bridge)
        let moved = try plan([guest], below: "0000:00:02.0")
        let new = try #require(moved.disturbed.first { $0.address == bridge }?.newAddress)
        #expect(new != bridge)
        #expect(
            moved.remarks.contains {
                $0.hasPrefix("libvirt's guest in /etc/libvirt/qemu/web.xml names 0000:01:00.0, which will be \(new): ")
            },
            "\(moved.remarks)"
        )
    }
}
