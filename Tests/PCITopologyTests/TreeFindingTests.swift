// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

/// Findings about what two parts of a tree say of one another: siblings, bus numbers, registers.
@Suite("Findings about siblings, buses and registers")
struct TreeFindingTests {
    private func told(_ change: (inout DrawnTree) -> Void) throws -> [String] {
        var tree = healthyTree()
        change(&tree)
        return try tree.topology().told()
    }

    // MARK: Siblings

    @Test("two functions of one bus overlap by one address, and touch without")
    func siblings() throws {
        for (first, isOverlap) in [(0xc00f_ffff, true), (0xc010_0000, false)] as [(UInt64, Bool)] {
            let found = try told {
                $0.card("01:00.1", below: "00:01.0", [bar(0, .memory, 0x1000, at: first)])
            }
            #expect(found == (isOverlap ? ["overlap problem 01:00.1 BAR 0 <- 01:00.0"] : []), "\(first)")
        }
    }

    @Test("what does not count as an overlap: other spaces, VFs, ROMs, fixed ranges, VF BARs of unknown size")
    func noOverlap() throws {
        func found(_ resource: Resource, _ change: (inout Function) -> Void = { _ in }) throws -> [String] {
            try told {
                $0.card("01:00.1", below: "00:01.0", [resource])
                $0.change("01:00.1", change)
            }
        }
        let same = bar(0, .memory, 0x10_0000, at: 0xc000_0000)
        #expect(try found(same) == ["overlap problem 01:00.1 BAR 0 <- 01:00.0"])
        #expect(try found(same) { $0.physicalFunction = at("01:00.0") } == [])
        #expect(try found(bar(6, .memory, 0x10_0000, at: 0xc000_0000)) == [])
        #expect(try found(bar(0, [.memory, .fixed], 0x10_0000, at: 0xc000_0000)) == [])
        #expect(
            try found(bar(7, .memory, 0x10_0000, at: 0xc000_0000)) == ["overlap problem 01:00.1 VF BAR 0 <- 01:00.0"]
        )
        #expect(try found(bar(7, .memory, 0x10_0000, at: 0xc000_0000)) { $0.resources[0].size = nil } == [])
        let ports = try told {
            $0.change("01:00.0", number(0)) { $0.assignment = .assigned(span(0xc000_0000...0xc000_00ff)) }
            $0.change("00:01.0", .ioWindow) { $0.assignment = .assigned(span(0x1000...0xc000_00ff)) }
            $0.hosts[0].apertures[0].range = span(0x1000...0xc000_00ff)
            $0.card("01:00.1", below: "00:01.0", [bar(0, .io, 0x100, at: 0xc000_0000)])
        }
        #expect(ports == [])
    }

    @Test("a long range overlaps everything up to its end, also behind a short one inside it")
    func longRange() throws {
        let found = try told {
            $0.card("01:00.1", below: "00:01.0", [bar(0, .memory, 0x1000, at: 0xc000_1000)])
            $0.card("01:00.2", below: "00:01.0", [bar(0, .memory, 0x1000, at: 0xc00f_f000)])
            $0.card("01:00.3", below: "00:01.0", [bar(0, .memory, 0x1000, at: 0xc010_0000)])
        }
        #expect(
            found == ["overlap problem 01:00.1 BAR 0 <- 01:00.0", "overlap problem 01:00.2 BAR 0 <- 01:00.0"]
        )
        // The last one met a range that ends later than the first.
        let chain = try told {
            $0.card("01:00.1", below: "00:01.0", [bar(0, .memory, 0x1000, at: 0xc00f_ffff)])
            $0.card("01:00.2", below: "00:01.0", [bar(0, .memory, 0x1000, at: 0xc010_0ffe)])
        }
        #expect(
            chain == ["overlap problem 01:00.1 BAR 0 <- 01:00.0", "overlap problem 01:00.2 BAR 0 <- 01:00.1"]
        )
    }

    @Test("BARs of one function: overlapping by one address, of one space, of a known size, held or not")
    func ownBARs() throws {
        func found(_ other: Resource) throws -> [String] {
            try told { $0.change("01:00.0") { $0.resources.append(other) } }
        }
        let overlap = ["overlap problem 01:00.0 BAR 5"]
        #expect(try found(bar(5, .memory, 0x1000, at: 0xc00f_ffff)) == overlap)
        #expect(try found(bar(5, .memory, 0x1000, at: 0xc010_0000)) == [])
        #expect(try found(bar(5, [.memory, .fixed], 0x1000, at: 0xc00f_ffff)) == [])
        #expect(try found(bar(5, .io, 0x10, at: 0x10f0)) == overlap)
        #expect(try found(bar(5, .io, 0x10, at: 0x1100)) == [])
        var unclaimed = bar(5, .memory, 0x1000)
        unclaimed.assignment = .unclaimed(span(0xc00f_f000...0xc00f_ffff))
        #expect(try found(unclaimed) == ["bar-unclaimed note 01:00.0 BAR 5"] + overlap)
        for size in [nil, ByteCount.zero] {
            var unsized = bar(5, .memory, 0x1000, at: 0xc00f_f000)
            unsized.size = size
            #expect(try found(unsized) == [])
        }
        #expect(try found(bar(6, .memory, 0x1000, at: 0xc00f_f000)) == [])
    }

    @Test("bus ranges of siblings: shared by one number, nested, and behind a short range inside a long one")
    func busOverlap() throws {
        #expect(try told { $0.bridge("00:03.0", buses(2, 2)) } == ["bus-overlap problem 00:03.0 <- 00:01.0"])
        #expect(try told { $0.bridge("00:03.0", buses(4, 4)) } == [])
        let nested = try told {
            $0.bridge("00:03.0", buses(5, 9))
            $0.bridge("00:04.0", buses(6, 6))
            $0.bridge("00:05.0", buses(9, 10))
            $0.bridge("00:06.0", buses(11, 11))
        }
        #expect(nested == ["bus-overlap problem 00:04.0 <- 00:03.0", "bus-overlap problem 00:05.0 <- 00:03.0"])
    }

    // MARK: Bus numbers

    @Test("a function sits on a bus of its bridge; VFs may sit further on")
    func mismatch() throws {
        let mismatch = ["bus-mismatch problem 04:00.0 <- 00:01.0"]
        #expect(try told { $0.card("04:00.0", below: "00:01.0") } == mismatch)
        #expect(try told { $0.card("02:00.0", below: "00:01.0") } == [])
        let virtual = try told {
            $0.card("04:00.0", below: "00:01.0")
            $0.change("04:00.0") { $0.physicalFunction = at("01:00.0") }
        }
        #expect(virtual == [])
        #expect(try told { $0.card("00:04.0", below: "00:01.0") } == ["bus-mismatch problem 00:04.0 <- 00:01.0"])
    }

    @Test("a bus range stays inside that of the bridge above, or of the host bridge, and leaves the own bus alone")
    func nesting() throws {
        #expect(try told { $0.bridge("01:01.0", buses(2, 2), below: "00:01.0") } == [])
        #expect(
            try told { $0.bridge("01:01.0", buses(2, 3), below: "00:01.0") }
                == ["bus-outside-parent problem 01:01.0 <- 00:01.0"]
        )
        #expect(
            try told { $0.bridge("01:01.0", buses(1, 2), below: "00:01.0") } == ["bus-outside-parent problem 01:01.0"]
        )
        func short(_ change: (inout HostBridge) -> Void = { _ in }) throws -> [String] {
            try told {
                $0.hosts[0].busRange = buses(0, 2)
                change(&$0.hosts[0])
            }
        }
        #expect(try short() == ["bus-outside-parent problem 00:02.0"])
        #expect(try short { $0.busRange = buses(0, 3) } == [])
        #expect(try short { $0.isTold = false } == [])
        #expect(try short { $0.isBusRangeTold = false } == [])
    }

    @Test("a bridge without a bus: a problem by the kernel's word, a note where nobody told, nothing for CardBus")
    func missingBus() throws {
        func found(lines: Int, _ change: (inout Function) -> Void = { _ in }) throws -> [String] {
            try told {
                $0.bridge("00:03.0", nil)
                $0.change("00:03.0") {
                    $0.lines = Array(repeating: .zero, count: lines)
                    change(&$0)
                }
            }
        }
        #expect(try found(lines: 13) == ["bus-missing problem 00:03.0"])
        #expect(try found(lines: 7) == ["bus-missing problem 00:03.0"])
        #expect(try found(lines: 17) == ["bus-missing note 00:03.0"])
        #expect(try found(lines: 0) == [])
        #expect(try found(lines: 13) { $0.knowledge.windows = .partly } == ["bus-missing note 00:03.0"])
        #expect(
            try found(lines: 0) { $0.bridge?.registers = BridgeRegisters(header(layout: 1, [:])) }
                == ["bus-missing note 00:03.0"]
        )
        #expect(try found(lines: 13) { $0.identity.classCode = 0x06_0700 } == [])
    }

    @Test("why there is no bus: how many numbers stand above, who has them, and who has the next")
    func missingBusCauses() throws {
        func causes(_ change: (inout DrawnTree) -> Void) throws -> [String] {
            var tree = healthyTree()
            change(&tree)
            for address in ["00:03.0", "01:01.0"] {
                tree.change(address) { $0.lines = Array(repeating: .zero, count: 13) }
            }
            return try tree.topology().causes(.busMissing)
        }
        // 256 numbers: bus 0, 1-2 and 3 are used.
        #expect(
            try causes { $0.bridge("00:03.0", nil) } == [
                "host bridge 0000:00 has [bus 00-ff], 256 in all, of which 252 are not given to a bridge"
            ]
        )
        #expect(
            try causes {
                $0.bridge("00:03.0", nil)
                $0.hosts[0].busRange = buses(0, 3)
            } == [
                "host bridge 0000:00 has [bus 00-03], 4 buses, and none is left",
                "they are held by 0000:00:01.0 [bus 01-02], 0000:00:02.0 [bus 03]",
            ]
        )
        // Below a bridge: bus 1 is its own, one more is free; with that given away, bus 3 stands in its way.
        #expect(
            try causes { $0.bridge("01:01.0", nil, below: "00:01.0") } == [
                "0000:00:01.0 has [bus 01-02], 2 in all, of which 1 are not given to a bridge"
            ]
        )
        #expect(
            try causes {
                $0.bridge("01:01.0", nil, below: "00:01.0")
                $0.bridge("01:02.0", buses(2, 2), below: "00:01.0")
            } == [
                "0000:00:01.0 has [bus 01-02], 2 buses, and none is left", "they are held by 0000:01:02.0 [bus 02]",
                "0000:00:01.0 cannot grow: bus 03 belongs to 0000:00:02.0",
            ]
        )
        #expect(
            try causes {
                $0.bridge("01:01.0", nil, below: "00:01.0")
                $0.change("00:01.0") { $0.bridge?.busRange = buses(1, 1) }
            } == ["0000:00:01.0 has [bus 01], 1 bus, and none is left"]
        )
    }

    // MARK: Registers

    /// The registers of the port as the kernel holds it: I/O 1000-1fff, memory c0000000-c01fffff, wide prefetchable
    /// memory 40_00000000-40_1fffffff, buses 1 to 2, decoding on.
    private static let portRegisters: [Int: UInt32] = [
        0x04: 7, 0x18: 0x0002_0100, 0x1c: 0x1010, 0x20: 0xc010_c000, 0x24: 0x1ff1_0001, 0x28: 0x40, 0x2c: 0x40,
    ]

    private func port(_ values: [Int: UInt32], _ change: (inout DrawnTree) -> Void = { _ in }) throws -> [String] {
        try told {
            $0.registers("00:01.0", layout: 1, Self.portRegisters.merging(values) { $1 })
            change(&$0)
        }
    }

    @Test("a port's registers that agree with the kernel give no finding, and each that does not gives one")
    func bridgeRegisters() throws {
        #expect(try port([:]) == [])
        #expect(try port([0x18: 0x0002_0200]) == ["registers-differ problem 00:01.0"])
        #expect(try port([0x18: 0x0001_0100]) == ["registers-differ problem 00:01.0"])
        #expect(try port([0x18: 0x0002_0107]) == [], "the primary bus is nobody's concern")
        #expect(try port([0x1c: 0x2010]) == ["registers-differ problem 00:01.0 io window"])
        #expect(try port([0x20: 0xc000_c000]) == ["registers-differ problem 00:01.0 mem window"])
        #expect(try port([0x20: 0xc000_c010]) == ["registers-differ problem 00:01.0 mem window"], "closed")
        #expect(try port([0x28: 0x41, 0x2c: 0x41]) == ["registers-differ problem 00:01.0 pref window"])
        #expect(try port([0x04: 1, 0x20: 0xc000_c000]) == ["registers-differ note 00:01.0 mem window"])
        #expect(try port([0x04: 2, 0x1c: 0x2010]) == ["registers-differ note 00:01.0 io window"])
        // A port that leads nowhere harms nobody.
        let empty = try told {
            $0.registers("00:02.0", layout: 1, [0x04: 7, 0x18: 0x0004_0400, 0x20: 0xc020_c020])
        }
        #expect(empty == ["registers-differ note 00:02.0"])
        #expect(try port([0x20: 0xc000_c000]) { $0.change("00:01.0") { $0.knowledge.registers = .unseen } } == [])
        #expect(try port([0x20: 0xc000_c000]) { $0.change("00:01.0") { $0.identity.classCode = 0x06_0700 } } == [])
    }

    @Test(
        "registers tell the end of a window to the granule: an end inside it agrees",
        arguments: [
            (UInt64(0xc010_0000), true), (0xc01f_fffe, true), (0xc01f_ffff, true), (0xc00f_ffff, false),
            (0xc020_0000, false),
        ]
    )
    func endInsideGranule(last: UInt64, agrees: Bool) throws {
        let range = try #require(AddressRange(first: 0xc000_0000, last: last))
        let found = try port([:]) { tree in
            tree.change("00:01.0") { function in
                for i in function.resources.indices where function.resources[i].index == .memoryWindow {
                    function.resources[i].assignment = .assigned(range)
                }
            }
        }
        #expect(found.contains("registers-differ problem 00:01.0 mem window") != agrees, "\(found)")
    }

    @Test("a window that the kernel holds closed and the registers forward: a note, but from address 0")
    func openRegister() throws {
        func found(_ memory: UInt32, command: UInt32 = 7, _ assignment: Resource.Assignment = .closed) throws
            -> [String]
        {
            try port([0x04: command, 0x20: memory]) {
                $0.change("00:01.0", .memoryWindow) { $0.assignment = assignment }
                $0.change("01:00.0") { $0.resources.removeFirst() }
            }
        }
        #expect(try found(0xc000_c000) == ["registers-differ note 00:01.0 mem window"])
        #expect(try found(0xc000_c010) == [])
        #expect(try found(0) == [])
        #expect(try found(0xc000_c000, command: 5) == [])
        #expect(try found(0xc000_c000, .unclaimed(span(0xc000_0000...0xc00f_ffff))) == [])
    }

    private func card(_ values: [Int: UInt32], _ change: (inout DrawnTree) -> Void = { _ in }) throws -> [String] {
        try told {
            let sound: [Int: UInt32] = [0x04: 3, 0x10: 0xc000_0000, 0x18: 0xc, 0x1c: 0x40, 0x20: 0x1001]
            $0.registers("01:00.0", sound.merging(values) { $1 })
            change(&$0)
        }
    }

    @Test("a BAR's register that holds another address: a problem while the function decodes, a note while it does not")
    func barRegisters() throws {
        let differs = "registers-differ problem 01:00.0"
        #expect(try card([:]) == [])
        #expect(try card([0x10: 0xc010_0000]) == [differs + " BAR 0"])
        #expect(try card([0x1c: 0x41]) == [differs + " BAR 2"])
        #expect(try card([0x20: 0x1101]) == [differs + " BAR 4"])
        #expect(try card([0x04: 1, 0x10: 0xc010_0000]) == ["registers-differ note 01:00.0 BAR 0"])
        #expect(try card([0x04: 2, 0x20: 0x1101]) == ["registers-differ note 01:00.0 BAR 4"])
        #expect(try card([0x10: .max]) == [])
        #expect(try card([0x10: 0xc010_0000]) { $0.change("01:00.0", number(0)) { $0.flags.insert(.fixed) } } == [])
        // 64 bytes do not tell whether the function sleeps, in which zero is what it reads.
        #expect(try card([0x10: 0]) == ["registers-differ note 01:00.0 BAR 0"])
        #expect(
            try told {
                let values: [Int: UInt32] = [
                    0x04: 0x10_0003, 0x10: 0, 0x18: 0xc, 0x1c: 0x40, 0x20: 0x1001, 0x34: 0x40, 0x40: 1,
                ]
                $0.registers("01:00.0", count: 256, values)
            } == [differs + " BAR 0"]
        )
    }

    @Test("an IDE interface in compatibility mode has zeros in its registers")
    func ide() throws {
        func found(_ classCode: UInt32, _ register: UInt32) throws -> [String] {
            try card([0x20: register]) { $0.change("01:00.0") { $0.identity.classCode = classCode } }
        }
        #expect(try found(0x01_0180, 1) == [])
        #expect(try found(0x01_0680, 1) == ["registers-differ note 01:00.0 BAR 4"])
        #expect(try found(0x01_0180, 0x1101) == ["registers-differ problem 01:00.0 BAR 4"])
    }

    @Test("registers hold bus addresses: an aperture's offset is taken off, an unknown one compares with nothing")
    func offsets() throws {
        // The CPU's c0000000 is the bus's 80000000.
        func found(_ register: UInt32, _ change: (inout DrawnTree) -> Void = { _ in }) throws -> [String] {
            try card([0x10: register]) {
                $0.hosts[0].apertures[1].offset = 0x4000_0000
                change(&$0)
            }
        }
        #expect(try found(0x8000_0000) == [])
        #expect(try found(0xc000_0000) == ["registers-differ problem 01:00.0 BAR 0"])
        // Where no log tells the offsets, agreement of one register means that there are none.
        let unknown: (inout DrawnTree) -> Void = { $0.hosts[0].source = .iomem }
        #expect(try card([0x10: 0xc010_0000], unknown) == ["registers-differ problem 01:00.0 BAR 0"])
        #expect(try card([0x10: 0x8000_0000, 0x1c: 0x39, 0x20: 0x2001], unknown) == [])
    }

    // MARK: The rest

    @Test("a function that does not answer is told once, and nothing else of it; a VF's ids read so always")
    func silent() throws {
        let all = ConfigSpace(Array(repeating: 0xff, count: 64))
        let silent = try told {
            $0.change("01:00.0") { $0.config = all }
            $0.change("01:00.0", number(0)) { $0.assignment = .unassigned }
        }
        #expect(silent == ["not-answering problem 01:00.0"])
        let virtual = try told {
            $0.change("01:00.0") {
                $0.config = all
                $0.physicalFunction = at("01:00.1")
            }
        }
        #expect(virtual == [])
        var one = all
        one.write(0xfe, at: 63, width: 1)
        #expect(try told { $0.change("01:00.0") { $0.config = one } } == [])
    }

    @Test("a log that lost characters makes notes of what rests on its numbers, not of the kernel's own words")
    func damagedLog() throws {
        func found(_ sources: [FunctionKnowledge.Source], _ change: (inout DrawnTree) -> Void) throws -> [String] {
            try told {
                $0.gaps = [ReadingGap(code: "damaged-log", detail: "")]
                $0.change("01:00.0") { $0.knowledge.sources = sources }
                change(&$0)
            }
        }
        let outside: (inout DrawnTree) -> Void = {
            $0.change("01:00.0", number(0)) { $0.assignment = .assigned(span(0xd000_0000...0xd00f_ffff)) }
        }
        #expect(try found([.log], outside) == ["outside-window note 01:00.0 BAR 0 <- 00:01.0"])
        #expect(try found([.log, .listing], outside) == ["outside-window problem 01:00.0 BAR 0 <- 00:01.0"])
        let unassigned: (inout DrawnTree) -> Void = { $0.change("01:00.0", number(0)) { $0.assignment = .unassigned } }
        #expect(try found([.log], unassigned) == ["bar-unassigned problem 01:00.0 BAR 0"])
        #expect(
            try found([.log]) {
                unassigned(&$0)
                $0.change("01:00.0", number(0)) { $0.size = nil }
            } == ["bar-unassigned note 01:00.0 BAR 0"]
        )
    }

    @Test("findings come in the order of the tree, and harmless resources are the notes among them")
    func order() throws {
        var tree = healthyTree()
        tree.card("00:00.0", [bar(0, .memory, 0x1000)])
        tree.card("03:00.0", below: "00:02.0", [bar(0, .memory, 0x1000)])
        tree.change("01:00.0", number(0)) { $0.assignment = .unassigned }
        tree.change("01:00.0", number(4)) { $0.assignment = .unassigned }
        let topology = try tree.topology()
        #expect(topology.findings().map { $0.address.short } == ["00:00.0", "01:00.0", "01:00.0", "03:00.0"])
        let index = try #require(topology.position(of: at("01:00.0")))
        #expect(topology.harmlessResources() == [index: [number(4)]])
        #expect(topology.preorder(from: 1).map { topology.functions[$0].address.short } == ["00:01.0", "01:00.0"])
        let silent = topology.findings(explains: false)
        #expect(silent.map(\.code) == topology.findings().map(\.code) && silent.allSatisfy(\.causes.isEmpty))
    }
}
