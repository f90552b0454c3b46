// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import PCITopology

/// `check`: the verdict on the tree.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say what is wrong with the tree, why, and who is in the way",
        discussion: "Exit status 0 when nothing is wrong, 3 when there are problems. Notes are no problems."
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let topology = try reading.topology(output)
        let findings = topology.findings()
        if output.json {
            try StandardOutput.write(checkJSON(topology, findings: findings))
        } else if !output.quiet {
            let text = CheckText(
                topology: topology,
                findings: findings,
                verbosity: output.verbose,
                style: output.style,
                columns: StandardOutput.columns
            )
            try StandardOutput.write(text.render())
        }
        if findings.contains(where: { $0.severity == .problem }) { throw CommandEnd(.problems) }
    }
}
