// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

/// `apply`: carries out a plan, checks every step, and goes back when the machine disagrees.
struct ApplyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Carry out a plan, checking every step against the prediction",
        discussion: """
            Without a file a plan is made now. Every step is journaled before it is done; when the machine does not do \
            as predicted, the recorded way back is taken. Boot configuration is never touched.
            """
    )

    @Argument(help: ArgumentHelp("A plan that plan -o wrote.", valueName: "file"), completion: .file())
    var file: String?

    @Flag(help: "Do not ask.")
    var yes = false

    @Flag(help: "Size BARs that the kernel forgot by writing to their registers, before planning.")
    var probe = false

    @Flag(help: "Carry out on a kernel that was never judged what could lose something on the way back.")
    var allowUnjudged = false

    @OptionGroup var planning: PlanningOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let execution = Execution(output: output, probe: probe, planning: planning)
        if let report = execution.applier.occupation() {
            Execution.write(.ends(report), output)
            throw CommandEnd(.busy)
        }
        if let report = try execution.guarded({ try execution.applier.privilegesMissing() }) {
            Execution.write(.ends(report), output)
            throw CommandEnd(.notPermitted)
        }
        let (plan, topology, log) = try planToApply()
        guard plan.verdict.answer == .act else { return try end(without: plan) }
        if !output.json {
            let columns = StandardOutput.columns
            let text = PlanText(
                plan: plan,
                verbosity: output.verbose,
                style: output.style,
                columns: columns,
                names: DeviceNames(.names),
                isBrief: output.quiet
            )
            if file == nil { try StandardOutput.write(text.render()) }
        }
        guard file != nil || yes || Confirmation.ask("carry this out?") else {
            throw CommandEnd(.refused, "nothing was done: expected a plan file, --yes or the answer y")
        }
        // Whoever hands over a file has agreed to that plan and to no other.
        let wish = file == nil ? (try planning.goals(for: topology), planning.constraints) : nil
        let predictor = Execution.predictor(topology, wish: wish, log: log)
        predictor.triesWaysBack = true
        try execution.report {
            var applier = $0
            applier.allowsUnjudgedKernel = allowUnjudged
            return try applier.apply(plan, progress: $1, predictor: predictor, isCancelled: Cancellation.isAsked)
        }
    }

    private func planToApply() throws -> (plan: Plan, topology: Topology, log: [String]?) {
        let given = try file.map { path throws(CommandEnd) in try PlanStore.read(path) }
        let (record, topology) = try ReadingOptions(paths: [], probe: probe).read(output)
        if let given { return (given, topology, record.kernelLog) }
        let plan = try planning.plan(for: topology, isLive: true, log: record.kernelLog, isQuiet: output.quiet)
        return (plan, topology, record.kernelLog)
    }

    /// Ends when there is nothing to carry out.
    private func end(without plan: Plan) throws {
        let isNothing = plan.verdict.answer == .none
        let verdict: ApplyReport.Verdict = isNothing ? .done : .failed
        let report = ApplyReport(
            verdict,
            reason: plan.verdict.reason,
            sentence: plan.verdict.sentence,
            exitStatus: plan.verdict.answer.exitStatus.rawValue
        )
        Execution.write(.ends(report), output)
        if !isNothing { throw CommandEnd(plan.verdict.answer.exitStatus) }
    }
}
