// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@Suite("Findings")
struct FindingsTests {
    @Test("an empty machine is healthy")
    func empty() throws {
        #expect(try TestTree().topology().findings().isEmpty)
    }

    @Test("a healthy switch gives no finding")
    func healthy() throws {
        let tree = try TestTree()
            .port("00:02.0", buses: 1...4, .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000))
            .endpoint("01:00.0", below: "00:02.0", .assigned(.bar0, 0xfe60_0000, size: 0x1000))
            .endpoint("01:00.1", below: "00:02.0", .assigned(.bar0, 0xfe60_1000, size: 0x1000))
            .topology()
        #expect(tree.findings().isEmpty)
    }

    @Test("the failed hot-plug: the newcomer, the damaged sibling, the closed windows, the pin")
    func failedHotPlug() throws {
        let findings = try TestTree.failedHotPlug.topology().findings()
        let summary = findings.map {
            "\($0.severity) \($0.code.rawValue) \($0.address.short) \($0.resource?.description ?? "-")"
        }
        #expect(
            summary == [
                "problem window-closed 01:00.0 io window",
                "problem window-closed 02:00.0 io window",
                "problem bar-lost 03:00.0 BAR 1",
                "note window-closed 02:01.0 io window",
                "problem window-closed 02:01.0 pref window",
                "note bar-wiped 04:00.0 BAR 1",
                "problem bar-wiped 04:00.0 BAR 2",
            ]
        )
        let failed = try #require(findings.last { $0.severity == .problem })
        #expect(failed.related.map(\.short) == ["03:00.0"])
        #expect(
            failed.causes == [
                "pref window of 0000:02:01.0 is closed",
                "pref window of 0000:01:00.0 [mem 0xfc000000-0xfdffffff 64bit pref] is 32M, largest free block 16M; "
                    + "pinned by 0000:03:00.0 BAR 2 (16M)",
                "pref window of 0000:00:02.0 [mem 0xfc000000-0xfdffffff 64bit pref] is 32M, full",
                "the host bridge has room: [mem 0x100000000-0x8ffffffff window] has 32G free, largest block 16G",
            ]
        )
        let lost = try #require(findings.first { $0.code == .barLost })
        #expect(lost.sentence == "BAR 1 [io  size 0x0100] lost its address, the register still holds 0xc000")
        #expect(lost.causes.first == "the kernel was making room for 0000:04:00.0")
    }

    @Test("what is free in a window: nothing, too little, just enough at the alignment that is asked for")
    func room() throws {
        let window = AddressRange(0xfe60_0000, 0xfeaf_ffff)
        func occupancy(_ taken: (start: UInt64, size: UInt64)...) throws -> Occupancy {
            var tree = TestTree().port("00:02.0", buses: 1...4, .assigned(.memoryWindow, window.first, size: 0x50_0000))
            for (n, one) in taken.enumerated() {
                tree = tree.endpoint("01:0\(n).0", below: "00:02.0", .assigned(.bar0, one.start, size: one.size))
            }
            let topology = try tree.topology()
            let port = try #require(topology.position(of: FunctionAddress(bus: BusNumber(0), devfn: 0x10)))
            return topology.occupancy(of: window, isIO: false, belowBridge: port)
        }
        let full = try occupancy((0xfe60_0000, 0x20_0000), (0xfe80_0000, 0x20_0000), (0xfea0_0000, 0x10_0000))
        #expect(full.largestFreeBlock == .zero && full.freeBytes == .zero)
        #expect(full.fits(size: 0, alignment: 1 << 20) && !full.fits(size: 1, alignment: 1))
        // 0xfe90_0000 to the end: 2 MiB, and a multiple of 2 MiB only in the middle of them.
        let part = try occupancy((0xfe60_0000, 0x20_0000), (0xfe80_0000, 0x10_0000))
        #expect(part.freeBytes == ByteCount(0x20_0000) && part.largestFreeBlock == ByteCount(0x10_0000))
        #expect(part.fits(size: 0x20_0000, alignment: 0x10_0000))
        #expect(!part.fits(size: 0x20_0001, alignment: 0x10_0000))
        #expect(part.fits(size: 0x10_0000, alignment: 0x20_0000))
        #expect(!part.fits(size: 0x10_0001, alignment: 0x20_0000))
        #expect(!part.fits(size: 0x20_0000, alignment: 0x20_0000))
    }

    @Test("room is judged by size and alignment, which differ for VFs")
    func roomForVFs() throws {
        let block = Resource(
            index: try #require(.vfBAR(0)),
            flags: [.memory],
            size: ByteCount(0x20_0000),
            alignment: ByteCount(0x10_0000),
            assignment: .unassigned
        )
        func cause(_ taken: (start: UInt64, size: UInt64)...) throws -> String? {
            var tree = TestTree().port("00:02.0", buses: 1...4, .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000))
            for (n, one) in taken.enumerated() {
                tree = tree.endpoint("01:0\(n).0", below: "00:02.0", .assigned(.bar0, one.start, size: one.size))
            }
            let findings = try tree.endpoint("01:1f.0", below: "00:02.0", block).topology().findings()
            return findings.first { $0.resource == block.index }?.causes.first
        }
        let room = try cause((0xfe60_0000, 0x10_0000), (0xfe90_0000, 0x10_0000))
        #expect(room?.contains("has room") == true, "2 MiB from a multiple of 1 MiB on: \(room ?? "no cause")")
        // 1 MiB at a multiple of 2 MiB is no 2 MiB at a multiple of 1 MiB.
        let none = try cause((0xfe60_0000, 0x20_0000), (0xfe90_0000, 0x10_0000))
        #expect(none?.contains("largest free block 1M") == true, "\(none ?? "no cause")")
    }

    @Test("of a dump of registers alone a function that sleeps may have its addresses elsewhere", arguments: 0...3)
    func asleep(state: UInt32) throws {
        var config = ConfigSpace(Array(repeating: 0, count: 256))
        config.write(0x0005_1b36, at: 0, width: 4)
        config.write(0x10, at: 6, width: 2)
        config.write(0x40, at: 0x34, width: 1)
        config.write(1, at: 0x40, width: 1)
        config.write(state | 0x8008, at: 0x44, width: 2)
        let tree = try TestTree().endpoint("00:04.0", config: config, .unassigned(.bar0, size: 0x1000)).topology()
        func severity(_ tree: Topology) -> Finding.Severity? {
            tree.findings().first { $0.resource == .bar0 }?.severity
        }
        #expect(severity(tree) == .problem, "the kernel's own lines say that it has none")
        var function = tree.functions[0]
        function.lines = []
        let dump = try Topology(kernel: tree.kernel, hostBridges: tree.hostBridges, functions: [function], blockers: [])
        #expect(severity(dump) == (state == 0 ? .problem : .note))
    }

    @Test("a function on a bus of its own below a host bridge has its place below the root bus")
    func place() throws {
        let tree = try TestTree().endpoint("7f:08.0", .assigned(.bar0, 0xfe60_0000, size: 0x1000)).topology()
        #expect(tree.path(of: 0).rootBus == BusNumber(0))
        #expect(tree.path(of: 0).hops == [0x40])
    }

    @Test("an I/O BAR beside memory BARs is a note, alone it is a problem")
    func io() throws {
        let both = try TestTree().endpoint(
            "00:04.0",
            .assigned(.bar0, 0xfe60_0000, size: 0x1000),
            .unassigned(.bar1, size: 0x20, .io)
        ).topology().findings()
        #expect(both.map(\.severity) == [.note])
        let alone = try TestTree().endpoint("00:04.0", .unassigned(.bar1, size: 0x20, .io)).topology().findings()
        #expect(alone.map(\.severity) == [.problem])
    }

    @Test("a host bridge's own BAR, a port's own BAR and a ROM are notes")
    func harmless() throws {
        let findings = try TestTree()
            .endpoint("00:00.0", classCode: 0x060000, .unassigned(.bar0, size: 0x1000_0000, .pref64))
            .port("00:02.0", buses: 1...1, .unassigned(.bar0, size: 0x1000))
            .endpoint("00:03.0", .unassigned(.rom, size: 0x1_0000))
            .topology().findings()
        #expect(findings.map(\.severity) == [.note, .note, .note])
    }

    @Test(
        "a bus range outside the range above is a problem, at both ends",
        arguments: [(UInt8(1), UInt8(4), 1), (2, 5, 1), (2, 4, 0), (4, 4, 0), (5, 5, 1)]
    )
    func nesting(first: UInt8, last: UInt8, problems: Int) throws {
        let findings = try TestTree()
            .port("00:02.0", buses: 1...4)
            .port("01:00.0", below: "00:02.0", buses: first...last)
            .topology().findings()
        #expect(findings.count == problems)
        #expect(findings.allSatisfy { $0.code == .busOutsideParent })
    }

    @Test("bus ranges of siblings that share a number")
    func busOverlap() throws {
        let findings = try TestTree().port("00:02.0", buses: 1...4).port("00:03.0", buses: 4...5).topology()
            .findings()
        #expect(findings.map(\.code) == [.busOverlap])
        #expect(findings.first?.sentence == "[bus 04-05] overlaps [bus 01-04] of 0000:00:02.0")
    }

    @Test("a bridge without bus number names who has the numbers")
    func noBus() throws {
        let findings = try TestTree()
            .port("00:02.0", buses: 1...1)
            .port("00:03.0", buses: 2...2)
            .port("01:00.0", below: "00:02.0", buses: nil)
            .topology().findings()
        #expect(findings.map(\.code) == [.busMissing])
        #expect(
            findings.first?.causes == [
                "0000:00:02.0 has [bus 01], 1 bus, and none is left",
                "0000:00:02.0 cannot grow: bus 02 belongs to 0000:00:03.0",
            ]
        )
    }

    @Test("two BARs at one address, and one that ends where the next begins")
    func overlap() throws {
        let touching = try TestTree()
            .endpoint("00:03.0", .assigned(.bar0, 0xfe60_0000, size: 0x1000))
            .endpoint("00:04.0", .assigned(.bar0, 0xfe60_1000, size: 0x1000))
            .topology().findings()
        #expect(touching.isEmpty)
        let sharing = try TestTree()
            .endpoint("00:03.0", .assigned(.bar0, 0xfe60_0000, size: 0x1001))
            .endpoint("00:04.0", .assigned(.bar0, 0xfe60_1000, size: 0x1000))
            .topology().findings()
        #expect(sharing.map(\.code) == [.overlap])
    }

    @Test("a BAR that its bridge does not forward")
    func outside() throws {
        let findings = try TestTree()
            .port("00:02.0", buses: 1...4, .assigned(.memoryWindow, 0xfe60_0000, size: 0x10_0000))
            .endpoint("01:00.0", below: "00:02.0", .assigned(.bar0, 0xfe70_0000, size: 0x1000))
            .topology().findings()
        #expect(findings.map(\.code) == [.outsideWindow])
        #expect(
            findings.first?.sentence
                == "BAR 0 [mem 0xfe700000-0xfe700fff] lies outside the windows of 0000:00:02.0"
        )
    }

    @Test("registers that differ from the kernel's tree, in force and switched off", arguments: [true, false])
    func registers(isOn: Bool) throws {
        var bytes = [UInt8](repeating: 0, count: 64)
        bytes[0x04] = isOn ? 0x02 : 0
        bytes[0x13] = 0xfd
        let findings = try TestTree()
            .endpoint("00:03.0", config: ConfigSpace(bytes), .assigned(.bar0, 0xfe60_0000, size: 0x1000))
            .topology().findings()
        #expect(findings.map(\.code) == [.registersDiffer])
        #expect(findings.first?.severity == (isOn ? .problem : .note))
    }

    @Test("a function that reads all ones does not answer")
    func zombie() throws {
        let findings = try TestTree()
            .endpoint(
                "00:03.0",
                config: ConfigSpace([UInt8](repeating: 0xff, count: 64)),
                .assigned(.bar0, 0xfe60_0000, size: 0x1000)
            )
            .topology().findings()
        #expect(findings.map(\.code) == [.notAnswering])
    }
}

@Suite("Occupancy")
struct OccupancyTests {
    @Test("used, free and the largest aligned free block")
    func numbers() throws {
        // |--4K used--|----------- 3M+1020K free -----------|
        let tree = try TestTree()
            .port("00:02.0", buses: 1...4, .assigned(.memoryWindow, 0xfe60_0000, size: 0x40_0000))
            .endpoint("01:00.0", below: "00:02.0", .assigned(.bar0, 0xfe60_0000, size: 0x1000))
            .topology()
        let space = tree.occupancy(of: AddressRange(0xfe60_0000, 0xfe9f_ffff), isIO: false, belowBridge: 0)
        #expect(space.usedBytes == ByteCount(0x1000))
        #expect(space.freeBytes == ByteCount(0x3f_f000))
        #expect(space.largestFreeBlock == ByteCount(0x20_0000))
        #expect(space.fits(size: 0x20_0000, alignment: 0x20_0000))
        #expect(!space.fits(size: 0x20_0001, alignment: 0x20_0000))
        #expect(!space.fits(size: 0x40_0000, alignment: 1))
    }

    @Test("a window of the whole 64-bit space does not overflow")
    func whole() throws {
        let tree = try TestTree().port("00:02.0", buses: 1...1).topology()
        let space = tree.occupancy(of: .all, isIO: false, belowBridge: 0)
        #expect(space.freeBytes.rawValue == .max)
        #expect(space.usedBytes == .zero)
    }
}
