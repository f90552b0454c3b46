// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser
internal import DifferentialLaboratory
internal import Foundation
internal import Glibc
internal import VMLaboratory

/// Random trees, random operations: does the twin say what the kernel does?
struct DifferentialCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "differential",
        abstract: "Boots random trees, does random operations, and compares every resource and register with the twin.",
        discussion: """
            Each tree is compared after its boot (predicted from the registers that the firmware left), and after each \
            step, predicted by a twin that goes along and, for --reread percent of the steps, by one that is made anew \
            from a reading of the guest. Ends with 1 after a mismatch or when the laboratory itself failed.
            """
    )

    @Option(
        name: .shortAndLong,
        help: "The kernel: \(Kernel.labels).",
        transform: Kernel.parse
    )
    var kernel = Kernel.linux6_12

    @Option(help: "Stop after this many minutes.")
    var minutes: Double?

    @Option(help: "Stop after this many trees (default: 10 when --minutes is absent).")
    var trees: Int?

    @Option(help: "Steps on each tree.")
    var steps = 10

    @Option(help: "The first tree's seed; the next tree has the next.")
    var seed: UInt64 = 1

    @Option(help: "Of 100 steps, so many are predicted from a new reading too.")
    var reread = 20

    @Option(help: "Make each difference small, for at most so many minutes.")
    var shrink = 0.0

    @Option(help: "A directory below which differences are kept as cases.")
    var keep: String?

    @Flag(help: "Print every step, and the twin's and the kernel's words at a mismatch.")
    var verbose = false

    func run() throws {
        let deadline = minutes.map { ContinuousClock.now + .seconds($0 * 60) }
        let limit = trees ?? (minutes == nil ? 10 : .max)
        var tally = Tally()
        var number = seed
        while tally.trees + tally.failures < limit, deadline.map({ ContinuousClock.now < $0 }) ?? true {
            do {
                try runTree(number, &tally)
            } catch {
                print("seed \(number): the laboratory failed: \(error)")
                // A guest that starves beside other work gets a second chance; a fault of the laboratory shows again.
                do {
                    try runTree(number, &tally)
                    tally.repeats += 1
                } catch {
                    tally.failures += 1
                    print("seed \(number): the laboratory failed again: \(error)")
                }
            }
            number += 1
            if (tally.trees + tally.failures) % 20 == 0 { print("so far: \(tally)") }
            // Progress is for people who watch a file grow.
            fflush(nil)
        }
        print("differential \(kernel) \(kernel.release ?? ""): \(tally)")
        if tally.mismatches > 0 || tally.failures > 0 { throw ExitCode(1) }
    }

    private func runTree(_ seed: UInt64, _ tally: inout Tally) throws {
        var generator = RandomTree(seed: seed)
        let machine = generator.machine()
        let report: (([Action]) -> Void)? =
            verbose
            ? { print("seed \(seed): \(StepText($0))") } : nil
        let trial = Trial(
            machine,
            kernel: kernel,
            plan: .random(seed: seed, steps: steps),
            rereadPercent: reread,
            report: report
        )
        let outcome = try trial.run()
        tally.add(outcome)
        guard let mismatch = outcome.mismatch else { return }
        print("seed \(seed) on \(kernel): MISMATCH (\(mismatch.stage.rawValue)) after \(outcome.steps.count) steps")
        Self.show(mismatch, machine, outcome.steps, isLong: verbose)
        guard shrink > 0 else { return }
        var shrinker = Shrinker(
            kernel: kernel,
            places: Places(machine),
            rereadPercent: mismatch.stage == .reread ? 100 : 0,
            limit: .seconds(shrink * 60)
        )
        guard let (small, result) = try shrinker.shrink(machine, outcome.steps), let again = result.mismatch else {
            print("    it did not show again")
            return
        }
        print("    the smallest that differs, after \(shrinker.trials) trials:")
        Self.show(again, small, result.steps, isLong: true)
        guard let keep else { return }
        let directory = "\(keep)/\(kernel)-seed-\(seed)"
        try DifferentialCase.write(
            result,
            of: small,
            places: Places(machine),
            kernel: kernel,
            cause: "not known yet: \(again.differences.first ?? "")",
            to: directory
        )
        print("    kept in \(directory)")
    }

    static func show(
        _ mismatch: Trial.Mismatch,
        _ machine: MachineTopology,
        _ steps: [[Action]],
        isLong: Bool
    ) {
        print("    machine: \((try? machine.arguments().joined(separator: " ")) ?? "")")
        print("    kernel words: \(machine.kernelArguments.joined(separator: " "))")
        for step in steps { print("    step: \(StepText(step))") }
        for difference in mismatch.differences.prefix(24) { print("    \(difference)") }
        guard isLong else { return }
        for event in mismatch.events { print("    twin: \(event)") }
        for line in mismatch.log { print("    log: \(line)") }
    }
}

/// A step as one line.
struct StepText: CustomStringConvertible {
    let actions: [Action]

    init(_ actions: [Action]) { self.actions = actions }

    var description: String { actions.map(\.description).joined(separator: "; ") }
}

/// What a run has done so far.
struct Tally: CustomStringConvertible {
    var trees = 0
    var steps = 0
    var operations = 0
    var boots = 0
    var rereads = 0
    var compared = 0
    var faults = 0
    var hidden = 0
    var mismatches = 0
    var repeats = 0
    var failures = 0

    mutating func add(_ outcome: Trial.Outcome) {
        trees += 1
        steps += outcome.steps.count
        operations += outcome.steps.reduce(0) { $0 + $1.count }
        boots += outcome.bootsCompared
        rereads += outcome.rereads
        compared += outcome.compared
        faults += outcome.faults
        hidden += outcome.hidden
        if outcome.mismatch != nil { mismatches += 1 }
    }

    var description: String {
        "\(trees) trees, \(boots) boots, \(steps) steps (\(operations) operations), \(rereads) of them also read anew, "
            + "\(compared) resource lines, \(hidden) with devices that no kernel found, "
            + "\(faults) ended by an announced fault, \(mismatches) mismatches, \(failures) laboratory failures (\(repeats) repeated)"
    }
}
