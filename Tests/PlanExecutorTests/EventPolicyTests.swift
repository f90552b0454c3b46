// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner
import Testing

@testable import PlanExecutor

/// The policy file: what it accepts, and that it refuses everything else.
@Suite("Event policy")
struct EventPolicyTests {
    private func decode(_ fields: String) throws -> EventPolicy {
        let text = #"{"schema": "pci-rebalance.policy/1""# + (fields.isEmpty ? "" : ", \(fields)") + "}"
        return try EventPolicyDocument.decode(Array(text.utf8))
    }

    @Test("a file without words reports and never acts")
    func defaults() throws {
        let policy = try decode("")
        #expect(policy == EventPolicy())
        #expect(policy.mode == .report)
    }

    @Test("every field is read")
    func everything() throws {
        let policy = try decode(
            #"""
            "comment": "x", "mode": "apply", "hours": ["22:00-06:00"], "protect": ["0000:00:1c.0/00.0"],
            "allowDisturb": ["0000:3a:00.0"], "maxDisturbed": 4, "attempts": 2, "appliesPerHour": 5,
            "quietMilliseconds": 250, "settleLimitSeconds": 9, "ports": [{"port": "slot:5", "mode": "report",
            "trusted": false, "share": {"mem": "16M", "pref": "1G", "io": "4K", "buses": 9},
            "reserve": {"buses": 8}}]
            """#
        )
        #expect(policy.mode == .apply)
        #expect(policy.hours.map(\.description) == ["22:00-06:00"])
        #expect(policy.protect.map(\.description) == ["0000:00:1c.0/00.0"])
        #expect(policy.allowDisturb.map(\.description) == ["0000:3a:00.0"])
        #expect(policy.maxDisturbed == 4)
        #expect(policy.attempts == 2)
        #expect(policy.appliesPerHour == 5)
        #expect(policy.quiet == .milliseconds(250))
        #expect(policy.settleLimit == .seconds(9))
        let rule = try #require(policy.ports.first)
        #expect(rule.port == .slot("5"))
        #expect(rule.mode == .report)
        #expect(rule.isTrusted == false)
        #expect(
            rule.share
                == Headroom(
                    io: ByteCount(4 << 10),
                    memory: ByteCount(16 << 20),
                    prefetchable: ByteCount(1 << 30),
                    buses: 9
                )
        )
        #expect(rule.reserve == Headroom(buses: 8))
    }

    @Test(
        "what is not understood is refused, never ignored",
        arguments: [
            #""Mode": "apply""#, #""mode": "always""#, #""mode": true"#, #""hours": ["25:00-26:00"]"#,
            #""hours": "22:00-06:00""#, #""protect": ["eth0"]"#, #""attempts": 0"#, #""attempts": 101"#,
            #""maxDisturbed": -1"#, #""quietMilliseconds": 60000, "settleLimitSeconds": 1"#,
            #""ports": [{}]"#, #""ports": [{"port": "slot:"}]"#, #""ports": [{"port": "slot:1", "trusted": 1}]"#,
            #""ports": [{"port": "slot:1"}, {"port": "slot:1"}]"#,
            #""ports": [{"port": "slot:1", "share": {"mem": "x"}}]"#,
            #""ports": [{"port": "slot:1", "trusted": false, "reserve": {"buses": 1}}]"#,
            #""ports": [{"port": "slot:1", "share": {"cpu": "1"}}]"#, #""mode": "report", "mode": "apply""#,
        ]
    )
    func refused(fields: String) {
        #expect(throws: JSONError.self) { try decode(fields) }
    }

    @Test("another schema is refused")
    func schema() {
        #expect(throws: JSONError.self) { try EventPolicyDocument.decode(Array(#"{"schema": "x"}"#.utf8)) }
        #expect(throws: JSONError.self) { try EventPolicyDocument.decode(Array("{}".utf8)) }
    }

    @Test("parts of the day, over midnight as well")
    func hours() throws {
        let night = try #require(DailyHours(parsing: "22:00-06:00"))
        #expect([21 * 60 + 59, 22 * 60, 0, 359, 360].map(night.contains) == [false, true, true, true, false])
        let day = try #require(DailyHours(parsing: "00:00-24:00"))
        #expect([0, 1439].allSatisfy(day.contains))
        for text in ["", "22:00", "22:00-22:00", "2:00-3:00", "24:00-01:00", "22:60-23:00", "-", "aa:00-10:00"] {
            #expect(DailyHours(parsing: text) == nil, "\(text)")
        }
        var policy = EventPolicy(mode: .apply)
        #expect(policy.allowsApply(atMinute: 700))
        policy.hours = [night]
        #expect(!policy.allowsApply(atMinute: 700))
        #expect(policy.allowsApply(atMinute: 1))
    }

    @Test("names of ports survive a round trip; others are none")
    func names() {
        for text in ["0000:00:02.0/00.0/01.0", "slot:5-1", "0000:3a:00.0"] {
            #expect(PortName(parsing: text)?.description == text)
        }
        for text in ["", "slot:", "slot:a/b", "0000:00:02.0/", "/00.0", "0000:00:02.0/20.0", "0000:00:02.0/00.8", "d2"]
        {
            #expect(PortName(parsing: text) == nil, "\(text)")
        }
    }

    @Test("a dry run lifts apply everywhere and nothing else")
    func reportingOnly() {
        let rules = [
            PortRule(port: .slot("1"), mode: .apply), PortRule(port: .slot("2"), mode: .off),
            PortRule(port: .slot("3")),
        ]
        let policy = EventPolicy(mode: .apply, ports: rules).reportingOnly
        #expect(policy.mode == .report)
        #expect(policy.ports.map(\.mode) == [.report, .off, nil])
    }
}
