// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import VMLaboratory

/// A guest's tree by way of a record, as the tool itself reads a machine.
struct GuestRecord {
    let record: MachineRecord
    /// The registers that the firmware left, when the kernel was asked to write them down.
    let firmware: EarlyDump?

    /// Reads the guest.
    init(_ guest: VirtualMachine) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "differential-\(UUID().uuidString)"
        )
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let archive = directory.appendingPathComponent("record.tar")
        try guest.packedOutput("pci-record").write(to: archive)
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "-xf", archive.path, "-C", directory.path]
        try tar.run()
        tar.waitUntilExit()
        guard tar.terminationStatus == 0 else { throw DifferentialError("the guest's record is no archive") }
        let dump = try? String(contentsOf: directory.appendingPathComponent("firmware.txt"), encoding: .utf8)
        firmware = try dump.map { try EarlyDump(text: $0) }
        record = try SysfsDirectoryReader(path: directory.path).read()
    }

    /// The model.
    func topology() throws -> Topology { try TopologyAssembler(record).topology() }
}
