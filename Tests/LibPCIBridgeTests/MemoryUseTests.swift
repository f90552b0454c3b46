// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// Memory that the kernel lives in, and devices that a process drives by itself.
@Suite("Memory and BARs in use")
struct MemoryUseTests {
    private func reasons(_ shape: SysfsShape, _ address: String) throws -> [String] {
        let topology = try TopologyAssembler(SmallMachine.read(shape)).topology()
        let function = try #require(topology[at(address)])
        return function.use.evidence.filter(\.isProtected).map(\.detail)
    }

    @Test("a region of CXL memory protects the CXL memory devices, and nobody else")
    func regions() throws {
        var shape = SmallMachine.shape()
        defer { shape.remove() }
        let none = Array(repeating: ResourceLine.zero, count: 13)
        shape.function(at("00:04.0"), rootBus: 0, config: SmallMachine.config(0x05_0210), lines: none)
        shape.file(
            "proc/iomem",
            """
            80000000-8fffffff : PCI Bus 0000:00
            500000000-5ffffffff : CXL Window 0
              500000000-5ffffffff : region0
                500000000-5ffffffff : dax0.0
                  500000000-5ffffffff : System RAM (kmem)

            """
        )
        let expected = "region0 [mem 0x500000000-0x5ffffffff] of CXL memory is in use as System RAM"
        #expect(try reasons(shape, "00:04.0") == [expected])
        #expect(try !reasons(shape, "00:02.0").contains(expected))
        shape.file("proc/iomem", "80000000-8fffffff : PCI Bus 0000:00\n500000000-5ffffffff : CXL Window 0\n")
        #expect(try reasons(shape, "00:04.0").isEmpty, "a window without region is room")
    }

    @Test("System RAM in a BAR protects its function")
    func ramInBAR() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.file(
            "proc/iomem",
            """
            80000000-8fffffff : PCI Bus 0000:00
              80000000-80ffffff : 0000:00:02.0
                80000000-807fffff : System RAM (nvidia)

            """
        )
        #expect(
            try reasons(shape, "00:02.0").contains("its memory [mem 0x80000000-0x807fffff] is in use as System RAM")
        )
    }

    @Test("a BAR that a process maps, and a node that it holds, protect their function")
    func held() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.file("proc/77/comm", "spdk\n")
        shape.file(
            "proc/77/maps",
            "7f00-7f01 rw-s 00000000 00:13 1  /sys/devices/pci0000:00/0000:00:02.0/resource0\n"
        )
        shape.link("proc/77/fd/3", "/dev/uio0")
        shape.link("sys/class/uio/uio0", "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/uio/uio0")
        #expect(try reasons(shape, "00:02.0").contains("spdk (77) has its resource0 open or mapped"))
        #expect(try reasons(shape, "01:00.0").contains("/dev/uio0 is held by spdk (77)"))
    }
}
