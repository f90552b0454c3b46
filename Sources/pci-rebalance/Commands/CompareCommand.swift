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
            Policies: \(PolicyWords.help). Figures in which the policies agree are left out unless -v is given. \
            Nothing is written to the machine.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    @Option(
        help: ArgumentHelp("The policies to compare, separated by commas.", valueName: "names"),
        completion: .list(PolicyWords.names)
    )
    var policies: String?

    @Option(
        help: ArgumentHelp(
            "Forecast what the kernel would do with this card at every empty hot-plug port.",
            discussion:
                "May be given several times: \(CardWords.all). nvme and gpu-256m unless given; none for no card.",
            valueName: "card"
        )
    )
    var plug: [String] = []

    @Option(help: ArgumentHelp("Plug only behind this port.", valueName: "address"))
    var port: String?

    @Flag(help: "Write comma-separated values.")
    var csv = false

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Say where two policies part first, by which rules, and what else differs.",
            valueName: "a b"
        )
    )
    var explain: [String] = []

    func validate() throws {
        guard [csv, output.json].filter(\.self).count <= 1 else {
            throw ValidationError("expected one of --json and --csv, found both")
        }
        guard !explain.isEmpty else { return }
        guard explain.count == 2 else {
            throw ValidationError("expected the names of two policies after --explain, found \(explain.count)")
        }
        if csv || policies != nil || !plug.isEmpty {
            throw ValidationError("expected --explain without --policies, --plug and --csv")
        }
    }

    func run() throws {
        let topology = try reading.topology(output)
        let untold = topology.unknownsOfLayout()
        if !untold.isEmpty, output.verbose == 0, !csv, !output.json {
            try StandardOutput.write(cannotTell(untold))
            throw CommandEnd(.cannotTell)
        }
        if !output.quiet { PolicyWords.warn(of: untold) }
        try compare(topology)
        if !untold.isEmpty { throw CommandEnd(.cannotTell) }
    }

    /// What to say where too little was told for any policy but today's.
    private func cannotTell(_ untold: [Unknown]) -> String {
        var page = TextPage(columns: StandardOutput.columns)
        page.paragraph("cannot tell what another policy would make of this machine", indent: 0)
        write(untold, to: &page)
        page.paragraph("-v shows what follows from what was told", indent: 4)
        return page.text
    }

    private func compare(_ topology: Topology) throws {
        let demand = ResourceDemand(topology)
        if explain.count == 2 { return try explainParting(topology, demand) }
        let cards = try cards()
        let ports = try ports(topology)
        if ports.isEmpty, !plug.isEmpty, !cards.isEmpty, !output.quiet {
            Diagnostics.warning("no empty hot-plug port, nothing is plugged; --port names another empty port")
        }
        let runs = try PolicyWords.outcomes(policies, of: topology, demand: demand)
        let today = PolicyOutcome(asIn: topology, policy: "today", sizes: demand)
        let comparison = Comparison(
            metrics: runs.map { PolicyMetrics($0.outcome, demand, today: today) },
            outcomes: runs.map(\.outcome),
            forecasts: runs.map { run in forecasts(run, topology, ports, cards) }
        )
        if output.json {
            try StandardOutput.write(comparisonJSON(comparison.table))
        } else if csv {
            try StandardOutput.write(comparison.table.csv())
        } else {
            let text = ComparisonText(comparison: comparison, isBrief: output.verbose == 0)
            try StandardOutput.write(text.render(columns: StandardOutput.columns))
        }
    }

    // MARK: The next card

    private func cards() throws(CommandEnd) -> [CardProfile] {
        if plug == ["none"] { return [] }
        if plug.isEmpty { return [.nvme, .gpu256M] }
        var result: [CardProfile] = []
        for word in plug { result.append(try CardWords.card(word)) }
        return result
    }

    /// The empty hot-plug ports, or the one that was named.
    private func ports(_ topology: Topology) throws(CommandEnd) -> [TopologyPath] {
        if let port {
            guard let address = FunctionAddress(parsing: port), let i = topology.position(of: address) else {
                throw CommandEnd(.usage, "expected the address of a port, found \(port)")
            }
            guard topology.functions[i].isBridge, topology.children(of: i).isEmpty else {
                throw CommandEnd(.usage, "expected an empty port, \(address) is none")
            }
            return [topology.path(of: i)]
        }
        return topology.functions.indices.filter {
            topology.functions[$0].isHotPlugBridge && topology.children(of: $0).isEmpty
                && topology.unseenReason(behind: $0) == nil
        }.map { topology.path(of: $0) }
    }

    /// What becomes of the cards after a policy: under its own kernel where it is a kernel's, else under the tree's.
    private func forecasts(
        _ run: (policy: any AllocationPolicy, outcome: PolicyOutcome),
        _ topology: Topology,
        _ ports: [TopologyPath],
        _ cards: [CardProfile]
    ) -> [HotAddForecast] {
        let outcome = run.outcome
        let kernel = run.policy as? LinuxBootPolicy
        let behaviour = kernel?.behaviour ?? KernelChoice.behaviour(for: topology, isQuiet: true)
        let platform =
            kernel?.platform
            ?? Platform(topology)
        // What the twin refuses, as what a policy never laid out, cannot be tried.
        var rehearsal =
            outcome.halt != nil || ports.isEmpty || cards.isEmpty
            ? nil : try? HotAddRehearsal(after: outcome, of: topology, behaviour: behaviour, platform: platform)
        return ports.flatMap { port in
            cards.map { card in
                (try? rehearsal?.forecast(port: port, card: card)) ?? .untried(port: port, card: card.name)
            }
        }
    }

    // MARK: Where two part

    private func explainParting(_ topology: Topology, _ demand: ResourceDemand) throws {
        let runs = try PolicyWords.outcomes(explain.joined(separator: ","), of: topology, demand: demand)
        guard runs.count == 2 else {
            throw CommandEnd(.usage, "expected the names of two policies after --explain, found \(runs.count)")
        }
        let parting = PolicyParting(runs[0], runs[1], demand)
        let halts = runs.map(\.outcome.haltReason)
        if output.json { return try StandardOutput.write(partingJSON(parting, explain, halts: halts)) }
        let text = PartingText(parting: parting, names: explain, halts: halts, isVerbose: output.verbose > 0)
        try StandardOutput.write(text.render(columns: StandardOutput.columns))
    }
}
