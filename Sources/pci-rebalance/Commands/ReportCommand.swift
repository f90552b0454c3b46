// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// `report`: one file that says it all, and from which it can be replayed.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Write one file with all that a maintainer asks for",
        discussion: """
            Kernel and command line, findings, tree, plan, registers as lspci -xxxx dumps them, the kernel log's lines \
            about PCI, /proc/iomem, and the whole record: every reading command takes the report itself with --from.
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
        let topology = try reading.topology(of: record)
        if verbose, !quiet {
            for gap in topology.gaps { Diagnostics.warning(gap.detail) }
        }
        let report = Report(record: record, topology: topology, plan: plan(for: topology))
        let bytes = report.render()
        if let output {
            try FileOutput.write(bytes, to: output, privacy: .owner)
        } else {
            try StandardOutput.write(bytes)
        }
    }

    /// The plan, or why there is none.
    private func plan(for topology: Topology) -> Result<Plan, CommandEnd> {
        do {
            return .success(try PlanningOptions.parse([]).plan(for: topology, isQuiet: true))
        } catch let error as CommandEnd {
            return .failure(error)
        } catch {
            return .failure(CommandEnd(.failure, "\(error)"))
        }
    }
}
