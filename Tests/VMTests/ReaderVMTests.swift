// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import Testing
internal import VMLaboratory

/// The two ways to read a machine agree: the tool's own snapshot, made in the guest through libpci, and the guest's files,
/// copied out and read here.
@Suite("reading a real kernel")
struct ReaderVMTests {
    /// The topology of the guest's files.
    private func fromFiles(_ guest: VirtualMachine) throws -> Topology {
        let directory = FileManager.default.temporaryDirectory.appending(path: "reader-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let archive = directory.appending(path: "record.tar.gz")
        try Data(guest.record()).write(to: archive)
        let tar = Process()
        tar.executableURL = URL(filePath: "/usr/bin/env")
        tar.arguments = ["tar", "-xzf", archive.path(), "-C", directory.path()]
        try tar.run()
        tar.waitUntilExit()
        #expect(tar.terminationStatus == 0)
        return try TopologyAssembler(SysfsDirectoryReader(path: directory.path()).read()).topology()
    }

    /// The topology of the tool's snapshot.
    private func fromSnapshot(_ guest: VirtualMachine) throws -> Topology {
        let result = try guest.run("pci-rebalance snapshot -q", timeout: .seconds(60))
        #expect(result.status == 0, "\(result.errors)")
        return try TopologyAssembler(SnapshotFile.decode(result.standardOutput)).topology()
    }

    private func compare(_ live: Topology, _ files: Topology) {
        #expect(TreeState(live).differences(from: TreeState(files)).map(\.description) == [])
        #expect(live.hostBridges == files.hostBridges)
        #expect(live.blockers == files.blockers)
        #expect(live.gaps == [])
        for (a, b) in zip(live.functions, files.functions) {
            #expect(a.resources == b.resources, "\(a.address)")
            #expect(a.identity == b.identity, "\(a.address)")
            #expect(a.bridge == b.bridge, "\(a.address)")
            #expect(a.parent == b.parent && a.discoveryOrder == b.discoveryOrder, "\(a.address)")
            #expect(a.capabilities.standard == b.capabilities.standard, "\(a.address)")
            #expect(a.capabilities.extended == b.capabilities.extended, "\(a.address)")
            #expect(a.use.driver == b.use.driver && a.use.slot == b.use.slot, "\(a.address)")
        }
    }

    @Test("after a failed hot-add both readings agree, forgotten BARs included", arguments: Kernel.allCases)
    func failedHotAdd(kernel: Kernel) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let guest = try VirtualMachine(.firstLight, kernel: kernel)
        try guest.hotPlug(.testDevice("card", memory: .gib(1)), behind: "d2")
        let live = try fromSnapshot(guest)
        compare(live, try fromFiles(guest))
        let card = try #require(FunctionAddress(parsing: "0000:04:00.0").flatMap { live[$0] })
        #expect(card.resources.map(\.size) == [ByteCount(0x1000), ByteCount(0x100), ByteCount(1 << 30)])
        #expect(card.resources.map(\.assignment).suffix(2) == [.wiped, .wiped])
        try probe(guest)
    }

    /// Without the log a probe finds what the kernel forgot and leaves no trace.
    private func probe(_ guest: VirtualMachine) throws {
        let before = try guest.configuration(of: "0000:04:00.0")
        // A log that was overwritten since: an empty file in place of the kernel's.
        let result = try guest.run(
            "mount --bind /dev/null /dev/kmsg && pci-rebalance snapshot -q --probe; s=$?; umount /dev/kmsg; exit $s",
            timeout: .seconds(60)
        )
        #expect(result.status == 0, "\(result.errors)")
        let t = try TopologyAssembler(SnapshotFile.decode(result.standardOutput)).topology()
        let card = try #require(FunctionAddress(parsing: "0000:04:00.0").flatMap { t[$0] })
        #expect(card.resources.map(\.size) == [ByteCount(0x1000), ByteCount(0x100), ByteCount(1 << 30)])
        #expect(card.resources.map(\.sizeSource) == [.kernel, .probed, .probed])
        #expect(try guest.configuration(of: "0000:04:00.0") == before)
    }
}
