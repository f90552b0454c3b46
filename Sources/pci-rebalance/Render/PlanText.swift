// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// A plan as text that a person understands in a minute: verdict, what is wrong, who is stopped, the steps with what
/// each changes, the way back. The last line is the verdict for scripts.
struct PlanText {
    let plan: Plan
    var verbosity: Int = 0
    var style: Style = .plain
    var columns: Int = 80

    /// The text.
    func render() -> String {
        var page = TextPage(columns: columns)
        page.paragraph(plan.verdict.sentence, indent: 0)
        diagnosis(&page)
        disturbances(&page)
        steps(&page)
        if !plan.remarks.isEmpty {
            heading("Remarks", &page)
            for remark in plan.remarks { page.paragraph("- \(remark)", indent: 2, hanging: 4) }
        }
        page.blank()
        page.line([Piece(plan.verdict.line, style: color)], indent: 0, hanging: 0)
        return page.text
    }

    private var color: (String) -> String {
        switch plan.verdict.answer {
        case .none: style.good
        case .act: style.change
        case .refused, .impossible: style.problem
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
            let name = line.address.map { line.text.contains($0.description) ? "" : "\($0) " } ?? ""
            page.paragraph("- \(name)\(line.text)", indent: 2, hanging: 4)
        }
    }

    private func disturbances(_ page: inout TextPage) {
        guard plan.verdict.answer == .act || !plan.disturbed.isEmpty else { return }
        heading("Who is disturbed", &page)
        if plan.disturbed.isEmpty { page.paragraph("nobody", indent: 2) }
        for one in plan.disturbed {
            var pieces = [
                Piece(one.address.description, style: style.change), Piece("\(one.what):", gap: 1),
                Piece(one.effect.text, gap: 1),
            ]
            if one.newAddress != one.address { pieces.append(Piece("-> \(one.newAddress)", gap: 1)) }
            if verbosity > 0 { pieces.append(Piece("(weight \(one.weight))", gap: 1)) }
            page.line(pieces, indent: 2, hanging: 6)
        }
        switch plan.proof {
        case .optimal: page.paragraph("No way disturbs less.", indent: 2)
        case .bestOfSearched(let cost, let bound):
            page.paragraph(
                "Every cheaper way that was tried fails (cost \(cost), lower bound \(bound)).",
                indent: 2
            )
        case .notApplicable: break
        }
    }

    private func steps(_ page: inout TextPage) {
        guard !plan.steps.isEmpty else { return }
        heading("Steps, as predicted for \(plan.kernelRelease) (\(plan.behaviour))", &page)
        var state = plan.before
        // Functions that are gone for a while are compared with what they last showed.
        var last = plan.before.functions
        var changing = 0
        for (number, step) in plan.steps.enumerated() {
            page.paragraph("\(number + 1). \(step.purpose)", indent: 2, hanging: 5)
            for condition in step.preconditions where verbosity > 0 {
                page.paragraph("only if \(condition.text)", indent: 5, hanging: 7)
            }
            for write in step.writes { page.raw("     # \(write)") }
            list("gone:", names(in: state, notIn: step.after), &page)
            list("back:", names(in: step.after, notIn: state), &page)
            let changes = StateChange.changes(from: TreeState(last), to: step.after).filter { $0.what != .gone }
            write(changes, &page, indent: 5)
            if changes.contains(where: { $0.what != .new }) { changing += 1 }
            for write in step.wayBack where verbosity > 0 { page.raw("     way back: \(write)") }
            state = step.after
            let paths = Set(state.functions.map(\.path))
            last = last.filter { !paths.contains($0.path) } + state.functions
        }
        if verbosity == 0, plan.steps.contains(where: { !$0.wayBack.isEmpty }) {
            page.paragraph(
                "Every step is checked; when the machine does not do as predicted, the way back is taken (-v shows it).",
                indent: 2
            )
        }
        if changing > 1 { outcome(&page) }
    }

    private func names(in one: TreeState, notIn other: TreeState) -> [String] {
        let paths = Set(other.functions.map(\.path))
        return one.functions.filter { !paths.contains($0.path) }.map(\.address.description)
    }

    private func list(_ head: String, _ names: [String], _ page: inout TextPage) {
        guard !names.isEmpty else { return }
        page.line([Piece(head)] + names.map { Piece($0, gap: 1) }, indent: 5, hanging: 11)
    }

    private func outcome(_ page: inout TextPage) {
        heading("Afterwards, compared with now", &page)
        let changes = StateChange.changes(from: plan.before, to: plan.after)
        list("gone:", names(in: plan.before, notIn: plan.after), &page)
        write(changes.filter { $0.what != .gone }, &page, indent: 2)
    }

    /// Changes, the name of a function once and a change per line beside it.
    private func write(_ changes: [StateChange], _ page: inout TextPage, indent: Int) {
        var last: FunctionAddress?
        var new: FunctionAddress?
        for change in changes {
            let name = change.address == last ? "" : change.address.description
            var pieces = [Piece(name.isEmpty ? String(repeating: " ", count: 12) : name)]
            switch change.what {
            case .gone: continue
            case .new:
                new = change.address
                pieces.append(Piece("is new", gap: 1))
            case .renumbered(let old): pieces.append(Piece("was \(old)", gap: 1, style: style.change))
            case .buses(let old, let new):
                pieces.append(Piece(old?.description ?? "no bus", gap: 1))
                pieces.append(Piece("-> \(new?.description ?? "no bus")", gap: 1, style: style.change))
            case .resource(let index, let from, let to):
                pieces.append(Piece("\(index)", gap: 1))
                if change.address != new { pieces.append(Piece(from.text(index), gap: 1)) }
                pieces.append(Piece("-> \(to.text(index))", gap: 1, style: style.change))
            }
            last = change.address
            page.line(pieces, indent: indent, hanging: indent + 13)
        }
    }
}

extension Disturbance.Effect {
    /// What happens, in words.
    var text: String {
        switch self {
        case .stopped: "stopped, comes back as it was"
        case .moved: "stopped, comes back at other addresses"
        case .renumbered: "stopped, comes back on another bus"
        }
    }
}

extension Precondition {
    /// The condition in words, after "only if".
    var text: String {
        switch self {
        case .treeAsPredicted: "the tree is as predicted"
        case .present(let address, let ids):
            "\(address) is \(bareHex(UInt64(ids >> 16), width: 4)):\(bareHex(UInt64(ids & 0xffff), width: 4))"
        case .busIsEmpty(let segment, let bus): "bus \(bareHex(UInt64(segment), width: 4)):\(bus) exists and is empty"
        case .busIsAbsent(let segment, let bus): "bus \(bareHex(UInt64(segment), width: 4)):\(bus) does not exist"
        case .notInUse(let address): "\(address) is not in use"
        }
    }
}
