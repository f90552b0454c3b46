// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

/// What nobody told, and what that means for answers.
@Suite("What is not known")
struct UnknownTests {
    private func unknowns(_ change: (inout DrawnTree) -> Void = { _ in }) throws -> [String] {
        var tree = healthyTree()
        change(&tree)
        return try tree.topology().unknowns().map(Self.text)
    }

    private static func text(_ unknown: Unknown) -> String {
        ([unknown.code.rawValue] + unknown.addresses.map(\.short)).joined(separator: " ")
    }

    @Test("of the tree: functions in part, sizes, gaps of the reading")
    func tree() throws {
        #expect(try unknowns() == [])
        #expect(
            try unknowns { $0.change("01:00.0") { $0.knowledge.resources = .partly } } == ["functions-not-read 01:00.0"]
        )
        #expect(
            try unknowns { $0.change("00:01.0") { $0.knowledge.windows = .unseen } } == ["functions-not-read 00:01.0"]
        )
        #expect(try unknowns { $0.change("01:00.0", number(0)) { $0.size = nil } } == ["sizes-not-told 01:00.0"])
        #expect(
            try unknowns {
                $0.change("01:00.0", number(0)) {
                    $0.size = nil
                    $0.assignment = .unassigned
                }
            } == []
        )
        #expect(
            try unknowns {
                $0.change("01:00.0") {
                    $0.knowledge.resources = .unseen
                    $0.identity.classCode = 0x08_0000
                }
            } == []
        )
        for (code, expected) in [
            ("orphan", "functions-left-out"), ("no-place", "functions-left-out"),
            ("several-machines", "sources-disagree"),
            ("several-boots-joined", "sources-disagree"), ("addresses-only", "no-functions"),
            ("damaged-log", "source-damaged"), ("log-cut-at-end", "log-cut"), ("damagedHexRow", "source-damaged"),
            ("log-cut-at-start", nil), ("config-64-bytes", nil),
        ] as [(String, String?)] {
            // Said twice, it is told once.
            let gap = ReadingGap(code: code, detail: "detail")
            #expect(try unknowns { $0.gaps = [gap, gap] } == (expected.map { [$0] } ?? []), "\(code)")
        }
        var none = DrawnTree()
        #expect(try none.topology().unknowns().map(\.code) == [.noFunctions])
        none.gaps = [ReadingGap(code: "addresses-only", detail: "only addresses")]
        #expect(try none.topology().unknowns().map(\.sentence) == ["only addresses"])
    }

    @Test("a verdict: problems come first, health needs that everything was seen")
    func verdicts() throws {
        var tree = healthyTree()
        func verdict() throws -> TreeVerdict {
            let topology = try tree.topology()
            return topology.verdict(of: topology.findings())
        }
        #expect(try verdict() == .healthy)
        tree.change("01:00.0", number(4)) { $0.assignment = .unassigned }
        #expect(try verdict() == .healthy, "a note is no problem")
        tree.change("00:02.0") { $0.knowledge.resources = .partly }
        #expect(try verdict() == .cannotTell)
        tree.change("01:00.0", number(0)) { $0.assignment = .unassigned }
        #expect(try verdict() == .problems)
    }

    @Test("outside the part that was told: a log that begins late, bridges that nobody named")
    func reservations() throws {
        func reservations(_ change: (inout DrawnTree) -> Void) throws -> [String] {
            var tree = healthyTree()
            change(&tree)
            return try tree.topology().reservations().map(Self.text)
        }
        #expect(try reservations { _ in } == [])
        #expect(try reservations { $0.gaps = [ReadingGap(code: "log-cut-at-start", detail: "")] } == ["log-cut"])
        #expect(
            try reservations { $0.hosts[0].isTold = false } == ["bridges-not-told 00:01.0 00:02.0"]
        )
        // The card sits one bus further down than its bridge leads to.
        let further: (inout DrawnTree) -> Void = {
            $0.card("02:00.0", below: "00:01.0")
            $0.change("02:00.0") { $0.knowledge.sources = [.log] }
        }
        #expect(try reservations(further) == ["bridges-not-told 02:00.0"])
        #expect(
            try reservations {
                further(&$0)
                $0.change("02:00.0") { $0.knowledge.sources = [.kernel] }
            } == []
        )
        #expect(
            try reservations {
                further(&$0)
                $0.change("02:00.0") { $0.physicalFunction = at("01:00.0") }
            } == []
        )
    }

    @Test("apertures that are not told count where something below asks for space, and nowhere else")
    func untoldApertures() throws {
        var tree = healthyTree()
        tree.hosts.append(HostBridge(segment: 1, busRange: buses(0, 255), apertures: [], source: .unknown))
        #expect(try tree.topology().untoldApertures().isEmpty)
        // Functions of a processor's own bus have no BARs.
        tree.card("0001:00:05.0")
        #expect(try tree.topology().untoldApertures().isEmpty)
        #expect(try tree.topology().unknownsOfLayout().isEmpty)
        let bars = try #require(tree.functions.first { $0.address == at("01:00.0") }?.resources)
        tree.change("0001:00:05.0") { $0.resources = bars }
        let untold = try tree.topology().unknownsOfLayout()
        #expect(untold.map(\.code) == [.aperturesNotTold] && untold.first?.addresses == [at("0001:00:05.0")])
    }

    @Test("about room for one function: the way up, the outermost bridge's subtree, apertures last")
    func aboutOne() throws {
        func about(_ change: (inout DrawnTree) -> Void, prefetchable: Bool? = nil) throws -> [String] {
            var tree = healthyTree()
            tree.card("03:00.0", below: "00:02.0")
            change(&tree)
            let topology = try tree.topology()
            let index = try #require(topology.position(of: at("01:00.0")))
            return topology.unknowns(about: index, prefetchable: prefetchable).map(Self.text)
        }
        #expect(try about { _ in } == [])
        #expect(try about { $0.hosts[0].isTold = false } == ["bridges-not-told 00:01.0"])
        #expect(try about { $0.hosts[0].source = .unknown } == ["apertures-not-told 00:01.0"])
        #expect(
            try about {
                $0.hosts[0].source = .unknown
                $0.hosts[0].isTold = false
            } == ["bridges-not-told 00:01.0"]
        )
        #expect(try about { $0.hosts[0].source = .iomem } == [])
        #expect(try about { $0.change("00:01.0") { $0.knowledge.windows = .partly } } == ["windows-not-told 00:01.0"])
        // What is beside the way does not count.
        #expect(try about { $0.change("03:00.0") { $0.knowledge.resources = .unseen } } == [])
        #expect(try about { $0.change("00:02.0") { $0.knowledge.windows = .unseen } } == [])
        #expect(
            try about {
                $0.card("01:00.1", below: "00:01.0")
                $0.change("01:00.1") { $0.knowledge.resources = .partly }
            } == ["functions-not-read 01:00.1"]
        )
        // The width of the window counts where wide prefetchable memory is wanted.
        let width: (inout DrawnTree) -> Void = {
            $0.change("00:01.0") { $0.knowledge.isPrefetchableWidthKnown = false }
        }
        #expect(try about(width) == [])
        #expect(try about(width, prefetchable: true) == ["windows-not-told 00:01.0"])
        let lacking: (inout DrawnTree) -> Void = {
            width(&$0)
            $0.change("01:00.0", number(2)) { $0.assignment = .unassigned }
        }
        #expect(try about(lacking) == ["windows-not-told 00:01.0"])
        #expect(try about(lacking, prefetchable: false) == [])
        #expect(
            try about {
                $0.change("01:00.0") { $0.address = at("02:00.0") }
                $0.card("01:00.0", below: "00:01.0")
                $0.change("01:00.0") { $0.address = at("02:00.1") }
                $0.card("01:00.0", below: "00:01.0")
            } == []
        )
    }

    @Test("what would tell, as commands to paste")
    func commands() {
        func commands(_ remedies: [Unknown.Remedy]...) -> String {
            remedies.map { Unknown(.logCut, [], "", $0) }.commands
        }
        #expect(commands([.listing]) == "sudo lspci -vvxxx > lspci.txt")
        #expect(commands([.log], [.listing, .log]) == "sudo lspci -vvxxx > lspci.txt; sudo dmesg > dmesg.txt")
        #expect(commands([.log, .journal]) == "sudo journalctl -k -b > journal.txt")
        #expect(commands([.iomem]) == "sudo cat /proc/iomem > iomem.txt")
        #expect(commands([.snapshot]) == "sudo pci-rebalance snapshot -o machine.json")
        #expect(commands([.snapshot, .listing]) == "sudo lspci -vvxxx > lspci.txt")
    }

    // MARK: Behind bridges

    private func unseen(_ change: (inout DrawnTree) -> Void) throws -> [String] {
        var tree = healthyTree()
        change(&tree)
        let topology = try tree.topology()
        return topology.unseenBridges.map { "\(topology.functions[$0.index].address.short) \($0.reason.rawValue)" }
    }

    @Test("why functions may be behind a bridge that nobody saw")
    func behind() throws {
        #expect(try unseen { _ in } == [])
        for (lines, expected) in [(13, ["00:03.0 no-bus"]), (7, ["00:03.0 no-bus"]), (0, []), (17, [])] {
            let found = try unseen {
                $0.bridge("00:03.0", nil)
                $0.change("00:03.0") { $0.lines = Array(repeating: .zero, count: lines) }
            }
            #expect(found == expected, "\(lines)")
        }
        #expect(
            try unseen {
                $0.bridge("00:03.0", nil)
                $0.change("00:03.0") { $0.lines = Array(repeating: .zero, count: 13) }
                $0.gaps = [ReadingGap(code: "sizes-unknown", detail: "")]
            } == []
        )
        // Another bridge claims its bus; the other's own first bus is nobody else's.
        #expect(try unseen { $0.change("00:02.0") { $0.bridge?.busRange = buses(2, 3) } } == ["00:02.0 claimed-twice"])
        #expect(
            try unseen { $0.change("00:02.0") { $0.bridge?.busRange = buses(1, 3) } } == [
                "00:01.0 claimed-twice", "00:02.0 claimed-twice",
            ]
        )
        // A bridge that the kernel gave no bus goes on taking what its registers say.
        func claimed(_ secondary: UInt32, _ subordinate: UInt32) throws -> [String] {
            try unseen {
                $0.bridge("00:03.0", nil)
                $0.change("00:03.0") {
                    $0.lines = Array(repeating: .zero, count: 13)
                    let numbers = secondary << 8 | subordinate << 16
                    $0.bridge?.registers = BridgeRegisters(header(layout: 1, [0x18: numbers]))
                }
            }
        }
        #expect(try claimed(1, 1) == ["00:01.0 claimed-twice", "00:03.0 no-bus"])
        #expect(try claimed(2, 3) == ["00:02.0 claimed-twice", "00:03.0 no-bus"])
        #expect(try claimed(4, 9) == ["00:03.0 no-bus"])
        // Hidden by a bridge above, by one number, or by the host bridge.
        #expect(try unseen { $0.bridge("01:01.0", buses(2, 2), below: "00:01.0") } == [])
        #expect(try unseen { $0.bridge("01:01.0", buses(4, 4), below: "00:01.0") } == ["01:01.0 hidden-range"])
        #expect(try unseen { $0.hosts[0].busRange = buses(0, 2) } == ["00:02.0 hidden-range"])
        #expect(try unseen { $0.hosts[0].busRange = buses(0, 3) } == [])
        // It, or a bridge above it, does not answer.
        let dead: (inout Function) -> Void = { $0.config = ConfigSpace(Array(repeating: 0xff, count: 64)) }
        #expect(
            try unseen {
                $0.bridge("01:01.0", buses(2, 2), below: "00:01.0")
                $0.change("00:01.0", dead)
            } == ["00:01.0 not-answering", "01:01.0 not-answering"]
        )
        let ids: (inout Function) -> Void = { $0.config = header(layout: 1, [0: .max]) }
        #expect(try unseen { $0.change("00:02.0", ids) } == ["00:02.0 not-answering"])
        #expect(
            try unseen {
                $0.change("00:02.0", ids)
                $0.change("00:02.0") { $0.knowledge.registers = .unseen }
            } == []
        )
        #expect(
            try unseen {
                $0.change("00:02.0") { $0.bridge?.busRange = buses(2, 3) }
                $0.change("00:02.0") { $0.identity.classCode = 0x06_0700 }
            } == []
        )
    }

    @Test("a slot that holds a card of which the kernel knows nothing")
    func slots() throws {
        func found(_ flags: UInt32, capabilities: UInt32, status: UInt32, empty: Bool = true) throws -> [String] {
            try unseen {
                let address = empty ? "00:02.0" : "00:01.0"
                $0.registers(
                    address,
                    layout: 1,
                    count: 256,
                    [0x04: 0x10_0000, 0x34: 0x40, 0x40: flags << 16 | 0x10, 0x54: capabilities, 0x58: status]
                )
                $0.change(address) { $0.bridge?.registers = nil }
            }
        }
        // Root port with a slot (0x0142), power controller, presence detected; power on and off.
        #expect(try found(0x142, capabilities: 2, status: 0x40_0000) == ["00:02.0 not-scanned"])
        #expect(try found(0x142, capabilities: 2, status: 0x40_0400) == ["00:02.0 powered-off"])
        #expect(try found(0x142, capabilities: 0, status: 0x40_0400) == ["00:02.0 not-scanned"])
        #expect(try found(0x142, capabilities: 2, status: 0x20_0000) == [])
        #expect(try found(0x142, capabilities: 2, status: 0xffff_0000) == [])
        #expect(try found(0x042, capabilities: 2, status: 0x40_0000) == [], "no slot")
        #expect(try found(0x142, capabilities: 2, status: 0x40_0000, empty: false) == [])
    }
}
