// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// Evidence of use at its limits: routes, mounts, holders, memory that is lent.
@Suite("limits of evidence")
struct MountRuleTests {
    private static let nic = "devices/pci0000:00/0000:00:02.0"
    private static let disk = "devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0n1"
    private static let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"

    private func withNetwork(_ routes: [String], six: [String] = [], _ change: (inout SysfsShape) -> Void = { _ in })
        -> SysfsShape
    {
        var shape = SmallMachine.shape()
        shape.link("sys/class/net/eth0", "../../\(Self.nic)/net/eth0")
        shape.file("proc/self/mountinfo", "")
        shape.file("proc/net/route", Self.head + routes.map { $0 + "\n" }.joined())
        if !six.isEmpty { shape.file("proc/net/ipv6_route", six.map { $0 + "\n" }.joined()) }
        change(&shape)
        return shape
    }

    private func codes(_ shape: SysfsShape, _ address: String = "00:02.0", ssh: String = "none 1 none 2") throws
        -> [String]
    {
        defer { shape.remove() }
        return SmallMachine.codes(try SmallMachine.read(shape, ssh: ssh), address)
    }

    @Test("routes: up, not rejecting, default by an empty mask; others are an address")
    func routes() throws {
        func route(_ flags: String, _ mask: String, destination: String = "00000000") -> String {
            "eth0\t\(destination)\t00000000\t\(flags)\t0\t0\t0\t\(mask)\t0\t0\t0"
        }
        #expect(try codes(withNetwork([route("0003", "00000000")])) == ["default-route!"])
        #expect(try codes(withNetwork([route("0002", "00000000")])) == [], "not up")
        #expect(try codes(withNetwork([route("0203", "00000000")])) == [], "rejects")
        #expect(try codes(withNetwork([route("0001", "00FFFFFF", destination: "000200C0")])) == ["address"])
        #expect(try codes(withNetwork([])) == [])
        #expect(try codes(withNetwork([]) { $0.file("sys/\(Self.nic)/net/eth0/operstate", "up\n") }) == ["link-up"])
        #expect(try codes(withNetwork([]) { $0.file("sys/\(Self.nic)/net/eth0/operstate", "down\n") }) == [])
    }

    @Test("IPv6: a default route protects, a global one is an address, link-local and multicast are none")
    func routes6() throws {
        func route(_ destination: String, _ length: String, flags: String = "00000001", name: String = "eth0") -> String
        {
            "\(destination) \(length) \(String(repeating: "0", count: 32)) 00 \(String(repeating: "0", count: 32)) 00000400 "
                + "00000001 00000000 \(flags)     \(name)"
        }
        let none = String(repeating: "0", count: 32)
        #expect(try codes(withNetwork([], six: [route(none, "00", flags: "00000003")])) == ["default-route!"])
        #expect(try codes(withNetwork([], six: [route(none, "00", flags: "00000002")])) == [])
        #expect(try codes(withNetwork([], six: [route(none, "00", flags: "00000201")])) == [])
        #expect(try codes(withNetwork([], six: [route(none, "00", name: "lo")])) == [])
        let global = "20010db8000000000000000000000000"
        #expect(try codes(withNetwork([], six: [route(global, "40")])) == ["address"])
        #expect(try codes(withNetwork([], six: [route("fe800000000000000000000000000000", "40")])) == [])
        #expect(try codes(withNetwork([], six: [route("febf0000000000000000000000000000", "40")])) == [])
        #expect(try codes(withNetwork([], six: [route("fec00000000000000000000000000000", "40")])) == ["address"])
        #expect(try codes(withNetwork([], six: [route("ff000000000000000000000000000000", "08")])) == [])
        // An operator's session goes by the longest prefix.
        let session = withNetwork([], six: [route(global, "40")])
        #expect(try codes(session, ssh: "2001:db8::7 5 2001:db8::1 22") == ["ssh!"])
        let beside = withNetwork([], six: [route(global, "40")])
        #expect(try codes(beside, ssh: "2001:db8:0:1::7 5 2001:db8::1 22") == ["address"])
    }

    @Test("a session goes by the narrowest route, over the default one")
    func narrowest() throws {
        func shape() -> SysfsShape {
            withNetwork([
                "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0",
                "eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
                "eth0\t800200C0\t00000000\t0001\t0\t0\t0\t80FFFFFF\t0\t0\t0",
            ])
        }
        #expect(try codes(shape(), ssh: "198.51.100.7 5 x 22") == ["default-route!", "ssh!"])
        #expect(try codes(shape(), ssh: "192.0.2.7 5 x 22") == ["default-route!"], "by eth1")
        #expect(try codes(shape(), ssh: "192.0.2.200 5 x 22") == ["default-route!", "ssh!"])
    }

    @Test("a mounted file server protects the way to it, by its address")
    func fileServer() throws {
        let route = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"
        for (line, expected) in [
            ("30 1 0:40 / /n rw - nfs4 s:/x rw,vers=4.2,addr=192.0.2.9,local_lock=none", ["network-mount!"]),
            ("30 1 0:40 / /n rw - cifs //s/x rw,vers=3.0,addr=192.0.2.9", ["network-mount!"]),
            ("30 1 0:40 / /n rw - nfs s:/x rw,addr=198.51.100.9", ["address"]),
            ("30 1 0:40 / /n rw - ext4 /dev/x rw,addr=192.0.2.9", ["address"]),
        ] {
            #expect(
                try codes(withNetwork([route]) { $0.file("proc/self/mountinfo", line + "\n") }) == expected,
                "\(line)"
            )
        }
    }

    private func withDisk(_ mounts: String, _ change: (SysfsShape) -> Void = { _ in }) -> SysfsShape {
        let shape = SmallMachine.shape()
        shape.file("sys/\(Self.disk)/dev", "259:0\n")
        shape.file("sys/\(Self.disk)/nvme0n1p1/dev", "259:1\n")
        shape.link("sys/class/block/nvme0n1", "../../\(Self.disk)")
        shape.link("sys/class/block/nvme0n1p1", "../../\(Self.disk)/nvme0n1p1")
        shape.file("proc/self/mountinfo", mounts)
        change(shape)
        return shape
    }

    @Test("lines of mountinfo: ten words with a dash; optional fields may come before it; by number, else by name")
    func mountLines() throws {
        let table: [(String, [String])] = [
            ("22 1 259:1 / /a rw - ext4 /dev/nvme0n1p1 rw", ["mounted!"]),
            ("22 1 259:1 / /a rw shared:1 master:2 - ext4 x rw", ["mounted!"]),
            ("22 1 0:99 / /a rw - ext4 /dev/nvme0n1p1 rw", ["mounted!"]), ("22 1 0:99 / /a rw - ext4 /dev/sdz1 rw", []),
            ("22 1 259:1 / /a rw ext4 /dev/nvme0n1p1 rw", []), ("22 1 259:1 / /a - ext4", []),
            ("22 1 259:1 / /a rw - ext4", []),
            ("22 1 0:99 / /a rw - fuse nvme0n1p1 rw", []),
        ]
        for (line, expected) in table { #expect(try codes(withDisk(line + "\n"), "01:00.0") == expected, "\(line)") }
    }

    @Test("what init has mounted counts as well as what this process sees")
    func ofInit() throws {
        let shape = withDisk("") { $0.file("proc/1/mountinfo", "22 1 259:1 / /a rw - ext4 /dev/nvme0n1p1 rw\n") }
        #expect(try codes(shape, "01:00.0") == ["mounted!"])
    }

    @Test("names of the device mapper lead to their disks")
    func mapper() throws {
        let shape = withDisk("22 1 0:44 / /a rw - xfs /dev/mapper/vg-root rw\n") { shape in
            shape.file("sys/devices/virtual/block/dm-0/dev", "253:0\n")
            shape.file("sys/devices/virtual/block/dm-0/dm/name", "vg-root\n")
            shape.link("sys/devices/virtual/block/dm-0/slaves/nvme0n1p1", "x")
            shape.link("sys/class/block/dm-0", "../../devices/virtual/block/dm-0")
        }
        defer { shape.remove() }
        let record = try SmallMachine.read(shape)
        #expect(SmallMachine.details(record, "01:00.0") == ["/dev/dm-0 is mounted on /a"])
    }

    @Test("disks on the network whose way is not told: a running NBD, RBD and DRBD")
    func remote() throws {
        for (name, file, isTold) in [
            ("nbd0", "pid", true), ("nbd0", "other", false), ("nbd0p1", "pid", false), ("rbd0", "dev", true),
            ("drbd1", "dev", true),
            ("sdx", "pid", false),
        ] {
            let shape = withDisk("") { shape in
                shape.file("sys/devices/virtual/block/\(name)/\(file)", "1\n")
                shape.link("sys/class/block/\(name)", "../../devices/virtual/block/\(name)")
            }
            defer { shape.remove() }
            let gaps = try SmallMachine.read(shape).gaps.map(\.code)
            #expect(gaps.contains("network-disk-unseen") == isTold, "\(name) \(file)")
        }
    }

    @Test("memory that is lent protects; memory on offer only counts")
    func peerMemory() throws {
        for (available, expected) in [("0", ["p2pdma!"]), ("4095", ["p2pdma!"]), ("4096", ["p2pdma-idle"])] {
            let shape = SmallMachine.shape()
            shape.file("sys/\(Self.nic)/p2pmem/size", "4096\n")
            shape.file("sys/\(Self.nic)/p2pmem/available", available + "\n")
            #expect(try codes(shape) == expected, "\(available)")
        }
    }

    @Test("transfers of firmware are told by their range; other reserved regions are none")
    func reservedRegions() throws {
        for (text, expected) in [
            ("0x00000000fee00000 0x00000000feefffff msi\n", []),
            ("0x000000007b000000 0x000000007f7fffff direct\n", ["rmrr"]),
            ("0x000000007b000000 0x000000007f7fffff direct-relaxable\n", []),
        ] as [(String, [String])] {
            let shape = SmallMachine.shape()
            shape.link("sys/\(Self.nic)/iommu_group", "../../../kernel/iommu_groups/7")
            shape.file("sys/kernel/iommu_groups/7/reserved_regions", text)
            #expect(try codes(shape) == expected, "\(text)")
        }
    }

    @Test("a hypervisor that may not follow protects every function but bridges, by its name in DMI")
    func hypervisor() throws {
        for (vendor, isKnown) in [("Cloud Hypervisor", true), ("crosvm", true), ("QEMU", false), ("x crosvm", false)] {
            let shape = SmallMachine.shape()
            shape.file("sys/class/dmi/id/sys_vendor", vendor + "\n")
            defer { shape.remove() }
            let record = try SmallMachine.read(shape)
            #expect(SmallMachine.codes(record, "00:02.0") == (isKnown ? ["hypervisor!"] : []), "\(vendor)")
            #expect(SmallMachine.codes(record, "00:01.0") == [])
        }
    }

    @Test("resources that a process has open or mapped, by their own name")
    func mapped() throws {
        for (target, expected) in [
            ("/sys/devices/pci0000:00/0000:00:02.0/resource0", ["mapped!"]),
            ("/sys/devices/pci0000:00/0000:00:02.0/resource4_wc", ["mapped!"]),
            ("/sys/devices/pci0000:00/0000:00:02.0/resource", []),
            ("/sys/devices/pci0000:00/0000:00:02.0/resource0_resize", []), ("/tmp/0000:00:02.0/resource0", []),
        ] as [(String, [String])] {
            let open = SmallMachine.shape()
            open.file("proc/9/comm", "x\n")
            open.link("proc/9/fd/3", target)
            #expect(try codes(open) == expected, "\(target)")
            let shape = SmallMachine.shape()
            shape.file("proc/9/comm", "x\n")
            shape.link("proc/9/fd/3", "/dev/null")
            shape.file("proc/9/maps", "7f00-7f01 rw-s 00000000 00:17 5 \(target)\n7f02-7f03 r--p 0 00:00 0 /lib/x\n")
            #expect(try codes(shape) == expected, "\(target)")
        }
    }
}
