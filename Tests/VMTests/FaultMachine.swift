// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import VMLaboratory

@testable internal import PlanExecutor

/// Why a campaign cannot go on.
struct CampaignError: Error, CustomStringConvertible {
    var description: String
}

/// The guest of a campaign: how it is made ready after every boot, and what tells whether its devices work.
final class FaultMachine {
    /// The machine at one moment.
    struct Moment {
        var topology: Topology
        var tree: TreeState
        var health: [HealthRecord]
        /// What each memory BAR and disk answers, as `device-check` prints it, by place and what it is.
        var answers: [String: String]
    }

    let guest: VirtualMachine

    /// Boots a guest with drivers loaded.
    init(_ topology: MachineTopology, kernel: Kernel) throws {
        let helpers = [
            try Self.compiled("guest-faults.so", from: "guest-faults.c", ["-shared", "-fPIC"]),
            try Self.compiled("device-check", from: "guest-checks.c", ["-static"]),
        ]
        guest = try VirtualMachine(topology, kernel: kernel, options: .init(files: Initramfs.builtTool + helpers))
        try prepare()
    }

    /// Compiles a helper for the guest, once.
    private static func compiled(_ name: String, from source: String, _ options: [String]) throws -> String {
        let scripts = #filePath.replacing("/VMTests/FaultMachine.swift", with: "/VMLaboratory/Scripts/")
        let directory = NSTemporaryDirectory() + "pci-rebalance-faults-\(getuid())"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let product = directory + "/" + name
        let unfinished = product + ".\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["cc"] + options + ["-O1", "-o", unfinished, scripts + source]
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0, rename(unfinished, product) == 0 else {
            throw CampaignError(description: "expected cc to compile \(source), it failed")
        }
        return product
    }

    /// What a boot of a real system does before anybody applies anything: drivers.
    private func prepare() throws {
        try guest.run(
            """
            ln -sf device-check /usr/bin/hold-vfio
            modprobe nvme
            for try in 1 2 3 4 5 6 7 8 9 10; do
                ls /dev/nvme*n1 >/dev/null 2>&1 && break
                sleep 0.2
            done
            """
        ).checked()
        try guest.waitUntilQuiet()
    }

    /// Cuts the power and boots again; what a disk would have kept is kept.
    func cutPower() throws {
        try guest.reset(preserving: ["/var/lib/pci-rebalance"])
        try prepare()
    }

    /// Reads the machine.
    func moment() throws -> Moment {
        let snapshot = try guest.run("pci-rebalance snapshot -q", timeout: .seconds(120)).checked().standardOutput
        let topology = try TopologyAssembler(SnapshotFile.decode(snapshot)).topology()
        let health = topology.functions.map {
            HealthRecord(FunctionHealth(address: $0.address, driver: $0.use.driver, config: $0.config))
        }
        var answers: [String: String] = [:]
        for line in try guest.run("device-check", timeout: .seconds(60)).checked().lines {
            let words = line.split(separator: " ", maxSplits: 2).map(String.init)
            guard words.count == 3 else { throw CampaignError(description: "expected an answer, found '\(line)'") }
            answers["\(words[0]) \(words[1])"] = words[2]
        }
        return Moment(topology: topology, tree: TreeState(topology), health: health, answers: answers)
    }

    /// Starts a command in the background that makes `NAME.paused` and waits for `NAME.go`; returns when it waits there or
    /// has ended.
    ///
    /// - Returns: whether it waits.
    func start(_ command: String, pausing name: String) throws -> Bool {
        try guest.run(
            """
            rm -f \(name).paused \(name).go \(name).status
            { \(command) >\(name).out 2>&1; echo $? >\(name).status; } </dev/null &
            """
        ).checked()
        try guest.waitUntil("a pause or an end", timeout: .seconds(120)) {
            try $0.run("test -e \(name).paused || test -s \(name).status").status == 0
        }
        return try guest.run("test -s \(name).status").status != 0
    }

    /// Lets a command that waits go on; gives its status and the lines that it wrote.
    func finish(pausing name: String) throws -> (status: Int, lines: [String]) {
        try guest.run(": >\(name).go").checked()
        try guest.waitUntil("an end", timeout: .seconds(240)) { try $0.run("test -s \(name).status").status == 0 }
        let lines = try guest.run("cat \(name).out; cat \(name).status").lines
        guard let status = lines.last.flatMap({ Int($0) }) else {
            throw CampaignError(description: "expected a status, found \(lines.suffix(3))")
        }
        return (status, Array(lines.dropLast()))
    }

    /// Pulls a card out as a person would, and waits for the slot to let it go: the kernel itself waits five seconds.
    func pull(_ identifier: String, patience: Duration = .seconds(60)) throws -> Bool {
        let deadline = ContinuousClock.now + patience
        while ContinuousClock.now < deadline {
            do {
                try guest.deviceDel(identifier, timeout: .seconds(12))
                try guest.waitUntilQuiet()
                return true
            } catch let error as LaboratoryError where error.code == .timeout {
                continue
            } catch let error as LaboratoryError where error.code == .monitor {
                // Gone already, or the slot is still busy with the last press of its button.
                if error.description.contains("not found") { return true }
                try guest.run("sleep 1").checked()
            }
        }
        return false
    }
}
