// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology

/// `cmdline`: are the words about PCI on the kernel command line any good?
struct CmdlineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cmdline",
        abstract: "Check the words about PCI on the kernel command line",
        discussion: """
            Finds words that the kernel does not know, words that change nothing on this machine, and values that \
            cannot fit. Nothing is written. Exit status 0 when every word is fine, 3 when one is not.
            """
    )

    @Argument(help: ArgumentHelp("The words to check instead of the running kernel's.", valueName: "words"))
    var words: [String] = []

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let topology = try reading.topology(output)
        let text = words.isEmpty ? topology.kernel.commandLine : words.joined(separator: " ")
        guard let text else {
            throw CommandEnd(.badInput, "expected a record with a kernel command line, or the words to check")
        }
        let result = BootWords(text, kernel: topology.kernel, topology: topology)
        if output.json {
            try StandardOutput.write(cmdlineJSON(result))
        } else if !output.quiet {
            try StandardOutput.write(result.lines().map { $0 + "\n" }.joined())
        }
        if !result.findings.isEmpty { throw CommandEnd(.problems) }
    }
}
