// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// IOMMU groups in documents and under way.
@Suite("IOMMU groups of a plan")
struct IsolationTests {
    private static func change(_ groups: [[FunctionAddress]]) -> IsolationChange {
        IsolationChange(
            groupsBefore: groups,
            groupsAfter: groups,
            hasGroups: true,
            untold: [],
            contradicted: [],
            regroupings: [],
            reroutings: [],
            settings: []
        )
    }

    @Test("a group that the plan does not make is a difference; the way back is taken")
    func underWay() throws {
        let state = Fake.machine()
        let port = Fake.at(Fake.otherPort, state)
        let endpoint = Fake.at(Fake.otherEndpoint, state)
        func apply(_ groups: [FunctionAddress: Int], _ change: IsolationChange?) throws -> ApplyReport {
            let bench = Bench(state)
            bench.machine.groups = groups
            var plan = Fake.renumber(state)
            plan.isolation = change
            return try bench.applier.apply(plan)
        }
        let apart = Self.change([[port], [endpoint]])
        #expect(try apply([port: 1, endpoint: 2], apart).verdict == .done)
        #expect(try apply([port: 1, endpoint: 1], Self.change([[port, endpoint]])).verdict == .done)
        let grown = try apply([port: 1, endpoint: 1], apart)
        #expect(grown.verdict == .rolledBack && grown.reason == "prediction-differs")
        #expect(grown.differences == ["\(endpoint) expected apart from \(port), found in IOMMU group 1 with it"])
        // What the plan foretells nothing of is no difference.
        var open = apart
        open.untold = [endpoint]
        #expect(try apply([port: 1, endpoint: 1], open).verdict == .done)
        #expect(try apply([port: 1, endpoint: 1], nil).verdict == .done)
    }

    @Test("a document holds what becomes of groups, routes and settings")
    func document() throws {
        let state = Fake.machine()
        let port = Fake.at(Fake.otherPort, state)
        let endpoint = Fake.at(Fake.otherEndpoint, state)
        var plan = Fake.renumber(state)
        var change = Self.change([[port], [endpoint]])
        change.groupsAfter = [[port, endpoint]]
        change.untold = [port]
        change.contradicted = [endpoint]
        change.regroupings = [
            .init(address: endpoint, newAddress: port, joined: [port], left: [endpoint], isAssigned: true)
        ]
        change.reroutings = [.init(address: port, newAddress: port, before: .direct, after: .redirected)]
        change.settings = [
            SettingChange(address: port, kind: .accessControl, before: "ReqRedir-", after: nil),
            SettingChange(address: port, kind: .maxPayloadSize, before: "128", after: "256"),
        ]
        plan.isolation = change
        let bytes = PlanDocument.encode(plan)
        #expect(try PlanDocument.decode(bytes) == plan)
        let text = String(decoding: bytes, as: UTF8.self).replacing("max-payload-size", with: "size")
        #expect(throws: PlanDocumentError.self) { try PlanDocument.decode(Array(text.utf8)) }
    }
}
