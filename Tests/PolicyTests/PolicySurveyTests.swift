// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import PCITopology
import Testing

/// Policies over recorded and generated machines: nothing traps, and what is placed works on hardware.
///
/// A part of the machines; all of them and the ideals with `POLICY_SURVEY=check` (`make policy-survey`), and with any other
/// value the tables of Docs/policies/findings.md too (`make findings`).
@Suite("Policies over many machines")
struct PolicySurveyTests {
    static let isWhole = ProcessInfo.processInfo.environment["POLICY_SURVEY"] != nil
    static let isPublished = isWhole && ProcessInfo.processInfo.environment["POLICY_SURVEY"] != "check"

    /// The machines that are looked at: each seventh, unless all are asked for.
    private func chosen(_ machines: [SurveyMachine]) -> [SurveyMachine] {
        Self.isWhole ? machines : machines.enumerated().filter { $0.offset % 7 == 3 }.map(\.element)
    }

    static let resets = [
        "seabios-1.16", "seabios", "ovmf", "edk2", "coreboot", "coreboot-high", "u-boot", "freebsd",
        "linux-6.1@arm64-acpi", "linux-6.12@arm64-acpi", "linux-7.2@arm64-acpi", "optimal",
    ]
    static let running =
        ["today", "linux-6.12", "linux-7.2", "linux-7.2+realloc", "freebsd-keep"] + resets + ["movable"]

    /// What is known to go wrong, and why.
    private func isKnown(_ policy: String, _ text: String) -> Bool {
        // OVMF counts 512 bytes for a port's I/O reserve whose window covers 4 KiB (Docs/policies/edk2.md).
        if policy == "ovmf" { return text.contains("overlaps") && text.contains("io window") }
        // U-Boot does not look at the width of a port's prefetchable window (Docs/policies/u-boot.md).
        if policy == "u-boot" { return text.contains("32-bit window") }
        // What a recorded text shows may be a layout that does not work, and a kernel keeps some of it.
        return policy == "today" || policy.hasPrefix("linux-") || policy == "freebsd-keep"
            || policy.hasPrefix("seabios")
    }

    private func survey(_ machines: [SurveyMachine], _ words: [String]) -> PolicySurvey {
        var survey = PolicySurvey(words)
        for machine in machines { survey.add(machine) }
        for found in survey.violations where !isKnown(found.policy, found.text) {
            Issue.record("\(found.policy) on \(found.machine): \(found.text)")
        }
        return survey
    }

    @Test("machines of other people", .enabled(if: !SurveyMachine.corpus.isEmpty))
    func corpus() throws {
        // The ideals are left to the survey: they take a hundred times as long as all policies together.
        let words = Self.isWhole ? Self.running : Self.running.filter { $0 != "optimal" && $0 != "movable" }
        #expect(SurveyMachine.corpus.count > 100)
        let survey = survey(chosen(SurveyMachine.corpus), words)
        if Self.isPublished {
            try publish("corpus", survey, "\(survey.machines) recordings, \(survey.feasible) of which fit")
        }
    }

    @Test("recorded trees")
    func recorded() throws {
        let machines = try SurveyMachine.recorded()
        #expect(machines.count > 80)
        let words = Self.isWhole ? Self.resets : Self.resets.filter { $0 != "optimal" }
        let survey = survey(chosen(machines), words)
        if Self.isPublished {
            try publish("recorded", survey, "\(survey.machines) trees, \(survey.feasible) of which fit")
        }
    }

    @Test("generated trees")
    func generated() throws {
        let machines = try SurveyMachine.generated(0..<(Self.isWhole ? 400 : 3))
        let survey = survey(machines, Self.resets)
        #expect(survey.feasible > survey.machines / 2)
        if Self.isPublished {
            try publish("generated", survey, "\(survey.machines) trees, \(survey.feasible) of which fit")
        }
    }

    /// Puts a table between its marks in the page of findings.
    private func publish(_ mark: String, _ survey: PolicySurvey, _ caption: String) throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Docs/policies/findings.md")
        var text = try String(contentsOf: page, encoding: .utf8)
        let begin = try #require(text.range(of: "<!-- begin \(mark) -->\n"))
        let end = try #require(text.range(of: "<!-- end \(mark) -->"))
        text.replaceSubrange(begin.upperBound..<end.lowerBound, with: "\(caption).\n\n\(survey.table())")
        try Data(text.utf8).write(to: page)
        for found in survey.violations { print("\(mark): \(found.policy) on \(found.machine): \(found.text)") }
    }
}
