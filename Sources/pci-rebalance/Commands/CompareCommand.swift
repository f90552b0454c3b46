// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import PCITopology

/// `compare`: one tree under many allocation policies.
struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Lay one tree out under many allocation policies and compare",
        discussion: """
            Policies: \(PolicyWords.names.joined(separator: ", ")). Figures in which the policies agree are left out \
            unless -v is given. Nothing is written.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    @Option(help: ArgumentHelp("The policies to compare, separated by commas.", valueName: "names"))
    var policies: String?

    @Flag(help: "Write comma-separated values.")
    var csv = false

    @Flag(help: "List what the second of two policies does differently from the first.")
    var explain = false

    func validate() throws {
        guard [csv, explain, output.json].filter(\.self).count <= 1 else {
            throw ValidationError("expected one of --json, --csv and --explain, found several")
        }
        if explain, policies?.split(separator: ",").count != 2 {
            throw ValidationError("expected two names after --policies with --explain")
        }
    }

    func run() throws {
        let topology = try reading.topology(output)
        let demand = ResourceDemand(topology)
        let outcomes = try PolicyWords.outcomes(policies, of: topology, demand: demand)
        if explain { return try StandardOutput.write(explanation(outcomes)) }
        let today = PolicyOutcome(asIn: topology, policy: "today", sizes: demand)
        let metrics = outcomes.map { PolicyMetrics($0, demand, today: today) }
        if output.json {
            try StandardOutput.write(comparisonJSON(ComparisonTable(metrics, outcomes: outcomes)))
        } else if csv {
            try StandardOutput.write(ComparisonTable(metrics, outcomes: outcomes).csv())
        } else {
            let text = ComparisonText(metrics: metrics, outcomes: outcomes, isBrief: output.verbose == 0)
            try StandardOutput.write(text.render(columns: StandardOutput.columns))
        }
    }

    private func explanation(_ outcomes: [PolicyOutcome]) -> String {
        guard outcomes.count == 2 else { return "" }
        let differences = PolicyDifference.all(outcomes[0], outcomes[1])
        guard !differences.isEmpty else { return "\(outcomes[0].policy) and \(outcomes[1].policy) agree\n" }
        let lines = differences.map { "\($0.today) \($0.what): \($0.first) -> \($0.second)\n" }
        return "\(outcomes[0].policy) -> \(outcomes[1].policy)\n" + lines.joined()
    }
}
