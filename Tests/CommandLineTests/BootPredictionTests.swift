// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import Testing

/// Boots predicted from kernel logs of other machines: started from what a log left, the boot must end as the log did.
@Suite("Boot predictions from logs") struct BootPredictionTests {
    /// The corpus of other machines beside the checkout, or nil.
    private static let corpus: URL? = {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        for relative in ["../shared/corpus", "../../shared/corpus"] {
            let url = root.appendingPathComponent(relative).standardizedFileURL
            if FileManager.default.fileExists(atPath: url.appendingPathComponent("INDEX.tsv").path) { return url }
        }
        return nil
    }()

    /// The least number of logs that must be equal, by architecture; a few below what was seen, for logs to come.
    private static let least = ["x86_64": 0.8, "aarch64": 0.6]

    @Test("a boot from what a log left ends as the log did, by architecture")
    func equal() throws {
        guard let corpus = Self.corpus, let walk = FileManager.default.enumerator(atPath: corpus.path) else {
            print("skipped: ../shared/corpus is absent")
            return
        }
        var counts: [String: (all: Int, equal: Int)] = [:]
        var others: [String] = []
        let names = walk.compactMap { $0 as? String }.filter { !$0.hasSuffix(".gz") && !$0.hasSuffix(".tsv") }
        for name in names.sorted() {
            let path = corpus.appendingPathComponent(name).path
            guard let data = FileManager.default.contents(atPath: path),
                data.range(of: Data("root bus resource".utf8)) != nil
            else { continue }
            let result = try Command.run(["simulate", "--from", path, "--op", "boot"])
            #expect(result.status == 0, "\(name): \(result.output)")
            let end = result.output.range(of: "\nAfterwards").map { result.output[$0.upperBound...] } ?? ""
            let isEqual = !end.contains("-> ") && !end.contains("gone:") && !end.contains("is new")
            let kernel = TextEvidence(bytes: [UInt8](data)).kernel.architecture ?? "not told"
            counts[kernel, default: (0, 0)].all += 1
            if isEqual { counts[kernel, default: (0, 0)].equal += 1 } else { others.append("\(kernel)\t\(name)") }
        }
        for (kernel, count) in counts.sorted(by: { $0.key < $1.key }) {
            print("boot predictions equal, \(kernel): \(count.equal) of \(count.all)")
            if let least = Self.least[kernel] { #expect(Double(count.equal) >= least * Double(count.all), "\(kernel)") }
        }
        for line in others { print("boot prediction differs: \(line)") }
    }
}
