// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import Testing

@Suite struct TextTriageTests {
    /// Short logs with the answer that was reviewed for each.
    ///
    /// `Fixtures/triage/samples.txt` holds, for each sample, a title, the lines, and the answer behind `=>`. With
    /// `UPDATE_GOLDEN=1` the answers are written anew, to be reviewed.
    @Test func answersAreThoseThatWereReviewed() throws {
        let url = TextFixtures.directory.appendingPathComponent("triage/samples.txt")
        let text = try String(contentsOf: url, encoding: .utf8)
        var count = 0
        var written = ""
        for section in text.components(separatedBy: "\n\n") {
            let lines = section.split(separator: "\n").map(String.init)
            guard let title = lines.first else { continue }
            count += 1
            let input = lines.dropFirst().filter { !$0.hasPrefix("=> ") }
            let expected = lines.filter { $0.hasPrefix("=> ") }.map { String($0.dropFirst(3)) }
            let triage = Triage(input.joined(separator: "\n"))
            let answer = triage.lines()
            if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == nil {
                #expect(answer == expected, "\(title)")
            }
            #expect(triage.unclassified.isEmpty, "\(title)")
            written += ([title] + input + answer.map { "=> \($0)" }).joined(separator: "\n") + "\n\n"
        }
        #expect(count >= 40)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] != nil {
            try written.write(to: url, atomically: true, encoding: .utf8)
        }
    }

    /// Counts failing lines by plain words and expects that each of them was sorted.
    @Test func everyFailingLineOfTheCorpusIsSorted() {
        guard TextCorpus.directory != nil else { return }
        var logs = 0
        var sorted = 0
        var bySeverity: [Triage.Severity: Int] = [:]
        var missed: [String] = []
        for file in TextCorpus.texts() {
            let triage = Triage(bytes: file.bytes)
            missed += triage.unclassified
            guard triage.failingLines > 0 else { continue }
            logs += 1
            sorted += triage.failingLines
            for group in triage.groups {
                bySeverity[group.severity, default: 0] += 1
                #expect(!group.summary.isEmpty && !group.code.isEmpty, "\(file.name) \(group.sample)")
                #expect(
                    group.severity == .harmless || group.cause != nil || group.nextStep != nil
                        || ["bar-in-use", "gone"].contains(group.code),
                    "\(file.name) \(group.sample)"
                )
            }
            let counted = triage.groups.reduce(0) { $0 + $1.lineCount }
            #expect(counted == triage.failingLines, "\(file.name): no line is lost between lines and groups")
            // An independent count over the messages: words that stand in nothing but failures.
            let words = ["can't assign; no space", ": no space for", "failed to assign", "no compatible bridge window"]
            let plain = triage.evidence.messages.filter { message in words.contains { message.text.contains($0) } }
                .count
            #expect(triage.failingLines >= plain, "\(file.name)")
        }
        print("triage: \(logs) logs, \(sorted) failing lines, \(missed.count) not understood, groups \(bySeverity)")
        #expect(missed.isEmpty, "\(missed.prefix(5))")
        #expect(sorted > 3000)
    }

    /// One line alone, what the message means by the kernel's source, and how bad that is.
    @Test(
        arguments: [
            ("pci 0000:02:00.0: BAR 0: failed to assign [mem size 0x00100000]", "bar-unassigned", .fatal),
            ("pci 0000:02:00.0: BAR 0 [mem size 0x10000000 64bit pref]: failed to assign", "bar-unassigned", .fatal),
            ("pci 0000:02:00.0: BAR 7: failed to assign [mem size 0x00080000 64bit]", "vf-bar-unassigned", .degraded),
            (
                "pci 0000:02:00.0: VF BAR 0 [mem size 0x00080000 64bit]: failed to assign", "vf-bar-unassigned",
                .degraded
            ),
            ("pci 0000:02:00.0: BAR 6: failed to assign [mem size 0x00080000 pref]", "rom", .harmless),
            ("pci 0000:02:00.0: ROM [mem size 0x00080000 pref]: failed to assign", "rom", .harmless),
            ("pci 0000:00:1c.0: BAR 13: failed to assign [io  size 0x1000]", "io-window-untold", .harmless),
            ("pci 0000:00:1c.0: bridge window [mem size 0x00200000]: failed to assign", "window-untold", .untold),
            ("pci 0000:00:1c.0: BAR 7: failed to assign [io  size 0x2000]", "io-window-untold", .harmless),
            ("pci 0000:03:00.0: BAR 4: failed to assign [io  size 0x0080]", "io-bar-untold", .untold),
            ("amdgpu 0000:03:00.0: BAR 2: no space for [mem size 0x00200000 64bit pref]", "resize-refused", .degraded),
            (
                "pcieport 0000:02:04.0: pciehp: Hotplug bridge without secondary bus, ignoring", "slot-without-bus",
                .fatal
            ),
            ("pci_bus 0000:3f: busn_res: can not insert [bus 3f-ff] under [bus 00-3e]", "bus-refused", .degraded),
            ("pci 0000:02:00.0: No bus number available for hot-added bridge", "buses-exhausted", .fatal),
            ("pci 0000:02:00.0: not enough MMIO resources for SR-IOV", "vf-memory", .degraded),
            (
                "pci 0000:02:00.0: can't enable device: BAR 0 [mem 0xfe000000-0xfe0fffff] not claimed", "cannot-enable",
                .fatal
            ),
            ("vfio-pci 0000:02:00.0: BAR 0: can't reserve [mem 0xfe000000-0xfe0fffff]", "bar-in-use", .degraded),
            (
                "pci 0000:02:00.0: devices behind bridge are unusable because [bus 03] cannot be assigned for them",
                "buses-outside", .fatal
            ),
            (
                "pci 0000:02:00.0: bridge configuration invalid ([bus 00-00]), reconfiguring", "buses-renumbered",
                .harmless
            ),
        ] as [(String, String, Triage.Severity)]
    )
    func aMessageAlone(line: String, code: String, severity: Triage.Severity) {
        let groups = Triage(line + "\n").groups
        #expect(groups.map(\.code) == [code])
        #expect(groups.map(\.severity) == [severity])
    }

    @Test func worstComesFirst() {
        let triage = Triage(
            """
            pci 0000:01:00.0: BAR 6: no space for [mem size 0x00080000 pref]
            pci 0000:02:00.0: [8086:10c9] type 00 class 0x020000
            pci 0000:02:00.0: BAR 0: no space for [mem size 0x00020000]
            pci 0000:02:00.0: BAR 7: no space for [mem size 0x00020000]
            """
        )
        #expect(triage.groups.map(\.severity) == [.fatal, .degraded, .harmless])
        #expect(triage.hasProblems)
        #expect(triage.count(of: .harmless) == 1)
    }

    @Test func retriesOfOneResourceAreOneGroup() {
        let line = "pci 0000:02:00.0: BAR 0: no space for [mem size 0x00020000]\n"
        let triage = Triage(String(repeating: line, count: 7))
        #expect(triage.groups.count == 1)
        #expect(triage.groups.first?.lineCount == 7)
        #expect(triage.failingLines == 7)
    }

    @Test func textThatSaysNothingSaysSo() {
        let triage = Triage("usb 1-4: new high-speed USB device number 5\n")
        #expect(triage.groups.isEmpty)
        #expect(!triage.hasProblems)
        #expect(triage.verdict == .cannotTell)
        #expect(triage.lines().first == "cannot tell: no message of the kernel log about PCI is in this input")
    }
}
