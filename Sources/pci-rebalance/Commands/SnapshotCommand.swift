// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology

/// `snapshot`: one file from which every reading command gives the same output as on the machine.
struct SnapshotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Write a replayable record of the machine",
        discussion: """
            The record is one JSON document of the schema pci-rebalance.snapshot/1. Every reading command takes it with \
            --from. Read as root, or it lacks what only root may see.
            """
    )

    @OptionGroup var reading: ReadingOptions

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Write to this file instead of standard output.", valueName: "file"),
        completion: .file()
    )
    var output: String?

    @OptionGroup var anonymity: AnonymityOptions

    @Flag(name: .shortAndLong, help: "No remarks on standard error.")
    var quiet = false

    @Flag(name: .shortAndLong, help: "List on standard error what could not be read.")
    var verbose = false

    func run() throws {
        let record = anonymity.applied(to: try reading.record())
        if verbose, !quiet {
            for gap in record.gaps { Diagnostics.warning(gap.detail) }
        }
        do {
            if let output {
                try SnapshotFile(path: output).write(record)
                if !quiet { Diagnostics.remark("\(record.functions.count) functions recorded in \(output)") }
            } else {
                try StandardOutput.write(SnapshotFile.encode(record))
            }
        } catch let error as ReadError {
            throw CommandEnd(.failure, error.description)
        }
    }
}
