// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import PCITopology
import PlanExecutor
import RebalancePlanner

/// `recover`: ends an apply that was interrupted.
struct RecoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover",
        abstract: "Finish or undo an interrupted apply",
        discussion: """
            Goes back to where the machine was before the interrupted apply. Exit status 0 when the machine is whole \
            afterwards, or when there was nothing to recover.
            """
    )

    @Flag(help: "Go on to the end of the plan where the machine stands between two of its steps.")
    var finish = false

    @Flag(help: "Only say whether there is something to recover: exit status 3 when there is.")
    var status = false

    @Flag(help: "Leave the machine as it is and put the journal away.")
    var forget = false

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard [finish, status, forget].filter(\.self).count <= 1 else {
            throw ValidationError("expected one of --finish, --status and --forget, found several")
        }
    }

    func run() throws {
        let execution = Execution(output: output, probe: false, planning: nil)
        if status { return try showStatus(execution) }
        if forget {
            let found = try execution.guarded { try Recovery(execution.applier).forget() }
            if !output.quiet { Diagnostics.remark(found ? "the journal was put away" : "nothing to forget") }
            return
        }
        try execution.report {
            try Recovery($0).run(
                finish ? .finish : .undo,
                progress: $1,
                predictor: Execution.predictor(nil),
                isCancelled: Cancellation.isAsked
            )
        }
    }

    private func showStatus(_ execution: Execution) throws {
        let unfinished = try execution.guarded { try Recovery(execution.applier).status() }
        if output.json {
            try StandardOutput.write(Self.document(unfinished))
        } else if !output.quiet {
            try StandardOutput.write((unfinished.map(sentence) ?? "nothing to recover") + "\n")
        }
        if unfinished != nil { throw CommandEnd(.problems) }
    }

    private func sentence(_ unfinished: UnfinishedApply) -> String {
        var text = "apply \(unfinished.id) was interrupted after \(unfinished.reachedSteps) of "
        text += "\(unfinished.steps) steps"
        if let write = unfinished.lastWrite {
            text += unfinished.isLastWriteDone ? ", after: \(write)" : ", during: \(write)"
        }
        if unfinished.isGoingBack { text += "; it was going back" }
        if unfinished.hasRebooted { text += "; the machine has been booted since" }
        return text
    }

    /// The answer of --status, schema `pci-rebalance.recovery/1`.
    static func document(_ unfinished: UnfinishedApply?) -> [UInt8] {
        var json = JSONWriter(.indented)
        json.object { json in
            json.field("isUnfinished", unfinished != nil)
            json.field("schema", "pci-rebalance.recovery/1")
            guard let unfinished else { return }
            json.object("unfinished") { json in
                json.field("hasRebooted", unfinished.hasRebooted)
                json.field("id", unfinished.id)
                json.field("isGoingBack", unfinished.isGoingBack)
                json.field("isLastWriteDone", unfinished.isLastWriteDone)
                json.field("lastWrite", unfinished.lastWrite?.description)
                json.field("reachedSteps", unfinished.reachedSteps)
                json.field("steps", unfinished.steps)
                json.field("time", unfinished.time)
            }
        }
        return json.document
    }
}
