// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import Testing

/// Every text of the corpus is read, and nothing is lost silently. Prints the table of what was found.
@Suite struct TextCorpusTests {
    @Test func everyTextGivesATopologyWithoutLoss() throws {
        guard TextCorpus.directory != nil else { return }
        var totals = [0, 0, 0, 0, 0]
        var byFinding: [TextFinding.Code: Int] = [:]
        var rows: [String] = []
        for file in TextCorpus.texts() {
            let evidence = TextEvidence(bytes: file.bytes)
            #expect(!evidence.isEmpty, "\(file.name) is recognised")
            totals[0] += 1
            let known = evidence.lineCounts
            #expect(known.lspci + known.hex + known.log + known.iomem + known.other <= known.total, "\(file.name)")
            guard !evidence.functions.isEmpty else { continue }
            let topology = try evidence.topology()
            #expect(topology.functions.count == evidence.functions.count, "\(file.name) loses functions")
            let bars = topology.functions.reduce(0) { $0 + $1.resources.filter { !$0.index.isWindow }.count }
            let windows = topology.functions.reduce(0) { $0 + $1.resources.filter(\.index.isWindow).count }
            let contradictions = Contradictions(topology)
            for finding in evidence.findings + contradictions.findings {
                byFinding[finding.code, default: 0] += 1
                #expect(!finding.detail.isEmpty)
            }
            totals[1] += topology.functions.count
            totals[2] += bars
            totals[3] += windows
            totals[4] += evidence.findings.count + contradictions.findings.count
            rows.append(
                "\(topology.functions.count)\t\(bars)\t\(windows)\t\(evidence.findings.count + contradictions.findings.count)\t"
                    + "\(evidence.kinds.joined(separator: "+"))\t\(file.name)"
            )
            for finding in evidence.findings + contradictions.findings {
                rows.append("\t\(finding.code.rawValue): \(finding.detail)")
            }
        }
        if ProcessInfo.processInfo.environment["TEXT_TABLE"] != nil {
            print("functions\tBARs\twindows\tfindings\tkinds\tfile")
            for row in rows { print(row) }
        }
        print(
            "corpus: \(totals[0]) files, \(totals[1]) functions, \(totals[2]) BARs, \(totals[3]) windows, \(totals[4]) findings"
        )
        for code in TextFinding.Code.allCases { print("  \(code.rawValue): \(byFinding[code] ?? 0)") }
        #expect(totals[0] > 240)
        #expect(totals[1] > 6500)
    }

    /// Machines of which two kinds of text are present: the models agree wherever both speak.
    @Test func twoKindsOfTextAgree() {
        guard TextCorpus.directory != nil else { return }
        let machines = [
            "autoport/huananzhi-x99-qd4/", "autoport/h310-board/", "autoport/acer-extensa-5630/",
            "autoport/alienware-m11x/", "autoport/thinkpad-t400/", "autoport/msi-ms7721/",
            "autoport/talos-ii-power9/", "lists/pci-7ace22c3e4", "lists/iwl-deb2895536", "lists/pci-0eb1a35f14",
            "lists/pci-ca0585a793", "lists/pci-ebcbd10a6b", "lists/pci-f82deab99c", "lists/pci-121566b12b",
            "lists/usb-0b94346e47", "lists/pci-5e74224d81", "repos/radxa-orion-o6/",
        ]
        var equal = 0
        var different = 0
        var translated = 0
        for machine in machines {
            let texts = TextCorpus.folder(machine).filter { !$0.name.hasSuffix(".hex") }
                .map { TextEvidence(bytes: $0.bytes) }
            guard var first = texts.first(where: { $0.lineCounts.lspci > 0 }) else { continue }
            for other in texts where other.lineCounts.lspci == 0 {
                let agreement = first.merge(other)
                equal += agreement.equal
                different += agreement.different
            }
            translated += first.findings.filter { $0.code == .translated }.count
            for finding in first.findings where finding.code == .disagreement { print("\(machine) \(finding.detail)") }
        }
        print("agreement: \(equal) values equal, \(different) different, \(translated) translated")
        #expect(equal > 3000)
        #expect(different == 0)
    }

    @Test func readsTwoThousandFunctionsQuickly() {
        var text = ""
        for i in 0..<2000 {
            let bus = bareHex(UInt64(i / 250), width: 2)
            text +=
                "\(bus):\(bareHex(UInt64(i % 250 / 8), width: 2)).\(i % 8) Ethernet controller [0200]: Example [1af4:1041]\n"
            text += "\tControl: I/O- Mem+ BusMaster+ SpecCycle-\n"
            for bar in [0, 2, 4] {
                text +=
                    "\tRegion \(bar): Memory at \(bareHex(UInt64(i * 8 + bar) << 20, width: 8)) (64-bit, prefetchable) [size=1M]\n"
            }
            for _ in 0..<60 { text += "\t\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0, Latency L0s <64ns, L1 <1us\n" }
        }
        let bytes = Array(text.utf8)
        let clock = ContinuousClock()
        var count = 0
        let time = clock.measure { count = TextEvidence(bytes: bytes).functions.count }
        print("reading \(count) functions, \(bytes.count) bytes: \(time)")
        #expect(count == 2000)
    }
}
