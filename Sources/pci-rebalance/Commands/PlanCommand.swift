// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import PCITopology
import PlanExecutor
import RebalancePlanner

/// `plan`: the dry run.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Find the smallest disturbance that gives every device its place",
        discussion: """
            Nothing is written. The plan names the steps, who is disturbed, and what the kernel will show after each \
            step. Exit status 0 with a plan or with nothing to do, 2 when there is no way, 4 when the only way is \
            refused for safety.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var planning: PlanningOptions
    @OptionGroup var output: OutputOptions

    @Flag(help: "Write the plan as a shell script that does the same and checks the same.")
    var script = false

    @Option(
        name: .customShort("o"),
        help: ArgumentHelp("Also write the plan, as JSON, to this file for apply.", valueName: "file"),
        completion: .file()
    )
    var file: String?

    func validate() throws {
        if script && output.json { throw ValidationError("expected --json or --script, found both") }
    }

    func run() throws {
        let topology = try reading.topology(output)
        let plan = try planning.plan(for: topology, isQuiet: output.quiet)
        if let file { try PlanStore.write(plan, to: file) }
        if script {
            try StandardOutput.write(PlanScript(plan: plan).render())
        } else if output.json {
            try StandardOutput.write(PlanDocument.encode(plan))
        } else {
            let columns = StandardOutput.columns
            let text = PlanText(
                plan: plan,
                verbosity: output.verbose,
                style: output.style,
                columns: columns,
                isBrief: output.quiet
            )
            try StandardOutput.write(text.render())
        }
        if plan.verdict.answer.exitStatus != .success { throw CommandEnd(plan.verdict.answer.exitStatus) }
    }
}
