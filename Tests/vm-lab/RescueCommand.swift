// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import ArgumentParser
internal import DifferentialLaboratory
internal import Foundation
internal import VMLaboratory

/// Random failing hot-adds on a real kernel, repaired by the tool in the guest.
struct RescueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rescue",
        abstract: "Boots random trees, plugs cards that do not fit, lets the tool repair it, and counts what is lost.",
        discussion: """
            What had an address, and answered, before the repair is looked for after it, by place in the tree. Set \
            PCI_REBALANCE_TOOL to an optimised build of the tool. Ends with 1 when something was lost.
            """
    )

    @Option(
        name: .shortAndLong,
        help: "The kernel: \(Kernel.labels).",
        transform: Kernel.parse
    )
    var kernel = Kernel.linux6_12

    @Option(help: "Stop after this many minutes; the tree under way is ended.")
    var minutes: Double?

    @Option(help: "Stop after this many trees (default: 10 when --minutes is absent).")
    var trees: Int?

    @Option(help: "Cards on each tree, at most.")
    var plugs = 4

    @Option(help: "The first tree's seed; the next tree has the next.")
    var seed: UInt64 = 1

    @Flag(help: "Trees as those of 'differential': every kind of bridge, device and kernel word.")
    var any = false

    @Flag(help: "Repair only where the tool does so unasked: without --allow-unjudged.")
    var judged = false

    @Flag(
        help: """
            Repair as if nobody had read or run a kernel of its series, without --allow-unjudged; the tool must be built \
            with PCI_REBALANCE_LEAVE_ONE_OUT set.
            """
    )
    var leftOut = false

    @Option(
        help: """
            Write each tree and its cards as a case into this directory, for replay --record and explain, and the tool's \
            record of the machine before each repair that does not rescue it.
            """
    )
    var keep: String?

    @Flag(help: "Print what the tool writes.")
    var verbose = false

    func run() throws {
        let deadline = minutes.map { ContinuousClock.now + .seconds($0 * 60) }
        let limit = trees ?? (minutes == nil ? 10 : .max)
        var counts: [RescueTrial.End: Int] = [:]
        var failures = 0
        var number = seed
        while Int(number - seed) < limit, deadline.map({ ContinuousClock.now < $0 }) ?? true {
            let tree = RescueTree(seed: number, plugs: plugs, isAny: any)
            if let keep {
                try DifferentialCase.sketch(
                    tree.machine,
                    kernel: kernel,
                    steps: tree.plugs.map { [.plug($0.card, port: $0.port)] },
                    cause: "cards that may not fit",
                    to: "\(keep)/\(kernel)-\(number)"
                )
            }
            var trial = RescueTrial(
                tree.machine,
                kernel: kernel,
                plugs: tree.plugs,
                words: judged ? "" : "--allow-unjudged"
            )
            trial.keepsRecords = keep != nil
            if leftOut { trial.command = RescueTrial.leavingOut(try series()) }
            do {
                _ = try trial.run { attempt in
                    counts[attempt.end, default: 0] += 1
                    let card = "\(attempt.plug.card) at \(attempt.plug.port)"
                    print("seed \(number): \(card): \(attempt.end.rawValue), \(attempt.verdict)")
                    if attempt.end == .lost {
                        print("    machine: \((try? tree.machine.arguments().joined(separator: " ")) ?? "")")
                        for loss in attempt.losses { print("    \(loss)") }
                    }
                    fflush(nil)
                    if let keep, attempt.end != .rescued, !attempt.record.isEmpty {
                        let name = "\(keep)/\(kernel)-\(number)/\(attempt.plug.port).snapshot.json"
                        try? attempt.record.write(toFile: name, atomically: false, encoding: .utf8)
                    }
                    if verbose || attempt.end == .lost || attempt.end == .rolledBack { print(attempt.output) }
                }
            } catch {
                failures += 1
                print("seed \(number): the laboratory failed: \(error)")
            }
            number += 1
            // Progress is for people who watch a file grow.
            fflush(nil)
        }
        let sum = counts.values.reduce(0, +)
        let kinds = RescueTrial.End.allCases.map { "\(counts[$0] ?? 0) \($0.rawValue)" }.joined(separator: ", ")
        print(
            "rescue \(kernel) \(kernel.release ?? ""): seeds \(seed) to \(number - 1), \(sum) failed hot-adds: \(kinds); "
                + "\(failures) laboratory failures"
        )
        if (counts[.lost] ?? 0) > 0 { throw ExitCode(1) }
    }

    private func series() throws -> KernelRelease.Series {
        guard let series = kernel.release.flatMap({ KernelRelease($0) })?.series else {
            throw ValidationError("expected a kernel in the cache, found none of \(kernel)")
        }
        return series
    }
}
