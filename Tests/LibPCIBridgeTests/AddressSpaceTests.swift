// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// Users of a device that share their memory with it (ATS, PRI, PASID), and links of non-transparent bridges as drivers tell.
@Suite("Address spaces and links in use")
struct AddressSpaceTests {
    private static let device = "sys/devices/pci0000:00/0000:00:04.0"

    /// The small machine with an accelerator at 00:04.0: PASID and page requests as given, a queue with a node.
    private func machine(pasid: UInt32, pageRequests: UInt32 = 1) -> SysfsShape {
        var shape = SmallMachine.shape()
        var config = ConfigSpace(SmallMachine.config(0x08_8000))
        config.bytes += Array(repeating: 0, count: 4096 - config.bytes.count)
        config.write(0x10, at: 6, width: 2)
        config.write(0x40, at: 0x34, width: 1)
        config.write(0x0002_0010, at: 0x40, width: 4)
        for (offset, header, control) in [(0x100, 0x1100_001b, pasid << 16), (0x110, 0x0000_0013, pageRequests)] {
            config.write(UInt32(header), at: offset, width: 4)
            config.write(UInt32(control), at: offset + 4, width: 4)
        }
        let none = Array(repeating: ResourceLine.zero, count: 13)
        shape.function(at("00:04.0"), rootBus: 0, config: config.bytes, lines: none)
        shape.link("\(Self.device)/driver", "../../../bus/pci/drivers/idxd")
        shape.file("\(Self.device)/dsa0/wq0.0/wq0.0/uevent", "MAJOR=240\nMINOR=0\nDEVNAME=dsa/wq0.0\n")
        shape.link("\(Self.device)/dsa0/wq0.0/wq0.0/subsystem", "../../../../../../bus/dsa")
        shape.link("sys/dev/char/240:0", "../../devices/pci0000:00/0000:00:04.0/dsa0/wq0.0/wq0.0")
        return shape
    }

    private func hold(_ node: String, _ shape: SysfsShape) {
        shape.file("proc/77/comm", "packer\n")
        shape.link("proc/77/fd/5", node)
    }

    @Test("a process with an accelerator's queue: it shares its address space where PASID is on")
    func queue() throws {
        let shared = machine(pasid: 1)
        defer { shared.remove() }
        #expect(!SmallMachine.codes(try SmallMachine.read(shared), "00:04.0").contains("sva!"))
        hold("/dev/dsa/wq0.0", shared)
        let record = try SmallMachine.read(shared)
        #expect(SmallMachine.codes(record, "00:04.0").contains("sva!"))
        #expect(
            SmallMachine.details(record, "00:04.0").contains(
                "/dev/dsa/wq0.0 is held by packer (77), whose address space it may use (PASID is on)"
            )
        )
        #expect(!SmallMachine.codes(record, "00:02.0").contains("sva!"))
        let plain = machine(pasid: 0)
        defer { plain.remove() }
        hold("/dev/dsa/wq0.0", plain)
        #expect(SmallMachine.codes(try SmallMachine.read(plain), "00:04.0").contains("open!"))
        let other = machine(pasid: 1)
        defer { other.remove() }
        hold("/dev/dsa/wq1.0", other)
        #expect(!SmallMachine.codes(try SmallMachine.read(other), "00:04.0").contains { $0.hasSuffix("!") })
    }

    @Test("address spaces by the IOMMU's own list; without it and without sight of processes, page requests are users")
    func spaces() throws {
        let shape = machine(pasid: 1)
        defer { shape.remove() }
        let list = "sys/kernel/debug/iommu/intel/0000:00:04.0"
        shape.file("\(list)/domain_translation_struct", "")
        #expect(
            !SmallMachine.codes(try SmallMachine.read(shape), "00:04.0").contains("sva!"),
            "its own domain is no user"
        )
        shape.file("\(list)/7/domain_translation_struct", "")
        shape.file("\(list)/12/domain_translation_struct", "")
        #expect(
            SmallMachine.details(try SmallMachine.read(shape), "00:04.0").contains(
                "it uses 2 address spaces of others (PASID 7, 12)"
            )
        )
        func blind(pasid: UInt32, pageRequests: UInt32) throws -> [String] {
            let shape = machine(pasid: pasid, pageRequests: pageRequests)
            defer { shape.remove() }
            // A process whose descriptors may not be listed.
            shape.file("proc/78/fd", "")
            return SmallMachine.codes(try SmallMachine.read(shape), "00:04.0")
        }
        #expect(try blind(pasid: 1, pageRequests: 1).contains("sva-untold!"))
        #expect(try !blind(pasid: 1, pageRequests: 0).contains("sva-untold!"))
        #expect(try !blind(pasid: 0, pageRequests: 1).contains("sva-untold!"))
    }

    @Test(
        "a bridge to another host: up and untold protect, down does not; registers first, then the driver's own words"
    )
    func links() throws {
        func codes(_ device: UInt16, vendor: UInt16 = 0x8086, status: UInt32 = 0, driver: String?, info: String?) throws
            -> [String]
        {
            var shape = SmallMachine.shape()
            defer { shape.remove() }
            var config = ConfigSpace(SmallMachine.config(0x06_8000, vendor: vendor))
            config.bytes += Array(repeating: 0, count: 4096 - config.bytes.count)
            config.write(UInt32(device), at: 2, width: 2)
            config.write(status, at: 0x1a2, width: 2)
            let none = Array(repeating: ResourceLine.zero, count: 13)
            shape.function(at("00:04.0"), rootBus: 0, config: config.bytes, lines: none)
            if let driver {
                shape.link("\(Self.device)/driver", "../../../bus/pci/drivers/\(driver)")
                if let info { shape.file("sys/kernel/debug/\(driver)/0000:00:04.0/info", info) }
            }
            return SmallMachine.codes(try SmallMachine.read(shape), "00:04.0").filter { $0.hasPrefix("ntb") }
        }
        #expect(try codes(0x201c, status: 0x2000, driver: nil, info: nil) == ["ntb!"])
        #expect(try codes(0x201c, driver: nil, info: nil) == ["ntb-down"])
        let words = "NTB Device Information:\nLNK STA (cached) -\t\t0x0000\nLink Status -\t\t"
        #expect(try codes(0x347e, driver: "ntb_hw_intel", info: words + "Up\nLink Width -\t\tx16\n") == ["ntb!"])
        #expect(try codes(0x347e, driver: "ntb_hw_intel", info: words + "Down\n") == ["ntb-down"])
        #expect(try codes(0x347e, driver: "ntb_hw_intel", info: "something else\n") == ["ntb-untold!"])
        #expect(try codes(0x148b, vendor: 0x1022, driver: nil, info: nil) == ["ntb-untold!"])
        #expect(try codes(0x1572, driver: nil, info: nil).isEmpty)
    }
}
