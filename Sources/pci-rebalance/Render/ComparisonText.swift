// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

/// A comparison as tables that fit the page: as many policies side by side as there is room for, the rest below.
struct ComparisonText {
    let metrics: [PolicyMetrics]
    let outcomes: [PolicyOutcome]
    /// Whether to leave out figures in which all policies agree.
    var isBrief: Bool

    /// The text.
    func render(columns: Int) -> String {
        let whole = ComparisonTable(metrics, outcomes: outcomes)
        let keys = Set((isBrief ? whole.differing : whole.rows).map(\.key))
        guard !keys.isEmpty else { return "the policies agree in every figure\n" }
        var text = ""
        var start = 0
        while start < metrics.count {
            var count = 1
            var table = self.table(start, count, keys)
            while start + count < metrics.count {
                let wider = self.table(start, count + 1, keys)
                guard width(wider) <= columns else { break }
                table = wider
                count += 1
            }
            if start > 0 { text += "\n" }
            text += table.text()
            start += count
        }
        return text
    }

    private func table(_ start: Int, _ count: Int, _ keys: Set<String>) -> ComparisonTable {
        var table = ComparisonTable(
            Array(metrics[start..<(start + count)]),
            outcomes: Array(outcomes[start..<(start + count)])
        )
        table.rows.removeAll { !keys.contains($0.key) }
        return table
    }

    private func width(_ table: ComparisonTable) -> Int {
        var copy = table
        copy.remarks = []
        return copy.text().split(separator: "\n").map(\.count).max() ?? 0
    }
}

/// A comparison as a document of schema `pci-rebalance.comparison/1`; keys in sorted order.
func comparisonJSON(_ table: ComparisonTable) -> [UInt8] {
    var json = JSONWriter(.indented)
    json.object { json in
        json.array("figures") { json in
            for row in table.rows {
                json.object { json in
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
