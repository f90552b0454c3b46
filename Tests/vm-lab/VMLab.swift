// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser

/// The laboratory at the command line: boot a guest and look.
@main
struct VMLab: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vm-lab",
        abstract: "Boots Debian's kernels in an emulated machine with a PCI tree of your choice.",
        subcommands: [
            RunCommand.self, ExecCommand.self, RecordCommand.self, ListCommand.self, DifferentialCommand.self,
            ReplayCommand.self, OraclesCommand.self, ReproduceCommand.self, RecordTreesCommand.self,
            ExplainCommand.self, RescueCommand.self,
        ]
    )
}
