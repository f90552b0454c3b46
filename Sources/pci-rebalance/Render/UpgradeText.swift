// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

/// What another kernel would make of a machine, as text; the last line is the verdict for scripts.
struct UpgradeText {
    let upgrade: KernelUpgrade
    /// Whether releases were named.
    let isTold: Bool
    var verbosity: Int
    var style: Style

    /// The text.
    func render(columns: Int) -> String {
        var page = TextPage(columns: columns)
        for sentence in upgrade.lostSentences { page.paragraph(sentence, indent: 0, hanging: 4) }
        let quiet = upgrade.releases.filter { release in !upgrade.changes.contains { $0.release == release } }
        for group in groups() {
            page.line(
                [Piece(KernelUpgrade.spoken(group.names, of: upgrade.releases.map(\.name)) + ":", style: style.name)],
                indent: 0,
                hanging: 4
            )
            for change in group.changes { tell(change, &page) }
            if let unjudged = group.unjudged {
                page.paragraph("\(unjudged.name): not judged (\(unjudged.explanation))", indent: 2, hanging: 6)
            }
        }
        if !quiet.isEmpty {
            let names = KernelUpgrade.spoken(quiet.map(\.name), of: upgrade.releases.map(\.name))
            let present = upgrade.present.name.isEmpty ? upgrade.present.behaviours[0].name : upgrade.present.name
            page.paragraph("\(names): all that has a place under \(present) has one", indent: 0, hanging: 4)
        }
        if verbosity > 0 {
            page.paragraph(
                upgrade.start == .firmware
                    ? "Boots start from what firmware left, by the kernel log."
                    : "Boots start from the registers as they are now: what firmware left is not known.",
                indent: 0
            )
            for occasion in upgrade.occasions { page.paragraph("tried: \(occasion.words)", indent: 0, hanging: 4) }
        }
        for sentence in upgrade.untried { page.paragraph("not tried: \(sentence)", indent: 0, hanging: 4) }
        let verdict = UpgradeVerdict(upgrade, isNamed: isTold)
        if verdict.answer == .cannotTell { write(upgrade.unknowns, to: &page) }
        page.raw("UPGRADE: \(verdict.answer.rawValue)")
        return page.text
    }

    private func tell(_ change: KernelUpgrade.Change, _ page: inout TextPage) {
        for (verb, places) in [("loses", change.loses), ("may lose", change.mayLose), ("gains", change.gains)]
        where !places.isEmpty {
            let names = places.map(\.text).listed(verbosity > 0 ? places.count : 4)
            page.paragraph("\(verb) \(names): \(change.occasion.words)", indent: 2, hanging: 6)
        }
        guard let parting = change.parting else { return }
        let one = parting.difference
        page.paragraph("first difference: \(one.today) \(one.what), \(parting.need)", indent: 4, hanging: 8)
        for (name, text, rule) in [
            (parting.firstPolicy, one.first, parting.firstRule), (parting.secondPolicy, one.second, parting.secondRule),
        ] {
            page.paragraph("\(name): \(text)", indent: 6, hanging: 8)
            if verbosity > 0 || parting.switches.isEmpty { page.paragraph(rule, indent: 8) }
        }
        if !parting.switches.isEmpty, verbosity > 0 {
            page.paragraph("switches: \(parting.switches.joined(separator: ", "))", indent: 6, hanging: 8)
        }
    }

    /// Releases whose changes are the same in every word, in order.
    private func groups() -> [(names: [String], unjudged: KernelUpgrade.Release?, changes: [KernelUpgrade.Change])] {
        var result: [(names: [String], unjudged: KernelUpgrade.Release?, changes: [KernelUpgrade.Change])] = []
        for release in upgrade.releases {
            let changes = upgrade.changes.filter { $0.release == release }
            guard !changes.isEmpty else { continue }
            let unjudged = release.isJudged ? nil : release
            if unjudged == nil, let last = result.indices.last, result[last].unjudged == nil,
                result[last].changes.map(\.losses) == changes.map(\.losses)
            {
                result[last].names.append(release.name)
            } else {
                result.append(([release.name], unjudged, changes))
            }
        }
        return result
    }
}

extension KernelUpgrade.Change {
    /// What the change comes to, without release and explanation.
    fileprivate var losses: [[String]] {
        [[occasion.words], loses.map(\.text), mayLose.map(\.text), gains.map(\.text)]
    }
}

extension KernelUpgrade.Place {
    /// `0000:04:00.0 BAR 2 (4G)`.
    var text: String { "\(address) \(what)" + (size.map { " (\($0))" } ?? "") }

    /// `BAR 2`, `bus`.
    var what: String {
        switch shortfall.kind {
        case .bus: "bus"
        case .resource(let index), .unreachable(let index): "\(index)"
        }
    }
}

extension KernelUpgrade {
    /// A sentence for all that has no place here for the same reason: which releases place it, and when.
    var lostSentences: [String] {
        let all = Release.known.map(\.name)
        var texts: [(key: String, names: [String])] = []
        for one in lostHere {
            var key: String
            if let occasion = one.occasion {
                key =
                    "\(KernelUpgrade.spoken(one.placedBy, of: all)) would place it (\(occasion.words)), "
                    + "\(KernelUpgrade.spoken(one.notPlacedBy, of: all)) would not: the kernel's rule is the obstacle"
            } else if one.placedBy.isEmpty {
                key = "no release that was tried would place it"
            } else {
                key = "every release that was tried would place it, found anew"
            }
            if !one.tradedBy.isEmpty {
                if one.placedBy.isEmpty { key = "no release that was tried would place it beside all that has a place" }
                key += "; \(KernelUpgrade.spoken(one.tradedBy, of: all)) would place it and lose something else instead"
            }
            if let at = texts.firstIndex(where: { $0.key == key }) {
                texts[at].names.append(one.place.text)
            } else {
                texts.append((key, [one.place.text]))
            }
        }
        return texts.map { "without a place here: \($0.names.joined(separator: ", ")); \($0.key)" }
    }
}
