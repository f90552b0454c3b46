// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// What is wrong with the words about PCI, which words would do and how they are set, as text.
struct CmdlineText {
    let answer: CmdlineAnswer
    var verbosity: Int
    var style: Style
    var columns: Int

    /// The text.
    func render() -> String {
        var page = TextPage(columns: columns)
        if let words = answer.words {
            if words.words.isEmpty, answer.advice == nil || verbosity > 0 {
                page.paragraph("no word about PCI on the command line", indent: 0)
            }
            self.words(words, &page)
        }
        semicolons(&page)
        if let advice = answer.advice {
            if !page.text.isEmpty { page.blank() }
            self.advice(advice, &page)
        }
        if !answer.unknowns.isEmpty {
            if !page.text.isEmpty { page.blank() }
            for goal in answer.goals { page.paragraph("goal: \(goal.text)", indent: 0, hanging: 6) }
            page.paragraph("cannot tell which words reach it", indent: 2)
            write(answer.unknowns, to: &page)
        }
        if let guest = answer.guest {
            if !page.text.isEmpty { page.blank() }
            self.guest(guest.word, guest.reserve, &page)
        }
        return page.text
    }

    // MARK: Words

    private func words(_ words: BootWords, _ page: inout TextPage) {
        let known = Dictionary(grouping: words.findings, by: \.word)
        var written: Set<BootWords.Word> = []
        // A word that stands there several times is judged once.
        for word in words.words where written.insert(word).inserted {
            let name = (word.parameter == "pci" ? "pci=" : "") + word.text
            var said: Set<BootWords.Finding> = []
            let findings = (known[word] ?? []).filter { said.insert($0).inserted }
            if findings.isEmpty {
                page.line([Piece(padded("ok", 12), style: style.good), Piece(name)], indent: 0, hanging: 14)
            }
            for finding in findings {
                page.line(
                    [Piece(padded(finding.code.rawValue, 12), style: style.problem), Piece(name)]
                        + finding.detail.split(separator: " ").map { Piece(String($0), gap: 1) },
                    indent: 0,
                    hanging: 14
                )
                if let suggestion = finding.suggestion { page.raw("              write: \(suggestion)") }
            }
        }
    }

    /// How a word with `;` is written where GRUB reads it: its scripts end a command there.
    private func semicolons(_ page: inout TextPage) {
        let texts = (answer.words?.words.map(\.text) ?? []) + [answer.advice?.parameter].compactMap { $0 }
        guard texts.contains(where: { $0.contains(";") }) else { return }
        page.paragraph(
            "GRUB ends a command at ; and cuts the word there: in /etc/default/grub the word needs quotation marks of its "
                + "own inside the others, GRUB_CMDLINE_LINUX='... \"pci=...;...\"'; /proc/cmdline tells what arrived",
            indent: 0,
            hanging: 2
        )
    }

    // MARK: Advice

    private func advice(_ advice: BootAdvice, _ page: inout TextPage) {
        for goal in answer.goals { page.paragraph("goal: \(goal.text)", indent: 0, hanging: 6) }
        outcome("as it is:", advice.presentParameter, advice.asItIs, &page)
        if advice.isRefuted {
            page.paragraph(
                "this boot had these words and missed it, although the simulated boot reaches it: this kernel does otherwise "
                    + "than is predicted here, and what other words would do cannot be told",
                indent: 2
            )
            return
        }
        guard let best = advice.best else {
            page.line([Piece("no pci= words reach it", style: style.problem)], indent: 2, hanging: 2)
            page.paragraph(hint(advice), indent: 4)
            start(advice, &page)
            return
        }
        if advice.isChange {
            let words = advice.parameter ?? "no pci= words"
            page.line(
                [Piece("smallest:"), Piece(words, gap: 1, style: style.change), Piece("reaches it", gap: 1)],
                indent: 2,
                hanging: 4
            )
            for outcome in advice.smaller {
                let name = outcome.words.isEmpty ? "none" : outcome.words.joined(separator: ",")
                page.paragraph(
                    "- \(name) is too little: \(outcome.complaint ?? "it reaches nothing")",
                    indent: 4,
                    hanging: 6
                )
                guard verbosity > 0 else { continue }
                for more in (outcome.missing + outcome.lost).dropFirst() { page.paragraph(more, indent: 8) }
            }
        } else if best.words.isEmpty {
            page.paragraph("no further words are needed", indent: 2)
        } else {
            page.paragraph("smallest: the words that are there", indent: 2)
        }
        let withheld = best.words.filter { $0.hasSuffix("=0") }
        if !withheld.isEmpty {
            page.paragraph(
                "with \(withheld.joined(separator: ",")) nothing is kept at empty hot-plug ports: a card that is plugged "
                    + "in later gets what the windows above it happen to have free",
                indent: 2
            )
        }
        if !advice.needless.isEmpty {
            page.paragraph("not needed for it: \(advice.needless.joined(separator: ","))", indent: 2)
        }
        start(advice, &page)
        instructions(advice, &page)
    }

    /// Why no words may do.
    private func hint(_ advice: BootAdvice) -> String {
        if let way = answer.kernelWay { return "What would reach it is \(way)." }
        if answer.hasRoom {
            return "The host bridge decodes enough for each by itself: what the boot makes of it is the obstacle, and "
                + "nothing shows that firmware's setup is."
        }
        if advice.asItIs.missing.allSatisfy({ $0.contains("bus number") }) {
            return
                "hpbussize holds for every hot-plug port alike, those of the card too: the first takes what the next needs."
        }
        return
            "What the host bridge decodes is firmware's choice: look for Above 4G Decoding, MMIO size and Resizable BAR "
            + "in its setup. What a port without hot-plug gets is decided by what is behind it at boot."
    }

    private func outcome(_ label: String, _ words: String?, _ outcome: BootAdvice.Outcome, _ page: inout TextPage) {
        let wrong = outcome.missing + outcome.lost.map { "\($0) (lost by the boot)" }
        guard let first = wrong.first else {
            page.paragraph(words.map { "\(label) \($0) reaches it" } ?? "it is reached as it is", indent: 2, hanging: 4)
            return
        }
        page.paragraph(
            words.map { "\(label) \($0) does not reach it: \(first)" } ?? "it is not reached as it is: \(first)",
            indent: 2,
            hanging: 4
        )
        let shown = verbosity > 0 ? wrong.count : 4
        for one in wrong.dropFirst().prefix(shown - 1) { page.paragraph(one, indent: 4) }
        if wrong.count > shown { page.paragraph("and \(wrong.count - shown) more (-v shows them)", indent: 4) }
    }

    private func start(_ advice: BootAdvice, _ page: inout TextPage) {
        var text: String
        switch advice.start {
        case .firmware: text = "The boots start from what firmware left, as the kernel log shows it"
        case .registers:
            text =
                "The kernel log does not show what firmware left: the boots start from what the registers hold now, and "
                + "words that are there stay"
        }
        text += "; \(advice.attempts) were simulated."
        if !advice.latecomers.isEmpty {
            text += " Plugged in later, and taken to be there, untouched by firmware: \(advice.latecomers.listed(4))."
        }
        page.paragraph(text, indent: 2)
    }

    private func instructions(_ advice: BootAdvice, _ page: inout TextPage) {
        let list = advice.instructions
        guard !list.isEmpty, let edit = advice.edit else { return }
        page.blank()
        page.paragraph("To set it (this tool never does): \(edit), in one of", indent: 0)
        for one in list {
            page.line(
                [Piece(padded(one.loader, 14))] + one.text.split(separator: " ").map { Piece(String($0), gap: 1) },
                indent: 2,
                hanging: 17
            )
        }
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.utf8.count, 0))
    }

    // MARK: Guests

    private func guest(_ word: String, _ reserve: GuestReserve, _ page: inout TextPage) {
        guard !reserve.properties.isEmpty else {
            page.paragraph("\(word) needs no reserve at its root port", indent: 0)
            return
        }
        page.paragraph("a guest's root port for \(word):", indent: 0)
        page.raw("  QEMU, one line:")
        page.raw("    -device pcie-root-port,id=port,bus=pcie.0,chassis=1,\(reserve.properties)")
        page.raw("  libvirt, for the controller with <alias name='ua-port'/>, in")
        page.raw("  <domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>:")
        for line in reserve.libvirtLines(alias: "ua-port") { page.raw("    \(line)") }
        if reserve.withSlack != reserve {
            page.paragraph(
                "SeaBIOS aligns windows to 2M only. Linux then moves the window of an empty port itself; for a guest that does "
                    + "not: \(reserve.withSlack.properties)",
                indent: 2
            )
        }
        if verbosity > 0 {
            page.paragraph(
                "Prefetchable BARs count as pref64-reserve, all others, 64-bit ones too, as mem-reserve: bridges forward "
                    + "those below 4 GiB only.",
                indent: 2
            )
        }
    }
}

extension BootGoal {
    /// The goal as a sentence without full stop.
    var text: String {
        switch self {
        case .plan(.everythingRequired): "everything that is required has its place after the boot"
        case .plan(.restore): "everything has what it had in an older record"
        case .plan(.place(let address)): "\(address) and what is below it have their place after the boot"
        case .plan(.resize(let address, let bar, let size)):
            "BAR \(bar) of \(address) can be made \(size?.description ?? "as large as it offers") after the boot"
        case .plan(.reserve(let port, let room)): "\(port) keeps free \(room.text)"
        case .plan(.compact): "windows and bus numbers lie closer together"
        case .plan(.located(let address, let bar, let start)):
            "BAR \(bar) of \(address) lies at 0x\(bareHex(start)) after the boot"
        case .plan(.virtualFunctions(let address, let count)): "\(count) VFs of \(address) can be enabled"
        case .card(let port, let card): "\(card.name), plugged into \(port) after the boot, gets all its addresses"
        }
    }
}

extension Headroom {
    /// The room in words: `64M memory, 16G prefetchable, 4 bus numbers`.
    var text: String {
        var parts: [String] = []
        if io > .zero { parts.append("\(io) I/O") }
        if memory > .zero { parts.append("\(memory) memory") }
        if prefetchable > .zero { parts.append("\(prefetchable) prefetchable") }
        if buses > 0 { parts.append("\(buses) bus numbers") }
        return parts.isEmpty ? "nothing" : parts.joined(separator: ", ")
    }
}
