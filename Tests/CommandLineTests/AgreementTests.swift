// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

/// check, plan and triage say the same of the same input.
@Suite("The commands never contradict each other")
struct AgreementTests {
    /// Every input below Fixtures: folders of pasted texts, and snapshots.
    static let inputs: [[String]] = {
        let root = URL(fileURLWithPath: FixtureTests.fixture(""))
        let manager = FileManager.default
        var result: [[String]] = []
        for name in ((try? manager.contentsOfDirectory(atPath: root.path)) ?? []).sorted() {
            let folder = root.appendingPathComponent(name)
            let files = ((try? manager.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()
            for file in files where file.hasSuffix(".snapshot.json") { result.append([folder.path + "/" + file]) }
            let texts = ["lspci.txt", "dmesg.txt"].filter { files.contains($0) }.map { folder.path + "/" + $0 }
            if !texts.isEmpty { result.append(texts) }
            if texts.count > 1 { result += texts.map { [$0] } }
        }
        return result
    }()

    @Test("healthy and nothing to do, problems and a plan or its reason, unknown and unknown", arguments: inputs)
    func agree(files: [String]) throws {
        let from = files.flatMap { ["--from", $0] }
        let check = try Command.run(["check", "-q", "--json"] + from)
        let plan = try Command.run(["plan"] + from)
        let verdict = plan.output.split(separator: "\n").last.map(String.init) ?? ""
        let context = "\(files.map { $0.split(separator: "/").suffix(2).joined(separator: "/") }): \(verdict)"
        switch check.status {
        case 0: #expect(plan.status == 0 && verdict.hasPrefix("PLAN: none"), "\(context)")
        case 3:
            #expect(!verdict.hasPrefix("PLAN: none"), "\(context)")
            #expect(plan.output.contains("What is wrong") || verdict.hasPrefix("PLAN: unknown"), "\(context)")
        case 8: #expect(plan.status == 8 && verdict.hasPrefix("PLAN: unknown"), "\(context)")
        default: Issue.record("check ends with \(check.status): \(context)")
        }
        #expect(!check.output.contains("\"functions\": 0"), "\(context)")
        guard files.count == 1, files[0].hasSuffix("dmesg.txt") else { return }
        let triage = try Command.run("triage", files[0])
        // What a log calls fatal no verdict on that log may call healthy.
        if triage.output.contains("FATAL ") { #expect(check.status != 0, "\(context)") }
    }
}
