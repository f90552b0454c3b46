// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology

/// `triage`: is this log bad?
struct TriageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "triage",
        abstract: "Sort kernel log lines about PCI resources into fatal, degraded and harmless",
        discussion: "Exit status 0 when nothing is lost, 3 when something is, 8 when the log does not tell."
    )

    @Argument(
        help: ArgumentHelp(
            "The log, or a snapshot, report or archive that holds one; - or nothing reads standard input.",
            valueName: "file"
        ),
        completion: .file()
    )
    var file: String?

    @Option(
        help: ArgumentHelp("The same, as the other commands take it.", valueName: "path"),
        completion: .file()
    )
    var from: String?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard file == nil || from == nil else { throw ValidationError("expected a file or --from, found both") }
    }

    func run() throws {
        let log: [UInt8]
        do {
            log = try RecordedInput.log(at: file ?? from ?? "-")
        } catch {
            throw CommandEnd(error)
        }
        let triage = Triage(bytes: log)
        if output.json {
            try StandardOutput.write(triageJSON(triage))
        } else if !output.quiet {
            let lines = triage.lines(isVerbose: output.verbose > 0)
            // On a terminal, or where somebody says how wide it is; a file and a pipe keep whole lines for grep.
            guard StandardOutput.isTerminal || StandardOutput.environment("COLUMNS")?.isEmpty == false else {
                try StandardOutput.write(lines.map { $0 + "\n" }.joined())
                return try end(triage)
            }
            var page = TextPage(columns: StandardOutput.columns)
            for line in lines {
                let indent = line.prefix { $0 == " " }.count
                page.paragraph(
                    String(line.dropFirst(indent)),
                    indent: indent,
                    hanging: line.hasPrefix("harmless") || indent > 0 ? max(indent + 7, 9) : 9
                )
            }
            try StandardOutput.write(page.text)
        }
        try end(triage)
    }

    private func end(_ triage: Triage) throws {
        switch triage.verdict {
        case .problems: throw CommandEnd(.problems)
        case .cannotTell: throw CommandEnd(.cannotTell)
        case .harmless: break
        }
    }
}
