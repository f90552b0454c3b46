// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser
internal import DifferentialLaboratory
internal import VMLaboratory

/// Cases that differed once, on a real kernel again.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Replays kept differences on a guest and compares with the twin."
    )

    @Argument(help: "The directories of the cases.")
    var directories: [String]

    @Flag(help: "Write down what the kernel does instead of judging it; case.json is all that is needed.")
    var record = false

    func run() throws {
        if record {
            for directory in directories {
                try DifferentialCase.record(directory: directory)
                print("\(directory): recorded")
            }
            return
        }
        var tally = Tally()
        for directory in directories {
            let kept = try DifferentialCase(directory: directory)
            let outcome = try kept.header.trial().run()
            tally.add(outcome)
            guard let mismatch = outcome.mismatch else {
                print("\(directory): agrees")
                continue
            }
            print("\(directory): MISMATCH (\(mismatch.stage.rawValue))")
            DifferentialCommand.show(mismatch, kept.header.topology(), outcome.steps, isLong: true)
        }
        print("replay: \(tally)")
        if tally.mismatches > 0 { throw ExitCode(1) }
    }
}

/// The reference's oracles on every kernel.
struct OraclesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "oracles",
        abstract: "Runs written-down sequences on each kernel and compares every step with the twin."
    )

    @Option(
        name: .shortAndLong,
        help: "The kernel: \(Kernel.labels); 6.1, 6.12 and 7 without this.",
        transform: Kernel.parse
    )
    var kernel: Kernel?

    @Option(help: "Take each so many-th sequence only.")
    var every = 1

    @Option(help: "The number of the first that is taken, from 0.")
    var first = 0

    @Argument(help: "The file of sequences.")
    var file = "Fixtures/oracles.json"

    func validate() throws {
        guard every > 0 else { throw ValidationError("expected --every of at least 1, found \(every)") }
        guard (0..<every).contains(first) else {
            throw ValidationError("expected --first from 0 to \(every - 1), found \(first)")
        }
    }

    func run() throws {
        var tally = Tally()
        let sequences = try DifferentialCase.Header.several(file: file)
        for (name, header) in sequences.enumerated().filter({ $0.offset % every == first }).map(\.element) {
            for kernel in kernel.map({ [$0] }) ?? [.linux6_1, .linux6_12, .linux7] {
                let outcome = try header.trial(kernel: kernel).run()
                tally.add(outcome)
                guard outcome.mismatch != nil || outcome.skipped > 0 || outcome.steps.count < header.steps.count else {
                    print("\(name) on \(kernel): agrees")
                    continue
                }
                guard let mismatch = outcome.mismatch else {
                    tally.failures += 1
                    print(
                        "\(name) on \(kernel): only \(outcome.steps.count) of \(header.steps.count) steps could be done"
                    )
                    continue
                }
                print("\(name) on \(kernel): MISMATCH (\(mismatch.stage.rawValue)): \(header.cause)")
                DifferentialCommand.show(mismatch, header.topology(), outcome.steps, isLong: true)
            }
        }
        print("oracles: \(tally)")
        if tally.mismatches > 0 || tally.failures > 0 { throw ExitCode(1) }
    }
}
