// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// Numbers in a plan's document: the least and the most that are read, and one beyond.
@Suite("limits of a plan's document")
struct DecoderLimitTests {
    private static let text = String(decoding: PlanDocument.encode(PlanDocumentTests.fullPlan), as: UTF8.self)

    private func isRead(_ from: String, _ to: String) -> Bool {
        let changed = Self.text.replacing(from, with: to, maxReplacements: 1)
        #expect(changed != Self.text || from == to, "\(from) is not in the document")
        return (try? PlanDocument.decode(Array(changed.utf8))) != nil
    }

    @Test(
        "what is read, and what is not, number by number",
        arguments: [
            ("\"weight\": 7", "\"weight\": ", ["0", "4294967295"], ["-1", "4294967296"]),
            ("\"functions\": 12", "\"functions\": ", ["0", "16384"], ["-1", "16385"]),
            ("\"exponent\": 43", "\"exponent\": ", ["0", "43"], ["-1", "44"]),
            ("\"bar\": 2", "\"bar\": ", ["0", "12"], ["-1", "13"]),
            ("\"count\": 63", "\"count\": ", ["0", "65535"], ["-1", "65536"]),
            ("\"buses\": 3", "\"buses\": ", ["0", "255"], ["-1", "256"]),
            ("\"cost\": 10", "\"cost\": ", ["0", "4294967295"], ["-1", "4294967296"]),
            ("\"lowerBound\": 1", "\"lowerBound\": ", ["0", "4294967295"], ["-1", "4294967296"]),
        ] as [(String, String, [String], [String])]
    )
    func integers(from: String, key: String, good: [String], bad: [String]) {
        for number in good { #expect(isRead(from, key + number), "\(key)\(number)") }
        for number in bad + ["1.5", "\"1\"", "null", "true"] { #expect(!isRead(from, key + number), "\(key)\(number)") }
    }

    @Test("bus ranges, paths and addresses as they are written, and no other spelling")
    func spellings() {
        for (text, isFine) in [
            ("01-05", true), ("1-5", false), ("01-05-06", false), ("05-01", false), ("01", false),
            ("0A-0b", false), ("00-100", false),
        ] {
            #expect(
                isRead("\"buses\": \"01-05\"", "\"buses\": \"\(text)\"") == isFine,
                "\(text)"
            )
        }
        for (text, isFine) in [
            ("0000:00:02.0/00.0", true), ("0000:00:02.0/0.0", false), ("00:02.0/00.0", false),
            ("0001:00:02.0/00.0", false),
            ("0000:00:02.0/00.1", false), ("0000:00:02.0", false), ("", false),
        ] { #expect(isRead("\"path\": \"0000:00:02.0/00.0\"", "\"path\": \"\(text)\"") == isFine, "\(text)") }
    }

    @Test("a step's trees: gone are functions that were there, each once, in order, and not among the changed ones")
    func gone() {
        #expect(Self.text.contains("\"gone\": ["))
        let one = "\"gone\": [\n        \"0000:01:00.0\""
        guard Self.text.contains(one) else {
            Issue.record("expected the first step to remove 01:00.0")
            return
        }
        for (text, isFine) in [("0000:01:00.0", true), ("0000:7f:00.0", false), ("01:00.0", false), ("", false)] {
            #expect(isRead(one, "\"gone\": [\n        \"\(text)\"") == isFine, "\(text)")
        }
        #expect(!isRead(one, one + ",\n        \"0000:01:00.0\""))
        #expect(!isRead(one, "\"gone\": [\n        \"0000:05:00.0\",\n        \"0000:01:00.0\""))
    }

    @Test("functions of a tree stand in the order of their addresses, each once")
    func order() throws {
        let first = try #require(Self.text.range(of: "\"address\": \"0000:01:00.0\""))
        let before = try #require(Self.text[..<first.lowerBound].range(of: "\"address\": \"", options: .backwards))
        let address = String(Self.text[before.upperBound...].prefix(12))
        #expect(address < "0000:01:00.0")
        #expect(!isRead("\"address\": \"0000:01:00.0\"", "\"address\": \"\(address)\""))
    }

    @Test("a reason is a word of small letters, digits and hyphens")
    func reasons() {
        let from = "\"reason\": \"unassigned-bars\""
        for (text, isFine) in [
            ("a", true), ("a-9", true), ("", false), ("A", false), ("a b", false), ("a_b", false), ("a`", false),
            ("{", false), ("/", false), (":", false), (String(repeating: "a", count: 64), true),
            (String(repeating: "a", count: 65), false),
        ] {
            #expect(isRead(from, "\"reason\": \"\(text)\"") == isFine, "\(text)")
        }
    }

    @Test("conditions name one function or two, each kind its own number")
    func conditions() throws {
        var plan = PlanDocumentTests.fullPlan
        let address = plan.before.functions[0].address
        for (kind, counts) in [("keep-group", [1]), ("keep-route", [2]), ("same-switch", [2]), ("none-such", [])]
            as [(String, [Int])]
        {
            plan.conditions = [ConditionOutcome(condition: .keepGroup(address), text: "t")]
            let text = String(decoding: PlanDocument.encode(plan), as: UTF8.self)
            for count in 0...3 {
                let list = Array(repeating: "\"\(address)\"", count: count).joined(separator: ",")
                let start = try #require(text.range(of: "\"addresses\": ["))
                let end = try #require(text[start.upperBound...].firstIndex(of: "]"))
                let changed = text.replacingCharacters(in: start.upperBound..<end, with: list)
                    .replacingOccurrences(of: "\"kind\": \"keep-group\"", with: "\"kind\": \"\(kind)\"")
                #expect(
                    ((try? PlanDocument.decode(Array(changed.utf8))) != nil) == counts.contains(count),
                    "\(kind) \(count)"
                )
            }
        }
    }

    @Test("outlooks name the step after which they differ, from the first on")
    func outlooks() throws {
        for (step, isFine) in [(1, true), (1024, true), (0, false), (1025, false)] {
            var plan = PlanDocumentTests.fullPlan
            plan.outlooks = BehaviourOutlook.Outcome.allCases.map { BehaviourOutlook(behaviour: "b", outcome: $0) }
            plan.outlooks[0].differsAfterStep = step
            plan.ruledOut = [RuledOutBehaviour(behaviour: "c", reason: "r")]
            let decoded = try? PlanDocument.decode(PlanDocument.encode(plan))
            #expect((decoded == plan) == isFine, "\(step)")
        }
    }

    @Test("bridges below which something may appear: known, with a bus, in order, and not an empty list")
    func appearances() throws {
        var plan = Fake.grow(Fake.machine())
        let last = plan.steps.count - 1
        let bridges = plan.after.functions.filter { $0.busRange != nil }.map(\.address)
        let endpoint = try #require(plan.after.functions.first { $0.busRange == nil }).address
        for (list, isFine) in [
            ([bridges[0]], true), (bridges, true), (bridges.reversed(), false), ([bridges[0], bridges[0]], false),
            ([endpoint], false), ([FunctionAddress(bus: BusNumber(0x7f), devfn: 0)], false),
        ] as [([FunctionAddress], Bool)] {
            plan.steps[last].mayAppearBelow = list
            #expect(((try? PlanDocument.decode(PlanDocument.encode(plan))) == plan) == isFine, "\(list)")
        }
        plan.steps[last].mayAppearBelow = [bridges[0]]
        let text = String(decoding: PlanDocument.encode(plan), as: UTF8.self)
        let start = try #require(text.range(of: "\"mayAppearBelow\": ["))
        let end = try #require(text[start.upperBound...].firstIndex(of: "]"))
        let empty = text.replacingCharacters(in: start.upperBound..<end, with: "")
        #expect(throws: PlanDocumentError.self) { try PlanDocument.decode(Array(empty.utf8)) }
    }
}
