// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

/// Why a resource has no address: every number is worked out here from the ranges of the drawn tree.
@Suite("Room, told in numbers")
struct RoomTests {
    /// The healthy tree in which BAR 0 of the card is unassigned and of another size.
    private func causes(_ size: UInt64, _ change: (inout DrawnTree) -> Void = { _ in }) throws -> [String] {
        try lacking(size, change).topology().findings().first { $0.code == .barUnassigned }?.causes ?? ["no finding"]
    }

    private func lacking(_ size: UInt64, _ change: (inout DrawnTree) -> Void = { _ in }) -> DrawnTree {
        var tree = healthyTree()
        tree.change("01:00.0") { $0.resources[0] = bar(0, .memory, size) }
        change(&tree)
        return tree
    }

    private static let roomy =
        "the host bridge has room: [mem 0xc0000000-0xdfffffff] has 509M free, largest block 256M"

    @Test("a window with room: the exact size fits, the next alignment does not")
    func window() throws {
        let window = "mem window of 0000:00:01.0 [mem 0xc0000000-0xc01fffff]"
        #expect(try causes(0x20_0000) == ["\(window) has room, 2M free"])
        // The aperture of 512M less windows of 2M and 1M.
        #expect(try causes(0x40_0000) == ["\(window) is 2M, largest free block 2M", Self.roomy])
        // Both halves free but for one page in the middle: 2M - 4K = 2044K.
        let page = try causes(0x20_0000) {
            $0.card("01:00.1", below: "00:01.0", [bar(0, .memory, 0x1000, at: 0xc010_0000)])
        }
        #expect(
            page == ["\(window) is 2M, largest free block 1M; pinned by 0000:01:00.1 BAR 0 (4K)", Self.roomy]
        )
        let fits = try causes(0x10_0000) {
            $0.card("01:00.1", below: "00:01.0", [bar(0, .memory, 0x1000, at: 0xc010_0000)])
        }
        #expect(fits == ["\(window) has room, 2044K free"])
        let full = try causes(0x1000) {
            $0.card("01:00.1", below: "00:01.0", [bar(0, .memory, 0x20_0000, at: 0xc000_0000)])
        }
        #expect(full.first == "\(window) is 2M, full; pinned by 0000:01:00.1 BAR 0 (2M)")
    }

    @Test("who pins is listed once, with windows that hold nothing, and I/O is no pin of memory")
    func pins() throws {
        let tree = lacking(0x20_0000) {
            $0.bridge("01:01.0", buses(2, 2), below: "00:01.0", memory: 0xc010_0000...0xc01f_ffff)
            $0.card(
                "01:00.1",
                below: "00:01.0",
                [bar(0, .memory, 0x1000, at: 0xc000_0000), bar(1, .io, 0x10, at: 0x1200)]
            )
        }
        let finding = try #require(try tree.topology().findings().first { $0.code == .barUnassigned })
        #expect(
            finding.causes.first?.hasSuffix(
                "is 2M, largest free block 512K; pinned by 0000:01:00.1 BAR 0 (4K), 0000:01:01.0 mem window (1M, empty)"
            ) == true
        )
        #expect(finding.related == [at("01:00.1"), at("01:01.0")])
        let deeper = lacking(0x20_0000) {
            $0.bridge("01:01.0", buses(2, 2), below: "00:01.0", memory: 0xc010_0000...0xc01f_ffff)
            $0.card("02:00.0", below: "01:01.0", [bar(0, .memory, 0x2000, at: 0xc010_0000)])
        }
        let below = try #require(try deeper.topology().findings().first { $0.code == .barUnassigned })
        #expect(below.related == [at("02:00.0")])
        #expect(below.causes.first?.hasSuffix("pinned by 0000:02:00.0 BAR 0 (8K)") == true)
        #expect(try deeper.topology().findings(explains: false).first?.related == [])
    }

    @Test("windows that are closed, without a place, not there, or not told")
    func closed() throws {
        func first(_ change: (inout DrawnTree) -> Void) throws -> String? { try causes(0x10_0000, change).first }
        #expect(
            try first { $0.change("00:01.0", .memoryWindow) { $0.assignment = .closed } }
                == "mem window of 0000:00:01.0 is closed"
        )
        #expect(
            try first { $0.change("00:01.0", .memoryWindow) { $0.assignment = .unassigned } }
                == "mem window of 0000:00:01.0 has no address"
        )
        let gone: (inout DrawnTree) -> Void = { $0.change("00:01.0") { $0.resources.remove(at: 1) } }
        #expect(try first(gone) == "0000:00:01.0 has no memory window")
        #expect(
            try causes(0x10_0000) {
                gone(&$0)
                $0.change("00:01.0") { $0.knowledge.windows = .partly }
            } == ["the host bridge has room: [mem 0xc0000000-0xdfffffff] has 511M free, largest block 256M"]
        )
        let untold = try causes(0x10_0000) {
            $0.change("00:01.0", .memoryWindow) { $0.assignment = .closed }
            $0.change("00:01.0") { $0.knowledge.windows = .partly }
        }
        #expect(untold.count == 1 && untold[0].hasPrefix("the host bridge has room"))
        var unsized = lacking(0x1000)
        unsized.change("01:00.0", number(0)) { $0.size = nil }
        #expect(
            try unsized.topology().causes(.barUnassigned) == ["mem window of 0000:00:01.0 has 2M free in one block"]
        )
    }

    @Test("no room below 4 GiB, room above: what cannot be reached, and why")
    func narrow() throws {
        let shrink: (inout DrawnTree) -> Void = { $0.hosts[0].apertures[1].range = span(0xc000_0000...0xc02f_ffff) }
        // 64G less the port's 512M.
        #expect(
            try causes(0x40_0000, shrink).dropFirst() == [
                "the host bridge has no room either: the largest free block of its 1 aperture below 4 GiB is 0, "
                    + "needed are 4M",
                "the 63.5G free in [mem 0x4000000000-0x4fffffffff] cannot be reached: BAR 0 takes 32-bit addresses only",
            ]
        )
        // A wide BAR of a port whose prefetchable window is wide reaches it.
        var wide = healthyTree()
        wide.change("01:00.0", number(2)) {
            $0 = bar(2, .wide, 0x4000_0000)
        }
        #expect(
            try wide.topology().causes(.barUnassigned) == [
                "pref window of 0000:00:01.0 [mem 0x4000000000-0x401fffffff 64bit pref] is 512M, largest free block 512M",
                "the host bridge has room: [mem 0x4000000000-0x4fffffffff] has 63.5G free, largest block 32G",
            ]
        )
        wide.change("01:00.0", number(2)) { $0 = bar(2, .wide, 0x10_0000_0000) }
        #expect(
            try wide.topology().causes(.barUnassigned).last
                == "the host bridge has no room either: the largest free block of its 2 apertures is 32G, needed are 64G"
        )
    }

    @Test("an aperture that straddles 4 GiB counts below it as far as it lies there, by bus addresses")
    func straddling() throws {
        func last(_ first: UInt64, _ end: UInt64, offset: Int64 = 0, size: UInt64) throws -> [String] {
            try causes(size) {
                $0.hosts[0].apertures = [Aperture(range: span(first...end), flags: .memory, offset: offset)]
                $0.change("00:01.0") { $0.resources.removeAll { $0.index != .ioWindow } }
                $0.change("00:02.0") { $0.resources = [] }
            }
        }
        #expect(
            try last(0xfff0_0000, 0x1_ffff_ffff, size: 0x10_0000)[1]
                == "the host bridge has room: [mem 0xfff00000-0xffffffff] has 1M free, largest block 1M"
        )
        let beyond = try last(0xfff0_0000, 0x1_ffff_ffff, size: 0x20_0000)
        #expect(beyond[1].hasSuffix("below 4 GiB is 1M, needed are 2M"))
        // 4097 M in all.
        #expect(beyond[2].hasPrefix("the 4097M free in [mem 0xfff00000-0x1ffffffff] cannot be reached"))
        // Translated down: CPU 40_00000000 is bus 80000000.
        #expect(
            try last(0x40_0000_0000, 0x40_3fff_ffff, offset: 0x3f_8000_0000, size: 0x4000_0000)[1]
                == "the host bridge has room: [mem 0x4000000000-0x403fffffff] (bus address [0x80000000-0xbfffffff]) "
                + "has 1G free, largest block 1G"
        )
        // Memory below 1 MiB is no room, one byte more is.
        #expect(try last(0xa_0000, 0xf_ffff, size: 0x1_0000).count == 1)
        #expect(try last(0xa_0000, 0x10_0000, size: 0x1_0000).count == 2)
    }

    @Test("which addresses a resource can reach")
    func narrowness() throws {
        func reach(_ flags: ResourceFlags, _ change: (inout DrawnTree) -> Void = { _ in }) throws -> String? {
            var tree = healthyTree()
            change(&tree)
            let topology = try tree.topology()
            let index = try #require(topology.position(of: at("01:00.0")))
            return topology.narrowness(of: bar(0, flags, 0x1000), at: index)
        }
        #expect(try reach(.wide) == nil)
        #expect(try reach(.io) == nil)
        #expect(try reach(.memory) == "BAR 0 takes 32-bit addresses only")
        #expect(
            try reach([.memory, .memory64]) == "the memory window of 0000:00:01.0 can only lie below 4 GiB"
        )
        let narrow: (inout DrawnTree) -> Void = {
            $0.change("00:01.0", .prefetchableWindow) { $0.flags.remove(.memory64) }
        }
        #expect(try reach(.wide, narrow) == "the windows of 0000:00:01.0 can only lie below 4 GiB")
        for unknown: (inout Function) -> Void in [
            { $0.knowledge.windows = .partly }, { $0.knowledge.isPrefetchableWidthKnown = false },
        ] {
            #expect(
                try reach([.memory, .memory64]) {
                    narrow(&$0)
                    $0.change("00:01.0", unknown)
                } == nil
            )
        }
    }

    @Test("which window carries a resource: I/O, memory, prefetchable memory by width")
    func carrying() throws {
        func carrier(_ flags: ResourceFlags, _ window: ResourceFlags?) throws -> ResourceIndex? {
            var tree = healthyTree()
            tree.change("00:01.0") { $0.resources.removeAll { $0.index == .prefetchableWindow } }
            if let window {
                tree.change("00:01.0") { $0.resources.append(bar(15, window, 0x10_0000, at: 0xd000_0000)) }
            }
            let topology = try tree.topology()
            let port = try #require(topology.position(of: at("00:01.0")))
            return topology.window(ofBridge: port, carrying: bar(0, flags, 0x1000))?.index
        }
        let narrow: ResourceFlags = [.memory, .prefetchable]
        #expect(try carrier(.io, .wide) == .ioWindow && carrier(.memory, .wide) == .memoryWindow)
        #expect(try carrier([.memory, .memory64], .wide) == .memoryWindow)
        #expect(try carrier(.wide, .wide) == .prefetchableWindow && carrier(.wide, narrow) == .prefetchableWindow)
        #expect(try carrier(narrow, narrow) == .prefetchableWindow && carrier(narrow, .wide) == .memoryWindow)
        #expect(try carrier(.wide, nil) == .memoryWindow)
    }

    @Test("what is free below a port: by kind of window, behind subtractive bridges too, and its bus numbers")
    func freeBelow() throws {
        var tree = healthyTree()
        tree.bridge("01:01.0", buses(2, 2), below: "00:01.0", isSubtractive: true)
        tree.card("02:00.0", below: "01:01.0", [bar(0, .memory, 0x10_0000, at: 0xc010_0000)])
        tree.change("02:00.0") { $0.resources.append(bar(1, .io, 0x100, at: 0x1100)) }
        let topology = try tree.topology()
        let port = try #require(topology.position(of: at("00:01.0")))
        #expect(topology.freeRoom(belowBridge: port, .memory).blocks == [])
        #expect(topology.freeRoom(belowBridge: port, .io).blocks == [span(0x1200...0x1fff)])
        #expect(
            topology.freeRoom(belowBridge: port, .prefetchable).blocks == [span(0x40_1000_0000...0x40_1fff_ffff)]
        )
        #expect(topology.freeBusNumbers(belowBridge: port) == 0)
        let second = try #require(topology.position(of: at("00:02.0")))
        #expect(topology.freeRoom(belowBridge: second, .prefetchable).blocks == [span(0xc020_0000...0xc02f_ffff)])
        #expect(topology.freeRoom(belowBridge: second, .io).blocks == [])
        #expect(topology.freeBusNumbers(belowBridge: second) == 0)
    }

    @Test("an aperture is held by functions and by what is not PCI, in order, and counts its bytes")
    func occupancy() throws {
        var tree = healthyTree()
        tree.blockers = [
            Blocker(range: span(0xdfff_0000...0xe00f_ffff), isIO: false, name: "HPET", source: .iomem),
            Blocker(range: span(0x1000...0x10ff), isIO: true, name: "port", source: .iomem),
        ]
        let topology = try tree.topology()
        let space = topology.occupancy(of: topology.hostBridges[0].apertures[1], host: 0)
        #expect(
            space.holders == [
                Occupancy.Holder(
                    range: span(0xc000_0000...0xc01f_ffff),
                    owner: .resource(function: 0, index: .memoryWindow)
                ),
                Occupancy.Holder(
                    range: span(0xc020_0000...0xc02f_ffff),
                    owner: .resource(function: 1, index: .memoryWindow)
                ),
                Occupancy.Holder(range: span(0xdfff_0000...0xdfff_ffff), owner: .blocker(0)),
            ]
        )
        #expect(space.free == [span(0xc030_0000...0xdffe_ffff)])
        #expect(space.freeBytes == ByteCount(0x1fcf_0000) && space.usedBytes == ByteCount(0x31_0000))
        #expect(space.largestFreeBlock == ByteCount(0x800_0000))
        // From c0300000 to the end at dffeffff there are 0x1fcf0000 bytes.
        #expect(space.fits(size: 0x1fcf_0000, alignment: 0x10_0000) && !space.fits(size: 0x1fcf_0001, alignment: 1))
        // From d0000000, the only multiple of 256 MiB, 64 KiB less than 256 MiB are free.
        #expect(space.fits(size: 0xfff_0000, alignment: 0x1000_0000))
        #expect(!space.fits(size: 0xfff_0001, alignment: 0x1000_0000))
        #expect(!space.fits(size: 1, alignment: 0x4000_0000), "the first multiple lies behind the end")
        #expect(space.fits(size: 0, alignment: 1))
    }
}
