// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import LibPCIBridge
import PCITopology
import RebalancePlanner

/// `upgrade`: what would another kernel make of this machine?
struct UpgradeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Say what another kernel would make of this machine",
        discussion: """
            Each kernel's twin boots the machine from what firmware left, finds anew what lies below each bridge of a root \
            bus, and does so again with resizable BARs at their largest; what loses or gains its place against the \
            running kernel is told, with the first decision that differs, and for what has no place here the releases that \
            would have placed it. Without --to, all releases that are known. Exit status 3 when a release that --to names \
            loses something, 8 when what was read does not suffice to say. With records as arguments, each is a machine \
            of its own and gets one line of JSON; - reads their names from standard input. Nothing is written.
            """
    )

    @Option(
        help: ArgumentHelp("A release to look at: 7.2, 6.12.118. May be given several times.", valueName: "release"),
        transform: releaseWord
    )
    var to: [String] = []

    @Argument(
        help: ArgumentHelp("Records of many machines, one line of JSON each.", valueName: "record"),
        completion: .file()
    )
    var records: [String] = []

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard records.isEmpty || reading.from.isEmpty else {
            throw ValidationError("expected --from for one machine or records of many, found both")
        }
    }

    func run() throws {
        guard records.isEmpty else { return try runFleet() }
        let (record, topology) = try reading.read(output)
        let upgrade = try Self.upgrade(topology, record, to: to)
        if output.json {
            try StandardOutput.write(UpgradeJSON(upgrade).document)
        } else if !output.quiet {
            let text = UpgradeText(
                upgrade: upgrade,
                isTold: !to.isEmpty,
                verbosity: output.verbose,
                style: output.style
            )
            try StandardOutput.write(text.render(columns: StandardOutput.columns))
        }
        let status = UpgradeVerdict(upgrade, isNamed: !to.isEmpty).exitStatus
        if status != .success { throw CommandEnd(status) }
    }

    static func upgrade(
        _ topology: Topology,
        _ record: MachineRecord,
        to: [String]
    ) throws(CommandEnd) -> KernelUpgrade {
        do {
            return try KernelUpgrade(
                topology,
                present: KernelUpgrade.Release(topology.kernel.release ?? ""),
                releases: to.isEmpty ? KernelUpgrade.Release.known : to.map { KernelUpgrade.Release($0) },
                firmware: record.kernelLog.flatMap { FirmwareState(kernelLog: $0) }
            )
        } catch {
            throw CommandEnd(.badInput, error.description)
        }
    }

    // MARK: Many machines

    /// One line for each machine, written as soon as it is known; the worst status of all at the end.
    private func runFleet() throws {
        var worst = ExitStatus.success
        func one(_ path: String) throws {
            do {
                let (upgrade, kernel) = try machine(path)
                try StandardOutput.write(UpgradeJSON(upgrade, machine: path, kernel: kernel).line)
                let status = UpgradeVerdict(upgrade, isNamed: !to.isEmpty).exitStatus
                if worst == .success || status == .problems { worst = status }
            } catch let end as CommandEnd {
                try StandardOutput.write(UpgradeJSON.line(machine: path, error: end.message ?? "not read"))
                if worst == .success || worst == .cannotTell { worst = end.status }
            }
        }
        for path in records {
            guard path == "-" else {
                try one(path)
                continue
            }
            while let line = readLine() { if !line.isEmpty { try one(line) } }
        }
        if worst != .success { throw CommandEnd(worst) }
    }

    private func machine(_ path: String) throws(CommandEnd) -> (KernelUpgrade, String?) {
        var one = reading
        one.from = [path]
        let record = try one.record()
        let topology = try one.topology(of: record)
        return (try Self.upgrade(topology, record, to: to), topology.kernel.release)
    }
}

/// The answer of `upgrade` in one word.
struct UpgradeVerdict {
    enum Answer: String {
        case loses
        case keeps
        case cannotTell = "cannot tell"
    }

    var answer: Answer
    /// Whether releases were named: then a loss is what was asked about.
    var isNamed: Bool

    init(_ upgrade: KernelUpgrade, isNamed: Bool) {
        self.isNamed = isNamed
        if upgrade.changes.contains(where: { !$0.loses.isEmpty }) {
            answer = .loses
        } else if upgrade.changes.contains(where: { !$0.mayLose.isEmpty }) || !upgrade.unknowns.isEmpty
            || upgrade.occasions.isEmpty
        {
            answer = .cannotTell
        } else {
            answer = .keeps
        }
    }

    var exitStatus: ExitStatus {
        switch answer {
        case .loses: isNamed ? .problems : .success
        case .keeps: .success
        case .cannotTell: .cannotTell
        }
    }
}
