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

    /// Why a boot from what a log left ends otherwise, by the beginning of the log's name: the log's end is not what its
    /// boot left, or the log tells less than the boot needs.
    private static let explained = [
        "autoport/acer-extensa-5630/": "the windows of CardBus bridges are not read from logs",
        "autoport/thinkpad-t400/": "the windows of CardBus bridges are not read from logs",
        "autoport/huananzhi-x99-qd4/": "a driver resized a BAR after the boot",
        "lists/iommu-469dd8abcb": "a serial console leaves out the messages that tell of functions and BARs",
        "lists/iwl-1f42a5dc81": "a driver shows a function after the boot that firmware hides",
        "lists/pci-efe74afe19": "a driver resized a BAR after the boot",
        "lists/pci-fb7d2df872": "a driver had BARs and windows released after the boot",
        "lists/pci-5e08297d41": "a driver resized a BAR after the boot",
        "lists/pci-150d3de14e": "a dock was plugged in after the boot",
        "lists/pci-91ad97a6c8": "a dock was plugged in after the boot",
        "lists/usb-0b94346e47": "an enclosure was plugged in after the boot",
        "lists/ppc-a328fff500": "6.3-rc1 passes over the last aperture of a root bus, which neither 6.2 nor 6.3 does",
    ]

    /// The share of logs that must be equal, or explained, by architecture.
    private static let least = ["x86_64": 0.95, "aarch64": 0.8, "ppc64le": 0.8]

    @Test("a boot from what a log left ends as the log did, by architecture")
    func equal() throws {
        guard let corpus = Self.corpus, let walk = FileManager.default.enumerator(atPath: corpus.path) else {
            print("skipped: ../shared/corpus is absent")
            return
        }
        var counts: [String: (all: Int, equal: Int, explained: Int)] = [:]
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
            counts[kernel, default: (0, 0, 0)].all += 1
            if isEqual {
                counts[kernel, default: (0, 0, 0)].equal += 1
                continue
            }
            let reason = Self.explained.first { name.hasPrefix($0.key) }?.value
            if reason != nil { counts[kernel, default: (0, 0, 0)].explained += 1 }
            others.append("\(kernel)\t\(name): \(reason ?? "not explained")")
        }
        for (kernel, count) in counts.sorted(by: { $0.key < $1.key }) {
            print(
                "boot predictions equal, \(kernel): \(count.equal) of \(count.all), \(count.explained) more explained"
            )
            if let least = Self.least[kernel] {
                #expect(Double(count.equal + count.explained) >= least * Double(count.all), "\(kernel)")
            }
        }
        for line in others { print("boot prediction differs: \(line)") }
    }
}
