// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import ArgumentParser
internal import DifferentialLaboratory
internal import Foundation
internal import Glibc
internal import VMLaboratory

/// Writes down what a kernel does to random trees, without a word from the twin.
struct RecordTreesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record-trees",
        abstract: "Boots random trees and records what the kernel does, as cases for `explain`."
    )

    @Option(name: .shortAndLong, help: "The kernel: \(Kernel.labels).", transform: Kernel.parse)
    var kernel = Kernel.linux6_12

    @Option(help: "Trees.")
    var trees = 5

    @Option(help: "Steps on each tree.")
    var steps = 10

    @Option(help: "The first tree's seed; the next tree has the next.")
    var seed: UInt64 = 1

    @Option(name: .shortAndLong, help: "The directory in which a directory is made for each tree.")
    var output: String

    func run() throws {
        for number in seed..<(seed + UInt64(clamping: trees)) {
            var generator = RandomTree(seed: number)
            let machine = generator.machine()
            let trial = Trial(
                machine,
                kernel: kernel,
                plan: .random(seed: number, steps: steps),
                keepsRecording: true
            )
            let outcome = try trial.run(isJudged: false)
            try DifferentialCase.write(
                outcome,
                of: machine,
                places: Places(machine),
                kernel: kernel,
                cause: "recorded",
                to: "\(output)/\(kernel)-\(number)"
            )
            print("\(output)/\(kernel)-\(number): \(outcome.steps.count) steps")
            fflush(nil)
        }
    }
}

/// Which switches does a kernel have that did this?
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Searches for the combination of known switches that explains all recorded steps of a kernel.",
        discussion: """
            Prints the preset it started from, each switch that had to be turned, the switches on which the record has \
            no say, and the first line that no combination tried explains. Ends with 1 when there is such a line.
            """
    )

    @Argument(help: "Directories of recorded cases of one kernel.")
    var directories: [String]

    @Option(help: "Start from this preset only, as linux-6.12.")
    var from: String?

    func run() throws {
        let cases = try directories.map { (name: $0, recorded: try DifferentialCase(directory: $0)) }
        let kernels = Set(cases.map(\.recorded.header.kernel))
        guard kernels.count == 1, let kernel = kernels.first else {
            throw ValidationError("expected cases of one kernel, found \(kernels.sorted().joined(separator: ", "))")
        }
        let presets = KernelBehaviour.everyPreset.filter { from == nil || $0.name == from }
        guard !presets.isEmpty else {
            let names = KernelBehaviour.everyPreset.map(\.name).joined(separator: ", ")
            throw ValidationError("expected one of \(names), found '\(from ?? "")'")
        }
        var search = BehaviourSearch(cases)
        let found = search.run(from: presets)
        print("kernel \(kernel): \(cases.count) cases, \(found.explained) of \(found.states) states explained")
        print("  \(found.changes.joined(separator: ", "))")
        print("  the record has no say on: \(found.undecided.joined(separator: ", "))")
        print("  \(found.trials) behaviours tried")
        guard let line = found.unexplained else { return }
        print("  not explained: \(line)")
        throw ExitCode(1)
    }
}

extension Kernel {
    /// A kernel by its label.
    static func parse(_ text: String) throws -> Kernel {
        guard let kernel = Kernel(rawValue: text) else {
            throw ValidationError("expected \(Kernel.labels), found '\(text)'")
        }
        return kernel
    }
}
