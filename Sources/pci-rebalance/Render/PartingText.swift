// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// Where two policies part, in words.
struct PartingText {
    let parting: PolicyParting?
    let names: [String]
    /// Why each of them gave up, nil for one that did not.
    let halts: [String?]
    /// Whether to list everything that differs.
    var isVerbose: Bool

    /// The text.
    func render(columns: Int) -> String {
        var page = TextPage(columns: columns)
        for (name, halt) in zip(names, halts) {
            if let halt { page.paragraph("\(name) halts: \(halt)", indent: 0, hanging: 4) }
        }
        guard let parting, !halts.allSatisfy({ $0 != nil }) else {
            page.paragraph(
                halts.contains { $0 != nil }
                    ? "neither lays anything out, nothing is left to compare"
                    : "\(names.joined(separator: " and ")) agree in everything",
                indent: 0,
                hanging: 4
            )
            return page.text
        }
        let difference = parting.difference
        page.paragraph(
            "\(parting.firstPolicy) and \(parting.secondPolicy) part at \(difference.today) (\(parting.role)), "
                + "\(difference.what)",
            indent: 0,
            hanging: 4
        )
        page.paragraph("what is asked for: \(parting.need)", indent: 2)
        for (name, text, rule) in [
            (parting.firstPolicy, difference.first, parting.firstRule),
            (parting.secondPolicy, difference.second, parting.secondRule),
        ] {
            page.paragraph("\(name): \(text)", indent: 2)
            page.paragraph(rule, indent: 6)
        }
        if !parting.switches.isEmpty {
            page.paragraph(
                "the behaviours differ in \(parting.switches.joined(separator: ", "))",
                indent: 2,
                hanging: 6
            )
        }
        let counts = parting.counts.map { "\($0.count) \($0.decision.word)" }.joined(separator: ", ")
        page.paragraph(
            "decisions that differ: \(counts)" + (isVerbose ? "" : " (-v lists them)"),
            indent: 0,
            hanging: 4
        )
        if isVerbose {
            for one in parting.all {
                page.paragraph("\(one.today) \(one.what): \(one.first) -> \(one.second)", indent: 2, hanging: 6)
            }
        }
        return page.text
    }
}

/// The same as a document of schema `pci-rebalance.parting/1`; `first` is null where two policies agree or both gave up,
/// `halts` says why each gave up.
func partingJSON(_ parting: PolicyParting?, _ names: [String], halts: [String?]) -> [UInt8] {
    let parting = halts.allSatisfy { $0 != nil } ? nil : parting
    var json = JSONWriter(.indented)
    json.object { json in
        json.array("differences") { json in
            for one in parting?.all ?? [] {
                json.object { json in
                    json.field("decision", one.decision.rawValue)
                    json.field("function", one.today.description)
                    json.field("path", one.path.description)
                    json.field("texts", [one.first, one.second])
                    json.field("what", one.what)
                }
            }
        }
        if let parting {
            json.object("first") { json in
                let one = parting.difference
                json.field("decision", one.decision.rawValue)
                json.field("function", one.today.description)
                json.field("need", parting.need)
                json.field("path", one.path.description)
                json.field("role", parting.role)
                json.field("rules", [parting.firstRule, parting.secondRule])
                json.field("switches", parting.switches)
                json.field("texts", [one.first, one.second])
                json.field("what", one.what)
            }
        } else {
            json.key("first")
            json.null()
        }
        json.array("halts") { json in
            for halt in halts {
                if let halt { json.value(halt) } else { json.null() }
            }
        }
        json.field("policies", names)
        json.field("schema", "pci-rebalance.parting/1")
    }
    return json.document
}
