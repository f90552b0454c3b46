// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport

/// A machine of four functions on disk, to be added to.
enum SmallMachine {
    /// A root port with an NVMe disk, a NIC and a GPU on the root bus.
    static func shape() -> SysfsShape {
        var shape = SysfsShape.temporary()
        shape.root(bus: 0)
        var port = config(0x06_0400, layout: 1)
        port[0x19] = 1
        port[0x1a] = 1
        let none = Array(repeating: ResourceLine.zero, count: 13)
        shape.function(at("00:01.0"), rootBus: 0, config: port, lines: none + Array(repeating: .zero, count: 4))
        shape.function(at("01:00.0"), rootBus: 0, chain: [at("00:01.0")], config: config(0x01_0802), lines: none)
        shape.function(at("00:02.0"), rootBus: 0, config: config(0x02_0000), lines: none)
        shape.function(
            at("00:03.0"),
            rootBus: 0,
            config: config(0x03_0000),
            lines: none,
            attributes: [("boot_vga", "1\n"), ("uevent", "DRIVER=vfio-pci\nPCI_CLASS=30000\n")]
        )
        shape.file("proc/cmdline", "root=/dev/dm-0 console=ttyS4,115200\n")
        shape.file("proc/sys/kernel/osrelease", "6.12.1\n")
        shape.file("proc/bus/pci/devices", "0010\t0\n0018\t0\n0008\t0\n0100\t0\n")
        shape.file("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n")
        shape.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
        shape.file(
            "dev/kmsg",
            "6,1,1234567,-;pci_bus 0000:00: root bus resource [mem 0x80000000-0x8fffffff window]\n"
        )
        return shape
    }

    /// 256 bytes of configuration space.
    static func config(_ classCode: UInt32, layout: UInt8 = 0, vendor: UInt16 = 0x8086) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 256)
        bytes[0] = UInt8(vendor & 0xff)
        bytes[1] = UInt8(vendor >> 8)
        bytes[9] = UInt8(classCode & 0xff)
        bytes[10] = UInt8(classCode >> 8 & 0xff)
        bytes[11] = UInt8(classCode >> 16)
        bytes[0x0e] = layout
        return bytes
    }

    static func read(_ shape: SysfsShape, ssh: String? = "none 1 none 2") throws -> MachineRecord {
        try LiveReader(
            options: .init(
                sysfs: shape.path + "/sys",
                procfs: shape.path + "/proc",
                devices: shape.path + "/dev",
                run: shape.path + "/run",
                sshConnection: ssh
            )
        ).read()
    }

    /// The codes of a function's evidence, with `!` where it protects.
    static func codes(_ record: MachineRecord, _ address: String) -> [String] {
        record.function(at: at(address))?.use.map { $0.isProtected ? $0.code + "!" : $0.code } ?? ["no such function"]
    }

    /// The sentences of a function's evidence.
    static func details(_ record: MachineRecord, _ address: String) -> [String] {
        record.function(at: at(address))?.use.map(\.detail) ?? ["no such function"]
    }
}
