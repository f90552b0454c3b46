// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import TestSupport
import Testing

/// Which disk is in use where file systems lie in one another, and units beyond G.
@Suite("Mounts within mounts, and large units")
struct MountTests {
    /// Two disks: nvme0n1 behind 01:00.0, and sda on the root bus at 00:02.0.
    private func shape(_ mounts: [String], swaps: String? = nil) -> SysfsShape {
        let shape = SmallMachine.shape()
        let first = "devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0n1"
        let second = "devices/pci0000:00/0000:00:02.0/ata1/host0/block/sda"
        shape.file("sys/\(first)/dev", "259:0\n")
        shape.link("sys/class/block/nvme0n1", "../../\(first)")
        shape.file("sys/\(second)/dev", "8:0\n")
        shape.link("sys/class/block/sda", "../../\(second)")
        shape.file("proc/self/mountinfo", mounts.map { $0 + "\n" }.joined())
        if let swaps { shape.file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n" + swaps) }
        return shape
    }

    private func details(_ mounts: [String], _ address: String, swaps: String? = nil) throws -> [String] {
        let shape = shape(mounts, swaps: swaps)
        defer { shape.remove() }
        return SmallMachine.details(try SmallMachine.read(shape), address).filter { $0.contains("/dev/") }
    }

    private static let nested = [
        "22 1 259:0 / / rw - ext4 /dev/nvme0n1 rw", "23 22 8:0 / /srv rw - ext4 /dev/sda rw",
    ]

    @Test("each disk is protected by its own mount, in whatever order they are listed")
    func own() throws {
        for mounts in [Self.nested, Self.nested.reversed()] {
            #expect(try details(mounts, "01:00.0") == ["/dev/nvme0n1 is mounted on /"])
            #expect(try details(mounts, "00:02.0") == ["/dev/sda is mounted on /srv"])
        }
    }

    @Test(
        "a swap file lies on the innermost mount above it, not on the outermost, nor on one whose name only begins so"
    )
    func swapFile() throws {
        for mounts in [Self.nested, Self.nested.reversed()] {
            let inner = "/srv/swap\tfile\t1024\t0\t-2\n"
            #expect(try details(mounts, "00:02.0", swaps: inner).contains { $0.contains("/srv/swap") })
            #expect(try !details(mounts, "01:00.0", swaps: inner).contains { $0.contains("/srv/swap") })
            let beside = "/srv2/swap\tfile\t1024\t0\t-2\n"
            #expect(try details(mounts, "01:00.0", swaps: beside).contains { $0.contains("/srv2/swap") })
            #expect(try !details(mounts, "00:02.0", swaps: beside).contains { $0.contains("/srv2/swap") })
        }
    }

    @Test("a mount point with blanks is told as it is")
    func blanks() throws {
        let mounts = ["22 1 259:0 / /a\\040b\\134c rw - ext4 /dev/nvme0n1 rw"]
        #expect(try details(mounts, "01:00.0") == ["/dev/nvme0n1 is mounted on /a b\\c"])
    }
}
