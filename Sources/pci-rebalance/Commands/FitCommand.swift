// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import PCITopology
import RebalancePlanner

/// `fit`: would a card fit at a port?
struct FitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fit",
        abstract: "Say whether a card would fit at a port: now, after a plan, or never",
        discussion: """
            Exit status 0 when it fits now, 3 after a plan, 4 when the only plan is refused for safety, 2 never, \
            8 when what was read does not suffice to say. \
            Profiles: \(CardWords.all). A card that is in the slot is assumed removed first. Nothing is written.
            """
    )

    @Argument(help: ArgumentHelp("The port.", valueName: "port"), transform: functionAddress)
    var port: FunctionAddress

    @Option(help: ArgumentHelp("Non-prefetchable memory that the card wants.", valueName: "size"))
    var mem: Size?

    @Option(help: ArgumentHelp("Prefetchable memory that the card wants.", valueName: "size"))
    var pref: Size?

    @Option(help: ArgumentHelp("I/O space that the card wants.", valueName: "size"))
    var io: Size?

    @Option(help: ArgumentHelp("Bus numbers that the card wants behind the port's own, 1 to 33.", valueName: "n"))
    var buses: Int?

    @Option(
        help: ArgumentHelp("A card by name instead of by sizes.", valueName: "name"),
        completion: .list(CardWords.names)
    )
    var profile: String?

    @OptionGroup var effort: EffortOption
    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        let isSized = mem != nil || pref != nil || io != nil || buses != nil
        guard isSized != (profile != nil) else {
            throw ValidationError("expected --profile, or one of --mem, --pref, --io and --buses")
        }
        if let buses, !(1...33).contains(buses) {
            throw ValidationError("expected --buses 1 to 33, found \(buses)")
        }
    }

    func run() throws {
        let topology = try reading.topology(output)
        if topology.functions.isEmpty, let unknown = topology.unknowns().first {
            // Nothing of the port was told, not that it is absent.
            return try write(FitAnswer(unknown: [unknown], card: try card()))
        }
        let behaviour = KernelChoice.behaviour(for: topology, isQuiet: output.quiet)
        let question = FitQuestion(
            topology: topology,
            behaviour: behaviour,
            port: port,
            constraints: Constraints(workLimit: effort.workLimit)
        )
        var answer: FitAnswer
        do {
            answer = try question.answer(for: try card())
        } catch let error as FitError {
            throw CommandEnd(.usage, error.description)
        }
        // Room behind a port of which nobody knows what is behind it is not free.
        if let i = topology.position(of: port), let reason = topology.unseenReason(behind: i) {
            let sentence = "nobody could see what is behind \(port), since \(reason)"
            if answer.verdict.exitStatus == .success {
                answer.verdict = .cannotTell
                answer.unknowns.append(Unknown(.functionsNotRead, [port], sentence, [.snapshot]))
            } else if !output.quiet {
                Diagnostics.warning("\(sentence): the answer is for an empty port")
            }
        }
        try write(answer)
    }

    private func write(_ answer: FitAnswer) throws {
        if output.json {
            try StandardOutput.write(fitJSON(answer, port: port))
        } else if !output.quiet {
            let columns = StandardOutput.columns
            let text = FitText(
                answer: answer,
                port: port,
                verbosity: output.verbose,
                style: output.style,
                columns: columns
            )
            try StandardOutput.write(text.render())
        }
        if answer.verdict.exitStatus != .success { throw CommandEnd(answer.verdict.exitStatus) }
    }

    private func card() throws(CommandEnd) -> CardProfile {
        if let profile { return try CardWords.card(profile) }
        let endpoint = CardProfile.endpoint(
            name: "card",
            memory: mem?.bytes ?? 0,
            prefetchable: pref?.bytes ?? 0,
            io: io?.bytes ?? 0
        )
        guard let buses else { return endpoint }
        let hasBARs = mem != nil || pref != nil || io != nil
        return .behindBuses(buses, hasBARs ? endpoint.functions : [])
    }
}

/// A size on the command line: a power of two, `256M`, `16G`, `0x1000`.
struct Size: ExpressibleByArgument, Equatable {
    var bytes: UInt64

    init?(argument: String) {
        guard let size = ByteCount(parsing: argument)?.rawValue, size > 0 else { return nil }
        // A BAR is a power of two; what is asked for is rounded up to one.
        var rounded: UInt64 = 1
        while rounded < size {
            guard rounded < 1 << 62 else { return nil }
            rounded <<= 1
        }
        bytes = rounded
    }
}

extension CardProfile {
    /// A card that takes `count` bus numbers, 1 to 33: a bridge, or a switch with count-1 downstream ports, with
    /// `functions` behind the first of them.
    static func behindBuses(_ count: Int, _ functions: [CardFunction]) -> CardProfile {
        guard count > 1 else {
            let identity = Function.Identity(vendor: 0x1234, device: 0x0005, classCode: 0x060400)
            let bridge = CardFunction(
                identity: identity,
                portType: .upstreamPort,
                bridge: CardBridge(children: functions)
            )
            return CardProfile(name: "card", functions: [bridge])
        }
        let ports = (0..<UInt8(count - 1)).map { device in
            CardProfile.downstreamPort(device: device, isHotPlug: false, children: device == 0 ? functions : [])
        }
        return .packetSwitch(name: "card", downstream: ports)
    }
}

extension FitAnswer.Verdict {
    /// The exit status.
    var exitStatus: ExitStatus {
        switch self {
        case .now: .success
        case .afterPlan: .problems
        case .refused: .refused
        case .never: .impossible
        case .cannotTell: .cannotTell
        }
    }

    /// The answer in one word.
    var word: String {
        switch self {
        case .now: "now"
        case .afterPlan: "after-plan"
        case .refused: "refused"
        case .never: "never"
        case .cannotTell: "cannot tell"
        }
    }
}
