// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import PlanExecutor
import RebalancePlanner

/// What an event tells: lines for a person and the system's journal, or a line of JSON for each.
enum EventText {
    /// Writes one note. Nothing is thrown: a reader that is gone must not end an apply.
    static func write(_ note: EventNote, _ output: OutputOptions) {
        if case .applying(let event) = note {
            // The end of an apply is not yet the end of the event, whose verdict comes last.
            if case .ends(let report) = event, !output.json {
                if !output.quiet { offer(([report.sentence] + report.differences).joined(separator: "\n  ")) }
                return
            }
            return Execution.write(event, output)
        }
        if output.json { return StandardOutput.offer(document(note)) }
        guard !output.quiet else { return }
        switch note {
        case .settled(let result):
            let slots = result.busySlots.map(\.description).joined(separator: ", ")
            let state = result.isQuiet ? "quiet" : "not quiet\(slots.isEmpty ? "" : " (\(slots))")"
            offer("\(state) after \(result.waited.milliseconds) ms")
        case .looked(let missing, let cases, let took):
            let groups = cases > 1 ? " under \(cases) sets of rules" : ""
            offer("\(missing) missing\(groups); read in \(took.milliseconds) ms")
        case .planned(let one, let plan, let took):
            let place = one.boundary.map { " below the untrusted port \($0)" } ?? ""
            offer("planned\(place) in \(took.milliseconds) ms, mode \(one.mode.rawValue)")
            let text = PlanText(plan: plan, verbosity: output.verbose, style: output.style, columns: 120).render()
            // Without the plan's own last line: the event's verdict is the last one.
            offer(text.split(separator: "\n", omittingEmptySubsequences: false).dropLast(3).joined(separator: "\n"))
        case .held(_, let sentence), .remark(let sentence): offer(sentence)
        case .spent(let total, let waiting, let kernel):
            offer(
                "took \(total.milliseconds) ms: \(waiting.milliseconds) ms waiting for the machine to come to rest, "
                    + "\(kernel.milliseconds) ms in the kernel, \((total - waiting - kernel).milliseconds) ms of our own"
            )
        case .applying: break
        }
    }

    /// Writes the end.
    static func write(_ report: EventReport, _ output: OutputOptions) {
        guard output.json else {
            let lines = report.others.map { "also: \($0)" } + (output.quiet ? [] : [report.sentence]) + [report.line]
            return offer(lines.joined(separator: "\n"))
        }
        StandardOutput.offer(document(report))
    }

    /// The end as a line of JSON, schema `pci-rebalance.event/1`.
    static func document(_ report: EventReport) -> [UInt8] {
        line {
            $0.field("event", "ends")
            $0.field("exitStatus", report.exitStatus)
            $0.field("line", report.line)
            if !report.others.isEmpty { $0.field("others", report.others) }
            $0.field("schema", "pci-rebalance.event/1")
            $0.field("sentence", report.sentence)
        }
    }

    /// A note as a line of JSON: that of the apply, or one of schema `pci-rebalance.event/1`.
    static func document(_ note: EventNote) -> [UInt8] {
        if case .applying(let event) = note { return event.json }
        return line { json in
            switch note {
            case .settled(let result):
                json.field("busySlots", result.busySlots.map(\.description))
                json.field("event", "settled")
                json.field("isQuiet", result.isQuiet)
                json.field("milliseconds", result.waited.milliseconds)
            case .looked(let missing, let cases, let took):
                json.field("cases", cases)
                json.field("event", "looked")
                json.field("milliseconds", took.milliseconds)
                json.field("missing", missing)
            case .planned(let one, let plan, let took):
                json.field("boundary", one.boundary?.description)
                json.field("disturbed", plan.disturbed.map(\.address.description))
                json.field("event", "planned")
                json.field("functions", one.functions.map(\.description))
                json.field("line", plan.verdict.line)
                json.field("milliseconds", took.milliseconds)
                json.field("mode", one.mode.rawValue)
                json.field("sentence", plan.verdict.sentence)
                json.field("writes", plan.steps.flatMap(\.writes).map(\.description))
            case .held(let reason, let sentence):
                json.field("event", "held")
                json.field("reason", reason)
                json.field("sentence", sentence)
            case .remark(let text):
                json.field("event", "remark")
                json.field("text", text)
            case .spent(let total, let waiting, let kernel):
                json.field("event", "spent")
                json.field("kernelMilliseconds", kernel.milliseconds)
                json.field("milliseconds", total.milliseconds)
                json.field("waitingMilliseconds", waiting.milliseconds)
            case .applying: break
            }
        }
    }

    private static func line(_ fields: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter(.compact)
        json.object { fields(&$0) }
        return json.document + [0x0a]
    }

    private static func offer(_ text: String) { StandardOutput.offer(Array("\(text)\n".utf8)) }
}

extension Duration {
    /// Whole milliseconds, towards zero.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds.multipliedReportingOverflow(by: 1000).partialValue &+ attoseconds / 1_000_000_000_000_000
    }
}
