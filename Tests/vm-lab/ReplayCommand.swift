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

    @Argument(help: "The file of sequences.")
    var file = "Fixtures/oracles.json"

    func run() throws {
        var tally = Tally()
        for (name, header) in try DifferentialCase.Header.several(file: file) {
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
