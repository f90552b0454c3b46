// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner

/// `simulate`: what the kernel would do, without asking it.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Predict what the kernel would do on an operation",
        discussion: """
            Operations: remove ADDRESS; rescan; rescan ADDRESS; rescan-bus DDDD:BB; hotadd PORT|SLOT CARD; \
            unplug PORT; \
            setbus ADDRESS SECONDARY SUBORDINATE; resize ADDRESS BAR SIZE; vfs ADDRESS N; align STRING; bind ADDRESS; \
            unbind ADDRESS; boot. Cards: \(CardWords.all). A slot is DDDD:BB:DD. Nothing is written.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("An operation; give --op once for each, in order.", valueName: "operation")
    )
    var op: [String] = []

    func run() throws {
        let topology = try reading.topology(output)
        let behaviour = KernelChoice.behaviour(for: topology, isQuiet: output.quiet)
        let (lists, untold) = try OperationWords.parse(op, topology: topology)
        let simulation = try Self.simulate(lists[0], on: topology, behaviour: behaviour)
        for list in lists.dropFirst()
        where try Self.simulate(list, on: topology, behaviour: behaviour).after != simulation.after {
            throw CommandEnd(
                .cannotTell,
                "cannot tell: who notices a card in \(untold.joined(separator: ", ")), pciehp, acpiphp or nobody, is not "
                    + "told, and what follows depends on it; a snapshot of the machine would tell"
            )
        }
        if output.json {
            try StandardOutput.write(simulation.json())
        } else {
            let columns = StandardOutput.columns
            try StandardOutput.write(
                simulation.text(verbosity: output.verbose, style: output.style, columns: columns)
            )
        }
    }

    private static func simulate(
        _ operations: [TwinOperation],
        on topology: Topology,
        behaviour: KernelBehaviour
    ) throws(CommandEnd) -> Simulation {
        do {
            var twin = try LinuxTwin(topology, behaviour: behaviour)
            var done: [(operation: TwinOperation, events: [TwinEvent])] = []
            for operation in operations { done.append((operation, try twin.perform(operation))) }
            return Simulation(
                behaviour: behaviour.name,
                operations: done,
                before: TreeState(topology),
                after: TreeState(try twin.topology())
            )
        } catch {
            throw CommandEnd(.badInput, error.description)
        }
    }
}

/// Which kernel's behaviour predictions use.
enum KernelChoice {
    /// The likeliest behaviour for the release that the tree names; says when it was not checked on that release.
    static func behaviour(for topology: Topology, isQuiet: Bool) -> KernelBehaviour {
        evidence(for: topology, isQuiet: isQuiet).left.first
    }

    /// All behaviours that the kernel of the tree may have; says when none was checked on that release.
    ///
    /// - Parameters:
    ///   - topology: the tree.
    ///   - isLive: whether it is this machine's, whose earlier applies tell more.
    ///   - log: the kernel's log, whose boot tells more; nil when it is not known.
    ///   - isQuiet: whether nothing is to be said.
    /// - Returns: what is left, and what ruled out the rest.
    static func evidence(
        for topology: Topology,
        isLive: Bool = false,
        log: [String]? = nil,
        isQuiet: Bool
    ) -> BehaviourEvidence {
        let release = topology.kernel.release ?? ""
        var evidence = BehaviourEvidence(forRelease: release)
        if evidence.left.candidates.count > 1, let log, let firmware = FirmwareState(kernelLog: log),
            let boot = BootEvidence(topology, firmware: firmware)
        {
            evidence.learn(from: boot)
        }
        if isLive, let record = (try? Journal.last(on: DirectoryJournalDisk())) ?? nil {
            evidence.learn(from: record, release: release)
        }
        let behaviour = evidence.left.first
        if !evidence.left.isJudged && !isQuiet {
            Diagnostics.warning(
                release.isEmpty
                    ? "the kernel's release is not known, predicting as \(behaviour.name) (--kernel names another)"
                    : "predictions for \(release) were not checked on a real kernel, predicting as \(behaviour.name)"
            )
        }
        return evidence
    }
}
