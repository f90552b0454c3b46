// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import ArgumentParser
internal import Foundation
internal import Glibc
internal import LibPCIBridge
internal import PCITopology
internal import VMLaboratory

/// Random trees, random operations: does the twin say what the kernel does?
struct DifferentialCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "differential",
        abstract: "Boots random trees, does random operations, and compares every resource and register with the twin."
    )

    @Option(
        name: .shortAndLong,
        help: "The kernel: 6.1, 6.12 or 7.",
        transform: { text in
            guard let kernel = Kernel(rawValue: text) else {
                throw ValidationError("expected 6.1, 6.12 or 7, found '\(text)'")
            }
            return kernel
        }
    )
    var kernel = Kernel.linux6_12

    @Option(help: "Stop after this many minutes.")
    var minutes = 10.0

    @Option(help: "Stop after this many trees.")
    var trees = Int.max

    @Option(help: "Steps on each tree.")
    var steps = 12

    @Option(help: "The first tree's seed; the next tree has the next.")
    var seed: UInt64 = 1

    @Flag(help: "Print every step and the kernel's words at a mismatch.")
    var verbose = false

    @Flag(help: "Make the twin anew from a record of the guest before every step.")
    var reread = false

    func run() throws {
        let deadline = ContinuousClock.now + .seconds(minutes * 60)
        var tally = Tally()
        var tree = seed
        while ContinuousClock.now < deadline, tally.trees < trees {
            do {
                try runTree(tree, &tally)
            } catch {
                tally.failures += 1
                print("seed \(tree): the laboratory failed: \(error)")
            }
            tree += 1
            // Progress is for people who watch a file grow.
            fflush(nil)
        }
        print(
            "differential \(kernel): \(tally.trees) trees, \(tally.steps) steps, \(tally.compared) resource lines, "
                + "\(tally.mismatches) mismatches, \(tally.failures) laboratory failures"
        )
        if tally.mismatches > 0 { throw ExitCode(1) }
    }

    private struct Tally {
        var trees = 0
        var steps = 0
        var compared = 0
        var mismatches = 0
        var failures = 0
    }

    private var behaviour: KernelBehaviour {
        switch kernel {
        case .linux6_1: .linux6_1
        case .linux6_12: .linux6_12
        case .linux7: .linux7_2
        }
    }

    private func runTree(_ seed: UInt64, _ tally: inout Tally) throws {
        var generator = RandomTree(seed: seed)
        let machine = generator.machine()
        let guest = try VirtualMachine(machine, kernel: kernel, options: .init(files: []))
        defer { guest.stop() }
        do {
            try runSteps(seed, machine, guest, &tally)
        } catch {
            if verbose {
                for line in guest.consoleText.split(separator: "\n").suffix(30) { print("    console: \(line)") }
            }
            throw error
        }
    }

    private func runSteps(
        _ seed: UInt64,
        _ machine: MachineTopology,
        _ guest: VirtualMachine,
        _ tally: inout Tally
    ) throws {
        try guest.waitUntilQuiet()
        let start = try self.topology(of: guest)
        var twin = try LinuxTwin(start, behaviour: behaviour)
        tally.trees += 1
        var found = try GuestState(guest)
        let atStart = found.differences(from: try GuestState(twin))
        tally.compared += found.size
        if !atStart.isEmpty {
            tally.mismatches += 1
            report(seed, machine, ["(as read)"], atStart, guest)
            return
        }
        var chooser = StepChooser(
            seed: seed,
            ports: names(of: machine, in: start),
            hotPlug: machine.hotPlug == .native ? .pciehp : .acpiphp
        )
        var history: [String] = []
        for _ in 0..<steps {
            let step = chooser.next(try twin.topology())
            history.append(step.text)
            if verbose { print("seed \(seed): \(step.text)") }
            // A record shows only what the kernel knows; with something removed it is not the whole machine.
            if reread, twin.unknownFunctionCount == 0 {
                let requests = twin.alignmentRequests
                twin = try LinuxTwin(try self.topology(of: guest), behaviour: behaviour)
                try twin.perform(.resourceAlignment(requests))
            }
            var events: [TwinEvent] = []
            for operation in step.operations { events += try twin.perform(operation) }
            if let card = step.card {
                try guest.hotPlug(card.device, behind: card.bus)
            } else if let card = step.unplugged {
                try guest.deviceDel(card)
                try guest.waitUntilQuiet()
            } else if let script = step.script {
                _ = try guest.run(script)
            }
            found = try GuestState(guest)
            tally.steps += 1
            tally.compared += found.size
            let differences = found.differences(from: try GuestState(twin))
            guard differences.isEmpty else {
                tally.mismatches += 1
                report(seed, machine, history, differences, guest)
                if verbose { for event in events { print("    twin: \(event)") } }
                return
            }
        }
    }

    private func report(
        _ seed: UInt64,
        _ machine: MachineTopology,
        _ history: [String],
        _ differences: [String],
        _ guest: VirtualMachine
    ) {
        print("seed \(seed) on \(kernel): MISMATCH after \(history.count) steps")
        print("    machine: \((try? machine.arguments().joined(separator: " ")) ?? "")")
        for step in history { print("    step: \(step)") }
        for difference in differences.prefix(24) { print("    \(difference)") }
        if verbose {
            for line in (try? guest.kernelLog())?.suffix(90) ?? [] where line.contains("pci") {
                print("    log: \(line)")
            }
        }
    }

    /// The guest's tree by way of a record, as the tool itself reads it.
    private func topology(of guest: VirtualMachine) throws -> Topology {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "differential-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let archive = directory.appendingPathComponent("record.tar.gz")
        try Data(try guest.record()).write(to: archive)
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "-xf", archive.path, "-C", directory.path]
        try tar.run()
        tar.waitUntilExit()
        let record = try SysfsDirectoryReader(path: directory.path).read()
        return try TopologyAssembler(record).topology()
    }

    /// QEMU's name of every port that has nothing behind it, by the place in the tree.
    private func names(of machine: MachineTopology, in topology: Topology) -> [TopologyPath: String] {
        var result: [TopologyPath: String] = [:]
        func walk(_ devices: [Device], _ rootBus: BusNumber, _ hops: [UInt8]) {
            var next: UInt8 = 0
            for device in devices {
                let slot = device.address.flatMap { UInt8($0, radix: 16) } ?? next
                next = slot + 1
                if device.driver == "pxb-pcie" {
                    walk(device.children, BusNumber(0x80), [])
                    continue
                }
                let path = hops + [slot << 3]
                if machine.emptyPorts.contains(device.identifier) {
                    result[TopologyPath(segment: 0, rootBus: rootBus, hops: path)] = device.identifier
                }
                walk(device.children, rootBus, path)
            }
        }
        walk(machine.devices, BusNumber(0), [])
        return result
    }
}
