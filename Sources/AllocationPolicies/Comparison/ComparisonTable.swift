// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// One tree under several policies, as a table of figures.
///
/// The value holds words and numbers only, so that text, CSV and JSON say the same.
public struct ComparisonTable: Hashable, Sendable {
    /// One row per figure, one cell per policy.
    public struct Row: Hashable, Sendable {
        /// What the figure belongs to: `resources`, `space`, `buses`, `changes`, `aperture …`, `port …`.
        public var group: String
        /// A stable word for machines: `requiredFailed`, `largestBlock 0000:00 0xc0000000`.
        public var key: String
        /// The label for people.
        public var label: String
        /// One cell per policy, in the order of `policies`.
        public var cells: [Cell]
    }

    /// A figure in its exact and its readable form.
    public struct Cell: Hashable, Sendable {
        /// The number, bytes for sizes; nil where the figure does not exist for the policy.
        public var value: UInt64?
        /// The text: `64M`, `-`.
        public var text: String
    }

    /// The policies' names, in column order.
    public var policies: [String]
    /// The figures.
    public var rows: [Row]
    /// Remarks, one line each, that begin with the policy's name.
    public var remarks: [String]

    /// Lays metrics side by side.
    ///
    /// - Parameters:
    ///   - metrics: one element per policy.
    ///   - outcomes: for remarks about the runs, in any order.
    ///   - forecasts: per policy what would become of cards that are plugged next, the same cards in the same order.
    public init(
        _ metrics: [PolicyMetrics],
        outcomes: [PolicyOutcome] = [],
        forecasts: [[HotAddForecast]] = []
    ) {
        policies = metrics.map(\.policy)
        rows = []
        remarks = []
        var group = "resources"
        func count(_ key: String, _ label: String, _ figure: (PolicyMetrics) -> Int) {
            rows.append(
                Row(
                    group: group,
                    key: key,
                    label: label,
                    cells: metrics.map {
                        let value = figure($0)
                        return Cell(value: UInt64(max(value, 0)), text: "\(value)")
                    }
                )
            )
        }
        func bytes(_ key: String, _ label: String, _ figure: (PolicyMetrics) -> UInt64?) {
            rows.append(
                Row(
                    group: group,
                    key: key,
                    label: label,
                    cells: metrics.map { metric in
                        let value = figure(metric)
                        return Cell(value: value, text: value.map { ByteCount($0).description } ?? "-")
                    }
                )
            )
        }
        rows.append(
            Row(
                group: group,
                key: "halts",
                label: "halts",
                cells: metrics.map { Cell(value: $0.halt == nil ? 0 : 1, text: $0.halt == nil ? "no" : "halts") }
            )
        )
        count("requiredPlaced", "required placed", \.requiredPlaced)
        count("requiredFailed", "required failed", \.requiredFailed)
        count("optionalPlaced", "optional placed", \.optionalPlaced)
        count("optionalFailed", "optional failed", \.optionalFailed)
        count("violations", "would not work") { $0.violations.count }
        group = "space"
        bytes("memoryUsed", "memory in use", \.memoryUsed)
        bytes("memoryTaken", "memory taken", \.memoryTaken)
        bytes("waste", "waste (taken, unused)", \.waste)
        bytes("windowSlack", "slack in windows", \.windowSlack)
        bytes("ioTaken", "I/O taken", \.ioTaken)
        group = "buses"
        count("busesUsed", "buses in use", \.busesUsed)
        count("busesReserved", "buses reserved", \.busesReserved)
        count("busesFree", "buses free", \.busesFree)
        group = "changes against today"
        count("functionsMoved", "functions moved", \.functionsMoved)
        count("functionsRenumbered", "functions renumbered", \.functionsRenumbered)
        count("bridgesChanged", "bridges changed", \.bridgesChanged)
        group = "largest free aligned block"
        for (i, aperture) in (metrics.first?.apertures ?? []).enumerated() {
            let space = aperture.isIO ? "io" : "mem"
            bytes(
                "largestBlock \(aperture.host) \(hex(aperture.range.first))",
                "\(space) \(aperture.host) \(hex(aperture.range.first))"
            ) { $0.apertures.indices.contains(i) ? $0.apertures[i].largestBlock : nil }
        }
        for port in metrics.first?.ports ?? [] {
            let found = metrics.map { metric in metric.ports.first { $0.path == port.path } }
            group = "hot-plug port \(port.today.short)"
            for (kind, word) in ["io", "mem", "pref"].enumerated() {
                rows.append(
                    Row(
                        group: group,
                        key: "port \(port.path) \(word)",
                        label: "largest free \(word)",
                        cells: found.map { port in
                            let value = port.map { $0.largestBlocks[kind] }
                            return Cell(value: value, text: value.map { ByteCount($0).description } ?? "-")
                        }
                    )
                )
            }
            rows.append(
                Row(
                    group: group,
                    key: "port \(port.path) buses",
                    label: "free buses",
                    cells: found.map { port in
                        let value = port.map(\.freeBuses)
                        return Cell(value: value.map { UInt64(max($0, 0)) }, text: value.map { "\($0)" } ?? "-")
                    }
                )
            )
            for (c, card) in port.cards.enumerated() {
                rows.append(
                    Row(
                        group: group,
                        key: "port \(port.path) cards \(card.profile)",
                        label: "room for \(card.profile)",
                        cells: found.map { port in
                            let value = port.map { $0.cards[c].count }
                            return Cell(value: value.map { UInt64(max($0, 0)) }, text: value.map { "\($0)" } ?? "-")
                        }
                    )
                )
            }
        }
        clearHalted(metrics)
        for (f, first) in (forecasts.first ?? []).enumerated() {
            rows.append(
                Row(
                    group: "next card at \(first.port)",
                    key: "plug \(first.port) \(first.card)",
                    label: first.card,
                    cells: forecasts.map { list in
                        guard list.indices.contains(f) else { return Cell(value: nil, text: "-") }
                        return Cell(value: list[f].harm.map { UInt64($0) }, text: list[f].text)
                    }
                )
            )
        }
        for metric in metrics {
            if let halt = metric.halt { remarks.append("\(metric.policy): \(halt)") }
            // A halt explains every failure at once.
            if metric.halt == nil { remarks += metric.failures.map { "\(metric.policy): \($0)" } }
            remarks += metric.violations.map { "\(metric.policy): would not work: \($0)" }
        }
        for outcome in outcomes { remarks += outcome.notes.map { "\(outcome.policy): \($0)" } }
    }

    /// Takes away what says nothing about a policy that gave up: no layout has no waste and moves nobody. What remains
    /// is that it halts, and how many requests it leaves without an address.
    private mutating func clearHalted(_ metrics: [PolicyMetrics]) {
        for p in metrics.indices where metrics[p].halt != nil {
            for r in rows.indices where rows[r].group != "resources" || rows[r].key == "violations" {
                rows[r].cells[p] = Cell(value: nil, text: "-")
            }
        }
    }

    /// Whether any policy gave up.
    public var hasHalts: Bool { rows.contains { $0.key == "halts" && $0.cells.contains { $0.value == 1 } } }

    /// The rows in which the policies differ.
    public var differing: [Row] {
        rows.filter { row in row.cells.contains { $0 != row.cells.first } }
    }
}

extension ComparisonTable {
    /// The table as aligned columns: a heading per group, one line per figure, and the remarks below.
    /// - Parameter isBrief: only rows in which the policies differ.
    /// - Returns: lines that end in a newline each.
    public func text(isBrief: Bool = false) -> String {
        let shown = isBrief ? differing : rows
        let labels = shown.map(\.label.count).max() ?? 0
        let widths = policies.indices.map { p in
            max(policies[p].count, shown.map { $0.cells[p].text.count }.max() ?? 0)
        }
        func padded(_ text: String, _ width: Int, right: Bool) -> String {
            let space = String(repeating: " ", count: max(width - text.count, 0))
            return right ? space + text : text + space
        }
        var result = padded("", labels + 2, right: false)
        for (p, policy) in policies.enumerated() { result += "  " + padded(policy, widths[p], right: true) }
        result += "\n"
        var group = ""
        for row in shown {
            if row.group != group {
                group = row.group
                result += "\(group)\n"
            }
            result += "  " + padded(row.label, labels, right: false)
            for (p, cell) in row.cells.enumerated() { result += "  " + padded(cell.text, widths[p], right: true) }
            result += "\n"
        }
        return result + remarkText()
    }

    /// The remarks, those of several policies that say the same in one line.
    public func remarkText() -> String {
        var order: [Substring] = []
        var policies: [Substring: [Substring]] = [:]
        for remark in remarks {
            guard let colon = remark.firstRange(of: ": ") else { continue }
            let text = remark[colon.upperBound...]
            if policies[text] == nil { order.append(text) }
            policies[text, default: []].append(remark[..<colon.lowerBound])
        }
        guard !order.isEmpty else { return "" }
        return "\n" + order.map { "\((policies[$0] ?? []).joined(separator: ", ")): \($0)\n" }.joined()
    }

    /// The table as comma-separated values (RFC 4180): exact numbers, one line per figure, no remarks.
    public func csv() -> String {
        func field(_ text: String) -> String {
            let quoted = text.contains { $0 == "," || $0 == "\"" || $0 == "\n" }
            return quoted
                ? "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
                : text
        }
        var result = (["figure"] + policies).map(field).joined(separator: ",") + "\r\n"
        for row in rows {
            let cells = row.cells.map { $0.value.map { "\($0)" } ?? "" }
            result += ([row.key] + cells).map(field).joined(separator: ",") + "\r\n"
        }
        return result
    }
}
