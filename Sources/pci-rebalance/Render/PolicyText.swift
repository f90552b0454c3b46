// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import PlanExecutor
import RebalancePlanner

/// A policy laid over a tree: what each rule means here, and what an event would do now.
struct PolicyText {
    let judgement: EventJudgement
    /// Makes a plan for a case.
    let plan: (EventCase) throws -> Plan
    /// Whether plans may be carried out at this time of the day.
    var isWithinHours = true

    /// The text; the last line says what an event would do now.
    func render() throws -> String {
        let policy = judgement.policy
        var text = "policy: mode \(policy.mode.rawValue)"
        if !policy.hours.isEmpty {
            text += ", apply only \(policy.hours.map(\.description).joined(separator: ", "))"
            text += isWithinHours ? " (now)" : " (not now)"
        }
        text += ", \(policy.attempts) attempts, \(policy.appliesPerHour) plans an hour\n"
        for rule in policy.ports { text += "  \(describe(rule))\n" }
        for name in policy.protect { text += "  \(name)\(places(name)): protected, with what is below it\n" }
        for name in policy.allowDisturb { text += "  \(name)\(places(name)): may be stopped although in use\n" }
        guard policy.mode != .off else { return text + "an event would do nothing\n" }
        let cases = judgement.cases()
        for one in cases { text += try describe(one) }
        guard cases.isEmpty else { return text }
        let reserves = judgement.reserveCases()
        guard !reserves.isEmpty else { return text + "nothing is missing: an event would do nothing\n" }
        text += "nothing is missing; reserves are looked at:\n"
        for one in reserves { text += try describe(one) }
        return text
    }

    private func describe(_ rule: PortRule) -> String {
        var words: [String] = []
        if let mode = rule.mode { words.append("mode \(mode.rawValue)") }
        if let isTrusted = rule.isTrusted { words.append(isTrusted ? "trusted" : "untrusted") }
        if let share = rule.share { words.append("share \(describe(share))") }
        if let reserve = rule.reserve { words.append("reserve \(describe(reserve))") }
        return "\(rule.port)\(places(rule.port)): \(words.isEmpty ? "as everywhere" : words.joined(separator: ", "))"
    }

    private func places(_ name: PortName) -> String {
        let found = name.positions(in: judgement.topology).map { judgement.topology.functions[$0].address.description }
        if found.isEmpty { return " (names nothing here)" }
        let doubt =
            judgement.doubtfulNames.contains(name)
            ? ": an untrusted or second port claims this name, so what the rule allows is not heeded; name the place"
            : ""
        return found == [name.description] && doubt.isEmpty ? "" : " (\(found.joined(separator: ", "))\(doubt))"
    }

    private func describe(_ room: Headroom) -> String {
        "mem \(room.memory), pref \(room.prefetchable), io \(room.io), buses \(room.buses)"
    }

    private func describe(_ one: EventCase) throws -> String {
        let plan = try plan(one)
        let below = one.boundary.map { " below the untrusted port \($0)" } ?? ""
        let names = one.functions.map(\.description).joined(separator: ", ")
        var text = one.missing.isEmpty ? "reserves of \(names)\n" : "missing\(below): \(names)\n"
        if one.missing.isEmpty, plan.verdict.answer == .none { return text + "  are kept: an event would do nothing\n" }
        let disturbed = plan.disturbed.map(\.address.description).joined(separator: ", ")
        if !disturbed.isEmpty { text += "  the plan stops \(disturbed)\n" }
        if plan.verdict.answer != .act {
            return text + "  an event would do nothing: \(plan.verdict.sentence) (\(plan.verdict.line))\n"
        }
        if let excess = judgement.excesses(in: plan.after).first {
            return text + "  an event would refuse: \(excess)\n"
        }
        guard one.mode == .apply else { return text + "  an event would report this and write nothing\n" }
        return text
            + (isWithinHours
                ? "  an event would carry this out\n" : "  an event would report this until the hours come\n")
    }
}
