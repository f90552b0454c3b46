// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Every way in which a device that nobody trusts could claim to be one that somebody does.
///
/// 02:01.0 and the card 04:00.0 behind it are the hostile ones; 02:00.0 with 03:00.0 is the neighbour.
@Suite("Trust")
struct EventTrustTests {
    private func at(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    private func name(_ text: String) throws -> PortName { try #require(PortName(parsing: text)) }

    /// The tree after the failed hot-add, the hostile functions marked by the kernel.
    private func topology(marking marked: [String] = ["02:01.0", "04:00.0"]) throws -> Topology {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let path = "\(root)/Fixtures/first-light-6.12/failed-hot-add.snapshot.json"
        var tree = try TopologyAssembler(SnapshotFile(path: path).read()).topology()
        for text in marked { tree.update(try at(text)) { $0.use.isUntrusted = true } }
        return tree
    }

    private func setSlot(_ number: UInt32, of port: String, _ tree: inout Topology) throws {
        tree.update(try at(port)) { function in
            let old = function.capabilities.express?.slotCapabilities?.rawValue ?? 0
            function.capabilities.express?.slotCapabilities = SlotCapabilities(rawValue: old & 0x7_ffff | number << 19)
        }
    }

    private func boundary(_ tree: Topology, _ rules: [PortRule]) throws -> String? {
        let i = try #require(tree.position(of: try at("04:00.0")))
        return EventJudgement(tree, EventPolicy(mode: .apply, ports: rules)).boundary(of: i).map {
            tree.functions[$0].address.description
        }
    }

    @Test("a slot's number: a port that is untrusted and claims the trusted slot stays untrusted")
    func slotNumber() throws {
        var tree = try topology()
        try setSlot(99, of: "02:01.0", &tree)
        let rule = PortRule(port: .slot("99"), mode: .apply, isTrusted: true)
        #expect(try boundary(tree, [rule]) == "0000:02:01.0")
        let judgement = EventJudgement(tree, EventPolicy(mode: .report, ports: [rule]))
        #expect(judgement.doubtfulNames == [.slot("99")])
        let path = tree.path(of: try #require(tree.position(of: try at("04:00.0"))))
        #expect(judgement.mode(at: path) == .report, "the mode of the rule would do more")
    }

    @Test("a slot's number that two ports claim raises nobody's trust, and still takes it away from both")
    func ambiguousSlot() throws {
        var tree = try topology(marking: ["04:00.0"])
        try setSlot(99, of: "02:01.0", &tree)
        #expect(
            try boundary(tree, [PortRule(port: .slot("99"), isTrusted: true)]) == nil,
            "one port, not untrusted itself"
        )
        try setSlot(99, of: "02:00.0", &tree)
        #expect(try boundary(tree, [PortRule(port: .slot("99"), isTrusted: true)]) == "0000:02:01.0")
        let distrust = EventJudgement(
            tree,
            EventPolicy(mode: .apply, ports: [PortRule(port: .slot("99"), mode: .off, isTrusted: false)])
        )
        for text in ["03:00.0", "04:00.0"] {
            let i = try #require(tree.position(of: try at(text)))
            #expect(distrust.boundary(of: i) != nil)
            #expect(distrust.mode(at: tree.path(of: i)) == .off)
        }
    }

    @Test("a share and the leave to stop what is in use are not for whoever claims a slot's number")
    func shareOfSlot() throws {
        var tree = try topology()
        try setSlot(99, of: "02:01.0", &tree)
        let room = Headroom(memory: ByteCount(1 << 30), prefetchable: ByteCount(1 << 40), buses: 64)
        let policy = EventPolicy(
            mode: .apply,
            allowDisturb: [.slot("99")],
            ports: [PortRule(port: .slot("99"), share: room, reserve: room)]
        )
        let judgement = EventJudgement(tree, policy)
        #expect(judgement.constraints(below: nil).allowDisturb.isEmpty)
        #expect(judgement.reserves.isEmpty)
        var after = tree
        after.update(try at("02:01.0")) { $0.bridge?.busRange = BusRange(first: BusNumber(4), last: BusNumber(60)) }
        #expect(judgement.excesses(in: TreeState(after)).contains { $0.contains("0000:02:01.0") })
    }

    @Test("a bus number: an address behind an untrusted bridge is nobody's name")
    func busNumber() throws {
        let tree = try topology(marking: ["02:01.0", "04:00.0", "01:00.0"])
        #expect(try boundary(tree, [PortRule(port: .address(try at("04:00.0")), isTrusted: true)]) != nil)
        #expect(try boundary(tree, [PortRule(port: .address(try at("02:01.0")), isTrusted: true)]) != nil)
        // On a root bus nobody hands out the numbers.
        #expect(try boundary(tree, [PortRule(port: .address(try at("00:02.0")), isTrusted: true)]) == nil)
    }

    @Test("the removable flag: a card that does not carry it is as untrusted as the port that it hangs on")
    func removableFlag() throws {
        var tree = try topology(marking: ["02:01.0"])
        tree.update(try at("04:00.0")) {
            $0.use.removable = "fixed"
            $0.use.isUntrusted = false
        }
        #expect(try boundary(tree, []) == "0000:02:01.0")
    }

    @Test("a serial number and ids are no name: a card with those of a trusted one gains nothing")
    func serial() throws {
        var tree = try topology()
        let identity = try #require(tree[try at("03:00.0")]?.identity)
        tree.update(try at("04:00.0")) { $0.identity = identity }
        let rule = PortRule(port: try name("0000:00:02.0/00.0/00.0"), isTrusted: true)
        #expect(try boundary(tree, [rule]) == "0000:02:01.0")
        #expect(PortName(parsing: "serial:00-11-22-33-44-55-66-77") == nil)
    }

    @Test("a place is where the wires lead: a rule for it holds, also below an untrusted port")
    func place() throws {
        let tree = try topology()
        #expect(try boundary(tree, [PortRule(port: try name("0000:00:02.0/00.0/01.0"), isTrusted: true)]) == nil)
    }
}
