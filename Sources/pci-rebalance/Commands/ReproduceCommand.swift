// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import ArgumentParser
import Glibc
import LibPCIBridge
import PCITopology
import Reproduction

/// `reproduce`: from a report to an emulated machine that fails the same way.
struct ReproduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reproduce",
        abstract: "Write an emulated machine that fails the same way, to attach to a report",
        discussion: """
            With -o a directory with run.sh (QEMU without KVM; a kernel is named by whoever runs it), expect.json (which lines \
            have to fail) and README. Nothing is started and nothing else is written. Exit status 0 when what fails is \
            predicted to fail there, 3 when not all of it is, 2 when no emulated machine shows it, 8 when the input does not \
            tell what fails.
            """
    )

    @OptionGroup var reading: ReadingOptions
    @OptionGroup var output: OutputOptions

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("The directory to write; it may exist.", valueName: "directory"),
        completion: .directory
    )
    var directory: String?

    func run() throws {
        let (record, topology) = try reading.read(output)
        let result = Self.reproduction(record, topology)
        let release = topology.kernel.release
        let page = ReproductionText(result, release: release, directory: directory, columns: StandardOutput.columns)
        if let directory, let machine = result.machine {
            try write(machine, result, page, release: release, to: directory)
        }
        try output.json ? StandardOutput.write(result.document(release: release)) : StandardOutput.write(page.render())
        let status = Self.status(result)
        if status != .success { throw CommandEnd(status) }
    }

    /// The reproduction of what was read. Where the tree that was read does not hold what failed, which is usual when
    /// `lspci` ran before a card came or after it was gone, that of the tree that the kernel's log tells.
    private static func reproduction(_ record: MachineRecord, _ topology: Topology) -> Reproduction {
        let behaviour = KernelChoice.behaviour(for: topology, isQuiet: true)
        func reproduction(_ record: MachineRecord, _ topology: Topology, remarks: [String]) -> Reproduction {
            let assessment = Assessment(record, topology)
            return Reproduction(
                topology,
                findings: assessment.findings,
                unknowns: assessment.unknowns,
                refusals: assessment.refusals,
                log: record.kernelLog ?? [],
                behaviour: behaviour,
                remarks: remarks
            )
        }
        let result = reproduction(record, topology, remarks: [])
        guard result.verdict == .impossible, let log = record.kernelLog else { return result }
        var logged = TextEvidence(log.joined(separator: "\n")).record
        logged.kernel = record.kernel
        guard let tree = try? TopologyAssembler(logged).topology() else { return result }
        let remark = "the tree that was read does not hold what failed: the machine is built of the log alone"
        let other = reproduction(logged, tree, remarks: [remark])
        return other.machine == nil ? result : other
    }

    private static func status(_ result: Reproduction) -> ExitStatus {
        switch result.verdict {
        case .whole, .nothing: .success
        case .part: result.isPredicted ? .success : .problems
        case .impossible: .impossible
        case .cannotTell: .cannotTell
        }
    }

    private func write(
        _ machine: EmulatedMachine,
        _ result: Reproduction,
        _ page: ReproductionText,
        release: String?,
        to directory: String
    ) throws(CommandEnd) {
        guard !directory.isEmpty else {
            throw CommandEnd(.failure, "expected the name of a directory to write, found an empty one")
        }
        if mkdir(directory, 0o777) != 0, errno != EEXIST {
            let message = "\(directory): \(String(cString: strerror(errno)))"
            throw CommandEnd(errno == EACCES || errno == EPERM ? .notPermitted : .failure, message)
        }
        let script = machine.script(
            commands: result.commands,
            parameters: result.parameters,
            expected: result.lines.map(\.key),
            besides: result.besides
        )
        let files: [(String, [UInt8])] = [
            ("run.sh", Array(script.utf8)), ("expect.json", result.document(release: release)),
            ("README", Array(page.readme().utf8)),
        ]
        for (name, bytes) in files { try FileOutput.write(printableBytes(bytes), to: "\(directory)/\(name)") }
    }
}
