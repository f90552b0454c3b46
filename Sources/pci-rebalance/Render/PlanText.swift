// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// A plan as text that a person understands in a minute: verdict, what is wrong, who is stopped, the steps with what
/// each changes, the way back. The last line is the verdict for scripts.
struct PlanText {
    let plan: Plan
    var verbosity: Int = 0
    var style: Style = .plain
    var columns: Int = 80
    /// How devices are called; nil says what they are alone.
    var names: DeviceNames?
    /// How to carry it out, a sentence; nil says nothing.
    var advice: String?
    /// Only what would be done, who is disturbed, and the verdict.
    var isBrief = false

    /// The text.
    func render() -> String {
        var page = TextPage(columns: columns)
        page.paragraph(plan.verdict.sentence, indent: 0)
        guard !isBrief else {
            brief(&page)
            return page.text
        }
        diagnosis(&page)
        disturbances(&page)
        steps(&page)
        isolation(&page)
        conditions(&page)
        behaviours(&page)
        if !plan.remarks.isEmpty {
            heading("Remarks", &page)
            for remark in plan.remarks { page.paragraph("- \(remark)", indent: 2, hanging: 4) }
        }
        if !plan.otherWays.isEmpty {
            heading("Other ways", &page)
            for way in plan.otherWays { page.paragraph("- \(way)", indent: 2, hanging: 4) }
        }
        if let advice, plan.verdict.answer == .act {
            page.blank()
            page.paragraph(advice, indent: 0)
        }
        page.blank()
        page.line([Piece(plan.verdict.line, style: color)], indent: 0, hanging: 0)
        return page.text
    }

    private func brief(_ page: inout TextPage) {
        if !plan.steps.isEmpty {
            let writes = plan.steps.reduce(0) { $0 + $1.writes.count }
            page.paragraph(
                "\(plan.steps.count) step\(plan.steps.count == 1 ? "" : "s"), \(writes) write\(writes == 1 ? "" : "s"); "
                    + (plan.disturbed.isEmpty ? "nobody is disturbed" : "disturbed:"),
                indent: 0
            )
        }
        list(plan.disturbed, &page)
        page.line([Piece(plan.verdict.line, style: color)], indent: 0, hanging: 0)
    }

    private var color: (String) -> String {
        switch plan.verdict.answer {
        case .none: style.good
        case .act: style.change
        case .refused, .impossible, .unknown: style.problem
        }
    }

    private func heading(_ text: String, _ page: inout TextPage) {
        page.blank()
        page.line([Piece(text, style: style.name)], indent: 0, hanging: 0)
    }

    private func diagnosis(_ page: inout TextPage) {
        guard !plan.diagnosis.isEmpty else { return }
        heading("What is wrong", &page)
        for line in plan.diagnosis {
            if line.code == "cause" {
                page.paragraph("- \(line.text)", indent: 6, hanging: 8)
                continue
            }
            let name = line.address.map { line.text.contains($0.description) ? "" : "\($0) " } ?? ""
            page.paragraph("- \(name)\(line.text)", indent: 2, hanging: 4)
        }
    }

    private func disturbances(_ page: inout TextPage) {
        guard plan.verdict.answer == .act || !plan.disturbed.isEmpty else { return }
        heading("Who is disturbed", &page)
        if plan.disturbed.isEmpty { page.paragraph("nobody", indent: 2) }
        list(plan.disturbed, &page)
        switch plan.proof {
        case .optimal: page.paragraph("This is the least disruptive plan.", indent: 2)
        case .bestOfSearched(let cost, let bound):
            page.paragraph(
                "Every cheaper way that was tried fails (cost \(cost), lower bound \(bound)).",
                indent: 2
            )
        case .notApplicable: break
        }
        if let outage = plan.outage { page.paragraph(outage, indent: 2) }
    }

    private func list(_ disturbed: [Disturbance], _ page: inout TextPage) {
        for one in disturbed {
            var pieces = [
                Piece(one.address.description, style: style.change)
            ]
            pieces += Piece.words("\(one.what)\(name(of: one)):")
            pieces.append(Piece(one.effect.text, gap: 1))
            if one.newAddress != one.address { pieces.append(Piece("-> \(one.newAddress)", gap: 1)) }
            if verbosity > 0 { pieces.append(Piece("(weight \(one.weight))", gap: 1)) }
            page.line(pieces, indent: 2, hanging: 6)
            for use in one.uses { page.paragraph("in use: \(use)", indent: 6, hanging: 8) }
        }
    }

    /// The name in parentheses behind what a function is.
    private func name(of one: Disturbance) -> String {
        guard let names, let ids = plan.before[one.address]?.ids,
            ids >> 16 != 0xffff,
            let name = names.text(
                vendor: UInt16(truncatingIfNeeded: ids >> 16),
                device: UInt16(truncatingIfNeeded: ids)
            )
        else { return "" }
        return " (\(name))"
    }

    private func steps(_ page: inout TextPage) {
        guard !plan.steps.isEmpty else { return }
        heading("Steps, as predicted for \(plan.kernelRelease) (\(plan.behaviour))", &page)
        var state = plan.before
        // Functions that are gone for a while are compared with what they last showed.
        var absent: [TopologyPath: FunctionState] = [:]
        var changing = 0
        for (number, step) in plan.steps.enumerated() {
            page.paragraph("\(number + 1). \(step.purpose)", indent: 2, hanging: 5)
            for condition in step.preconditions where verbosity > 0 {
                page.paragraph("only if \(condition.text)", indent: 5, hanging: 7)
            }
            for write in step.writes { page.raw("     # \(write)") }
            let table = ChangeTable(style: style)
            let (old, new) = TreeState.differingParts(state, step.after)
            table.writeNames(from: old, to: new, to: &page, indent: 5)
            let changes = StateChange.changes(from: old, absent: absent, to: new).filter { $0.what != .gone }
            table.write(changes, to: &page, indent: 5)
            if changes.contains(where: { $0.what != .new }) { changing += 1 }
            for way in step.wayBackText where verbosity > 0 { page.raw("     way back: \(way)") }
            for function in old { absent[function.path] = function }
            for function in new { absent[function.path] = nil }
            state = step.after
        }
        if verbosity == 0, plan.steps.contains(where: { !$0.wayBack.isEmpty }) {
            page.paragraph(
                "Every step is checked; when the machine does not do as predicted, the way back is taken (-v shows it).",
                indent: 2
            )
        }
        if changing > 1 { outcome(&page) }
    }

    /// What becomes of IOMMU groups, routes and settings: where something changes, and with -v always.
    private func isolation(_ page: inout TextPage) {
        guard let change = plan.isolation else { return }
        let lines = change.sentences
        guard !lines.isEmpty || verbosity > 0 else { return }
        heading("Isolation", &page)
        if lines.isEmpty { page.paragraph(change.unchangedText, indent: 2) }
        for line in lines { page.paragraph("- \(line)", indent: 2, hanging: 4) }
        guard verbosity > 0 else { return }
        if !change.contradicted.isEmpty {
            page.paragraph(
                "The groups of \(change.contradicted.count) functions are not what the kernel's rule makes of them; nothing is "
                    + "foretold of those.",
                indent: 2
            )
        }
        if !change.untold.isEmpty {
            page.paragraph(
                "Of \(change.untold.count) functions what was read does not tell the group afterwards.",
                indent: 2
            )
        }
    }

    /// What was asked to stay as it is, and does.
    private func conditions(_ page: inout TextPage) {
        guard !plan.conditions.isEmpty else { return }
        heading("What stays as it is", &page)
        for one in plan.conditions { page.paragraph("- \(one.text)", indent: 2, hanging: 4) }
    }

    /// Under which behaviours of the kernel the steps lead where; all of them with -v, else whether all lead to the goal.
    private func behaviours(_ page: inout TextPage) {
        guard plan.outlooks.count > 1 || !plan.ruledOut.isEmpty else { return }
        let others = plan.outlooks.dropFirst()
        let isCertain = others.allSatisfy { [.asPlanned, .otherAddresses].contains($0.outcome) }
        heading("If the kernel does otherwise", &page)
        if verbosity == 0 {
            let count = others.count
            page.paragraph(
                isCertain
                    ? "The steps reach the goal under each of the \(count + 1) behaviours that \(plan.kernelRelease) may have."
                    : "\(plan.kernelRelease) may have one of \(count + 1) behaviours. The steps hold under "
                        + "\(plan.outlooks.count { $0.outcome.reachesGoal }) of them; under the others the first step that "
                        + "differs is gone back from (-v lists them).",
                indent: 2
            )
            return
        }
        for outlook in plan.outlooks {
            let place = outlook.differsAfterStep.map { ", seen after step \($0)" } ?? ""
            page.paragraph("- \(outlook.behaviour): \(outlook.outcome.text)\(place)", indent: 2, hanging: 4)
        }
        for one in plan.ruledOut {
            page.paragraph("- not \(one.behaviour): \(one.reason)", indent: 2, hanging: 4)
        }
    }

    private func outcome(_ page: inout TextPage) {
        heading("Afterwards, compared with now", &page)
        ChangeTable(style: style).write(from: plan.before, to: plan.after, to: &page, indent: 2)
    }
}

extension BehaviourOutlook.Outcome {
    /// Whether the goal is reached and nothing lost.
    fileprivate var reachesGoal: Bool { self == .asPlanned || self == .otherAddresses }

    fileprivate var text: String {
        switch self {
        case .asPlanned: "every step ends as planned"
        case .otherAddresses: "the goal is reached, at other addresses"
        case .missesGoal: "the goal is missed, and the apply goes back"
        case .losesSomething: "something would lose its place, and the apply goes back"
        case .refused: "the kernel would refuse a write, and the apply goes back"
        }
    }
}

extension IsolationChange {
    /// That nothing changes.
    fileprivate var unchangedText: String {
        hasGroups
            ? "IOMMU groups: unchanged (\(groupsAfter.count)); routes between siblings and settings as they are."
            : "No IOMMU groups here; routes between siblings and settings as they are."
    }

    /// What changes, a sentence each.
    fileprivate var sentences: [String] {
        func name(_ old: FunctionAddress, _ new: FunctionAddress) -> String {
            old == new ? old.description : "\(new) (now \(old))"
        }
        var result = regroupings.map { one in
            var text = hasGroups ? "IOMMU group of " : "the IOMMU group that there would be of "
            text += name(one.address, one.newAddress) + ":"
            if !one.joined.isEmpty { text += " \(one.joined.listed(4)) will be in it" }
            if !one.left.isEmpty {
                text += "\(one.joined.isEmpty ? "" : ";") \(one.left.listed(4)) will not be in it any more"
            }
            if one.isAssigned, !one.joined.isEmpty {
                text += "; it is bound to VFIO, and whoever has it must be given those as well"
            }
            return text
        }
        result += reroutings.map { one in
            let way: String =
                switch one.after {
                case .direct: "will go across the switch"
                case .redirected: "will go by way of the root complex"
                case .unknown: "may take another way, which is not told"
                }
            return "requests to siblings from below \(name(one.address, one.newAddress)) \(way)"
        }
        result += settings.map { one in
            let what: String =
                switch one.kind {
                case .accessControl: "ACS"
                case .maxPayloadSize: "Max_Payload_Size"
                case .extendedTags: "8-bit tags"
                case .relaxedOrdering: "relaxed ordering"
                }
            let after = one.after.map { "will be \($0)" } ?? "may be otherwise, which is not told"
            return "\(one.address) \(what): now \(one.before), \(after), since the kernel sets it when it finds the "
                + "function"
        }
        return result
    }
}
