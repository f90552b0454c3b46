// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import CPlanExecutor
import Glibc
import LibPCIBridge

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
            ReproduceCommand.self, EventCommand.self, UpgradeCommand.self, VerifyCommand.self,
        ]
    )

    /// Without a command there is nothing to do.
    func run() throws {
        Diagnostics.text(Self.helpMessage(columns: StandardOutput.columns) + "\n")
        throw CommandEnd(.usage, "expected a command, found none")
    }

    /// Parses, runs, and turns what was thrown into the documented exit status.
    static func main() {
        StandardOutput.ignoreFailedWrites()
        #if LEAVE_ONE_OUT
            // A build of the laboratory knows nothing of the series that is named here: `6.18`.
            let leftOut = getenv("PCI_REBALANCE_LEFT_OUT").map { String(cString: $0) }
            KernelCatalogue.leftOut = leftOut.flatMap { KernelRelease($0) }?.series
        #endif
        let arguments = ProcessArguments.given
        do {
            var command = try parseAsRoot(arguments)
            try command.run()
        } catch let end as CommandEnd {
            finish(end)
        } catch {
            end(error, arguments)
        }
    }

    private static func finish(_ end: CommandEnd) -> Never {
        if let message = end.message { Diagnostics.error(message) }
        StandardOutput.exit(end.status)
    }

    /// Ends with what the parser has to say: help and versions on standard output, everything else on standard error.
    private static func end(_ error: any Error, _ arguments: [String]) -> Never {
        // The parser wraps its texts itself, and traps where the page is narrower than its indent.
        setenv("COLUMNS", "\(StandardOutput.columns)", 1)
        let isClean = exitCode(for: error).isSuccess
        let text = fullMessage(for: error, columns: StandardOutput.columns)
        if isClean {
            do {
                try StandardOutput.write(text + "\n")
            } catch {
                finish(error as? CommandEnd ?? CommandEnd(.failure))
            }
            StandardOutput.exit(.success)
        }
        var message = text
        if let word = arguments.first, !word.hasPrefix("-") {
            let names = configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
            if !names.contains(word), let meant = Spelling.nearest(to: word, among: names) {
                message = "Error: Unknown command '\(word)'. Did you mean '\(meant)'?\n" + usageLines(of: text)
            }
        }
        Diagnostics.text(message + "\n")
        StandardOutput.exit(.usage)
    }

    private static func usageLines(of text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).drop { !$0.hasPrefix("Usage:") }
            .joined(separator: "\n")
    }
}

/// The arguments that the process was given, without its name.
enum ProcessArguments {
    /// As the C library handed them over at the start: Swift's own list comes from /proc, which an initramfs or a chroot
    /// may not have.
    static var given: [String] {
        var count: Int32 = 0
        guard let list = process_arguments(&count) else { return Array(CommandLine.arguments.dropFirst()) }
        return (1..<max(1, Int(count))).compactMap { list[$0].map { String(cString: $0) } }
    }
}
