// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

@Suite("Reading the machine")
struct LiveReaderTests {
    @Test("functions, order, kernel, privileges and log are in the record")
    func record() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        let record = try SmallMachine.read(shape)
        #expect(record.origin == .live)
        #expect(record.functions.map(\.address) == [at("00:01.0"), at("00:02.0"), at("00:03.0"), at("01:00.0")])
        #expect(record.functions.allSatisfy { $0.config.count == 256 })
        #expect(record.deviceOrder == [at("00:02.0"), at("00:03.0"), at("00:01.0"), at("01:00.0")])
        #expect(record.kernel.release == "6.12.1")
        #expect(record.kernel.hardwareDescription == nil)
        #expect(record.privileges?.hasSysAdmin == true)
        #expect(record.privileges?.isLockedDown == true)
        #expect(record.gaps.map(\.code).contains("lockdown"))
        #expect(
            record.kernelLog == ["[    1.234567] pci_bus 0000:00: root bus resource [mem 0x80000000-0x8fffffff window]"]
        )
        let t = try TopologyAssembler(record).topology()
        #expect(t.hostBridges.first?.source == .kernelLog)
        #expect(t.roots(of: 0).map { t.functions[$0].address } == [at("00:02.0"), at("00:03.0"), at("00:01.0")])
        // What was read live equals what its snapshot gives.
        let again = try SnapshotFile.decode(SnapshotFile.encode(record))
        #expect(try TopologyAssembler(again).topology() == t)
    }

    @Test("a device tree describes the machine unless ACPI's tables are there; the snapshot says so")
    func description() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.file("sys/firmware/devicetree/base/model", "x")
        let board = try SmallMachine.read(shape)
        #expect(board.kernel.hardwareDescription == .deviceTree)
        let bytes = SnapshotFile.encode(board)
        #expect(try SnapshotFile.decode(bytes).kernel == board.kernel)
        #expect(try SysfsDirectoryReader(path: shape.path).read().kernel.hardwareDescription == .deviceTree)
        shape.file("sys/firmware/opal/msglog", "x")
        let power = try SmallMachine.read(shape)
        #expect(power.kernel.hardwareDescription == .opal)
        #expect(try SnapshotFile.decode(SnapshotFile.encode(power)).kernel == power.kernel)
        let odd = String(decoding: bytes, as: UTF8.self).replacing("device-tree", with: "hearsay")
        #expect(throws: ReadError.self) { try SnapshotFile.decode(Array(odd.utf8)) }
        shape.file("sys/firmware/acpi/tables/DSDT", "x")
        #expect(try SmallMachine.read(shape).kernel.hardwareDescription == .acpi)
    }

    @Test("a mounted disk protects its controller, through partition, LVM and swap")
    func disks() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        let disk = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0n1"
        shape.file("\(disk)/dev", "259:0\n")
        shape.file("\(disk)/nvme0n1p2/dev", "259:2\n")
        shape.link("\(disk)/nvme0n1p2/holders/dm-0", "../../../../../../../../virtual/block/dm-0")
        shape.file("sys/devices/virtual/block/dm-0/dev", "254:0\n")
        shape.file("sys/devices/virtual/block/dm-0/dm/name", "vg-root\n")
        shape.link("sys/devices/virtual/block/dm-0/slaves/nvme0n1p2", "x")
        let path = disk.dropFirst(4)
        shape.link("sys/class/block/nvme0n1", "../../\(path)")
        shape.link("sys/class/block/nvme0n1p2", "../../\(path)/nvme0n1p2")
        shape.link("sys/class/block/dm-0", "../../devices/virtual/block/dm-0")
        shape.file(
            "proc/self/mountinfo",
            "22 1 254:0 / / rw - ext4 /dev/mapper/vg-root rw\n23 22 0:5 / /sys rw - sysfs sysfs rw\n"
        )
        shape.file("proc/swaps", "Filename Type Size Used Priority\n/dev/mapper/vg-root partition 1 0 -2\n")
        let record = try SmallMachine.read(shape)
        let use = try #require(record.function(at: at("01:00.0"))).use
        #expect(
            use.map(\.detail) == [
                "/dev/dm-0 is mounted on /", "/dev/dm-0 is swap", "/dev/nvme0n1p2 is part of /dev/dm-0",
            ]
        )
        #expect(use.filter { !$0.isProtected }.isEmpty)
        // The bridge above is judged by what is below it, not twice.
        #expect(SmallMachine.codes(record, "00:01.0") == [])
    }

    @Test("a multipath NVMe disk is found through its controllers")
    func multipath() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        let subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0"
        shape.file("\(subsystem)/nvme0n1/dev", "259:0\n")
        shape.file("\(subsystem)/nvme0n1/nvme0n1p1/dev", "259:1\n")
        shape.link("\(subsystem)/nvme0", "../../../pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0")
        shape.link("sys/class/block/nvme0n1", "../../\(subsystem.dropFirst(4))/nvme0n1")
        shape.link("sys/class/block/nvme0n1p1", "../../\(subsystem.dropFirst(4))/nvme0n1/nvme0n1p1")
        shape.file("proc/self/mountinfo", "22 1 259:1 / /boot\\040efi rw - vfat /dev/nvme0n1p1 rw\n")
        let record = try SmallMachine.read(shape)
        #expect(record.function(at: at("01:00.0"))?.use.map(\.detail) == ["/dev/nvme0n1p1 is mounted on /boot efi"])
    }

    @Test("the default route and the operator's connection protect the NIC, through bridge and VLAN")
    func network() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.link("sys/class/net/eth0", "../../devices/pci0000:00/0000:00:02.0/net/eth0")
        shape.file("sys/devices/pci0000:00/0000:00:02.0/net/eth0/operstate", "up\n")
        shape.link("sys/class/net/br0", "../../devices/virtual/net/br0")
        shape.link("sys/devices/virtual/net/br0/lower_eth0", "../../../pci0000:00/0000:00:02.0/net/eth0")
        let route = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        shape.file("proc/self/mountinfo", "9 1 0:40 / /srv rw - nfs4 s:/x rw,vers=4.2,addr=192.0.2.9\n")
        shape.file("proc/net/route", route + "br0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["network-mount!", "link-up"])
        shape.file("proc/net/route", route + "br0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
        #expect(
            SmallMachine.codes(try SmallMachine.read(shape, ssh: "198.51.100.7 5 192.0.2.1 22"), "00:02.0") == [
                "default-route!", "ssh!", "network-mount!", "link-up",
            ]
        )
        shape.file("proc/self/mountinfo", "")
        shape.file("proc/net/route", route)
        shape.file(
            "proc/net/ipv6_route",
            "20010db8000000000000000000000000 20 00000000000000000000000000000000 00 "
                + "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
        )
        #expect(
            SmallMachine.codes(try SmallMachine.read(shape, ssh: "2001:db8::7 5 2001:db8::1 22"), "00:02.0") == ["ssh!"]
        )
        #expect(SmallMachine.codes(try SmallMachine.read(shape, ssh: "fd00::7 5 fd00::1 22"), "00:02.0") == ["address"])
    }

    @Test("consoles, lit displays, keyboards, a guest's device")
    func peripherals() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        let gpu = "devices/pci0000:00/0000:00:03.0"
        shape.link("sys/class/graphics/fb0", "../../\(gpu)/graphics/fb0")
        shape.file("sys/class/vtconsole/vtcon1/name", "(M) frame buffer device\n")
        shape.file("sys/class/vtconsole/vtcon1/bind", "1\n")
        shape.file("sys/\(gpu)/drm/card0/card0-DP-1/status", "connected\n")
        shape.file("sys/\(gpu)/drm/card0/card0-DP-1/enabled", "enabled\n")
        shape.link("sys/class/drm/card0-DP-1", "../../\(gpu)/drm/card0/card0-DP-1")
        shape.file("sys/devices/pci0000:00/0000:00:02.0/usb1/1-1/1-1:1.0/bInterfaceClass", "03\n")
        shape.file("sys/devices/pci0000:00/0000:00:02.0/usb1/1-1/1-1:1.0/bInterfaceProtocol", "01\n")
        shape.link("sys/bus/usb/devices/1-1:1.0", "../../../devices/pci0000:00/0000:00:02.0/usb1/1-1/1-1:1.0")
        shape.link("sys/class/tty/ttyS4", "../../devices/pci0000:00/0000:00:02.0/tty/ttyS4")
        shape.link("sys/\(gpu)/iommu_group", "../../../kernel/iommu_groups/7")
        shape.link("sys/devices/pci0000:00/0000:00:02.0/iommu_group", "../../../kernel/iommu_groups/7")
        shape.file("proc/1234/comm", "qemu-system-x86\n")
        shape.link("proc/1234/fd/9", "/dev/vfio/7")
        let record = try SmallMachine.read(shape)
        #expect(SmallMachine.codes(record, "00:03.0") == ["console!", "display!", "vfio!"])
        #expect(SmallMachine.codes(record, "00:02.0") == ["usb-keyboard!", "serial-console!", "vfio-group!"])
        #expect(record.function(at: at("00:03.0"))?.use.last?.detail == "qemu-system-x86 (1234) holds it through VFIO")
        let t = try TopologyAssembler(record).topology()
        #expect(
            t[at("00:03.0")]?.use.evidence.map(\.code) == ["driver-bound", "boot-vga", "console", "display", "vfio"]
        )
    }

    @Test("a raw disk that a process holds open, and a GPU that computes")
    func holders() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.link("sys/class/block/nvme0n1", "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0n1")
        shape.file("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0n1/dev", "259:0\n")
        shape.file("proc/self/mountinfo", "")
        shape.file("proc/77/comm", "postgres\n")
        shape.link("proc/77/fd/3", "/dev/nvme0n1")
        shape.link("proc/77/fd/4", "/dev/nvidia1")
        shape.link("proc/77/fd/5", "/dev/null")
        shape.file("proc/driver/nvidia/gpus/0000:00:02.0/information", "Model: \t x\nDevice Minor: \t 1\n")
        let record = try SmallMachine.read(shape)
        #expect(record.function(at: at("01:00.0"))?.use.map(\.detail) == ["/dev/nvme0n1 is held by postgres (77)"])
        #expect(SmallMachine.codes(record, "00:02.0") == ["gpu-client!"])
    }

    @Test("a bridge to another host is protected while a driver has it")
    func nonTransparentBridge() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        let nic = "sys/devices/pci0000:00/0000:00:02.0"
        #expect(!SmallMachine.codes(try SmallMachine.read(shape), "00:02.0").contains { $0.hasPrefix("ntb") })
        shape.link("\(nic)/driver", "../../../bus/pci/drivers/ntb_hw_intel")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0").contains("ntb-untold!"))
    }

    @Test("memory lent to peers, regions of firmware, addresses fixed by hardware, hypervisors that do not follow")
    func platform() throws {
        var shape = SmallMachine.shape()
        defer { shape.remove() }
        let nic = "sys/devices/pci0000:00/0000:00:02.0"
        shape.file("\(nic)/p2pmem/size", "16777216\n")
        shape.file("\(nic)/p2pmem/available", "16777216\n")
        shape.link("\(nic)/iommu_group", "../../../kernel/iommu_groups/7")
        let regions = "sys/kernel/iommu_groups/7/reserved_regions"
        shape.file(regions, "0x00000000fee00000 0x00000000feefffff msi\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["p2pdma-idle"])
        shape.file("\(nic)/p2pmem/available", "4194304\n")
        shape.file(regions, "0x000000009d000000 0x000000009d7fffff direct\n0x00000000fee00000 0x00000000feefffff msi\n")
        let use = try #require(try SmallMachine.read(shape).function(at: at("00:02.0"))).use
        #expect(
            use.map(\.detail) == [
                "12M of its memory is lent to other devices (P2PDMA)",
                "firmware transfers through it, to 0x000000009d000000-0x000000009d7fffff",
            ]
        )
        #expect(use.map(\.isProtected) == [true, false])
        var config = [UInt8](repeating: 0, count: 256)
        config[0] = 0x86
        config[1] = 0x80
        config[6] = 0x10
        config[0x34] = 0x40
        config[0x40] = 0x01
        config[0x41] = 0x50
        config[0x50] = 0x14
        let none = Array(repeating: ResourceLine.zero, count: 13)
        shape.function(at("00:04.0"), rootBus: 0, config: config, lines: none)
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:04.0") == ["fixed"])
        shape.file("sys/class/dmi/id/sys_vendor", "QEMU\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:04.0") == ["fixed"])
        shape.file("sys/class/dmi/id/sys_vendor", "Cloud Hypervisor\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:04.0") == ["fixed", "hypervisor!"])
        #expect(
            SmallMachine.codes(try SmallMachine.read(shape), "00:01.0") == [],
            "a bridge is judged by what is below it"
        )
    }

    @Test("no sysfs is unavailable; an empty bus is said")
    func nothing() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        let error = #expect(throws: ReadError.self) {
            try LiveReader(options: .init(sysfs: directory + "/sys", procfs: directory, devices: directory)).read()
        }
        #expect(error?.code == .unavailable)
        let shape = SysfsShape(path: directory)
        let record = try SmallMachine.read(shape)
        #expect(record.functions.isEmpty)
        #expect(record.gaps.map(\.code) == ["empty-bus", "use-unseen"])
    }

    @Test("this machine can be read, and its snapshot gives the same tree")
    func running() throws {
        guard access("/sys/bus/pci/devices", R_OK) == 0 else {
            print("skipped: this machine has no PCI in sysfs")
            return
        }
        let record = try LiveReader().read()
        let t = try TopologyAssembler(record).topology()
        #expect(t.functions.count == record.functions.count)
        let again = try SnapshotFile.decode(SnapshotFile.encode(record))
        #expect(again == record)
        #expect(try TopologyAssembler(again).topology() == t)
    }
}
