// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import LibPCIBridge
import PCITopology
import PlanExecutor
import ProofChecker
import RebalancePlanner

/// `plan`: the dry run.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Find the smallest disturbance that gives every device its place",
        discussion: """
            Nothing is written. The plan names the steps, who is disturbed, and what the kernel will show after each \
            step. Exit status 0 with a plan or with nothing to do, 2 when there is no way, 4 when the only way is \
            refused for safety, 8 when what was read does not suffice to say.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var planning: PlanningOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var naming: NameOptions

    @Flag(help: "Write the plan as a shell script that does the same and checks the same.")
    var script = false

    @Flag(
        help: """
            Write the way over one restart instead, as a shell script: every address is programmed, then the kernel that \
            kexec has loaded is started. x86 only.
            """
    )
    var kexec = false

    @Option(
        name: .customShort("o"),
        help: ArgumentHelp("Also write the plan, as JSON, to this file for apply.", valueName: "file"),
        completion: .file()
    )
    var file: String?

    @Option(
        help: ArgumentHelp(
            "Also write the proof that it is impossible, or the least disruptive plan, to this file for verify.",
            valueName: "file"
        ),
        completion: .file()
    )
    var proof: String?

    func validate() throws {
        if script && output.json { throw ValidationError("expected --json or --script, found both") }
        if kexec && (script || output.json || file != nil || proof != nil) {
            throw ValidationError("expected --kexec without --script, --json, --proof and -o")
        }
    }

    func run() throws {
        let names = try naming.names()
        let (record, topology) = try reading.read(output)
        if kexec { return try restart(topology, record) }
        var plan = try planning.plan(
            for: topology,
            isLive: record.origin == .live,
            log: record.kernelLog,
            isQuiet: output.quiet,
            certifies: proof != nil
        )
        if let proof { try write(plan, proofTo: proof) }
        if plan.verdict.answer == .none, try planning.goals(for: topology).contains(.everythingRequired) {
            reconcile(&plan, Assessment(record, topology))
        }
        if record.origin != .live, plan.verdict.answer == .act, record.functions.allSatisfy(\.use.isEmpty) {
            plan.remarks.append(
                "this input does not tell what is in use: no disk, network or console is protected in this plan"
            )
        }
        if !output.quiet, let remark = wayBackRemark(plan, topology, record) { plan.remarks.append(remark) }
        // A brief text says the verdict alone.
        if !plan.isWhole, plan.verdict.answer != .unknown, !plan.isBarredByCondition,
            output.json || script || file != nil || !output.quiet
        {
            plan.otherWays = try otherWays(plan, topology, record)
        }
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
                names: names,
                advice: reading.from.isEmpty
                    ? "Nothing was written. pci-rebalance apply, with the same options, plans again and carries it out."
                    : "This is a plan for a record: on the machine itself, apply with the same options plans anew.",
                isBrief: output.quiet
            )
            try StandardOutput.write(text.render())
        }
        if plan.verdict.answer.exitStatus != .success { throw CommandEnd(plan.verdict.answer.exitStatus) }
    }

    /// Writes the proof, or says on standard error that there is none: a plan is none the worse for that.
    private func write(_ plan: Plan, proofTo path: String) throws {
        if plan.certificates.count == 1 {
            return try FileOutput.write(plan.certificates[0].document, to: path)
        }
        let reason =
            switch (plan.verdict.answer, plan.certificates.count) {
            case (.none, _), (.unknown, _): "a plan of this verdict claims nothing that could be proved"
            case (_, 2...): "several host bridges are concerned: --place names one"
            case (.act, _): "that this is the least disruptive plan was not proved"
            default: "no way was found, and that there is none was not proved"
            }
        Diagnostics.warning("no proof was written: \(reason)")
    }

    /// On a kernel that was not judged: whether apply would write at all; with -v, how far a judgement carries.
    private func wayBackRemark(_ plan: Plan, _ topology: Topology, _ record: MachineRecord) -> String? {
        guard plan.verdict.answer == .act else { return nil }
        let evidence = KernelChoice.evidence(
            for: topology,
            isLive: record.origin == .live,
            log: record.kernelLog,
            isQuiet: true
        )
        let subject = "how \(plan.kernelRelease) assigns addresses"
        if let obstacle = KernelCatalogue.obstacle(toWritingOn: plan.kernelRelease) {
            let rest =
                evidence.left.isJudged
                ? "apply writes nothing without --allow-unjudged"
                : "without --allow-unjudged apply writes only where each step can be gone back from under every behaviour"
            return "\(subject) \(obstacle): \(rest)"
        }
        let isTold = output.verbose > 0 && evidence.left.judgement == .carried
        return isTold ? "\(subject) was \(evidence.left.explanation)" : nil
    }

    /// Nothing to do is no answer where the log reports a failure about what the tree does not show.
    private func reconcile(_ plan: inout Plan, _ assessment: Assessment) {
        let reports = assessment.findings.filter { $0.code == .kernelReport && $0.severity == .problem }
        guard let report = reports.first else { return }
        plan.verdict = Plan.Verdict(
            .unknown,
            reason: report.code.rawValue,
            sentence: "cannot tell: the log reports a failure of \(report.address), of which the tree shows too little"
        )
        for finding in reports {
            plan.diagnosis.append(
                DiagnosisLine(
                    code: finding.code.rawValue,
                    address: finding.address,
                    text: "\(finding.address) \(finding.sentence)"
                )
            )
        }
        let missing = [Unknown(.functionsNotRead, [report.address], "", [.listing, .log])]
        plan.remarks.append("what would tell: \(missing.commands)")
    }

    private func otherWays(_ plan: Plan, _ topology: Topology, _ record: MachineRecord) throws -> [OtherWay] {
        Planner(topology: topology, behaviour: KernelChoice.behaviour(for: topology, isQuiet: true)).otherWays(
            to: try planning.goals(for: topology),
            beside: plan,
            constraints: planning.constraints,
            commandLine: record.kernel.commandLine,
            firmware: record.kernelLog.flatMap { FirmwareState(kernelLog: $0) },
            found: record.kernelLog.flatMap { FirstScan(kernelLog: $0)?.functions }
        )
    }

    private func restart(_ topology: Topology, _ record: MachineRecord) throws {
        guard try planning.goals(for: topology).allSatisfy(\.isPlacement) else {
            throw CommandEnd(.usage, "expected --kexec with --place alone: a restart gives everything its place")
        }
        guard planning.constraints == Constraints() else {
            throw CommandEnd(
                .usage,
                "expected --kexec without --keep, --keep-group, --keep-route, --same-switch, --allow-disturb, --only-below, "
                    + "--max-moves, --max-addr, --with and --without: a restart stops everything, and its layout knows no such limits"
            )
        }
        let behaviour = KernelChoice.behaviour(for: topology, isQuiet: output.quiet)
        guard
            let plan = RestartPlan(topology, behaviour: behaviour, commandLine: record.kernel.commandLine)
        else {
            throw CommandEnd(
                .impossible,
                "there is no layout with everything required that differs from the present one and that a boot would keep"
            )
        }
        let script = RestartScript(
            plan: plan,
            kernelRelease: topology.kernel.release ?? "unknown",
            behaviour: behaviour.name
        )
        try StandardOutput.write(script.render())
    }
}
