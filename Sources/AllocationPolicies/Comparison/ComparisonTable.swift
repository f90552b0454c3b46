// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// One tree under several policies, as a table of figures.
///
/// The value holds words and numbers only, so that text, CSV and JSON say the same.
public struct ComparisonTable: Hashable, Sendable, Encodable {
    /// One row per figure, one cell per policy.
    public struct Row: Hashable, Sendable, Encodable {
        /// A stable word for machines: `requiredFailed`, `largestBlock 0000:00 0xc0000000`.
        public var key: String
        /// The label for people.
        public var label: String
        /// One cell per policy, in the order of `policies`.
        public var cells: [Cell]
    }

    /// A figure in its exact and its readable form.
    public struct Cell: Hashable, Sendable, Encodable {
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
    public init(_ metrics: [PolicyMetrics], outcomes: [PolicyOutcome] = []) {
        policies = metrics.map(\.policy)
        rows = []
        remarks = []
        func count(_ key: String, _ label: String, _ figure: (PolicyMetrics) -> Int) {
            rows.append(
                Row(
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
                    key: key,
                    label: label,
                    cells: metrics.map { metric in
                        let value = figure(metric)
                        return Cell(value: value, text: value.map { ByteCount($0).description } ?? "-")
                    }
                )
            )
        }
        count("requiredPlaced", "required placed", \.requiredPlaced)
        count("requiredFailed", "required failed", \.requiredFailed)
        count("optionalPlaced", "optional placed", \.optionalPlaced)
        count("optionalFailed", "optional failed", \.optionalFailed)
        bytes("memoryUsed", "memory in use", \.memoryUsed)
        bytes("memoryTaken", "memory taken", \.memoryTaken)
        bytes("waste", "waste (taken, unused)", \.waste)
        bytes("windowSlack", "slack in windows", \.windowSlack)
        bytes("ioTaken", "I/O taken", \.ioTaken)
        count("busesUsed", "buses in use", \.busesUsed)
        count("busesReserved", "buses reserved", \.busesReserved)
        count("busesFree", "buses free", \.busesFree)
        count("functionsMoved", "functions moved", \.functionsMoved)
        count("functionsRenumbered", "functions renumbered", \.functionsRenumbered)
        count("bridgesChanged", "bridges changed", \.bridgesChanged)
        count("violations", "would not work") { $0.violations.count }
        for (i, aperture) in (metrics.first?.apertures ?? []).enumerated() {
            let space = aperture.isIO ? "io" : "mem"
            bytes(
                "largestBlock \(aperture.host) \(hex(aperture.range.first))",
                "largest free \(space) \(aperture.host) \(hex(aperture.range.first))"
            ) { $0.apertures.indices.contains(i) ? $0.apertures[i].largestBlock : nil }
        }
        for port in metrics.first?.ports ?? [] {
            let found = metrics.map { metric in metric.ports.first { $0.path == port.path } }
            for (kind, word) in ["io", "mem", "pref"].enumerated() {
                rows.append(
                    Row(
                        key: "port \(port.path) \(word)",
                        label: "\(port.today.short) free \(word)",
                        cells: found.map { port in
                            let value = port.map { $0.largestBlocks[kind] }
                            return Cell(value: value, text: value.map { ByteCount($0).description } ?? "-")
                        }
                    )
                )
            }
            for (c, card) in port.cards.enumerated() {
                rows.append(
                    Row(
                        key: "port \(port.path) cards \(card.profile)",
                        label: "\(port.today.short) cards \(card.profile)",
                        cells: found.map { port in
                            let value = port.map { $0.cards[c].count }
                            return Cell(value: value.map { UInt64(max($0, 0)) }, text: value.map { "\($0)" } ?? "-")
                        }
                    )
                )
            }
        }
        for metric in metrics {
            if let halt = metric.halt { remarks.append("\(metric.policy): \(halt)") }
            // A halt explains every failure at once.
            if metric.halt == nil { remarks += metric.failures.map { "\(metric.policy): \($0)" } }
            remarks += metric.violations.map { "\(metric.policy): would not work: \($0)" }
        }
        for outcome in outcomes { remarks += outcome.notes.map { "\(outcome.policy): \($0)" } }
    }

    /// The rows in which the policies differ.
    public var differing: [Row] {
        rows.filter { row in row.cells.contains { $0 != row.cells.first } }
    }
}

extension ComparisonTable {
    /// The table as aligned columns, one line per figure, and the remarks below.
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
        var result = padded("", labels, right: false)
        for (p, policy) in policies.enumerated() { result += "  " + padded(policy, widths[p], right: true) }
        result += "\n"
        for row in shown {
            result += padded(row.label, labels, right: false)
            for (p, cell) in row.cells.enumerated() { result += "  " + padded(cell.text, widths[p], right: true) }
            result += "\n"
        }
        if !remarks.isEmpty {
            result += "\n"
            for remark in remarks { result += remark + "\n" }
        }
        return result
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
