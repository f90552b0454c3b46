// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import PlanExecutor
import RebalancePlanner

/// Whether a card fits, as text; the last line is the verdict for scripts.
struct FitText {
    let answer: FitAnswer
    let port: FunctionAddress
    var verbosity: Int
    var style: Style
    var columns: Int

    /// The text.
    func render() -> String {
        var page = TextPage(columns: columns)
        if answer.isReplaced { page.paragraph("What is in the slot of \(port) is assumed removed.", indent: 0) }
        if answer.needsRescan, !answer.isUnknown {
            let who =
                switch answer.slotDriver {
                case .nobody: "Nobody listens at \(port): the kernel finds the card"
                case .unknown: "Who listens at \(port) is not told: the kernel may find the card"
                default:
                    "\(answer.slotDriver.rawValue) gives the card up at \(port) for want of room: the kernel finds it"
                }
            let power = answer.isPowerOff ? "the slot's power, which is off, is switched on and " : ""
            page.paragraph("\(who) only when \(power)its bus is rescanned, and that is what is said here.", indent: 0)
        }
        switch answer.verdict {
        case .now: page.paragraph("\(answer.card.name) fits at \(port) as things are.", indent: 0)
        case .afterPlan(let plan):
            page.paragraph("\(answer.card.name) fits at \(port) after a plan.", indent: 0)
            missing(&page)
            let stopped = plan.disturbed.filter { $0.weight > 0 }
            if !stopped.isEmpty {
                page.paragraph("The plan would stop:", indent: 0)
                for one in stopped { page.paragraph("- \(one.address) \(one.what)", indent: 2, hanging: 4) }
            }
        case .cannotTell:
            page.paragraph("Whether \(answer.card.name) fits at \(port) cannot be told from this input.", indent: 0)
            write(answer.unknowns, to: &page)
        case .refused(let plan), .never(let plan):
            page.paragraph("\(answer.card.name) does not fit at \(port): \(plan.verdict.sentence)", indent: 0)
            missing(&page)
        }
        if !answer.isUnknown, let bar = answer.card.largestMemoryBAR {
            page.paragraph(
                "Its largest BAR is \(ByteCount(bar)); the largest that fits now: "
                    + "\(answer.largestNow?.description ?? "none"), after a plan: "
                    + "\(answer.largestAfterPlan?.description ?? "none").",
                indent: 0
            )
        }
        if verbosity > 0, case .afterPlan(let plan) = answer.verdict {
            page.blank()
            page.raw(PlanText(plan: plan, verbosity: verbosity - 1, style: style, columns: columns).render())
        }
        page.raw("FIT: \(answer.verdict.word)")
        return page.text
    }

    private func missing(_ page: inout TextPage) {
        guard !answer.missing.isEmpty else { return }
        page.paragraph("Right after plugging it:", indent: 0)
        for finding in answer.missing {
            page.paragraph("- \(finding.address) \(finding.sentence)", indent: 2, hanging: 4)
            for cause in finding.causes where verbosity > 0 { page.paragraph("- \(cause)", indent: 6, hanging: 8) }
        }
    }
}

extension FitAnswer {
    var isUnknown: Bool { if case .cannotTell = verdict { true } else { false } }
}

/// Writes what was not told, and the commands that would tell.
func write(_ unknowns: [Unknown], to page: inout TextPage) {
    guard !unknowns.isEmpty else { return }
    for one in unknowns { page.paragraph("not told: \(one.sentence)", indent: 4, hanging: 8) }
    page.paragraph("what would tell: \(unknowns.commands)", indent: 4, hanging: 8)
}

/// The answer as a document of schema `pci-rebalance.fit/1`; keys in sorted order.
func fitJSON(_ answer: FitAnswer, port: FunctionAddress) -> [UInt8] {
    var json = JSONWriter(.indented)
    json.object { json in
        json.field("card", answer.card.name)
        json.field("isReplaced", answer.isReplaced)
        json.field("largestAfterPlan", hex: answer.largestAfterPlan?.rawValue)
        json.field("largestNow", hex: answer.largestNow?.rawValue)
        json.array("missing") { json in
            for finding in answer.missing { write(finding, to: &json) }
        }
        json.field("needsRescan", answer.needsRescan)
        json.key("plan")
        switch answer.verdict {
        case .now, .cannotTell: json.null()
        case .afterPlan(let plan), .refused(let plan), .never(let plan): PlanDocument.encode(plan, into: &json)
        }
        json.field("port", port.description)
        json.field("schema", "pci-rebalance.fit/1")
        json.field("slotDriver", answer.slotDriver.rawValue)
        write(unknowns: answer.unknowns, to: &json)
        json.field("verdict", answer.isUnknown ? TreeVerdict.cannotTell.rawValue : answer.verdict.word)
    }
    return json.document
}
