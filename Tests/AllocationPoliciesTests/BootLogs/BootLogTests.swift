// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import Testing

@testable import AllocationPolicies

/// Kernel logs of real machines: the boot twin must end where that kernel ended.
@Suite struct BootLogTests {
    /// The folder of logs beside the checkout, which is no part of it.
    static var corpus: URL? {
        let environment = ProcessInfo.processInfo.environment["PCI_REBALANCE_CORPUS"]
        let checkout = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let candidates = [
            environment.map { URL(fileURLWithPath: $0) }, checkout.appendingPathComponent("../shared/corpus"),
            checkout.appendingPathComponent("../../shared/corpus"),
        ]
        return candidates.compactMap { $0?.standardizedFileURL }.first {
            FileManager.default.fileExists(atPath: $0.path)
        }
    }

    static func logs() -> [URL] {
        guard let corpus, let files = FileManager.default.enumerator(at: corpus, includingPropertiesForKeys: nil) else {
            return []
        }
        var seen: Set<Int> = []
        return files.compactMap { $0 as? URL }.filter { ["txt", "log"].contains($0.pathExtension) }.sorted {
            $0.path < $1.path
        }.filter { url in
            guard let text = try? String(decoding: Data(contentsOf: url), as: UTF8.self) else { return false }
            return text.contains("root bus resource") && seen.insert(text.hashValue).inserted
        }
    }

    @Test("recorded boots end where their kernels ended")
    func replay() throws {
        let logs = Self.logs()
        if logs.isEmpty { try Test.cancel("no corpus of kernel logs beside the checkout") }
        var usable = 0
        var agreeing = 0
        var values = 0
        var differing = 0
        for url in logs {
            let log = BootLog(String(decoding: try Data(contentsOf: url), as: UTF8.self))
            let (behaviour, _) = KernelBehaviour.preset(forRelease: log.release)
            let name = "\(url.deletingLastPathComponent().lastPathComponent.prefix(44)) \(log.release.prefix(12))"
            guard log.reasons.isEmpty, log.order.count > 4 else {
                print("boot log \(name): not usable: \(log.reasons.sorted().joined(separator: ", "))")
                continue
            }
            let replay = try BootReplay(log, behaviour: behaviour)
            usable += 1
            values += replay.compared
            differing += replay.differences.count
            if replay.differences.isEmpty { agreeing += 1 }
            print("boot log \(name): \(replay.compared) values, \(replay.differences.count) differ")
            for difference in replay.differences.prefix(5) { print("    \(difference)") }
        }
        print("boot logs: \(logs.count), usable \(usable), agreeing \(agreeing); \(values) values, \(differing) differ")
        // What disagrees: kernels between generations, windows and decode bits that a log does not show.
        #expect(agreeing * 10 >= usable * 9)
    }
}
