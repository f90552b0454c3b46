// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

/// The command and its sub-commands.
@main
struct PCIRebalance: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pci-rebalance",
        abstract: "Find PCI devices the address space and bus numbers they need, live",
        discussion: """
            A device was plugged in and the kernel says "can't assign; no space". This tool reads the PCI tree, says \
            what is wrong and who is in the way, and plans the smallest disturbance that makes room. Only `apply` and \
            `recover` write to the machine.
            """,
        version: "0.1.0",
        subcommands: [
            TreeCommand.self, CheckCommand.self, PlanCommand.self, ApplyCommand.self, RecoverCommand.self,
            FitCommand.self, CompareCommand.self, MapCommand.self, CmdlineCommand.self,
            SimulateCommand.self, TriageCommand.self, SnapshotCommand.self, ReportCommand.self,
            EventCommand.self,
        ]
    )

    /// Parses, runs, and turns what was thrown into the documented exit status.
    static func main() {
        StandardOutput.ignoreClosedPipe()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let end as CommandEnd {
            if let message = end.message { Diagnostics.error(message) }
            StandardOutput.exit(end.status)
        } catch {
            exit(withError: error)
        }
    }
}
