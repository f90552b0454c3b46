// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import LibPCIBridge
import PCITopology
import PlanExecutor

/// Where the tree is read from.
struct ReadingOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Read this instead of the machine: a snapshot, a sysfs-shaped directory, output of lspci, a kernel log.",
            discussion: "May be given several times; each is told by its content. - reads standard input.",
            valueName: "path"
        ),
        completion: .file()
    )
    var from: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Take this for the kernel's release instead of what was read.", valueName: "release")
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

    /// The raw evidence.
    func record() throws(CommandEnd) -> MachineRecord {
        do {
            guard !from.isEmpty else { return try LiveReader(options: LiveReader.Options(probe: probe)).read() }
            if from.count == 1, from[0] != "-", let record = try Self.reported(from[0]) { return record }
            return try RecordedInput(paths: from).record
        } catch {
            throw CommandEnd(error)
        }
    }

    /// The record in a file that `report` wrote; nil when it is another file.
    private static func reported(_ path: String) throws(ReadError) -> MachineRecord? {
        guard let head = FileInput.head(of: path, count: Report.title.utf8.count),
            head == Array(Report.title.utf8)
        else { return nil }
        do {
            return try Report.record(in: try StandardInput.contents(of: path))
        } catch let error as ReadError {
            throw error
        } catch {
            throw ReadError(.unavailable, path: path, "cannot read \(path)")
        }
    }

    /// The tree. What could not be read is said on standard error: one line, or a line for each with `verbose`.
    func topology(_ output: OutputOptions) throws(CommandEnd) -> Topology {
        let topology = try topology(of: try record())
        if from.isEmpty, !output.quiet, (try? DirectoryJournalDisk().read(Journal.unfinishedName)) ?? nil != nil {
            Diagnostics.warning(
                "an apply is under way or was interrupted (recover --status): this is not the tree at rest"
            )
        }
        report(topology.gaps, output)
        return topology
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
            Diagnostics.warning("\(gaps.count) things could not be read (-v lists them)")
        }
    }
}

extension CommandEnd {
    /// Ends with the status that a reading error maps to.
    init(_ error: ReadError) {
        self.init(ExitStatus(rawValue: error.exitStatus) ?? .failure, error.description)
    }
}
