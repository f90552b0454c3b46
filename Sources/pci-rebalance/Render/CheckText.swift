// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

/// The findings as text: problems with their causes, then one line of verdict.
struct CheckText {
    let topology: Topology
    let assessment: Assessment
    var verbosity: Int
    var style: Style
    var columns: Int
    /// How devices are called; nil says their class alone.
    var names: DeviceNames?
    /// What the kernel may do; named with -v where it was not judged by itself.
    var evidence: BehaviourEvidence?

    /// The text.
    func render() -> String {
        var page = TextPage(columns: columns)
        let findings = assessment.findings
        let problems = findings.filter { $0.severity == .problem }
        let notes = findings.filter { $0.severity == .note }
        for finding in problems { write(finding, to: &page) }
        for finding in notes where verbosity > 0 || isToldByLog(finding) { write(finding, to: &page) }
        for (i, reason) in topology.unseenBridges {
            page.line(
                [
                    Piece("not seen:", style: style.faint),
                    Piece("what is behind \(topology.functions[i].address), since \(reason)", gap: 1),
                ],
                indent: 0,
                hanging: 4
            )
        }
        if verbosity > 0 {
            for line in IsolationText(topology).summary() { page.paragraph(line, indent: 0, hanging: 4) }
        }
        if verbosity > 0, let evidence, evidence.left.judgement != .itself { write(evidence, to: &page) }
        let hidden = notes.isEmpty || verbosity > 0 ? "" : " (-v lists the notes)"
        let counts = "\(number(problems.count, "problem")), \(number(notes.count, "note"))\(hidden)"
        let functions = number(topology.functions.count, "function")
        let head =
            switch assessment.verdict {
            case .healthy:
                Piece(assessment.unknowns.isEmpty ? "healthy:" : "healthy as far as seen:", style: style.good)
            case .problems: Piece("not healthy:", style: style.problem)
            case .cannotTell: Piece("cannot tell:", style: style.change)
            }
        page.line([head, Piece("\(functions), \(counts)", gap: 1)], indent: 0, hanging: 4)
        pci_rebalance.write(assessment.unknowns, to: &page)
        if !assessment.ranges.isEmpty { page.paragraph("What /proc/iomem tells of buses:", indent: 4) }
        for share in assessment.ranges {
            page.paragraph(share.sentence, indent: 8 + 2 * share.depth, hanging: 12 + 2 * share.depth)
        }
        harmlessLines(&page)
        otherCauses(&page)
        return page.text
    }

    /// Whether a note is what triage would tell, so that both say the same.
    private func isToldByLog(_ finding: Finding) -> Bool {
        switch finding.code {
        case .resizeRefused, .kernelReport: true
        case .barUnclaimed: finding.causes.contains { $0.hasPrefix(Assessment.ownWords) }
        default: false
        }
    }

    /// That no failing line of the log matters, where none does.
    private func harmlessLines(_ page: inout TextPage) {
        let count = assessment.harmless.reduce(0) { $0 + $1.lineCount }
        guard count > 0, assessment.verdict != .problems else { return }
        let one = assessment.harmless.count == 1 ? assessment.harmless.first : nil
        let what = one.map { ": " + ($0.address.map { "\($0) " } ?? "") + "\($0.resource): \($0.summary)" }
        page.paragraph(
            "\(number(count, "failing line")) in the log, and none that matters"
                + (what ?? " (pci-rebalance triage sorts them)"),
            indent: 4,
            hanging: 8
        )
    }

    /// Whether a note may be why something does not work.
    private static func isAboutAddresses(_ finding: Finding) -> Bool {
        [.kernelReport, .barUnclaimed, .registersDiffer, .resizeRefused].contains(finding.code)
    }

    /// Whether it is PCI space at all: what the log says of links, power and drivers, and ports behind which nothing is.
    private func otherCauses(_ page: inout TextPage) {
        guard !assessment.signs.isEmpty || !assessment.emptyPorts.isEmpty else { return }
        let isSpotless = assessment.verdict == .healthy && !assessment.findings.contains { Self.isAboutAddresses($0) }
        if isSpotless {
            page.paragraph("If something does not work, what was seen of the address space is not why:", indent: 0)
        } else if assessment.verdict != .problems {
            page.paragraph("What else the input names as a cause:", indent: 0)
        } else {
            page.paragraph("Not a matter of addresses:", indent: 0)
        }
        for port in assessment.emptyPorts {
            page.paragraph(
                "- nothing answers behind \(port): if something is plugged in there, look at its link, clock, reset and "
                    + "power",
                indent: 4,
                hanging: 6
            )
        }
        for sign in assessment.signs {
            page.paragraph("- look at \(sign.area.advice): \(sign.message)", indent: 4, hanging: 6)
        }
    }

    private func write(_ evidence: BehaviourEvidence, to page: inout TextPage) {
        let set = evidence.left
        let release = topology.kernel.release.map { "how \($0) assigns addresses" } ?? "a kernel of unknown release"
        let judged = set.isJudged ? set.explanation : "not judged (\(set.explanation))"
        var text = "kernel: \(release) was \(judged)"
        if evidence.isOfSeveral {
            let names = set.candidates.map {
                $0.reason == set.explanation ? $0.behaviour.name : "\($0.behaviour.name) (\($0.reason))"
            }
            text += "; it may do as \(names.joined(separator: ", "))"
        }
        page.paragraph(text, indent: 0, hanging: 4)
        for one in evidence.ruledOut {
            page.paragraph("- not \(one.behaviour): \(one.reason)", indent: 4, hanging: 6)
        }
    }

    private func write(_ finding: Finding, to page: inout TextPage) {
        let head = finding.severity == .problem ? "problem" : "note"
        let name =
            finding.isAboutBus ? nil : topology.position(of: finding.address).map { describe(topology.functions[$0]) }
        var pieces = [
            Piece("\(head):", style: finding.severity == .problem ? style.problem : style.faint),
            Piece(finding.subject, gap: 1, style: style.name),
        ]
        if let name { pieces += Piece.words("(\(name))") }
        pieces.append(Piece("[\(finding.code.rawValue)]", gap: 1, style: style.faint))
        page.line(pieces, indent: 0, hanging: 4)
        page.paragraph(finding.sentence, indent: 4)
        // What the log alone reports stands in no other place; the words of the log are triage's.
        let isReport = finding.code == .kernelReport
        guard finding.severity == .problem || verbosity > 1 || isReport else { return }
        for cause in finding.causes
        where finding.severity == .problem || verbosity > 1 || !cause.hasPrefix(Assessment.ownWords) {
            page.paragraph("- \(cause)", indent: 4, hanging: 6)
        }
    }

    private func describe(_ function: Function) -> String {
        var what =
            function.isBridge
            ? function.roleText
            : "\(function.isVirtual ? "VF " : "")\(function.identity.className)"
        if let name = names?.text(function.identity) ?? function.identity.name { what += " \(name)" }
        return function.use.driver.map { "\(what), \($0)" } ?? what
    }

    private func number(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
}
