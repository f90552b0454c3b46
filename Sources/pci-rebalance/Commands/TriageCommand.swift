// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology

/// `triage`: is this log bad?
struct TriageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "triage",
        abstract: "Sort kernel log lines about PCI resources into fatal, degraded and harmless",
        discussion: "Exit status 0 when nothing is lost, 3 when something is."
    )

    @Argument(
        help: ArgumentHelp(
            "The log, or a snapshot, report or archive that holds one; - or nothing reads standard input.",
            valueName: "file"
        ),
        completion: .file()
    )
    var file = "-"

    @OptionGroup var output: OutputOptions

    func run() throws {
        let log: [UInt8]
        do {
            log = try RecordedInput.log(at: file)
        } catch {
            throw CommandEnd(error)
        }
        let triage = Triage(bytes: log)
        if output.json {
            try StandardOutput.write(triageJSON(triage))
        } else if !output.quiet {
            let lines = triage.lines(isVerbose: output.verbose > 0)
            try StandardOutput.write(lines.map { $0 + "\n" }.joined())
        }
        if triage.hasProblems { throw CommandEnd(.problems) }
    }
}
