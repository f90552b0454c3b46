// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import PlanExecutor

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
                progress: $2,
                replanner: $1,
                isCancelled: Cancellation.isAsked
            )
        }
    }

    private func showStatus(_ execution: Execution) throws {
        guard let unfinished = try execution.guarded({ try Recovery(execution.applier).status() }) else {
            if !output.quiet { try StandardOutput.write("nothing to recover\n") }
            return
        }
        if !output.quiet {
            var text = "apply \(unfinished.id) was interrupted after \(unfinished.reachedSteps) of "
            text += "\(unfinished.steps) steps"
            if let write = unfinished.lastWrite {
                text += unfinished.isLastWriteDone ? ", after: \(write)" : ", during: \(write)"
            }
            if unfinished.hasRebooted { text += "; the machine has been booted since" }
            try StandardOutput.write(text + "\n")
        }
        throw CommandEnd(.problems)
    }
}
