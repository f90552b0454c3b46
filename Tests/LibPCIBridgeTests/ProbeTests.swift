// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import TestSupport
import Testing

@Suite("Probing")
struct ProbeTests {
    private func shape(command: UInt8, driver: Bool) -> SysfsShape {
        var shape = SysfsShape.temporary()
        shape.root(bus: 0)
        var config = [UInt8](repeating: 0, count: 256)
        config[0] = 0x36
        config[1] = 0x1b
        config[4] = command
        config[0x18] = 0x0c
        shape.function(
            at("00:04.0"),
            rootBus: 0,
            config: config,
            lines: Array(repeating: .zero, count: 13),
            attributes: driver ? [("uevent", "DRIVER=x\n")] : []
        )
        shape.file("proc/self/status", "CapEff:\t000001ffffffffff\n")
        return shape
    }

    private func read(_ shape: SysfsShape) throws -> MachineRecord {
        try LiveReader(
            options: .init(sysfs: shape.path + "/sys", procfs: shape.path + "/proc", devices: shape.path, probe: true)
        ).read()
    }

    /// A plain file keeps all ones, so it answers a size of 16 bytes; what matters is that the old value is back.
    @Test("a forgotten BAR of an idle function is probed and its register restored")
    func idle() throws {
        let shape = shape(command: 0, driver: false)
        defer { shape.remove() }
        let before = try SysfsDirectoryReader(path: shape.path).read().functions[0].config
        let record = try read(shape)
        // Beside the forgotten 64-bit BAR 2 the registers that read zero; 3 is its upper half.
        #expect(record.functions[0].probed.map { Int($0.index.rawValue) } == [0, 1, 2, 4, 5])
        #expect(record.functions[0].probed[2].size == ByteCount(16))
        #expect(try SysfsDirectoryReader(path: shape.path).read().functions[0].config == before)
        let t = try TopologyAssembler(record).topology()
        #expect(t.functions[0].resources.first?.sizeSource == .probed)
    }

    @Test("a function that decodes, or has a driver, is left alone", arguments: [(UInt8(2), false), (0, true)])
    func busy(command: UInt8, driver: Bool) throws {
        let shape = shape(command: command, driver: driver)
        defer { shape.remove() }
        let record = try read(shape)
        #expect(record.functions[0].probed.isEmpty)
        let t = try TopologyAssembler(record).topology()
        #expect(t.functions[0].resources.map(\.assignment) == [.wiped])
        #expect(t.functions[0].resources[0].size == nil)
    }
}
