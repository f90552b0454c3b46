// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// `cmdline`: are the words about PCI on the kernel command line any good, and which ones would do?
struct CmdlineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cmdline",
        abstract: "Check the words about PCI on the kernel command line, and find the smallest that do",
        discussion: """
            Finds words that the kernel does not know, words that change nothing on this machine, and values that \
            cannot fit. With a goal, or when something has no place, boots of the kernel are simulated to find the \
            smallest set of words that reaches it. Nothing is written. Exit status 0 when every word is fine and the \
            goal is reached with them, 3 when a word is not or others are needed, 2 when no words reach the goal, 8 when \
            the running boot missed what its simulation reaches, or too little is told to foretell a boot.
            """
    )

    @Argument(help: ArgumentHelp("The words to check instead of the running kernel's.", valueName: "words"))
    var words: [String] = []

    @OptionGroup var goals: BootGoalOptions

    @Option(
        help: ArgumentHelp(
            "Say what QEMU's root port must reserve so that a guest can be given this card, or this function of the tree.",
            valueName: "card|address"
        )
    )
    var guest: String?

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let goals = try goals.goals()
        if let guest, goals.isEmpty, reading.from.isEmpty, let card = try? CardProfile(word: guest) {
            // A named card needs no machine.
            return try write(CmdlineAnswer(guest: (guest, GuestReserve(card))))
        }
        let (record, topology) = try reading.read(output)
        let text = words.isEmpty ? topology.kernel.commandLine : words.joined(separator: " ")
        var answer = CmdlineAnswer()
        if let guest { answer.guest = (guest, try reserve(guest, topology)) }
        if let text {
            answer.words = BootWords(text, kernel: topology.kernel, topology: topology)
        } else if goals.isEmpty, guest == nil {
            throw CommandEnd(.badInput, "expected a record with a kernel command line, or the words to check")
        }
        answer.goals =
            goals.isEmpty && guest == nil && !topology.problemShortfalls.isEmpty ? [.plan(.everythingRequired)] : goals
        if !answer.goals.isEmpty { answer.unknowns = topology.unknownsOfLayout() }
        if !answer.goals.isEmpty, answer.unknowns.isEmpty {
            answer.advice = try advice(answer.goals, text, record, topology)
        }
        if answer.advice?.best == nil, answer.advice != nil {
            let goals = answer.goals.compactMap { if case .plan(let goal) = $0 { goal } else { nil } }
            let planner = Planner(
                topology: topology,
                behaviour: KernelChoice.behaviour(for: topology, isQuiet: true)
            )
            if answer.advice?.isRefuted != true {
                answer.kernelWay = planner.kernelWay(
                    to: goals,
                    firmware: record.kernelLog.flatMap { FirmwareState(kernelLog: $0) }
                )
            }
            answer.hasRoom = !goals.isEmpty && planner.hasRoom(for: goals)
        }
        try write(answer)
        if answer.exitStatus != .success { throw CommandEnd(answer.exitStatus) }
    }

    private func write(_ answer: CmdlineAnswer) throws {
        if output.json {
            try StandardOutput.write(cmdlineJSON(answer))
        } else if !output.quiet {
            let text = CmdlineText(
                answer: answer,
                verbosity: output.verbose,
                style: output.style,
                columns: StandardOutput.columns
            )
            try StandardOutput.write(text.render())
        }
    }

    private func advice(
        _ goals: [BootGoal],
        _ commandLine: String?,
        _ record: MachineRecord,
        _ topology: Topology
    ) throws(CommandEnd) -> BootAdvice {
        do {
            return try BootAdvice(
                topology,
                goals: goals,
                behaviour: KernelChoice.behaviour(for: topology, isQuiet: output.quiet),
                commandLine: commandLine,
                firmware: record.kernelLog.flatMap { FirmwareState(kernelLog: $0) },
                found: record.kernelLog.flatMap { FirstScan(kernelLog: $0)?.functions }
            )
        } catch {
            throw CommandEnd(.usage, error.description)
        }
    }

    private func reserve(_ word: String, _ topology: Topology) throws(CommandEnd) -> GuestReserve {
        guard let address = FunctionAddress(parsing: word) else { return GuestReserve(try CardWords.card(word)) }
        guard let card = CardProfile(of: address, in: topology) else {
            throw CommandEnd(.usage, "expected the address of a function with BARs of known size, found \(word)")
        }
        return GuestReserve(card)
    }
}

/// What `cmdline` found out.
struct CmdlineAnswer {
    /// The words and what is wrong with them; nil when no command line is known.
    var words: BootWords?
    /// What the boot must reach; empty when nothing was asked and nothing is missing.
    var goals: [BootGoal] = []
    /// Without what no boot can be foretold; then there is no advice.
    var unknowns: [Unknown] = []
    /// How it is reached; nil without goals.
    var advice: BootAdvice?
    /// Other kernels that would place what no words place here; nil where that is not known.
    var kernelWay: OtherWay?
    /// Whether the apertures have room for what the goals ask: then firmware's setup is not in the way.
    var hasRoom = false
    /// A card for a guest, by the word that named it, with what its port must reserve.
    var guest: (word: String, reserve: GuestReserve)?

    init(guest: (word: String, reserve: GuestReserve)? = nil) { self.guest = guest }

    var exitStatus: ExitStatus {
        if !unknowns.isEmpty { return .cannotTell }
        if let advice {
            if advice.isRefuted { return .cannotTell }
            if advice.best == nil { return .impossible }
            if !advice.asItIs.isGood { return .problems }
        }
        return words?.findings.isEmpty == false ? .problems : .success
    }
}
