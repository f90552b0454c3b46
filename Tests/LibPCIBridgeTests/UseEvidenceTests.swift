// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

private let disk = "devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0n1"
private let nic = "devices/pci0000:00/0000:00:02.0"
private let gpu = "devices/pci0000:00/0000:00:03.0"
private let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"

/// The machine with a disk of one partition behind the root port.
private func withDisk() -> SysfsShape {
    let shape = SmallMachine.shape()
    shape.file("sys/\(disk)/dev", "259:0\n")
    shape.file("sys/\(disk)/nvme0n1p1/dev", "259:1\n")
    shape.link("sys/class/block/nvme0n1", "../../\(disk)")
    shape.link("sys/class/block/nvme0n1p1", "../../\(disk)/nvme0n1p1")
    shape.file("proc/self/mountinfo", "")
    return shape
}

private func virtual(_ shape: SysfsShape, _ name: String, _ number: String, on slaves: [String] = []) {
    shape.file("sys/devices/virtual/block/\(name)/dev", number + "\n")
    for slave in slaves { shape.link("sys/devices/virtual/block/\(name)/slaves/\(slave)", "x") }
    shape.link("sys/class/block/\(name)", "../../devices/virtual/block/\(name)")
}

private func details(_ shape: SysfsShape, _ address: String, ssh: String? = "none 1 none 2") throws -> [String] {
    SmallMachine.details(try SmallMachine.read(shape, ssh: ssh), address)
}

@Suite("Evidence of disks")
struct DiskEvidenceTests {
    @Test("RAID: a mounted md array protects the controllers of its members")
    func raid() throws {
        let shape = withDisk()
        defer { shape.remove() }
        virtual(shape, "md127", "9:127", on: ["nvme0n1p1"])
        shape.file("proc/self/mountinfo", "22 1 9:127 / /srv rw - xfs /dev/md127 rw\n")
        #expect(try details(shape, "01:00.0") == ["/dev/md127 is mounted on /srv"])
    }

    @Test("btrfs over two disks protects both, whichever is named")
    func btrfs() throws {
        let shape = withDisk()
        defer { shape.remove() }
        virtual(shape, "sdb", "8:16")
        shape.file("sys/fs/btrfs/1-2/devices/sdb", "")
        shape.file("sys/fs/btrfs/1-2/devices/nvme0n1p1", "")
        shape.file("proc/self/mountinfo", "22 1 0:31 / /data rw - btrfs /dev/sdb rw\n")
        #expect(try details(shape, "01:00.0") == ["/dev/nvme0n1p1 belongs to the btrfs mounted on /data"])
    }

    @Test("ZFS: the disks of a pool by what udev read; without that it is said that they are not known")
    func zfs() throws {
        let shape = withDisk()
        defer { shape.remove() }
        shape.file("proc/self/mountinfo", "22 1 0:31 / /tank/home rw - zfs tank/home rw\n")
        let blind = try SmallMachine.read(shape)
        #expect(SmallMachine.codes(blind, "01:00.0") == [])
        #expect(blind.gaps.map(\.code).contains("zfs-unseen"))
        shape.file("run/udev/data/b259:1", "S:disk/by-id/x\nE:ID_FS_TYPE=zfs_member\nE:ID_FS_LABEL=tank\n")
        let seen = try SmallMachine.read(shape)
        #expect(
            SmallMachine.details(seen, "01:00.0") == [
                "/dev/nvme0n1p1 belongs to the ZFS pool tank, mounted on /tank/home"
            ]
        )
        #expect(!seen.gaps.map(\.code).contains("zfs-unseen"))
        shape.file("run/udev/data/b259:1", "E:ID_FS_TYPE=zfs_member\nE:ID_FS_LABEL=other\n")
        #expect(try details(shape, "01:00.0") == [])
    }

    @Test("a swap file protects the disk of its file system")
    func swapFile() throws {
        let shape = withDisk()
        defer { shape.remove() }
        shape.file("proc/self/mountinfo", "22 1 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n")
        shape.file("proc/swaps", "Filename Type Size Used Priority\n/var/swap\\040file file 1 0 -2\n")
        #expect(
            try details(shape, "01:00.0") == [
                "/dev/nvme0n1p1 is mounted on /", "/var/swap file on /dev/nvme0n1p1 is swap",
            ]
        )
    }

    @Test("a loop device protects what it stands on: a partition, or a file on one")
    func loop() throws {
        let shape = withDisk()
        defer { shape.remove() }
        virtual(shape, "loop0", "7:0")
        virtual(shape, "loop1", "7:1")
        #expect(try details(shape, "01:00.0") == [], "nothing is attached")
        shape.file("sys/devices/virtual/block/loop0/loop/backing_file", "/dev/nvme0n1p1\n")
        #expect(try details(shape, "01:00.0") == ["/dev/nvme0n1p1 carries /dev/loop0"])
        shape.file("sys/devices/virtual/block/loop0/loop/backing_file", "/images/a.img\n")
        shape.file("proc/self/mountinfo", "22 1 259:1 / /images rw - ext4 /dev/nvme0n1p1 rw\n")
        #expect(
            try details(shape, "01:00.0") == [
                "/dev/nvme0n1p1 is mounted on /images", "/images/a.img on /dev/nvme0n1p1 carries /dev/loop0",
            ]
        )
    }

    @Test("disks on the network: iSCSI and NVMe over TCP protect the way to their server; NBD is said not to be known")
    func network() throws {
        let shape = withDisk()
        defer { shape.remove() }
        shape.link("sys/class/net/eth0", "../../\(nic)/net/eth0")
        shape.file("proc/net/route", routes + "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
        #expect(try details(shape, "00:02.0") == ["eth0 has an address"])
        shape.file("sys/class/iscsi_connection/connection1:0/address", "192.0.2.20\n")
        #expect(try details(shape, "00:02.0") == ["eth0 leads to the server of a disk, 192.0.2.20"])
        shape.file("sys/class/iscsi_connection/connection1:0/address", "198.51.100.1\n")
        #expect(try details(shape, "00:02.0") == ["eth0 has an address"])
        shape.file("sys/class/nvme/nvme1/transport", "tcp\n")
        shape.file("sys/class/nvme/nvme1/address", "traddr=192.0.2.30,trsvcid=4420,src_addr=192.0.2.1\n")
        #expect(try details(shape, "00:02.0") == ["eth0 leads to the server of a disk, 192.0.2.30"])
        virtual(shape, "nbd0", "43:0")
        #expect(!(try SmallMachine.read(shape)).gaps.map(\.code).contains("network-disk-unseen"))
        shape.file("sys/devices/virtual/block/nbd0/pid", "99\n")
        #expect(try SmallMachine.read(shape).gaps.map(\.code).contains("network-disk-unseen"))
    }

    @Test("a disk that an NBD server hands out is held by that server")
    func served() throws {
        let shape = withDisk()
        defer { shape.remove() }
        shape.file("proc/80/comm", "nbd-server\n")
        shape.link("proc/80/fd/5", "/dev/nvme0n1p1")
        #expect(try details(shape, "01:00.0") == ["/dev/nvme0n1p1 is held by nbd-server (80)"])
    }

    @Test("a mounted disk on USB protects the host controller")
    func usb() throws {
        let shape = withDisk()
        defer { shape.remove() }
        let stick = "\(nic)/usb2/2-1/2-1:1.0/host0/target0:0:0/0:0:0:0/block/sda"
        shape.file("sys/\(stick)/dev", "8:0\n")
        shape.link("sys/class/block/sda", "../../\(stick)")
        shape.link("sys/bus/usb/devices/2-1", "../../../\(nic)/usb2/2-1")
        shape.file("proc/self/mountinfo", "22 1 8:0 / /media rw - vfat /dev/sda rw\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["mounted!", "usb-device"])
    }

    @Test("a keyboard on USB protects, a mouse counts, a tablet without boot protocol is a USB device like others")
    func pointers() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        let hand = "\(nic)/usb1/1-1"
        shape.link("sys/bus/usb/devices/1-1", "../../../\(hand)")
        shape.link("sys/bus/usb/devices/1-1:1.0", "../../../\(hand)/1-1:1.0")
        shape.file("sys/\(hand)/1-1:1.0/bInterfaceClass", "03\n")
        shape.file("sys/\(hand)/1-1:1.0/bInterfaceProtocol", "00\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["usb-device"])
        shape.file("sys/\(hand)/1-1:1.0/bInterfaceProtocol", "02\n")
        let mouse = try #require(try SmallMachine.read(shape).function(at: at("00:02.0")))
        #expect(
            mouse.use.map(\.detail) == [
                "a mouse is behind this USB controller", "USB devices are behind this controller",
            ]
        )
        #expect(mouse.use.map(\.weight) == [50, 20])
        shape.file("sys/\(hand)/1-1:1.0/bInterfaceProtocol", "01\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["usb-keyboard!", "usb-device"])
        shape.file("sys/\(hand)/1-1:1.0/bInterfaceClass", "08\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["usb-device"])
    }
}

@Suite("Evidence of networks")
struct NetworkEvidenceTests {
    @Test("an address on a VLAN above a bond counts for both NICs of the bond")
    func bond() throws {
        var shape = SmallMachine.shape()
        defer { shape.remove() }
        let second = "devices/pci0000:00/0000:00:04.0"
        let none = Array(repeating: ResourceLine.zero, count: 13)
        shape.function(at("00:04.0"), rootBus: 0, config: SmallMachine.config(0x02_0000), lines: none)
        shape.link("sys/class/net/eth0", "../../\(nic)/net/eth0")
        shape.link("sys/class/net/eth1", "../../\(second)/net/eth1")
        for name in ["bond0", "bond0.5"] { shape.link("sys/class/net/\(name)", "../../devices/virtual/net/\(name)") }
        shape.link("sys/devices/virtual/net/bond0/lower_eth0", "../../../../\(nic)/net/eth0")
        shape.link("sys/devices/virtual/net/bond0/lower_eth1", "../../../../\(second)/net/eth1")
        shape.link("sys/devices/virtual/net/bond0.5/lower_bond0", "../bond0")
        for (place, name) in [(nic, "eth0"), (second, "eth1")] {
            shape.link("sys/\(place)/net/\(name)/master", "../../../../virtual/net/bond0")
        }
        shape.file("proc/self/mountinfo", "")
        shape.file("proc/net/route", routes)
        let idle = try SmallMachine.read(shape)
        #expect(SmallMachine.details(idle, "00:02.0") == ["eth0 belongs to bond0"])
        shape.file("proc/net/route", routes + "bond0.5\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
        let used = try SmallMachine.read(shape)
        for (address, name) in [("00:02.0", "eth0"), ("00:04.0", "eth1")] {
            #expect(
                SmallMachine.details(used, address) == ["bond0.5 has an address", "\(name) belongs to bond0"]
            )
        }
        shape.file("proc/net/route", routes + "bond0.5\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:04.0") == ["default-route!", "enslaved"])
    }

    @Test("sudo hides the operator's connection; the shell above still has it")
    func session() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.link("sys/class/net/eth0", "../../\(nic)/net/eth0")
        shape.file("proc/self/mountinfo", "")
        shape.file("proc/net/route", routes + "eth0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["address"])
        shape.file("proc/self/status", "Name:\tx\nPPid:\t70\nCapEff:\t000001ffffffffff\n")
        shape.file("proc/70/status", "Name:\tsudo\nPPid:\t60\n")
        shape.file("proc/70/environ", "PATH=/bin\0SUDO_USER=me\0")
        shape.file("proc/60/status", "Name:\tsh\nPPid:\t1\n")
        shape.file("proc/60/environ", "PATH=/bin\0SSH_CONNECTION=198.51.100.7 5 198.51.100.1 22\0")
        // The tests themselves may run in a session.
        guard getenv("SSH_CONNECTION") == nil else { return }
        #expect(try details(shape, "00:02.0", ssh: nil) == ["eth0 carries your SSH connection from 198.51.100.7"])
        // A circle, as a damaged copy of /proc may show it, ends.
        shape.file("proc/60/environ", "PATH=/bin\0")
        shape.file("proc/60/status", "Name:\tsh\nPPid:\t70\n")
        #expect(try details(shape, "00:02.0", ssh: nil) == ["eth0 has an address"])
    }
}

@Suite("Evidence of peripherals")
struct PeripheralEvidenceTests {
    @Test("sound counts while it plays, a TPM, a management controller and the master of a display protect")
    func classes() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.link("sys/class/sound/card0", "../../\(nic)/sound/card0")
        shape.file("proc/asound/card0/pcm0p/sub0/status", "closed\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == [])
        shape.file("proc/asound/card0/pcm0p/sub0/status", "state: RUNNING\nowner_pid   : 3\n")
        #expect(try details(shape, "00:02.0") == ["card0 plays or records"])
        shape.link("sys/class/tpm/tpm0", "../../\(nic)/tpm/tpm0")
        shape.link("sys/class/ipmi/ipmi0", "../../\(nic)/ipmi/ipmi0")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["sound", "tpm!", "bmc!"])
        shape.link("sys/class/drm/card0", "../../\(gpu)/drm/card0")
        shape.file("proc/5/comm", "Xorg\n")
        shape.link("proc/5/fd/11", "/dev/dri/card0")
        #expect(
            try details(shape, "00:03.0") == [
                "it is bound to vfio-pci and nobody holds it", "/dev/dri/card0 is held by Xorg (5)",
            ]
        )
    }

    @Test("RDMA counts while a port is active")
    func rdma() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.link("sys/class/infiniband/mlx5_0", "../../\(nic)/infiniband/mlx5_0")
        shape.file("sys/\(nic)/infiniband/mlx5_0/ports/1/state", "1: DOWN\n")
        shape.file("sys/\(nic)/infiniband/mlx5_0/ports/2/state", "2: INIT\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == [])
        shape.file("sys/\(nic)/infiniband/mlx5_0/ports/2/state", "4: ACTIVE\n")
        let record = try SmallMachine.read(shape)
        #expect(SmallMachine.details(record, "00:02.0") == ["RDMA port mlx5_0/2 is active"])
        #expect(record.function(at: at("00:02.0"))?.use.map(\.weight) == [100])
    }

    @Test("a frame buffer counts, and protects while it shows the console; a lit output protects")
    func displays() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.link("sys/class/graphics/fb0", "../../\(nic)/graphics/fb0")
        shape.file("sys/class/graphics/fbcon/rotate", "0\n")
        #expect(try details(shape, "00:02.0") == ["/dev/fb0 is a frame buffer"])
        shape.file("sys/class/vtconsole/vtcon0/bind", "0\n")
        shape.file("sys/class/vtconsole/vtcon0/name", "(S) dummy device\n")
        shape.file("sys/class/vtconsole/vtcon1/bind", "0\n")
        shape.file("sys/class/vtconsole/vtcon1/name", "(M) frame buffer device\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["framebuffer"])
        shape.file("sys/class/vtconsole/vtcon1/bind", "1\n")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["console!"])
        for (name, word) in [("status", "connected"), ("enabled", "disabled")] {
            shape.file("sys/\(nic)/drm/card0/card0-HDMI-A-1/\(name)", word + "\n")
        }
        shape.link("sys/class/drm/card0-HDMI-A-1", "../../\(nic)/drm/card0/card0-HDMI-A-1")
        #expect(SmallMachine.codes(try SmallMachine.read(shape), "00:02.0") == ["console!"])
        shape.file("sys/\(nic)/drm/card0/card0-HDMI-A-1/enabled", "enabled\n")
        #expect(try details(shape, "00:02.0") == ["/dev/fb0 shows the console", "a display is lit on HDMI-A-1"])
    }

    @Test("the display of a management controller, and fixed addresses, without any class directory")
    func functions() throws {
        var shape = SmallMachine.shape()
        defer { shape.remove() }
        let none = Array(repeating: ResourceLine.zero, count: 13)
        shape.function(
            at("00:04.0"),
            rootBus: 0,
            config: SmallMachine.config(0x03_0000, vendor: 0x1a03),
            lines: none
        )
        var fixed = none
        fixed[0] = ResourceLine(start: 0x1f0, end: 0x1f7, flags: ResourceFlags(rawValue: 0x110))
        shape.function(at("00:05.0"), rootBus: 0, config: SmallMachine.config(0x01_0180), lines: fixed)
        let record = try SmallMachine.read(shape)
        #expect(SmallMachine.codes(record, "00:05.0") == ["fixed"])
        let evidence = try #require(try TopologyAssembler(record).topology()[at("00:04.0")]).use.evidence
        #expect(evidence.map(\.code) == ["idle", "bmc"])
        #expect(evidence.map(\.isProtected) == [false, true])
        #expect(evidence.map(\.weight) == [1, 1000])
    }

    @Test("what cannot be seen is said, and each time what is then not known")
    func gaps() throws {
        let shape = withDisk()
        defer { shape.remove() }
        shape.link("sys/class/net/eth0", "../../\(nic)/net/eth0")
        unlink(shape.path + "/proc/self/mountinfo")
        let gaps = try SmallMachine.read(shape).gaps.filter { $0.code.hasSuffix("-unseen") }
        #expect(gaps.map(\.code) == ["mounts-unseen", "routes-unseen"])
        #expect(gaps.allSatisfy { $0.detail.contains("not known") })
        removeTree(shape.path + "/sys/class/block")
        #expect(try SmallMachine.read(shape).gaps.map(\.code).contains("block-unseen"))
    }
}
