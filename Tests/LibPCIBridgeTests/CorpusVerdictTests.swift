// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import Testing

@testable import LibPCIBridge

/// The verdict on every text of the corpus, and every problem in it, held against a list that a person has reviewed.
///
/// `CorpusVerdicts.tsv` has a line for each text: verdict, name, and what was missing or wrong. A problem is followed by
/// its review: `true` or `false`, and why. RECORD_SNAPSHOTS=1 writes the list anew; problems that are new or have another
/// count lose their review, and without one the test fails.
@Suite("Verdicts on the corpus") struct CorpusVerdictTests {
    private static let list = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("CorpusVerdicts.tsv")

    /// What a text comes to, and what a person thinks of it.
    private struct Row: Equatable {
        var verdict: String
        var name: String
        /// `bar-wiped 3` for a problem, `functions-not-read` for what was not told.
        var reasons: [String]
        /// `true: …`, `false: …`; empty where nothing is to be reviewed.
        var review: String

        var line: String {
            let fields = [verdict, name, reasons.joined(separator: ", ")] + (review.isEmpty ? [] : [review])
            return fields.joined(separator: "\t")
        }

        init(verdict: String, name: String, reasons: [String], review: String) {
            self.verdict = verdict
            self.name = name
            self.reasons = reasons
            self.review = review
        }

        init?(_ line: Substring) {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard fields.count >= 3, !line.hasPrefix("#") else { return nil }
            let reasons = fields[2].isEmpty ? [] : fields[2].components(separatedBy: ", ")
            self.init(verdict: fields[0], name: fields[1], reasons: reasons, review: fields.count > 3 ? fields[3] : "")
        }
    }

    private static func row(_ file: TextCorpus.File) throws -> Row {
        let record = TextEvidence(bytes: file.bytes).record
        let topology = try TopologyAssembler(record).topology()
        let assessment = Assessment(record, topology)
        var counts: [String: Int] = [:]
        for finding in assessment.findings where finding.severity == .problem {
            counts[finding.code.rawValue, default: 0] += 1
        }
        var reasons = counts.keys.sorted().map { "\($0) \(counts[$0] ?? 0)" }
        reasons += assessment.unknowns.map(\.code.rawValue).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
        return Row(verdict: assessment.verdict.rawValue, name: file.name, reasons: reasons, review: "")
    }

    @Test("every verdict is the one that was reviewed, and every problem is true")
    func verdicts() throws {
        guard TextCorpus.directory != nil else { return }
        let kept = (try? String(contentsOf: Self.list, encoding: .utf8)) ?? ""
        let known = Dictionary(kept.split(separator: "\n").compactMap { Row($0) }.map { ($0.name, $0) }) { first, _ in
            first
        }
        var rows = try TextCorpus.texts().map { try Self.row($0) }
        for i in rows.indices {
            guard let old = known[rows[i].name], old.reasons == rows[i].reasons else { continue }
            rows[i].review = old.review
        }
        if ProcessInfo.processInfo.environment["RECORD_SNAPSHOTS"] != nil {
            let head = kept.split(separator: "\n").filter { $0.hasPrefix("#") }.map(String.init)
            try ((head + rows.map(\.line)).joined(separator: "\n") + "\n")
                .write(to: Self.list, atomically: true, encoding: .utf8)
        }
        var isTrue = 0
        var isFalse = 0
        var missing: [String: Int] = [:]
        for row in rows {
            if let old = known[row.name] {
                #expect(old.verdict == row.verdict && old.reasons == row.reasons, "\(row.name): \(row.line)")
            }
            let problems = row.reasons.compactMap { reason in
                reason.split(separator: " ").last.flatMap { Int($0) }
            }.reduce(0, +)
            if row.review.hasPrefix("true: ") { isTrue += problems } else { isFalse += problems }
            #expect((row.verdict == "problems") == (problems > 0))
            #expect(problems == 0 || row.review.hasPrefix("true: "), "\(row.line): not reviewed as true")
            guard row.verdict == "cannot-tell" else { continue }
            for reason in row.reasons { missing[reason, default: 0] += 1 }
        }
        let count = { (verdict: String) in rows.count { $0.verdict == verdict } }
        print(
            "verdicts: \(rows.count) texts, \(count("healthy")) healthy, \(count("problems")) problems, "
                + "\(count("cannot-tell")) cannot tell"
        )
        print("problems: \(isTrue) true, \(isFalse) false or not reviewed")
        for (reason, number) in missing.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
            print("cannot tell, missing: \(number) \(reason)")
        }
    }
}
