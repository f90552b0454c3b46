// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import Testing

/// The recorded inputs of the package itself.
enum TextFixtures {
    static let directory = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fixtures")

    /// The folders that hold an lspci text, in ascending order.
    static func machines() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory.path)
            .filter { FileManager.default.fileExists(atPath: directory.appendingPathComponent("\($0)/lspci.txt").path) }
            .sorted()
    }

    /// The paths of a machine's texts.
    static func paths(_ name: String) -> [String] {
        ["lspci.txt", "dmesg.txt", "iomem.txt"].map { directory.appendingPathComponent("\(name)/\($0)").path }
            .filter { FileManager.default.fileExists(atPath: $0) }
    }

    static func topology(_ name: String) throws -> Topology {
        try TopologyAssembler(RecordedInput(paths: paths(name)).record).topology()
    }
}

@Suite struct TextFixtureTests {
    private func function(_ topology: Topology, _ address: String) -> Function? {
        FunctionAddress(parsing: address).flatMap { topology[$0] }
    }

    @Test func everyMachineIsReadWholeAndExplained() throws {
        let machines = try TextFixtures.machines()
        #expect(machines.count >= 19)
        for name in machines {
            let input = try RecordedInput(paths: TextFixtures.paths(name))
            #expect(input.agreement.different == 0, "\(name): \(input.agreement)")
            let topology = try TopologyAssembler(input.record).topology()
            #expect(topology.functions.count == input.texts.functions.count, "\(name)")
            let contradictions = Contradictions(topology).findings
            // C60 is about descending bus numbers, and has nothing else wrong.
            #expect(
                contradictions.map(\.code) == (name == "C60" ? [.busOutsideRange] : []),
                "\(name) \(contradictions)"
            )
            let note = try String(
                contentsOf: TextFixtures.directory.appendingPathComponent("\(name)/NOTE.md"),
                encoding: .utf8
            )
            #expect(note.contains("Inferred") || note.contains("inferred"), "\(name) says what is inferred")
        }
    }

    @Test func battlemageStandsAsReported() throws {
        let topology = try TextFixtures.topology("R2")
        let root = try #require(function(topology, "00:01.0"))
        #expect(root.bridge?.busRange?.description == "[bus 01-04]")
        let window = try #require(root.resource(.prefetchableWindow))
        #expect(window.range == AddressRange(first: 0x40_0000_0000, last: 0x44_007f_ffff))
        #expect(window.size == ByteCount(16392 << 20))
        #expect(window.is64Bit)
        let card = try #require(function(topology, "03:00.0"))
        let bar = try #require(card.resources.first { $0.index.rawValue == 2 })
        #expect(bar.size == ByteCount(256 << 20))
        #expect(bar.flags.rawValue == 0x14_220c)
        #expect(card.capabilities.resizableBARs.first?.exponents == [8, 9, 10, 11, 12, 13, 14])
        #expect(card.capabilities.resizableBARs.first?.currentExponent == 8)
        let rom = try #require(card.resource(.rom))
        #expect(rom.lacksAddress)
        #expect(topology.hostBridges.first?.source == .kernelLog)
        #expect(topology.hostBridges.first?.apertures.count == 3)
        #expect(topology.kernel.release == "6.17.0-rc1")
        #expect(root.capabilities.express?.portType == .rootPort)
        #expect(!root.isHotPlugBridge)
    }

    @Test func hotPlugPortsAreKnownAsSuch() throws {
        let topology = try TextFixtures.topology("R8")
        let ports = topology.functions.filter(\.isHotPlugBridge).map { "\($0.address)" }
        #expect(ports == ["0000:00:1c.4", "0000:04:01.0", "0000:04:04.0"])
        let words = BootWords(topology.kernel.commandLine ?? "pci=", topology: topology)
        #expect(words.findings.allSatisfy { $0.code != .ineffective })
    }

    @Test func virtualFunctionsCountWithAllOfThem() throws {
        let topology = try TextFixtures.topology("R5")
        let card = try #require(function(topology, "7d:00.3"))
        let block = try #require(ResourceIndex.vfBAR(2).flatMap { card.resource($0) })
        #expect(block.range == AddressRange(first: 0x1_20d0_0000, last: 0x1_20ff_ffff))
        #expect(block.alignment == ByteCount(1 << 20))
        #expect(card.capabilities.sriov?.totalVFs == 3)
    }

    @Test func busAddressesAreKeptApart() throws {
        let topology = try TextFixtures.topology("R11")
        let root = try #require(function(topology, "0001:00:00.0"))
        #expect(root.resource(.prefetchableWindow)?.range?.first == 0x18_0000_0000)
        #expect(root.bridge?.registers?.prefetchable.base == 0x4_0000_0000)
        #expect(root.resource(.memoryWindow)?.range?.first == 0x1b_8000_0000)
        #expect(root.bridge?.registers?.memory.base == 0x8000_0000)
    }

    @Test func whatFailedIsWantedAndHasNoAddress() throws {
        let topology = try TextFixtures.topology("R9")
        let card = try #require(function(topology, "05:00.0"))
        let bar = try #require(ResourceIndex.bar(0).flatMap { card.resource($0) })
        #expect(bar.size == ByteCount(32 << 30))
        #expect(bar.lacksAddress)
    }

    @Test func snapshotOfATextGivesTheSameTopology() throws {
        for name in ["R2", "R6", "R12"] {
            let record = try RecordedInput(paths: TextFixtures.paths(name)).record
            let bytes = SnapshotFile.encode(record)
            let again = try SnapshotFile.decode(bytes)
            #expect(try TopologyAssembler(again).topology() == TopologyAssembler(record).topology(), "\(name)")
        }
    }
}
