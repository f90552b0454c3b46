// SPDX-License-Identifier: GPL-2.0-or-later

internal import ArgumentParser
internal import Foundation
internal import Glibc
internal import VMLaboratory

/// Writes all bytes to a descriptor.
private func write(_ bytes: [UInt8], to descriptor: CInt) {
    var written = 0
    while written < bytes.count {
        let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { return }
        written += count
    }
}

/// An interactive shell in a guest.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Boots a guest with a shell on its console; Ctrl-A c is QEMU's monitor, Ctrl-A x ends it."
    )

    @OptionGroup var machine: MachineOptions

    @Flag(help: "Accepted for clarity: this command is always interactive.")
    var interactive = false

    func run() throws {
        var options = machine.options
        options.kernelArguments.append("lab.shell")
        let topology = try machine.machine()
        let command = try VirtualMachine.command(topology, kernel: machine.kernel, options: options)
        let arguments = command + ["-serial", "mon:stdio", "-serial", "null"]
        let port = topology.emptyPorts.first ?? "BUS"
        write(
            Array(
                """
                \(topology.name): \(topology.summary)
                kernel \(machine.kernel.release ?? machine.kernel.rawValue); Ctrl-A c monitor \
                (device_add pci-testdev,bus=\(port),id=card,membar=1G), Ctrl-A x end

                """.utf8
            ),
            to: STDERR_FILENO
        )
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        execvp(arguments[0], &pointers)
        throw ValidationError("cannot start \(arguments[0]): \(String(cString: strerror(errno)))")
    }
}

/// One command in a fresh guest.
struct ExecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Boots a guest, runs one shell script in it, and ends with the script's exit status."
    )

    @OptionGroup var machine: MachineOptions
    @OptionGroup var hotPlug: HotPlugOptions

    @Option(help: "The longest time that the script may take, in seconds.")
    var timeout = 60

    @Flag(name: .shortAndLong, help: "Print the times to standard error.")
    var verbose = false

    @Argument(parsing: .postTerminator, help: "The script, after '--'.")
    var script: [String] = []

    func run() throws {
        let guest = try VirtualMachine(machine.machine(), kernel: machine.kernel, options: machine.options)
        try hotPlug.apply(to: guest)
        let result = try guest.run(script.joined(separator: " "), timeout: .seconds(timeout))
        write(result.standardOutput, to: STDOUT_FILENO)
        write(result.standardError, to: STDERR_FILENO)
        if verbose {
            let times = "\(guest.release): boot \(guest.bootDuration), script \(result.duration)\n"
            write(Array(times.utf8), to: STDERR_FILENO)
        }
        guest.stop()
        throw ExitCode(CInt(truncatingIfNeeded: result.status))
    }
}

/// A record of a guest's PCI tree.
struct RecordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Boots a guest and writes what user space can read of its PCI tree as a gzipped tar."
    )

    @OptionGroup var machine: MachineOptions
    @OptionGroup var hotPlug: HotPlugOptions

    @Option(help: "A script to run first.")
    var after: String?

    @Option(name: .shortAndLong, help: "The file to write; standard output if there is none.")
    var output: String?

    func run() throws {
        let guest = try VirtualMachine(machine.machine(), kernel: machine.kernel, options: machine.options)
        try hotPlug.apply(to: guest)
        if let after {
            try guest.run(after).checked()
            try guest.waitUntilQuiet()
        }
        let record = try guest.record()
        if let output {
            try Data(record).write(to: URL(fileURLWithPath: output), options: .atomic)
        } else {
            write(record, to: STDOUT_FILENO)
        }
        guest.stop()
    }
}

/// What there is to boot.
struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the topologies and the kernels."
    )

    @Flag(help: "Print QEMU's arguments too.")
    var arguments = false

    func run() throws {
        let width = MachineTopology.named.map(\.name.count).max() ?? 0
        for topology in MachineTopology.named {
            let name = topology.name.padding(toLength: width + 2, withPad: " ", startingAt: 0)
            print("\(name)\(topology.summary)")
            if arguments { print("    \(try topology.arguments().joined(separator: " "))") }
        }
        for kernel in Kernel.everyKernel {
            let isBare = kernel.isCached && !kernel.hasModules
            print("kernel \(kernel): \(kernel.release ?? "not fetched yet")\(isBare ? ", no modules" : "")")
        }
    }
}
