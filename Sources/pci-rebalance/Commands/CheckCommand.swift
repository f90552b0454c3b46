// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

/// `check`: the verdict on the tree.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say what is wrong with the tree, why, and who is in the way",
        discussion: """
            Exit status 0 when everything was seen and nothing is wrong, 3 when there are problems, 8 when what was read \
            does not suffice to say. Notes do not affect the exit status.
            """
    )

    @Option(
        help: ArgumentHelp("Validate this policy for event, and say what it would do here.", valueName: "path"),
        completion: .file()
    )
    var policy: String?

    @Flag(help: "Write metrics for node_exporter's textfile collector.")
    var prometheus = false

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var naming: NameOptions

    func validate() throws {
        guard [policy != nil, prometheus, output.json].filter(\.self).count <= 1 else {
            throw ValidationError("expected one of --policy, --prometheus and --json, found several")
        }
    }

    func run() throws {
        let names = try naming.names()
        let policy = try policy.map { path throws(CommandEnd) in try PolicyFile.read(path) }
        // What is wrong does not depend on who uses what; what a policy would do about it does.
        let (record, topology) = try reading.read(output, readsUse: policy != nil)
        let assessment = Assessment(record, topology)
        if let policy {
            try explain(policy, topology)
        } else if prometheus {
            var metrics = Metrics(topology: topology, findings: assessment.findings)
            if reading.from.isEmpty {
                metrics.readMemory(DirectoryJournalDisk(), (try? PolicyFile.read(nil)) ?? EventPolicy())
            }
            try StandardOutput.write(metrics.render())
        } else if output.json {
            try StandardOutput.write(checkJSON(topology, assessment, evidence: evidence(record, topology)))
        } else if !output.quiet {
            var text = CheckText(
                topology: topology,
                assessment: assessment,
                verbosity: output.verbose,
                style: output.style,
                columns: StandardOutput.columns,
                names: names
            )
            if output.verbose > 0 { text.evidence = evidence(record, topology) }
            try StandardOutput.write(text.render())
        }
        switch assessment.verdict {
        case .healthy: break
        case .problems: throw CommandEnd(.problems)
        case .cannotTell: throw CommandEnd(.cannotTell)
        }
    }

    private func evidence(_ record: MachineRecord, _ topology: Topology) -> BehaviourEvidence {
        KernelChoice.evidence(
            for: topology,
            isLive: record.origin == .live,
            log: record.kernelLog,
            isQuiet: true
        )
    }

    private func explain(_ policy: EventPolicy, _ topology: Topology) throws {
        let judgement = EventJudgement(topology, policy)
        let isQuiet = output.quiet
        let text = PolicyText(
            judgement: judgement,
            plan: { one in
                let behaviour = KernelChoice.behaviour(for: topology, isQuiet: isQuiet)
                return try Planner(topology: topology, behaviour: behaviour)
                    .plan(goals: judgement.goals(for: one), constraints: judgement.constraints(for: one))
            },
            isWithinHours: policy.allowsApply(atMinute: LocalTime.minuteOfDay)
        )
        do {
            try StandardOutput.write(text.render())
        } catch let error as PlanningError {
            throw CommandEnd(.badInput, error.description)
        }
    }
}
