// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import LibPCIBridge

/// Who drives a slot, by each kind of evidence. The words of logs and sysfs are those of 6.1 and 6.12 in guests.
@Suite("slot drivers")
struct SlotDriverTests {
    private static let port = at("0000:02:01.0")

    private func record() throws -> MachineRecord { try Fixtures.record("first-light-6.12/boot") }

    private func driver(_ record: MachineRecord, of port: FunctionAddress = port) throws -> SlotDriver? {
        try TopologyAssembler(record).topology()[port]?.use.slotDriver
    }

    /// The record without anything that tells of pciehp.
    private func silent(_ record: MachineRecord) -> MachineRecord {
        var record = record
        record.kernelLog = record.kernelLog?.filter { !$0.contains("pciehp") && !$0.contains("_OSC") }
        record.slots = []
        record.origin = .text
        // What a listing without root shows.
        for i in record.functions.indices {
            record.functions[i].config = ConfigSpace(Array(record.functions[i].config.bytes.prefix(64)))
        }
        return record
    }

    @Test("pciehp shows in the log, in the slot's registers, and as a service")
    func native() throws {
        let record = try record()
        #expect(try driver(record) == .pciehp)
        #expect(try driver(record, of: at("0000:01:00.0")) == .nobody)
        var other = record
        other.kernelLog = nil
        #expect(try driver(other) == .pciehp)
        other = silent(record)
        #expect(try driver(other) == .unknown)
        other.nativeHotPlugPorts = [Self.port]
        #expect(try driver(other) == .pciehp)
    }

    @Test("a slot that is not pciehp's is acpiphp's where ACPI describes the machine, whatever the ports could do")
    func acpi() throws {
        var record = try record()
        record.nativeHotPlugPorts = []
        #expect(try driver(record) == .acpiphp)
        let topology = try TopologyAssembler(record).topology()
        #expect(topology.hostBridges[0].slotDriver == .nobody)
        record.slots.append(SlotRecord(name: "6", address: "0000:00:06", isOccupied: false))
        #expect(try TopologyAssembler(record).topology().hostBridges[0].slotDriver == .acpiphp)
        record.kernel.hardwareDescription = .deviceTree
        #expect(try driver(record) == .other)
    }

    @Test("the module that made a slot is believed")
    func module() throws {
        var record = try record()
        record.nativeHotPlugPorts = []
        for i in record.slots.indices { record.slots[i].module = "shpchp" }
        #expect(try driver(record) == .shpchp)
        for i in record.slots.indices { record.slots[i].module = "rpaphp" }
        #expect(try driver(record) == .other)
    }

    @Test("where neither service nor slot is, nobody listens; where nobody looked, that is not known")
    func nobody() throws {
        var record = try record()
        record.nativeHotPlugPorts = []
        record.slots = []
        #expect(try driver(record) == .nobody)
        record = silent(try self.record())
        record.kernel.commandLine = "quiet pcie_ports=compat acpiphp.disable=1"
        #expect(try driver(record) == .nobody)
        record.kernel.commandLine = "quiet pcie_ports=compat"
        #expect(try driver(record) == .unknown)
    }

    @Test("the record of services and modules survives a snapshot")
    func coding() throws {
        var record = try record()
        record.nativeHotPlugPorts = [Self.port]
        record.slots[0].module = "pciehp"
        #expect(try SnapshotFile.decode(SnapshotFile.encode(record)) == record)
    }
}
