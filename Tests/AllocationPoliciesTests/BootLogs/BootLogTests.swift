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

    /// Why the twin does not end where the kernel of a log ended, by the beginning of the log's folder.
    static let explained = [
        "acpi-fe0d2e0f4d":
            "6.16: ROMs and VF BARs are optional as from 7.0, windows are sized as in 6.12; there is no preset "
            + "for 6.15 to 6.18, and no Debian kernel to check one on",
        "pci-5e74224d81":
            "6.18-rc7: extras are sized with relaxed alignment, too (a second 'requires relaxed alignment "
            + "rules' for one window); no preset for 6.15 to 6.18",
        "ppc-a328fff500":
            "6.3-rc1: passes over the last aperture of the root bus ('no compatible bridge window' for BARs "
            + "that lie in it), which neither 6.2 nor 6.3 does",
    ]

    @Test("recorded boots end where their kernels ended")
    func replay() throws {
        let logs = Self.logs()
        if logs.isEmpty { try Test.cancel("no corpus of kernel logs beside the checkout") }
        var usable = 0
        var agreeing = 0
        var values = 0
        var differing = 0
        var reasons: [String: Int] = [:]
        for url in logs {
            let log = BootLog(String(decoding: try Data(contentsOf: url), as: UTF8.self))
            let (behaviour, _) = KernelBehaviour.preset(forRelease: log.release)
            let name = "\(url.deletingLastPathComponent().lastPathComponent.prefix(44)) \(log.release.prefix(12))"
            var why = log.reasons
            if log.order.count <= 4 { why.insert("fewer than five functions are named") }
            guard why.isEmpty else {
                print("boot log \(name): not usable: \(why.sorted().joined(separator: ", "))")
                for reason in why { reasons[reason, default: 0] += 1 }
                continue
            }
            let replay = try BootReplay(log, behaviour: behaviour)
            usable += 1
            values += replay.compared
            differing += replay.differences.count
            let folder = url.deletingLastPathComponent().lastPathComponent
            if replay.differences.isEmpty {
                agreeing += 1
            } else {
                let explanation = Self.explained.first { folder.hasPrefix($0.key) }?.value
                #expect(explanation != nil, "\(name) disagrees and nobody has said why")
                print("    because: \(explanation ?? "not known")")
            }
            print("boot log \(name): \(replay.compared) values, \(replay.differences.count) differ")
            for difference in replay.differences.prefix(5) { print("    \(difference)") }
        }
        print("boot logs: \(logs.count), usable \(usable), agreeing \(agreeing); \(values) values, \(differing) differ")
        for (reason, count) in reasons.sorted(by: { $0.key < $1.key }) {
            print("boot logs not usable: \(count) \(reason)")
        }
        #expect(agreeing * 10 >= usable * 9)
    }
}
