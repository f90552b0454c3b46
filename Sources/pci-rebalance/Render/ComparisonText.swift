// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// What `compare` found out: per policy its figures, its outcome, and what would become of the next cards.
struct Comparison {
    var metrics: [PolicyMetrics]
    var outcomes: [PolicyOutcome]
    var forecasts: [[HotAddForecast]]

    /// All of it as a table.
    var table: ComparisonTable { ComparisonTable(metrics, outcomes: outcomes, forecasts: forecasts) }

    /// The same for some of the policies.
    subscript(_ range: Range<Int>) -> Comparison {
        Comparison(
            metrics: Array(metrics[range]),
            outcomes: Array(outcomes[range]),
            forecasts: Array(forecasts[range])
        )
    }
}

/// A comparison as tables that fit the page: as many policies side by side as there is room for, the rest below.
struct ComparisonText {
    let comparison: Comparison
    /// Whether to leave out figures in which all policies agree.
    var isBrief: Bool

    /// The text.
    func render(columns: Int) -> String {
        let whole = comparison.table
        // What fits, and what was asked about the next card, is said even where all agree.
        let always = whole.rows.filter {
            $0.key.hasPrefix("required") || $0.key.hasPrefix("plug ") || ($0.key == "halts" && whole.hasHalts)
        }
        let keys = Set((isBrief ? whole.differing + always : whole.rows).map(\.key))
        var text = ""
        if isBrief, whole.policies.count > 1, whole.differing.isEmpty, !whole.hasHalts {
            text = "the policies agree in every figure (-v lists them)\n\n"
        }
        var start = 0
        let count = comparison.metrics.count
        while start < count {
            var end = start + 1
            while end < count, width(table(start..<(end + 1), keys)) <= columns { end += 1 }
            if start > 0 { text += "\n" }
            text += table(start..<end, keys).text()
            start = end
        }
        var remarks = whole
        remarks.rows = []
        return text + remarks.remarkText()
    }

    private func table(_ range: Range<Int>, _ keys: Set<String>) -> ComparisonTable {
        var table = comparison[range].table
        table.rows.removeAll { !keys.contains($0.key) }
        table.remarks = []
        return table
    }

    private func width(_ table: ComparisonTable) -> Int {
        table.text().split(separator: "\n").map(\.count).max() ?? 0
    }
}

/// A comparison as a document of schema `pci-rebalance.comparison/1`; keys in sorted order.
func comparisonJSON(_ table: ComparisonTable) -> [UInt8] {
    var json = JSONWriter(.indented)
    json.object { json in
        json.array("figures") { json in
            for row in table.rows {
                json.object { json in
                    json.field("group", row.group)
                    json.field("key", row.key)
                    json.field("label", row.label)
                    json.array("texts") { json in for cell in row.cells { json.value(cell.text) } }
                    json.array("values") { json in
                        for cell in row.cells {
                            if let value = cell.value { json.value(hex: value) } else { json.null() }
                        }
                    }
                }
            }
        }
        json.field("policies", table.policies)
        json.field("remarks", table.remarks)
        json.field("schema", "pci-rebalance.comparison/1")
    }
    return json.document
}
