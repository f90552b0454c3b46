// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension Triage {
    /// The result as text, short enough for a forum: every fatal and degraded group with cause and next step, the
    /// harmless ones counted by reason.
    ///
    /// - Parameter isVerbose: whether harmless groups are listed one by one, and each group shows a line of the log.
    /// - Returns: lines without line feeds, at least one.
    public func lines(isVerbose: Bool = false) -> [String] {
        var result: [String] = []
        let isUntold = verdict == .cannotTell
        let remedy: Unknown.Remedy = cutAtStart ? .journal : .log
        let step = "what would tell: \([remedy].commands)"
        // What is lost is lost, whatever else the log said.
        let note = hasProblems ? nil : cut.map { ["not told: \($0.detail)", step] }
        let untold = isUntold ? notTold.map { ["cannot tell: \($0)", step] } : note
        guard failingLines > 0 else {
            let head = "no failure about PCI resources in \(Self.count(evidence.messages.count, "message")) about PCI"
            return (isUntold ? [] : [head]) + (untold ?? [])
        }
        let counts = Severity.allCases.filter { $0 != .untold || count(of: $0) > 0 }.map {
            "\(count(of: $0)) \($0 == .untold ? "not told" : $0.rawValue)"
        }
        .joined(separator: ", ")
        result.append("\(Self.count(failingLines, "failing line")) in \(Self.count(groups.count, "group")): \(counts)")
        if isVerbose {
            for group in groups { result.append(contentsOf: Self.lines(of: group, isVerbose: true)) }
        } else {
            result.append(contentsOf: problemLines())
        }
        if !isVerbose { result.append(contentsOf: harmlessLines()) }
        for line in unclassified.prefix(isVerbose ? .max : 3) { result.append("not understood: \(line)") }
        if unclassified.count > 3, !isVerbose {
            result.append("and \(unclassified.count - 3) more lines not understood")
        }
        return result + (untold ?? [])
    }

    /// Fatal and degraded groups; what repeats is told once.
    private func problemLines() -> [String] {
        var result: [String] = []
        var windows: [Group] = []
        var told: [String: Int] = [:]
        var alike: [String: [Group]] = [:]
        var order: [String] = []
        for group in groups where group.severity != .harmless {
            if group.consequenceFor != nil {
                windows.append(group)
                continue
            }
            let key = "\(group.severity.rawValue) \(group.code) \(group.cause ?? "")"
            told[key, default: 0] += 1
            if (told[key] ?? 0) <= 3 {
                result.append(contentsOf: Self.lines(of: group, isVerbose: false))
            } else {
                if alike[key] == nil { order.append(key) }
                alike[key, default: []].append(group)
            }
        }
        for key in order {
            guard let list = alike[key], let first = list.first else { continue }
            let lines = list.reduce(0) { $0 + $1.lineCount }
            let names = list.map { "\($0.address.map { "\($0) " } ?? "")\($0.resource)" }.listed(6)
            result.append(
                "\(Self.label(first.severity))\(list.count) more like it (\(first.code), \(lines) lines): \(names)"
            )
        }
        if !windows.isEmpty {
            let lines = windows.reduce(0) { $0 + $1.lineCount }
            let what = windows.count == 1 ? "1 bridge window" : "\(windows.count) bridge windows"
            result.append("with them \(what) above these devices (\(Self.count(lines, "line")))")
        }
        return result
    }

    private static func lines(of group: Group, isVerbose: Bool) -> [String] {
        let who = [group.address.map { "\($0)" }, group.resource].compactMap { $0 }.joined(separator: " ")
        let count = count(group.lineCount, "line")
        var result = ["\(label(group.severity))\(who): \(group.summary) (\(count))"]
        let indent = String(repeating: " ", count: 9)
        if let cause = group.cause { result.append("\(indent)cause: \(cause)") }
        if let step = group.nextStep { result.append("\(indent)next:  \(step)") }
        if isVerbose { result.append("\(indent)log:   \(group.sample)") }
        return result
    }

    /// The severity in front of a group, nine characters wide.
    private static func label(_ severity: Severity) -> String {
        let word = severity == .untold ? "not told" : severity.rawValue.uppercased()
        return word + String(repeating: " ", count: max(9 - word.count, 1))
    }

    private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// One line for each reason among the harmless groups.
    private func harmlessLines() -> [String] {
        var order: [String] = []
        var members: [String: [Group]] = [:]
        for group in groups where group.severity == .harmless {
            if members[group.code] == nil { order.append(group.code) }
            members[group.code, default: []].append(group)
        }
        return order.compactMap { code in
            guard let list = members[code], let first = list.first else { return nil }
            let lines = list.reduce(0) { $0 + $1.lineCount }
            var names: [String] = []
            for group in list {
                guard let name = group.address.map({ "\($0)" }), !names.contains(name) else { continue }
                names.append(name)
            }
            let shown = names.prefix(4).joined(separator: " ")
            let more = names.count > 4 ? " and \(names.count - 4) more" : ""
            let summary = Self.reasons[code] ?? first.summary
            return "harmless \(summary) (\(Self.count(lines, "line"))\(shown.isEmpty ? "" : ": \(shown)\(more)"))"
        }
    }

    /// What a reason for harmlessness says of many groups at once.
    private static let reasons: [String: String] = [
        "io-window-unused": "I/O windows: nothing behind these ports needs I/O space",
        "io-window-untold":
            "I/O windows: this log does not tell what is behind these ports, and few devices need I/O space",
        "bridge-bar-unassigned": "bridges' own registers: what is behind these bridges works without them",
        "io-bar-unassigned": "I/O BARs: drivers use the memory BARs of these functions instead",
        "bus-range-cut": "bus ranges that reached too far; the kernel cut them",
        "rom": "expansion ROMs: read at boot only, drivers do without",
        "reserve-left-out": "reserves beyond what is there; everything behind these ports has its place",
        "window-placed-later": "windows that did not fit at first and have their place now",
        "bar-placed-later": "BARs that did not fit at first and have their place now",
        "claimed-elsewhere": "firmware's addresses were not accepted; the kernel gave others",
        "not-placed-by-kernel": "ranges that the kernel does not place, such as a chipset's ports",
        "bar-cannot-size": "registers that do not answer as BARs do, by a bug of firmware; the kernel leaves them out",
        "relaxed-sizing": "windows smaller than asked for; the kernel sizes the ports below more tightly",
        "optional-left-out": "optional parts of windows were left out",
        "bus-reserve-left-out": "bus numbers for cards to come that were left out; nothing is on them",
        "gone": "windows of ports that are gone at the end of the log",
        "buses-renumbered": "bridges whose bus numbers the kernel did not take from firmware; it numbered them anew",
        "firmware-overlap": "reserved memory that overlaps an aperture",
        "left-to-firmware": "functions that firmware placed outside the apertures and the kernel leaves as they are",
        "bar-value-invalid": "values that firmware left outside every aperture; the kernel assigns others",
    ]
}
