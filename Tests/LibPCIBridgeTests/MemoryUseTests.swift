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

    @Test(
        "CXL.mem that is on: its ranges protect the device; without ranges /proc/iomem decides, and unread it is not told"
    )
    func decoders() throws {
        func protection(base: UInt32, control: UInt32, iomem: String?) throws -> [String] {
            var shape = SmallMachine.shape()
            defer { shape.remove() }
            var config = ConfigSpace(SmallMachine.config(0x05_0210))
            config.write(0x10, at: 6, width: 2)
            config.write(0x40, at: 0x34, width: 1)
            config.write(0x0002_0010, at: 0x40, width: 4)
            config.bytes += Array(repeating: 0, count: max(0, 4096 - config.bytes.count))
            // A device DVSEC: memory, one range of 1 GiB, valid and active.
            for (i, word) in [0x0001_0023, 0x0381_1e98, 0x0014_0000, control, 0, 0, 0, 0x4000_0003, 0, base]
                .enumerated()
            {
                config.write(UInt32(word), at: 0x100 + 4 * i, width: 4)
            }
            let none = Array(repeating: ResourceLine.zero, count: 13)
            shape.function(at("00:04.0"), rootBus: 0, config: config.bytes, lines: none)
            if let iomem { shape.file("proc/iomem", iomem) }
            return try reasons(shape, "00:04.0").filter { $0.contains("CXL") }
        }
        let empty = "80000000-8fffffff : PCI Bus 0000:00\n"
        let hidden = "00000000-00000000 : PCI Bus 0000:00\n  00000000-00000000 : 0000:00:02.0\n"
        let decodes = ["CXL.mem is on, and the host reaches its memory at [mem 0x90000000-0xcfffffff]"]
        let untold = ["CXL.mem is on, and what of its memory the host uses was not read"]
        #expect(try protection(base: 0x9000_0000, control: 4, iomem: empty) == decodes)
        #expect(try protection(base: 0x9000_0000, control: 0, iomem: empty) == [], "CXL.mem is off")
        #expect(try protection(base: 0, control: 4, iomem: empty) == [], "no range, and no region in the file")
        #expect(try protection(base: 0, control: 4, iomem: hidden) == untold)
        #expect(try protection(base: 0, control: 0, iomem: hidden) == [])
    }

    @Test(
        "a decoder with a size protects the device behind its endpoint, one without does not, whatever is in the list"
    )
    func committed() throws {
        var shape = SmallMachine.shape()
        defer { shape.remove() }
        let none = Array(repeating: ResourceLine.zero, count: 13)
        shape.function(at("00:04.0"), rootBus: 0, config: SmallMachine.config(0x05_0210), lines: none)
        func decoder(_ name: String, _ size: String) {
            let path = "devices/platform/ACPI0017:00/root0/port1/endpoint2/\(name)"
            shape.file("sys/\(path)/size", size)
            shape.file("sys/\(path)/start", "0x510000000\n")
            shape.link("sys/bus/cxl/devices/\(name)", "../../../\(path)")
        }
        shape.link(
            "sys/devices/platform/ACPI0017:00/root0/port1/endpoint2/uport",
            "../../../../../pci0000:00/0000:00:04.0/mem0"
        )
        shape.link("sys/bus/cxl/devices/endpoint2", "../../../devices/platform/ACPI0017:00/root0/port1/endpoint2")
        decoder("decoder2.1", "0x0\n")
        #expect(try reasons(shape, "00:04.0").isEmpty)
        decoder("decoder2.0", "0x10000000\n")
        decoder("decoder2.2", "all of it\n")
        #expect(
            try reasons(shape, "00:04.0") == ["decoder2.0 gives 256M of its CXL memory to the host at 0x510000000"]
        )
    }

    @Test("a window that firmware keeps for CXL blocks the part of an aperture that it reaches into")
    func windows() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.file(
            "proc/iomem",
            "80000000-8fffffff : PCI Bus 0000:00\n  8c000000-8fffffff : CXL Window 1\n500000000-5ffffffff : CXL Window 0\n"
        )
        let blockers = try TopologyAssembler(SmallMachine.read(shape)).topology().blockers
        #expect(blockers.map(\.name).filter { $0.hasPrefix("CXL") } == ["CXL Window 1"])
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
