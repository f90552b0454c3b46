// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import Testing

/// The verdict on every file of the corpus of real machines, against a list that was reviewed: each problem is one.
@Suite("Verdicts on real machines")
struct CorpusVerdictTests {
    /// The corpus beside the checkout, or nil.
    static let corpus: URL? = {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return ["../shared/corpus", "../../shared/corpus"].map { root.appendingPathComponent($0).standardizedFileURL }
            .first { FileManager.default.fileExists(atPath: $0.appendingPathComponent("INDEX.tsv").path) }
    }()

    @Test("every problem is one that was reviewed, and nothing that was not read is healthy")
    func verdicts() throws {
        guard let corpus = Self.corpus else {
            print("skipped: no corpus of real machines beside the checkout")
            return
        }
        let index = try String(contentsOf: corpus.appendingPathComponent("INDEX.tsv"), encoding: .utf8)
        var lines: [String] = []
        for row in index.split(separator: "\n").dropFirst() {
            guard let name = row.split(separator: "\t", omittingEmptySubsequences: false).first.map(String.init) else {
                continue
            }
            let result = try Command.run("check", "-q", "--json", "--from", corpus.appendingPathComponent(name).path)
            guard let document = try? JSONParser.parse(Array(result.output.utf8), limits: .record),
                case .array(let findings)? = document["findings"], case .array(let unknowns)? = document["unknowns"],
                case .string(let verdict)? = document["verdict"]
            else {
                lines.append("\(name)\tstatus \(result.status)")
                continue
            }
            func text(_ tree: JSONTree, _ key: String) -> String {
                if case .string(let value)? = tree[key] { value } else { "" }
            }
            let problems = findings.filter { text($0, "severity") == "problem" }
                .map { "\(text($0, "address")) \(text($0, "code"))" }
            let missing = unknowns.map { text($0, "code") }
            #expect(verdict != "healthy" || missing.isEmpty, "\(name)")
            lines.append("\(name)\t\(verdict)\t\((problems.isEmpty ? missing : problems).joined(separator: ", "))")
        }
        try expectGolden(lines.joined(separator: "\n") + "\n", "corpus-verdicts.txt")
    }
}
