// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

/// What policies do on many machines, as a table for Docs/policies/findings.md.
struct PolicySurvey {
    private struct Tally {
        var complete = 0
        var halts = 0
        var failed: [Int] = []
        var waste: [Double] = []
        var moved: [Double] = []
        var unsound: [String] = []
        var ports = 0
        var roomy: [String: Int] = [:]
    }

    static let profiles: [CardProfile] = [.nvme, .gpu256M, .gpu16G]

    private let words: [String]
    private var tallies: [String: Tally] = [:]
    private(set) var machines = 0
    /// Machines that some policy or ideal lays out completely and so that it works.
    private(set) var feasible = 0
    /// What would not work on hardware: policy, machine, violation.
    private(set) var violations: [(policy: String, machine: String, text: String)] = []

    /// - Parameter words: policies by their words, `movable` and `optimal` among them.
    init(_ words: [String]) { self.words = words }

    /// The policy of a word, for a tree.
    static func policy(_ word: String, _ topology: Topology) -> (any AllocationPolicy)? {
        if let kind = IdealPolicy.Kind(rawValue: word) { return IdealPolicy(topology, kind) }
        return PolicyCatalog.policy(word, for: topology)
    }

    /// Lays a machine out under every policy.
    mutating func add(_ machine: SurveyMachine) {
        let demand = ResourceDemand(machine.topology)
        let today = machine.hasToday ? PolicyOutcome(asIn: machine.topology, policy: "today", sizes: demand) : nil
        machines += 1
        var isFeasible = false
        for word in words {
            guard let policy = Self.policy(word, machine.topology) else { continue }
            let outcome = policy.allocate(demand)
            let metrics = PolicyMetrics(outcome, demand, today: today, profiles: Self.profiles)
            var tally = tallies[word] ?? Tally()
            let isComplete = metrics.requiredFailed == 0 && outcome.halt == nil
            if isComplete { tally.complete += 1 }
            // An address that a window's registers cannot hold is none.
            isFeasible = isFeasible || (isComplete && metrics.violations.isEmpty)
            if outcome.halt != nil { tally.halts += 1 }
            tally.failed.append(metrics.requiredFailed)
            // Shares of what a policy that gave up never took say nothing.
            if isComplete, metrics.memoryTaken > 0 {
                tally.waste.append(Double(metrics.waste) / Double(metrics.memoryTaken))
            }
            if let today, outcome.halt == nil {
                let placed = today.functions.filter { $0.resources.contains { $0.range != nil } }.count
                if placed > 0 { tally.moved.append(Double(metrics.functionsMoved) / Double(placed)) }
            }
            if outcome.halt == nil {
                tally.ports += metrics.ports.count
                for card in metrics.ports.flatMap(\.cards) where card.count > 0 {
                    tally.roomy[card.profile, default: 0] += 1
                }
            }
            if let first = metrics.violations.first {
                tally.unsound.append(machine.name)
                violations.append((word, machine.name, first))
            }
            tallies[word] = tally
        }
        if isFeasible { feasible += 1 }
    }

    /// The table in Markdown.
    func table() -> String {
        let hasMoves = tallies.values.contains { !$0.moved.isEmpty }
        var head = ["policy", "complete", "of what fits", "halts", "left out, worst", "waste, median", "waste, worst"]
        if hasMoves { head += ["moved, median", "moved, worst"] }
        head += ["would not work"] + Self.profiles.map { "room for \($0.name)" }
        var text =
            "| " + head.joined(separator: " | ") + " |\n|" + String(repeating: " --- |", count: head.count) + "\n"
        for word in words {
            guard let tally = tallies[word] else { continue }
            var cells = [
                word, "\(tally.complete)", percent(Double(tally.complete) / Double(max(feasible, 1))),
                "\(tally.halts)", "\(tally.failed.max() ?? 0)", percent(median(tally.waste)),
                percent(tally.waste.max() ?? 0),
            ]
            if hasMoves { cells += [percent(median(tally.moved)), percent(tally.moved.max() ?? 0)] }
            cells.append("\(tally.unsound.count)")
            cells += Self.profiles.map { profile in
                tally.ports == 0 ? "-" : percent(Double(tally.roomy[profile.name] ?? 0) / Double(tally.ports))
            }
            text += "| " + cells.joined(separator: " | ") + " |\n"
        }
        return text
    }

    private func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }

    private func percent(_ value: Double) -> String { "\(Int((value * 100).rounded())) %" }
}
