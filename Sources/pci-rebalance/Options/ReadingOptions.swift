// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import LibPCIBridge
import PCITopology
import PlanExecutor

/// A kernel release that was given as an argument: `6.12`, `7.2.13`, `6.8.0-45-generic`; also as behaviours are named,
/// `linux-6.12`.
///
/// - Throws: `ValidationError` for a text that begins with no release, of which nothing could be predicted.
@Sendable
func releaseWord(_ text: String) throws -> String {
    let prefix = "linux-"
    let release = text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text
    guard KernelRelease(release) != nil else {
        throw ValidationError("expected a release such as 6.12 or 7.2.13, found '\(text.printable)'")
    }
    return release
}

/// Where the tree is read from.
struct ReadingOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Read this instead of the machine: a snapshot, a report, a sysfs-shaped directory, output of lspci, a kernel log.",
            discussion: """
                May be given several times; each is told by its content, unpacked where it is compressed or an archive of \
                tar. - reads standard input.
                """,
            valueName: "path"
        ),
        completion: .file()
    )
    var from: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Take this for the kernel's release instead of what was read.", valueName: "release"),
        transform: releaseWord
    )
    var kernel: String?

    @Flag(
        help: ArgumentHelp(
            "Size BARs that the kernel forgot by writing to their registers.",
            discussion:
                "Only as root, on the machine itself, and only for functions without driver that decode nothing."
        )
    )
    var probe = false

    init() {}

    /// As if `paths` had been given, none for the machine itself, and nothing else but `probe`.
    init(paths: [String], probe: Bool = false) {
        from = paths
        kernel = nil
        self.probe = probe
    }

    /// The raw evidence; of the machine itself without evidence of use where `readsUse` is false.
    func record(readsUse: Bool = true) throws(CommandEnd) -> MachineRecord {
        do {
            guard !from.isEmpty else {
                return try LiveReader(options: LiveReader.Options(probe: probe, readsUse: readsUse)).read()
            }
            return try RecordedInput(paths: from).record
        } catch {
            throw CommandEnd(error)
        }
    }

    /// The tree. What could not be read is said on standard error: one line, or a line for each with `verbose`.
    func topology(_ output: OutputOptions) throws(CommandEnd) -> Topology { try read(output).topology }

    /// The raw evidence and the tree, with the same remarks.
    func read(
        _ output: OutputOptions,
        readsUse: Bool = true
    ) throws(CommandEnd) -> (record: MachineRecord, topology: Topology) {
        let record = try record(readsUse: readsUse)
        let topology = try topology(of: record)
        if from.isEmpty, !output.quiet, (try? DirectoryJournalDisk().read(Journal.unfinishedName)) ?? nil != nil {
            Diagnostics.warning(
                "an apply is under way or was interrupted (recover --status): this is not the tree at rest"
            )
        }
        report(topology.gaps, output)
        return (record, topology)
    }

    /// The tree that `record` shows.
    func topology(of record: MachineRecord) throws(CommandEnd) -> Topology {
        do {
            var topology = try TopologyAssembler(record).topology()
            if let kernel { topology.kernel.release = kernel }
            return topology
        } catch {
            throw CommandEnd(error)
        }
    }

    private func report(_ gaps: [ReadingGap], _ output: OutputOptions) {
        guard !output.quiet, !gaps.isEmpty else { return }
        if output.verbose > 0 || gaps.count == 1 {
            for gap in gaps { Diagnostics.warning(gap.detail) }
        } else {
            // Which of several boots, machines or sides counts changes the meaning of every line that follows.
            let choices = gaps.filter { $0.code == "severalBoots" || $0.code == "difference" }
            for gap in choices { Diagnostics.warning(gap.detail) }
            let rest = gaps.count - choices.count
            let things = rest == 1 ? "1 thing" : "\(rest) things"
            if rest > 0 { Diagnostics.warning("\(things) could not be read (-v lists them)") }
        }
    }
}

extension CommandEnd {
    /// Ends with the status that a reading error maps to.
    init(_ error: ReadError) {
        self.init(ExitStatus(rawValue: error.exitStatus) ?? .failure, error.description)
    }
}
