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
