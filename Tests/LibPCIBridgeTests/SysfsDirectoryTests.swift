// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// A type 0 header of `count` bytes.
private func header(_ vendor: UInt16, _ device: UInt16, layout: UInt8 = 0, count: Int = 64) -> [UInt8] {
    var config = [UInt8](repeating: 0, count: count)
    config[0] = UInt8(vendor & 0xff)
    config[1] = UInt8(vendor >> 8)
    config[2] = UInt8(device & 0xff)
    config[3] = UInt8(device >> 8)
    config[0x0e] = layout
    return config
}

@Suite("Directories in the shape of sysfs")
struct SysfsDirectoryTests {
    @Test("the made-up machine is read whole: every function, every parent, every window")
    func generated() throws {
        var shape = SysfsShape.temporary()
        defer { shape.remove() }
        GeneratedMachine.write(hosts: 5, to: &shape)
        #expect(shape.count == 1160)
        let record = try SysfsDirectoryReader(path: shape.path).read()
        #expect(record.functions.count == 1160)
        #expect(record.gaps.isEmpty)
        #expect(record.buses.filter(\.isRoot).count == 5)
        let t = try TopologyAssembler(record).topology()
        #expect(t.hostBridges.map(\.rootBus.rawValue) == [0, 41, 82, 123, 164])
        #expect(t.functions.filter(\.isBridge).count == 5 * 8 * 5)
        #expect(t.functions.filter(\.isHotPlugBridge).count == 5 * 8 * 4)
        for (i, f) in t.functions.enumerated() {
            for r in f.resources where !r.index.isWindow {
                let bar = try #require(r.range)
                for above in t.ancestors(of: i) {
                    let windows = t.functions[above].resources.filter(\.index.isWindow).compactMap(\.range)
                    #expect(windows.contains { $0.contains(bar) })
                }
            }
        }
        // The copy of /sys and of /sys/bus/pci give the same functions.
        for place in ["/sys", "/sys/bus/pci"] {
            #expect(try SysfsDirectoryReader(path: shape.path + place).read().functions == record.functions)
        }
    }

    /// `PCI_REBALANCE_GENERATED=DIR swift test --filter leaveBehind`, then compare with
    /// `lspci -vv -A linux-sysfs -O sysfs.path=DIR/sys/bus/pci`.
    @Test(
        "the made-up machine can be left behind for measurements",
        .enabled(if: getenv("PCI_REBALANCE_GENERATED") != nil)
    )
    func leaveBehind() throws {
        let path = String(cString: try #require(getenv("PCI_REBALANCE_GENERATED")))
        var shape = SysfsShape(path: path)
        GeneratedMachine.write(hosts: 5, to: &shape)
        #expect(try SysfsDirectoryReader(path: path).read().functions.count == shape.count)
    }

    @Test("libpci and we read the same bytes")
    func agreesWithLibpci() throws {
        var shape = SysfsShape.temporary()
        defer { shape.remove() }
        GeneratedMachine.write(hosts: 1, to: &shape)
        let record = try SysfsDirectoryReader(path: shape.path).read()
        let readings = try ConfigurationAccess.read(
            record.functions.map(\.address),
            sysfsPath: shape.path + "/sys/bus/pci"
        )
        #expect(readings.map(\.config) == record.functions.map(\.config))
    }

    @Test("entries that are directories: parents follow from bus numbers")
    func plainDirectories() throws {
        let shape = SysfsShape.temporary()
        defer { shape.remove() }
        func add(_ name: String, _ config: [UInt8], lines: Int) {
            shape.file("devices/\(name)/resource", String(repeating: "0x0 0x0 0x0\n", count: lines))
            shape.file("devices/\(name)/class", config[0x0e] == 1 ? "0x060400\n" : "0x020000\n")
            shape.file("devices/\(name)/config", String(decoding: config, as: UTF8.self))
        }
        var bridge = header(0x36, 0x0c, layout: 1)
        bridge[0x18] = 0
        bridge[0x19] = 1
        bridge[0x1a] = 3
        add("0000:00:02.0", bridge, lines: 17)
        add("0000:01:00.0", header(0x36, 0x05), lines: 13)
        // A VF's bus has no bridge of its own.
        add("0000:02:00.0", header(0x36, 0x05), lines: 13)
        removeTree(shape.path + "/sys")
        let record = try SysfsDirectoryReader(path: shape.path).read()
        #expect(record.functions.map(\.placement) == [.unknown, .unknown, .unknown])
        let t = try TopologyAssembler(record).topology()
        #expect(t.functions.map(\.parent) == [nil, at("00:02.0"), at("00:02.0")])
        #expect(t.functions[0].bridge?.busRange?.description == "[bus 01-03]")
        #expect(t.gaps.first?.code == "config-64-bytes")
    }

    @Test("damaged files become gaps, the rest stays")
    func damaged() throws {
        var shape = SysfsShape.temporary()
        defer { shape.remove() }
        shape.root(bus: 0)
        for device in 1...4 {
            shape.function(
                at("00:0\(device).0"),
                rootBus: 0,
                config: header(0x1af4, 0x1041),
                lines: Array(repeating: .zero, count: 13)
            )
        }
        shape.file("sys/devices/pci0000:00/0000:00:01.0/resource", "0x0 0x0\n")
        unlink(shape.path + "/sys/devices/pci0000:00/0000:00:02.0/resource")
        removeTree(shape.path + "/sys/devices/pci0000:00/0000:00:03.0")
        shape.file("sys/bus/pci/devices/README", "not a device\n")
        let record = try SysfsDirectoryReader(path: shape.path).read()
        #expect(record.functions.map(\.address) == [at("00:01.0"), at("00:02.0"), at("00:04.0")])
        #expect(record.gaps.map(\.code) == ["damaged-resource", "no-resource", "vanished", "config-64-bytes"])
        #expect(record.functions[0].resource == nil)
        #expect(record.functions[2].resource?.count == 13)
    }

    @Test("an empty machine is a machine")
    func empty() throws {
        let shape = SysfsShape.temporary()
        defer { shape.remove() }
        let record = try SysfsDirectoryReader(path: shape.path).read()
        #expect(record.functions.isEmpty)
        #expect(try TopologyAssembler(record).topology().hostBridges.isEmpty)
    }

    @Test("no such directory, and a directory of another shape")
    func wrong() {
        let missing = #expect(throws: ReadError.self) { try SysfsDirectoryReader(path: "/nonexistent").read() }
        #expect(missing?.exitStatus == 69)
        #expect(missing?.description == "cannot open directory /nonexistent: No such file or directory")
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        let other = #expect(throws: ReadError.self) { try SysfsDirectoryReader(path: directory).read() }
        #expect(other?.exitStatus == 65)
    }
}
