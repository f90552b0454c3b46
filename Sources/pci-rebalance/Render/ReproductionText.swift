// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Reproduction

/// What `reproduce` says, and the README that it writes.
struct ReproductionText {
    let result: Reproduction
    let release: String?
    let directory: String?
    let columns: Int

    init(_ result: Reproduction, release: String?, directory: String?, columns: Int) {
        self.result = result
        self.release = release?.printable
        self.directory = directory?.printable
        self.columns = columns
    }

    /// The verdict first, then what fails, what was replaced, what is left out, and how to run it.
    func render() -> String {
        var page = TextPage(columns: columns)
        page.raw(verdict)
        body(&page)
        guard result.machine != nil else { return page.text }
        page.blank()
        if let directory {
            page.raw("written: \(directory)/run.sh, expect.json, README")
            let path = "\(directory)/run.sh"
            let isPlain = path.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/._-+".contains($0)) }
            page.raw("run it: sh \(isPlain ? path : shellWord(path)) KERNEL")
        } else {
            page.raw("-o DIRECTORY writes it")
        }
        return page.text
    }

    private var verdict: String {
        let word = result.verdict == .cannotTell ? "unknown" : result.verdict.rawValue
        return "REPRODUCE: \(word) reason=\(result.reason)"
    }

    private func body(_ page: inout TextPage) {
        switch result.verdict {
        case .nothing: page.paragraph("Nothing fails in this input.", indent: 0)
        case .impossible: page.paragraph("No emulated machine shows what fails here.", indent: 0)
        case .cannotTell: page.paragraph("The input does not tell what fails, or what it asks for.", indent: 0)
        case .whole, .part:
            page.paragraph(
                result.isPredicted
                    ? "Predicted to fail in the emulated machine as in the report:"
                    : "The emulated machine is predicted to fail otherwise; these lines are looked for:",
                indent: 0
            )
            for line in result.lines.prefix(12) {
                page.line(
                    [Piece(line.reportKey), Piece("as \(line.key)")],
                    indent: 2,
                    hanging: 4
                )
            }
            if result.lines.count > 12 { page.raw("  and \(result.lines.count - 12) more") }
        }
        if let sentence = Self.kernels(result) { page.paragraph(sentence, indent: 0, hanging: 2) }
        list("Fails there besides", result.alsoFails, &page)
        list("Replaced by the nearest that QEMU has", result.remarks, &page)
        list("Not rebuilt", result.leftOut, &page)
    }

    /// On which kernels it fails by the prediction: `By kernel, as predicted: all of it fails on 6.1, 6.12; a part on 7.0;
    /// nothing on 7.3.`; nil without a prediction.
    private static func kernels(_ result: Reproduction) -> String? {
        guard !result.kernels.isEmpty, !result.lines.isEmpty else { return nil }
        func series(_ isMember: (Int) -> Bool) -> String {
            result.kernels.filter { isMember($0.failing) }.map(\.series).joined(separator: ", ")
        }
        let count = result.lines.count
        let parts = [
            ("all of it fails on", series { $0 == count }), ("a part on", series { $0 > 0 && $0 < count }),
            ("nothing on", series { $0 == 0 }),
        ].filter { !$0.1.isEmpty }.map { "\($0.0) \($0.1)" }
        return "By kernel, as predicted: " + parts.joined(separator: "; ") + "."
    }

    private func list(_ title: String, _ sentences: [String], _ page: inout TextPage) {
        guard !sentences.isEmpty else { return }
        page.raw("\(title):")
        for sentence in sentences.prefix(12) { page.paragraph(sentence, indent: 2, hanging: 4) }
        if sentences.count > 12 { page.raw("  and \(sentences.count - 12) more") }
    }

    /// When what fails comes into its slot.
    private var moment: String {
        switch result.machine?.event {
        case .boot?: "after the firmware has run and before the kernel starts, which finds it without addresses"
        case .rescan?: "while the kernel runs without drivers for slots, lets it look for it"
        default: "while the kernel runs"
        }
    }

    /// The README of the directory.
    func readme() -> String {
        var page = TextPage(columns: 100)
        page.paragraph(
            "An emulated machine in which PCI resources fail as in a report"
                + (release.map { " of a kernel \($0)" } ?? "") + ", made by pci-rebalance reproduce.",
            indent: 0
        )
        page.blank()
        page.raw("    sh run.sh KERNEL        for example a bzImage, or /boot/vmlinuz-...")
        page.blank()
        page.paragraph(
            "It needs qemu-system-x86_64, a static busybox and cpio; no KVM, no root, no network. The kernel needs pciehp "
                + "and a serial console built in, as distributions have them. run.sh starts the machine, brings what failed into "
                + "its slot \(moment), "
                + "prints the lines that fail and compares them with the report's: status 0 when the same fail, 1 when not, "
                + "2 when it could not be tried. expect.json holds the same as data.",
            indent: 0
        )
        page.blank()
        page.raw(verdict)
        body(&page)
        return page.text
    }
}
