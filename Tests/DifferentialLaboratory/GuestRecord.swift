// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import VMLaboratory

/// A guest's tree by way of a record, as the tool itself reads a machine.
struct GuestRecord {
    let record: MachineRecord

    /// Reads the guest.
    init(_ guest: VirtualMachine) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "differential-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let archive = directory.appendingPathComponent("record.tar")
        try Data(try guest.run("pci-record").checked().standardOutput).write(to: archive)
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "-xf", archive.path, "-C", directory.path]
        try tar.run()
        tar.waitUntilExit()
        guard tar.terminationStatus == 0 else { throw DifferentialError("the guest's record is no archive") }
        record = try SysfsDirectoryReader(path: directory.path).read()
    }

    /// The model.
    func topology() throws -> Topology { try TopologyAssembler(record).topology() }
}
