// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// The kernel's rule of IOMMU groups, one case of it at a time.
@Suite("IOMMU groups")
struct IsolationTests {
    @Test("a root port with ACS, and one without: a card is alone below the first and with its port below the second")
    func rootPorts() throws {
        var tree = IsolationTree()
        let good = tree.add(.rootPort, 0x10, isBridge: true, acs: .full)
        let bad = tree.add(.rootPort, 0x18, isBridge: true)
        tree.add(.endpoint, 0, below: good)
        tree.add(.endpoint, 0, below: bad)
        #expect(try tree.groups() == [["00:02.0"], ["01:00.0"], ["00:03.0", "02:00.0"]])
        let topology = try tree.topology()
        let groups = IsolationGroups(topology)
        let card = try #require(topology.position(of: FunctionAddress(bus: BusNumber(2), devfn: 0)))
        let port = try #require(topology.position(of: bad))
        #expect(groups.reasons[card] == .below(port, open: port) && groups.isCertain[card])
        #expect(topology.isolation(of: port) == .open(.noCapability))
        #expect(groups.others(with: card) == [port])
    }

    @Test("each of the four controls counts, and one that cannot be switched counts as on")
    func controls() throws {
        for control in [AccessControls.sourceValidation, .requestRedirect, .completionRedirect, .upstreamForwarding] {
            for (can, on, isAlone) in [
                (AccessControls.isolating, AccessControls.isolating.subtracting(control), false),
                (AccessControls.isolating.subtracting(control), AccessControls.isolating.subtracting(control), true),
            ] {
                var tree = IsolationTree()
                let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .some(can, on: on))
                tree.add(.endpoint, 0, below: port)
                #expect(try tree.groups() == (isAlone ? [["00:02.0"], ["01:00.0"]] : [["00:02.0", "01:00.0"]]))
            }
        }
        // Translation blocking, egress control and direct translated requests are not asked for.
        var tree = IsolationTree()
        let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .some(AccessControls(rawValue: 0x7f), on: .isolating))
        tree.add(.endpoint, 0, below: port)
        #expect(try tree.groups().count == 2)
    }

    @Test("a switch: ports with ACS keep their cards apart; a port without takes its own; an open root port takes all")
    func switches() throws {
        func build(root: IsolationTree.ACS, first: IsolationTree.ACS) -> IsolationTree {
            var tree = IsolationTree()
            let top = tree.add(.rootPort, 0x10, isBridge: true, acs: root)
            let up = tree.add(.upstreamPort, 0, below: top, isBridge: true)
            let one = tree.add(.downstreamPort, 0, below: up, isBridge: true, acs: first)
            let two = tree.add(.downstreamPort, 0x08, below: up, isBridge: true, acs: .full)
            tree.add(.endpoint, 0, below: one)
            tree.add(.endpoint, 0, below: two)
            return tree
        }
        #expect(
            try build(root: .full, first: .full).groups()
                == [["00:02.0"], ["01:00.0"], ["02:00.0"], ["02:01.0"], ["03:00.0"], ["04:00.0"]]
        )
        #expect(
            try build(root: .full, first: .none).groups()
                == [["00:02.0"], ["01:00.0"], ["02:00.0", "03:00.0"], ["02:01.0"], ["04:00.0"]]
        )
        #expect(
            try build(root: .off, first: .full).groups()
                == [["00:02.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0", "04:00.0"]]
        )
    }

    @Test("functions of one device: together without ACS, apart with it, and the one that has it apart from the rest")
    func multiFunction() throws {
        func build(_ acs: [IsolationTree.ACS]) throws -> Set<Set<String>> {
            var tree = IsolationTree()
            let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .full)
            for (i, acs) in acs.enumerated() {
                tree.add(.endpoint, UInt8(i), below: port, isMultiFunction: true, acs: acs)
            }
            return try tree.groups().subtracting([["00:02.0"]])
        }
        #expect(try build([.none, .none, .none]) == [["01:00.0", "01:00.1", "01:00.2"]])
        #expect(try build([.full, .full]) == [["01:00.0"], ["01:00.1"]])
        #expect(try build([.none, .full, .off]) == [["01:00.0", "01:00.2"], ["01:00.1"]])
        // One whose own header does not say so is grouped with the others at boot, and by itself when it is found later.
        var half = IsolationTree()
        let port = half.add(.rootPort, 0x10, isBridge: true, acs: .full)
        half.add(.endpoint, 0, below: port, isMultiFunction: true)
        half.add(.endpoint, 1, below: port)
        #expect(try IsolationGroups(half.topology()).isCertain == [true, false, false])
        // A capability that can switch nothing says that there is nothing to switch.
        #expect(try build([.some([], on: []), .some([], on: [])]) == [["01:00.0"], ["01:00.1"]])
    }

    @Test("conventional devices: one by itself, functions of one device together, all behind one bridge together")
    func conventional() throws {
        var tree = IsolationTree()
        tree.add(nil, 0xf8, isMultiFunction: true)
        tree.add(nil, 0xfa, isMultiFunction: true)
        tree.add(nil, 0x08)
        let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .full)
        let bridge = tree.add(.bridgeToPCI, 0, below: port, isBridge: true)
        tree.add(nil, 0x08, below: bridge)
        let inner = tree.add(nil, 0x10, below: bridge, isBridge: true)
        tree.add(nil, 0x08, below: inner)
        #expect(
            try tree.groups()
                == [["00:1f.0", "00:1f.2"], ["00:01.0"], ["00:02.0"], ["01:00.0", "02:01.0", "02:02.0", "03:01.0"]]
        )
        let topology = try tree.topology()
        let groups = IsolationGroups(topology)
        let last = topology.functions.count - 1
        // The bridge nearest to the device is the first that it meets.
        #expect(topology.functions[last].address.short == "03:01.0")
        #expect(groups.reasons[last] == .requesterOf(last - 1))
    }

    @Test("known devices: ports of Intel's chipsets, endpoints that their vendor vouches for, a control register at 8")
    func quirks() throws {
        func alone(
            _ type: ExpressPortType,
            _ vendor: UInt16,
            _ id: UInt16,
            acs: IsolationTree.ACS = .none
        ) throws -> Bool {
            var tree = IsolationTree()
            let port = tree.add(type, 0x10, isBridge: true, acs: acs, vendor: vendor, id: id) {
                $0.write(0x1f, at: 0x108, width: 2)
            }
            tree.add(.endpoint, 0, below: port)
            return try tree.groups().count == 2
        }
        #expect(try alone(.rootPort, 0x8086, 0x8c10) && !alone(.rootPort, 0x8086, 0x8c91))
        #expect(try !alone(.downstreamPort, 0x8086, 0x8c10))
        #expect(try alone(.rootPort, 0x8086, 0xa110, acs: .off) && !alone(.rootPort, 0x8086, 0xa110))
        #expect(try !alone(.rootPort, 0x8086, 0xa16b, acs: .off))
        #expect(try alone(.rootPort, 0x17cb, 0x0400) && alone(.rootPort, 0x177d, 0xa123))
        #expect(try alone(.rootPort, 0x1d17, 0x0723) && !alone(.rootPort, 0x1d17, 0x0722, acs: .full))
        #expect(try alone(.rootPort, 0x0014, 0x7a69) && !alone(.rootPort, 0x0014, 0x7a79))
        #expect(try alone(.rootPort, 0x1957, 0x8db9) && !alone(.rootPort, 0x1957, 0x8d84))
        func pair(_ vendor: UInt16, _ id: UInt16) throws -> Int {
            var tree = IsolationTree()
            let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .full)
            tree.add(.endpoint, 0, below: port, isMultiFunction: true, vendor: vendor, id: id)
            tree.add(.endpoint, 1, below: port, isMultiFunction: true, vendor: vendor, id: id)
            return try tree.groups().count
        }
        #expect(try pair(0x8086, 0x1521) == 3 && pair(0x8086, 0x1572) == 2)
        #expect(try pair(0x8088, 0x0105) == 3 && pair(0x8088, 0x0110) == 2)
    }

    @Test("requester numbers that are another's: function 1 for all, a whole bus, and over a third function")
    func aliases() throws {
        var tree = IsolationTree()
        let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .full)
        tree.add(.endpoint, 0, below: port, isMultiFunction: true, acs: .full, vendor: 0x1b4b, id: 0x9230)
        tree.add(.endpoint, 1, below: port, acs: .full, vendor: 0x1b4b, id: 0x91a3)
        #expect(try tree.groups() == [["00:02.0"], ["01:00.0", "01:00.1"]])
        var wide = IsolationTree()
        wide.add(nil, 0x10)
        wide.add(nil, 0x18, vendor: 0x10b5, id: 0x87b0)
        wide.add(nil, 0x20)
        // Each joins the first group that it meets: 02.0 is there before the one that binds them.
        #expect(try wide.groups() == [["00:02.0", "00:03.0", "00:04.0"]])
    }

    @Test("what was not read is not known: neither that it isolates nor that it does not")
    func unread() throws {
        var tree = IsolationTree()
        let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .unread)
        tree.add(.endpoint, 0, below: port)
        tree.add(.rootPort, 0x18, isBridge: true, acs: .unread)
        let topology = try tree.topology()
        let groups = IsolationGroups(topology)
        #expect(topology.isolation(of: 0) == .unknown)
        // Of an empty port it makes no difference.
        #expect(groups.isCertain == [false, true, false])
        // Without ids nobody can say whether the kernel knows the device.
        var nameless = IsolationTree()
        let port2 = nameless.add(.rootPort, 0x10, isBridge: true, acs: .full, vendor: 0xffff, id: 0xffff)
        nameless.add(.endpoint, 0, below: port2)
        #expect(try IsolationGroups(nameless.topology()).isCertain == [false, false])
        var text = IsolationTree()
        let told = text.add(.rootPort, 0x10, isBridge: true, acs: .off)
        text.add(.endpoint, 0, below: told)
        text.change(told) {
            $0.knowledge.registers = .unseen
            $0.knowledge.settings = .unseen
        }
        #expect(try text.topology().isolation(of: 0) == .unknown)
        text.change(told) { $0.knowledge.settings = .seen }
        #expect(try text.topology().isolation(of: 0) == .open(.off(.isolating)))
    }

    @Test("functions that have no group where others have one are behind no IOMMU; other architectures group otherwise")
    func untranslated() throws {
        var tree = IsolationTree()
        let port = tree.add(.rootPort, 0x10, isBridge: true)
        let card = tree.add(.endpoint, 0, below: port)
        tree.change(card) { $0.use.iommuGroup = 7 }
        let groups = IsolationGroups(try tree.topology())
        #expect(groups.numbers == [nil, 0] && groups.isCertain == [true, true])
        #expect(groups.contradicted(by: try tree.topology()).isEmpty)
        tree.change(port) { $0.use.iommuGroup = 6 }
        let both = try tree.topology()
        #expect(IsolationGroups(both).contradicted(by: both) == [0, 1], "the rule puts them into one group")
        tree.kernel.architecture = "ppc64le"
        #expect(IsolationGroups(try tree.topology()).isCertain == [false, false])
    }

    @Test("routes between siblings: the port that a request enters by decides")
    func routes() throws {
        func ways(_ acs: [IsolationTree.ACS]) throws -> [[PeerRoutes.Way]] {
            var tree = IsolationTree()
            let top = tree.add(.rootPort, 0x10, isBridge: true, acs: .full)
            let up = tree.add(.upstreamPort, 0, below: top, isBridge: true)
            for (i, acs) in acs.enumerated() {
                let port = tree.add(.downstreamPort, UInt8(i << 3), below: up, isBridge: true, acs: acs)
                tree.add(.endpoint, 0, below: port)
            }
            tree.add(.downstreamPort, 0xf8, below: up, isBridge: true)
            return try tree.topology().peerRoutes().map { $0.ports.map(\.way) }
        }
        #expect(try ways([.full, .off, .none, .unread]) == [[.redirected, .direct, .direct, .unknown]])
        #expect(try ways([.full]).isEmpty, "an empty port is nobody's sibling")
    }

    @Test("a function that is found anew: controls on under an IOMMU, off by a word that names its address then")
    func rediscovery() throws {
        var tree = IsolationTree()
        let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .off)
        let card = tree.add(.endpoint, 0, below: port) {
            // Device Capabilities: 256 bytes, tags of eight bits. The port above does 128.
            $0.write(0x21, at: 0x44, width: 4)
            $0.write(0x20, at: 0x48, width: 2)
        }
        func changes(_ words: String?, runsIOMMU: Bool) throws -> [SettingChange] {
            tree.kernel.commandLine = words
            return try tree.topology().rediscovered([0, 1], runsIOMMU: runsIOMMU).changes
        }
        let payload = SettingChange(address: card, kind: .maxPayloadSize, before: "256", after: "128")
        let tags = SettingChange(address: card, kind: .extendedTags, before: "off", after: "on")
        let off = AccessControls().signs
        func acs(_ after: AccessControls?) -> SettingChange {
            SettingChange(address: port, kind: .accessControl, before: off, after: after?.signs)
        }
        #expect(try changes("", runsIOMMU: false) == [tags, payload].sorted { $0.kind.rawValue < $1.kind.rawValue })
        let on = try changes("", runsIOMMU: true)
        #expect(on.contains(acs(.isolating)) && on.count == 3)
        // From 6.12.23 on the function has what it had when it was found, without the redirections.
        #expect(
            try !changes("pci=disable_acs_redir=0000:00:02.0", runsIOMMU: true).contains { $0.kind == .accessControl }
        )
        tree.kernel.release = "6.1.0"
        #expect(
            try changes("pci=disable_acs_redir=0000:00:02.0", runsIOMMU: true)
                .contains(acs([.sourceValidation, .upstreamForwarding]))
        )
        #expect(
            try changes("pci=config_acs=1x@0000:00:02.0", runsIOMMU: true).contains(acs(.isolating)),
            "no word of 6.1's"
        )
        for release in ["6.11.0", "6.12.22", "6.14.9", "x", nil] {
            tree.kernel.release = release
            #expect(
                try changes("pci=disable_acs_redir=0000:00:02.0", runsIOMMU: true).contains(acs(nil)),
                "\(release ?? "-")"
            )
        }
        tree.kernel.release = "6.15.0"
        #expect(try changes("pci=disable_acs_redir=0000:00:03.0", runsIOMMU: true).contains(acs(.isolating)))
        #expect(
            try changes("pci=config_acs=1xx01@0000:00:02.0", runsIOMMU: true)
                .contains(acs([.sourceValidation, .upstreamForwarding]))
        )
        #expect(
            try changes("pci=config_acs=1@0000:00:03.0;x1x0@00:02.0;1@00:02.0", runsIOMMU: false)
                .contains(acs(.requestRedirect)),
            "the first that names it, whether or not there is an IOMMU"
        )
        #expect(
            try changes("pci=disable_acs_redir=00:02.0,config_acs=xx@00:02.0", runsIOMMU: true)
                .allSatisfy { $0.kind != .accessControl },
            "what is not set stays as it was found"
        )
        #expect(
            try changes("pci=config_acs=1111111@00:02.0", runsIOMMU: true).contains(acs(.isolating)),
            "what it has no switch for is not set"
        )
        for wrong in ["00:02.0", "12@00:02.0", "@00:02.0", "11111111@00:02.0", "1@", "1@00:02.0;"] {
            #expect(try changes("pci=config_acs=\(wrong)", runsIOMMU: true).contains(acs(nil)), "\(wrong)")
        }
        #expect(try changes("pci=disable_acs_redir=pci:1b36:1", runsIOMMU: true).contains(acs(nil)))
        #expect(try changes(nil, runsIOMMU: true).contains(acs(nil)))
        #expect(try changes("pci=pcie_bus_safe", runsIOMMU: false) == [tags])
        tree.kernel.commandLine = ""
        let set = try tree.topology().rediscovered([0, 1], runsIOMMU: true).topology
        #expect(set.functions[0].config.word(0x106) == 0x1d && set.functions[1].config.word(0x48) == 0x100)
    }

    @Test(
        "relaxed ordering: off again below root ports that cannot do it, else as it was, like read requests and no snoop"
    )
    func relaxedOrdering() throws {
        func changes(_ vendor: UInt16, _ device: UInt16, control: UInt32 = 0x5910) throws -> [SettingChange] {
            var tree = IsolationTree()
            let port = tree.add(.rootPort, 0x10, isBridge: true, vendor: vendor, id: device)
            tree.add(.endpoint, 0, below: port) { $0.write(control, at: 0x48, width: 2) }
            let found = try tree.topology().rediscovered([0, 1], runsIOMMU: true)
            let left = found.topology.functions[1].config.word(0x48)
            #expect(left == (found.changes.isEmpty ? UInt16(control) : UInt16(control & ~0x10)))
            return found.changes
        }
        for (vendor, first, last) in [(0x8086, 0x6f01, 0x6f0e), (0x8086, 0x2f01, 0x2f0e), (0x1022, 0x1a00, 0x1a02)]
            as [(UInt16, UInt16, UInt16)]
        {
            #expect(try changes(vendor, first).map(\.kind) == [.relaxedOrdering])
            #expect(try changes(vendor, last).map(\.after) == ["off"])
            #expect(try changes(vendor, first - 1).isEmpty && changes(vendor, last + 1).isEmpty)
            #expect(try changes(vendor, first, control: 0x5900).isEmpty)
        }
    }

    @Test("a plan's change of groups: a word that reaches another port lets the group of an assigned card grow")
    func change() throws {
        func build(_ control: AccessControls) throws -> Topology {
            var tree = IsolationTree()
            tree.kernel.commandLine = "pci=disable_acs_redir=0000:00:02.0"
            let port = tree.add(.rootPort, 0x10, isBridge: true, acs: .some(.isolating, on: control))
            let card = tree.add(.endpoint, 0, below: port, driver: "vfio-pci")
            for (i, one) in [port, card].enumerated() { tree.change(one) { $0.use.iommuGroup = i } }
            return try tree.topology()
        }
        let before = try build(.isolating)
        let none = IsolationChange(before: before, after: before, found: [])
        #expect(none.isEmpty && none.groupsBefore == none.groupsAfter && none.groupsBefore.count == 2)
        let found = Set(before.functions.indices.map { before.path(of: $0) })
        let change = IsolationChange(before: before, after: before, found: found)
        #expect(change.groupsAfter.count == 1 && change.regroupings.count == 2)
        let card = try #require(change.grownUnderGuests.first)
        #expect(change.grownUnderGuests.count == 1 && card.address.short == "01:00.0")
        #expect(card.joined.map(\.short) == ["00:02.0"] && card.left.isEmpty)
        #expect(change.settings.map(\.kind) == [.accessControl])
    }
}
