// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// What names functions by their addresses outside the kernel's command line.
@Suite("Files that name functions by their addresses")
struct FileNamingTests {
    /// The namings of a machine with these files, as `word in place: address`.
    private func namings(_ files: [String: String], isDirectory: Bool = false) throws -> [String] {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        for (name, text) in files { shape.file(name, text) }
        let record =
            isDirectory
            ? try SysfsDirectoryReader(path: shape.path).read()
            : try LiveReader(options: Self.options(shape)).read()
        return record.namings.map { "\($0.word) in \($0.place ?? "-"): \($0.address.short)" }
    }

    /// The made-up machine as one that is read live, its files included.
    private static func options(_ shape: SysfsShape) -> LiveReader.Options {
        LiveReader.Options(
            sysfs: shape.path + "/sys",
            procfs: shape.path + "/proc",
            devices: shape.path + "/dev",
            run: shape.path + "/run",
            root: shape.path,
            sshConnection: "none 1 none 2"
        )
    }

    private static let guest = """
        <domain type='kvm'>
          <!-- <source><address domain='0' bus='0' slot='1' function='0'/></source> -->
          <devices>
            <hostdev mode='subsystem' type='pci' managed='yes'>
              <source>
                <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
              </source>
              <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>
            </hostdev>
            <disk><source file='/a'/><address type='pci' bus='0x00' slot='0x01' function='0x0'/></disk>
            <interface type='hostdev'><source><address type="pci" slot="2"
              bus = "0" function='0'/></source></interface>
          </devices>
        </domain>

        """

    @Test(
        "libvirt: the host's addresses of guests and networks, not those that the guest sees; live and from a directory"
    )
    func libvirt() throws {
        let files = [
            "etc/libvirt/qemu/web.xml": Self.guest,
            "etc/libvirt/qemu/notes.txt": Self.guest,
            "etc/libvirt/qemu/networks/vfs.xml":
                "<network><forward mode='hostdev'><address type='pci' bus='0x0' slot='0x3' function='0x0'/></forward>"
                + "<address bus='1' slot='0' function='0'/></network>",
        ]
        let expected = [
            "libvirt's guest in /etc/libvirt/qemu/web.xml: 01:00.0",
            "libvirt's guest in /etc/libvirt/qemu/web.xml: 00:02.0",
            "libvirt's network in /etc/libvirt/qemu/networks/vfs.xml: 00:03.0",
        ]
        #expect(try namings(files) == expected)
        #expect(try namings(files, isDirectory: true) == expected)
    }

    @Test("numbers as libvirt reads them, and XML that is cut or wrong")
    func numbers() throws {
        func found(_ attributes: String) throws -> [String] {
            try namings(["etc/libvirt/qemu/a.xml": "<source><address \(attributes)/></source>"])
        }
        #expect(try found("bus='1' slot='00' function='0x0'").count == 1)
        #expect(try found("bus='01' slot='0x00' function='0'").count == 1)
        for wrong in [
            "bus='1' slot='0'", "bus='0x101' slot='0' function='0'", "bus='1' slot='32' function='0'",
            "bus='1' slot='0' function='8'", "bus='' slot='0' function='0'", "bus=1 slot='0' function='0'",
            "xbus='1' slot='0' function='0'", "domain='0x1ffffffff' bus='1' slot='0' function='0'",
            "bus='9' slot='0' function='0'", "bus='099999999' slot='0' function='0'",
        ] {
            #expect(try found(wrong).isEmpty, "\(wrong)")
        }
        let text = Array(Self.guest.utf8)
        for length in stride(from: 0, to: text.count, by: 7) {
            let cut = String(decoding: text[..<length], as: UTF8.self)
            #expect(try namings(["etc/libvirt/qemu/a.xml": cut]).count <= 2)
        }
        #expect(
            try namings(["etc/libvirt/qemu/a.xml": "</source></source><source><address bus='1' slot='0' function='0'>"])
                .count == 1
        )
    }

    @Test("Xen, Proxmox, modules, rules, mounts, links, overrides: each in its own form")
    func others() throws {
        #expect(
            try namings([
                "etc/xen/db.cfg":
                    "name = 'x'\npci = [ '01:00.0,permissive=1', # a comment 00:03.0\n '0000:00:02.0' ]\nvif = ['00:03.0']\n"
            ]) == ["Xen's guest in /etc/xen/db.cfg: 01:00.0", "Xen's guest in /etc/xen/db.cfg: 00:02.0"]
        )
        #expect(
            try namings(["etc/pve/qemu-server/100.conf": "cores: 4\nhostpci0: 01:00.0,pcie=1\nnet0: 00:02.0\n"]) == [
                "Proxmox's guest in /etc/pve/qemu-server/100.conf: 01:00.0"
            ]
        )
        #expect(
            try namings([
                "etc/modprobe.d/hide.conf": "# 0000:00:03.0\noptions xen-pciback hide=(0000:01:00.0)(0000:07:00.0)\n",
                "etc/udev/rules.d/70-a.rules": "KERNELS==\"0000:00:02.0\", NAME=\"lan0\"\n",
                "etc/fstab": "/dev/disk/by-path/pci-0000:01:00.0-nvme-1-part1 / ext4 defaults 0 1\n",
                "etc/driverctl.d/0000:00:03.0": "vfio-pci\n",
                "etc/default/grub": "GRUB_CMDLINE_LINUX=\"pci=resource_alignment=20@0000:01:00.0 10:30.1\"\n",
                "dev/disk/by-path/pci-0000:01:00.0-nvme-1": "", "dev/disk/by-path/pci-0000:01:00.0-nvme-1-part1": "",
            ]) == [
                "an option of a module in /etc/modprobe.d/hide.conf: 01:00.0",
                "a rule of udev in /etc/udev/rules.d/70-a.rules: 00:02.0",
                "driverctl's override in /etc/driverctl.d: 00:03.0",
                "a word for the next boot in /etc/default/grub: 01:00.0",
                "a mount by path in /etc/fstab: 01:00.0", "a link by path in /dev/disk/by-path: 01:00.0",
            ]
        )
    }

    @Test("bounds: many files and large ones are cut and said; a machine read from elsewhere reads no /etc")
    func bounds() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        #expect(try SmallMachine.read(shape).namings.isEmpty)
        let options = Self.options(shape)
        for n in 0..<300 { shape.file("etc/modprobe.d/\(n).conf", "options x y=0000:01:00.0\n") }
        shape.file("etc/libvirt/qemu/large.xml", String(repeating: " ", count: (1 << 20) + 1))
        let record = try LiveReader(options: options).read()
        #expect(record.namings.count == 256)
        #expect(record.gaps.map(\.code).contains("names-cut"))
        #expect(
            record.gaps.first { $0.code == "names-unseen" }?.detail.hasPrefix("/etc/libvirt/qemu/large.xml could")
                == true
        )
    }

    @Test("a snapshot carries the namings, and the topology has them beside the words of the command line")
    func records() throws {
        let shape = SmallMachine.shape()
        defer { shape.remove() }
        shape.file("etc/libvirt/qemu/web.xml", Self.guest)
        shape.file("proc/cmdline", "pci=disable_acs_redir=0000:00:01.0\n")
        let record = try SysfsDirectoryReader(path: shape.path).read()
        let again = try SnapshotFile.decode(SnapshotFile.encode(record))
        #expect(again.namings == record.namings && again.namings.count == 2)
        let words = try TopologyAssembler(again).topology().addressWords
        #expect(words.map(\.address.short) == ["00:01.0", "01:00.0", "00:02.0"])
        #expect(words.map(\.place) == [nil, "/etc/libvirt/qemu/web.xml", "/etc/libvirt/qemu/web.xml"])
    }
}
