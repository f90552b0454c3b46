// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// Rules laid over a recorded failure: 03:00.0 lost its I/O BAR when 04:00.0 behind 02:01.0 did not fit.
@Suite("Event cases")
struct EventCaseTests {
    static let port = "0000:00:02.0/00.0/01.0"

    private func topology(_ name: String = "failed-hot-add") throws -> Topology {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let record = try SnapshotFile(path: "\(root)/Fixtures/first-light-6.12/\(name).snapshot.json").read()
        return try TopologyAssembler(record).topology()
    }

    private func name(_ text: String) throws -> PortName { try #require(PortName(parsing: text)) }

    private func address(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    @Test("everything that is missing is one case, whatever the number of functions")
    func oneCase() throws {
        let cases = EventJudgement(try topology(), EventPolicy(mode: .apply)).cases()
        #expect(cases.count == 1)
        #expect(cases[0].functions.map(\.description) == ["0000:03:00.0", "0000:04:00.0"])
        #expect(cases[0].boundary == nil)
        #expect(cases[0].mode == .apply)
        #expect(cases[0].key.contains("0000:00:02.0/00.0/01.0/00.0=0x1b360005"))
    }

    @Test("nothing missing is no case")
    func healthy() throws {
        #expect(EventJudgement(try topology("boot"), EventPolicy(mode: .apply)).cases().isEmpty)
    }

    @Test("the mode off makes no case, below a port or everywhere")
    func off() throws {
        #expect(EventJudgement(try topology(), EventPolicy(mode: .off)).cases().isEmpty)
        let rule = PortRule(port: try name(Self.port), mode: .off)
        let cases = EventJudgement(try topology(), EventPolicy(mode: .apply, ports: [rule])).cases()
        #expect(cases.flatMap(\.functions).map(\.description) == ["0000:03:00.0"])
    }

    @Test("the nearest rule decides the mode")
    func nearest() throws {
        let rules = [
            PortRule(port: try name("0000:00:02.0"), mode: .report), PortRule(port: try name(Self.port), mode: .apply),
        ]
        let cases = EventJudgement(try topology(), EventPolicy(ports: rules)).cases()
        #expect(cases.map(\.mode) == [.report, .apply])
    }

    @Test("an untrusted port is a case of its own, bounded by the port")
    func untrusted() throws {
        let rule = PortRule(port: try name(Self.port), isTrusted: false)
        let judgement = EventJudgement(try topology(), EventPolicy(mode: .apply, ports: [rule]))
        let cases = judgement.cases()
        #expect(cases.map(\.boundary?.description) == [nil, "0000:02:01.0"])
        #expect(judgement.constraints(for: cases[1]).onlyBelow == (try address("02:01.0")))
        #expect(judgement.constraints(for: cases[0]).onlyBelow == nil)
    }

    @Test("a removable device is untrusted unless a rule says otherwise; trusted neighbours stay outside its bounds")
    func removable() throws {
        var tree = try topology()
        let card = try #require(tree.position(of: try address("04:00.0")))
        func boundary(_ policy: EventPolicy = EventPolicy()) -> String? {
            EventJudgement(tree, policy).boundary(of: card).map { tree.functions[$0].address.description }
        }
        #expect(boundary() == nil)
        tree.update(try address("04:00.0")) { $0.use.removable = "removable" }
        #expect(boundary() == "0000:02:01.0", "everything below the port is removable")
        tree.update(try address("02:01.0")) { $0.use.removable = "removable" }
        #expect(boundary() == "0000:02:01.0", "its neighbour 02:00.0 is not")
        tree.update(try address("02:00.0")) { $0.use.removable = "removable" }
        #expect(boundary() == "0000:01:00.0", "everything below the upstream port is")
        let trusted = PortRule(port: try name("0000:00:02.0"), isTrusted: true)
        #expect(boundary(EventPolicy(ports: [trusted])) == nil)
    }

    @Test("a plan that gives an untrusted port more than its share is an excess")
    func share() throws {
        let tree = try topology()
        let behaviour = KernelBehaviour.preset(forRelease: tree.kernel.release ?? "").behaviour
        let plan = try Planner(topology: tree, behaviour: behaviour).plan(goals: [.everythingRequired])
        #expect(plan.verdict.answer == .act)
        let port = try name(Self.port)
        func excesses(_ share: Headroom?, isTrusted: Bool = false) -> [String] {
            let rule = PortRule(port: port, isTrusted: isTrusted, share: share)
            return EventJudgement(tree, EventPolicy(mode: .apply, ports: [rule])).excesses(in: plan.after)
        }
        #expect(excesses(nil).contains { $0.contains("0000:02:01.0") && $0.contains("prefetchable") })
        #expect(excesses(nil, isTrusted: true).isEmpty)
        let enough = Headroom(
            io: ByteCount(64 << 10),
            memory: ByteCount(4 << 30),
            prefetchable: ByteCount(4 << 30),
            buses: 64
        )
        #expect(excesses(enough).isEmpty)
        #expect(!excesses(Headroom(io: enough.io, memory: enough.memory, prefetchable: ByteCount(1 << 20))).isEmpty)
    }

    @Test("protected names cover what is below them; names of nothing are told")
    func protect() throws {
        let policy = EventPolicy(protect: [try name("0000:00:02.0/00.0/00.0"), try name("slot:nowhere")])
        let judgement = EventJudgement(try topology(), policy)
        let one = try #require(judgement.cases().first)
        let kept = judgement.constraints(for: one).keep.sorted().map(\.description)
        #expect(kept == ["0000:02:00.0", "0000:03:00.0"])
        #expect(judgement.unmatchedNames.map(\.description) == ["slot:nowhere"])
    }

    @Test("a request for a port looks there and below only")
    func only() throws {
        let judgement = EventJudgement(try topology(), EventPolicy(), only: try name(Self.port))
        #expect(judgement.cases().flatMap(\.functions).map(\.description) == ["0000:04:00.0"])
        #expect(EventJudgement(try topology(), EventPolicy(), only: .slot("nowhere")).cases().isEmpty)
    }
}
