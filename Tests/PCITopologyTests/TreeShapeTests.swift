// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

/// How functions and host bridges become a tree, and where cycles go by the numbers that bridges claim.
@Suite("Trees and their places")
struct TreeShapeTests {
    private func refused(_ change: (inout DrawnTree) -> Void) -> TopologyError.Code? {
        var tree = healthyTree()
        change(&tree)
        do throws(TopologyError) {
            _ = try Topology(kernel: tree.kernel, hostBridges: tree.hosts, functions: tree.functions)
            return nil
        } catch {
            return error.code
        }
    }

    @Test("what is no tree is refused with its reason")
    func refusals() {
        #expect(refused { _ in } == nil)
        #expect(refused { $0.card("01:00.0", below: "00:01.0") } == .duplicateAddress)
        #expect(refused { $0.card("02:00.0", below: "00:04.0") } == .missingParent)
        #expect(refused { $0.card("02:00.0", below: "01:00.0") } == .parentIsNoBridge)
        #expect(refused { $0.hosts.append($0.hosts[0]) } == .duplicateHostBridge)
        #expect(refused { $0.hosts[0].segment = 1 } == .missingHostBridge)
        #expect(refused { $0.hosts[0].busRange = buses(1, 255) } == .missingHostBridge)
        #expect(refused { $0.change("00:01.0") { $0.parent = at("00:01.0") } } == .cycle)
        #expect(
            refused {
                $0.change("00:01.0") { $0.parent = at("00:02.0") }
                $0.change("00:02.0") { $0.parent = at("00:01.0") }
            } == .cycle
        )
    }

    @Test("a bus without a bridge belongs to the host bridge whose root it is, else to the one whose range holds it")
    func hosts() throws {
        var tree = healthyTree()
        tree.hosts[0].busRange = buses(0, 0x7f)
        tree.hosts.append(HostBridge(segment: 0, busRange: buses(0x40, 0x4f), apertures: [], source: .unknown))
        tree.hosts.append(HostBridge(segment: 0, busRange: buses(0x80, 0xff), apertures: [], source: .unknown))
        tree.hosts.append(HostBridge(segment: 1, busRange: buses(0x40, 0x4f), apertures: [], source: .unknown))
        for address in ["40:00.0", "41:00.0", "80:00.0", "ff:00.0", "0001:40:00.0"] { tree.card(address) }
        let topology = try tree.topology()
        func root(_ address: String) -> String? {
            topology.position(of: at(address)).map {
                "\(topology.hostBridges[topology.host(of: $0)].segment):"
                    + "\(topology.hostBridges[topology.host(of: $0)].rootBus)"
            }
        }
        #expect(
            ["01:00.0", "40:00.0", "41:00.0", "80:00.0", "ff:00.0", "0001:40:00.0"].map(root)
                == ["0:00", "0:40", "0:00", "0:80", "0:80", "1:40"]
        )
        // Bus 40 lies among those of bus 00's host bridge.
        #expect(topology.hostBridges.indices.map { topology.isMadeUp(host: $0) } == [false, true, false, false])
        #expect(topology.roots(of: 1).map { topology.functions[$0].address.short } == ["40:00.0"])
        #expect(topology.path(of: try #require(topology.position(of: at("41:00.0")))).description == "0000:00:00.0")
        #expect(
            topology.path(of: try #require(topology.position(of: at("01:00.0")))).description == "0000:00:01.0/00.0"
        )
    }

    @Test("parents before children; siblings in the order in which the kernel found them, else by address")
    func order() throws {
        var tree = healthyTree()
        tree.bridge("01:01.0", buses(2, 2), below: "00:01.0")
        tree.card("02:00.0", below: "01:01.0")
        tree.card("01:02.0", below: "00:01.0")
        for (address, order) in [("01:02.0", 1), ("01:01.0", 2), ("01:00.0", 3)] {
            tree.change(address) { $0.discoveryOrder = order }
        }
        let topology = try tree.topology()
        let port = try #require(topology.position(of: at("00:01.0")))
        func names(_ indices: [Int]) -> [String] { indices.map { topology.functions[$0].address.short } }
        #expect(names(topology.children(of: port)) == ["01:02.0", "01:01.0", "01:00.0"])
        #expect(names(topology.subtree(of: port)) == ["00:01.0", "01:02.0", "01:01.0", "01:00.0", "02:00.0"])
        #expect(names(topology.preorder(from: port)) == ["00:01.0", "01:02.0", "01:01.0", "02:00.0", "01:00.0"])
        let leaf = try #require(topology.position(of: at("02:00.0")))
        #expect(names(topology.ancestors(of: leaf)) == ["01:01.0", "00:01.0"])
        #expect(topology.parent(of: port) == nil && topology.host(of: leaf) == 0)
        #expect(topology.bridge(toBus: BusNumber(2), segment: 0).map { names([$0]) } == ["01:01.0"])
        #expect(topology.bridge(toBus: BusNumber(2), segment: 1) == nil)
        #expect(topology[at("01:02.0")]?.address == at("01:02.0") && topology[at("01:03.0")] == nil)
        #expect(topology[at("ff:1f.7")] == nil && topology[at("00:00.0")] == nil)
    }

    @Test("a change in place leaves the tree as it is")
    func update() throws {
        var topology = try healthyTree().topology()
        let changed = topology.update(at("01:00.0")) { $0.use.driver = "nvme" }
        #expect(changed && topology[at("01:00.0")]?.use.driver == "nvme")
        let before = topology
        for change: (inout Function) -> Void in [
            { $0.address = at("01:00.1") }, { $0.parent = nil },
            { $0.bridge = Function.Bridge(busRange: nil, registers: nil) },
        ] {
            let isDone = topology.update(at("01:00.0"), change)
            #expect(!isDone)
        }
        let isThere = topology.update(at("01:00.3")) { _ in }
        #expect(!isThere && topology == before)
    }

    // MARK: Independent parts

    @Test("host bridges are independent where neither segments, apertures nor resources join them")
    func independence() throws {
        func groups(_ second: ClosedRange<UInt64>, segment: UInt32 = 1, _ change: (inout DrawnTree) -> Void = { _ in })
            throws -> [[Int]]
        {
            var tree = healthyTree()
            tree.hosts.append(
                HostBridge(
                    segment: segment,
                    busRange: buses(0, 0xff),
                    apertures: [Aperture(range: span(second), flags: .memory)],
                    source: .kernelLog
                )
            )
            change(&tree)
            return try tree.topology().independentHosts
        }
        #expect(try groups(0xe000_0000...0xefff_ffff) == [[0], [1]])
        #expect(try groups(0xdfff_ffff...0xefff_ffff) == [[0, 1]], "one address shared")
        #expect(
            try groups(0xe000_0000...0xefff_ffff) { $0.hosts[1].source = .iomem } == [[0, 1]],
            "who knows what it decodes"
        )
        #expect(try groups(0xe000_0000...0xefff_ffff) { $0.hosts[1].apertures = [] } == [[0, 1]])
        // A BAR of the first inside the second's aperture.
        #expect(
            try groups(0xe000_0000...0xefff_ffff) { $0.card("00:1f.0", [bar(0, .memory, 0x1000, at: 0xefff_f000)]) }
                == [[0, 1]]
        )
        #expect(
            try groups(0xe000_0000...0xefff_ffff) { $0.card("00:1f.0", [bar(0, .memory, 0x1000, at: 0xf000_0000)]) }
                == [[0], [1]]
        )
        #expect(
            try groups(0x1000...0x1fff) == [[0], [1]],
            "memory at these addresses is not what I/O is"
        )
        var tree = healthyTree()
        tree.hosts.append(HostBridge(segment: 1, busRange: buses(0, 9), apertures: [], source: .kernelLog))
        tree.card("0001:00:00.0")
        let topology = try tree.topology()
        #expect(topology.part(ofHosts: [1])?.functions.map(\.address) == [at("0001:00:00.0")])
        #expect(topology.part(ofHosts: [0])?.functions.count == 3)
        #expect(try DrawnTree().topology().independentHosts == [[0]])
    }

    // MARK: Routes

    private func places(_ functions: [(String, [UInt8], BusRange?)], roots: [UInt8] = []) -> [String] {
        var state = TreeState(
            functions.map { address, hops, range in
                FunctionState(
                    address: at(address),
                    path: TopologyPath(segment: 0, rootBus: BusNumber(hops[0]), hops: Array(hops.dropFirst())),
                    ids: 0,
                    lines: [],
                    busRange: range
                )
            }
        )
        state.setPlaces(claimedBesides: [])
        return state.functions.map(\.place.description)
    }

    @Test("a cycle goes through the lowest bridge that claims its bus, level by level")
    func routes() {
        // The kernel believes 02:00.0 behind 00:02.0; 00:01.0 takes bus 2 first and hands it to 01:00.0.
        #expect(
            places([
                ("00:01.0", [0, 8], buses(1, 2)), ("00:02.0", [0, 16], buses(2, 2)),
                ("01:00.0", [0, 8, 0], buses(2, 2)),
                ("02:00.0", [0, 16, 0], nil),
            ]) == ["0000:00:01.0", "0000:00:02.0", "0000:00:01.0/00.0", "0000:00:01.0/00.0/00.0"]
        )
        // Nobody below 00:01.0 claims bus 2: by the books.
        #expect(
            places([
                ("00:01.0", [0, 8], buses(1, 2)), ("00:02.0", [0, 16], buses(2, 2)), ("02:00.0", [0, 16, 0], nil),
            ]).last == "0000:00:02.0/00.0"
        )
        // The range ends one before.
        #expect(
            places([
                ("00:01.0", [0, 8], buses(1, 1)), ("00:02.0", [0, 16], buses(2, 2)),
                ("01:00.0", [0, 8, 0], buses(2, 2)),
                ("02:00.0", [0, 16, 0], nil),
            ]).last == "0000:00:02.0/00.0"
        )
    }

    @Test("where several bridges claim a function's bus it may stand behind any of them")
    func doubtfulPlaces() {
        func others(_ claims: [(String, BusRange)]) -> [String] {
            func function(_ address: String, _ hops: [UInt8], _ range: BusRange?) -> FunctionState {
                let path = TopologyPath(segment: 0, rootBus: BusNumber(0), hops: hops)
                return FunctionState(address: at(address), path: path, ids: 0, lines: [], busRange: range)
            }
            var state = TreeState([
                function("00:01.0", [8], buses(1, 3)), function("01:00.0", [8, 0], buses(2, 3)),
                function("02:00.0", [8, 0, 0], buses(3, 3)), function("03:00.0", [8, 0, 0, 0], nil),
            ])
            state.setPlaces(claimedBesides: claims.map { BusRoutes.Claim(at($0.0), $0.1) })
            return state.functions.last?.otherPlaces.map(\.description) ?? []
        }
        #expect(others([]).isEmpty)
        // A port without a bus whose registers kept the number; one that only passes it on; one elsewhere.
        #expect(others([("00:04.0", buses(3, 3))]) == ["0000:00:04.0/00.0"])
        #expect(others([("00:04.0", buses(2, 3))]).isEmpty)
        #expect(others([("00:04.0", buses(4, 4))]).isEmpty)
        // Below a bridge that no cycle to bus 3 passes it does not count, below one that passes it it does.
        #expect(others([("01:01.0", buses(3, 9))]) == ["0000:00:01.0/01.0/00.0"])
        #expect(
            others([("02:01.0", buses(3, 3)), ("00:04.0", buses(3, 3))]).sorted() == [
                "0000:00:01.0/00.0/01.0/00.0", "0000:00:04.0/00.0",
            ]
        )
        // Claims that lead round in a circle end.
        #expect(others([("02:01.0", buses(1, 3)), ("00:04.0", buses(3, 3))]) == ["0000:00:04.0/00.0"])
        // No more than a plan's document holds, of however many bridges claim the bus.
        let crowd = (0..<300).map { n in
            (FunctionAddress(bus: BusNumber(n < 200 ? 0 : 1), devfn: UInt8(n % 200 + 20)).description, buses(3, 3))
        }
        #expect(others(crowd).count == 256 && others(Array(crowd.prefix(20))).count == 20)
    }

    @Test("a root bus that a bridge passes on lies behind that bridge, one unseen bridge further down")
    func homes() {
        #expect(
            places([
                ("00:01.0", [0, 8], buses(1, 0x20)), ("10:03.0", [0x10, 0x18], nil),
            ]) == ["0000:00:01.0", "0000:00:01.0/00.0/03.0"]
        )
        #expect(
            places([
                ("00:01.0", [0, 8], buses(1, 0xf)), ("10:03.0", [0x10, 0x18], nil),
            ]).last == "0000:10:03.0"
        )
    }

    @Test("a bridge without a bus claims what its registers say, and nothing from bus 0 or upside down")
    func claims() {
        func claim(_ secondary: UInt32, _ subordinate: UInt32) -> BusRange? {
            let registers = BridgeRegisters(header(layout: 1, [0x18: secondary << 8 | subordinate << 16]))
            return BusRoutes.Claim(at("00:01.0"), registers)?.range
        }
        #expect(claim(1, 2) == buses(1, 2) && claim(1, 1) == buses(1, 1))
        #expect(claim(0, 2) == nil && claim(2, 1) == nil && BusRoutes.Claim(at("00:01.0"), nil) == nil)
    }

    // MARK: Words

    @Test("resources and apertures as the kernel prints them")
    func texts() {
        #expect(bar(0, .memory, 0x1000, at: 0xfe00_0000).kernelText == "[mem 0xfe000000-0xfe000fff]")
        #expect(bar(0, .wide, 0x1000, at: 0xffff_f000).kernelText == "[mem 0xfffff000-0xffffffff 64bit pref]")
        #expect(bar(0, .wide, 0x1000, at: 0x1_0000_0000).kernelText == "[mem 0x100000000-0x100000fff 64bit pref]")
        #expect(bar(0, .io, 0x20, at: 0x20).kernelText == "[io  0x0020-0x003f]")
        #expect(bar(0, .io, 0x20).kernelText == "[io  size 0x0020]")
        #expect(bar(0, [.memory, .prefetchable], 0x20).kernelText == "[mem size 0x00000020 pref]")
        var unsized = bar(0, [], 1)
        unsized.size = nil
        #expect(unsized.kernelText == "[??? size unknown]")
        unsized.assignment = .closed
        #expect(unsized.kernelText == "[??? closed]")
        let aperture = Aperture(
            range: span(0x40_0000_0000...0x40_3fff_ffff),
            flags: [.wide, .window],
            offset: 0x3f_8000_0000
        )
        #expect(
            aperture.kernelText
                == "[mem 0x4000000000-0x403fffffff 64bit pref window] (bus address [0x80000000-0xbfffffff])"
        )
        #expect(Aperture(range: span(0...0xcf7), flags: [.io, .window]).kernelText == "[io  0x0000-0x0cf7 window]")
        #expect(Aperture(range: span(0...1), flags: .memory, offset: 1).busRange == nil)
        #expect(Aperture(range: span(1...2), flags: .memory, offset: 1).busRange == span(0...1))
        #expect(Aperture(range: span(1...2), flags: .memory, offset: .min).busRange == nil)
        #expect([1, 2, 3].listed(3) == "1, 2, 3" && [1, 2, 3].listed(2) == "1, 2 and 1 more")
    }

    @Test("kinds of ports, hot-plug capable ones, and free devices on a bus")
    func ports() throws {
        func function(_ type: UInt32?, slot: UInt32 = 0x100, capabilities: UInt32 = 0x40, layout: UInt32 = 1)
            -> Function
        {
            var tree = DrawnTree()
            tree.bridge("00:01.0", buses(1, 1))
            if let type {
                let word: UInt32 = (type << 4 | slot | 2) << 16
                tree.registers(
                    "00:01.0",
                    layout: layout,
                    count: 256,
                    [0x04: 0x10_0000, 0x34: 0x40, 0x40: word | 0x10, 0x54: capabilities]
                )
            }
            return tree.functions[0]
        }
        #expect(
            [4, 5, 6, 7, 8, nil].map { function($0).roleText } == [
                "root port", "upstream port", "downstream port", "PCIe-to-PCI bridge", "PCI-to-PCIe bridge",
                "PCI bridge",
            ]
        )
        #expect(function(4).isHotPlugBridge && function(6).isHotPlugBridge)
        #expect(!function(4, slot: 0).isHotPlugBridge && !function(4, capabilities: 0x20).isHotPlugBridge)
        #expect(!function(5).isHotPlugBridge && !function(nil).isHotPlugBridge)
        var hint = function(nil)
        hint.identity.vendor = 0x3388
        hint.identity.device = 0x20
        #expect(hint.isHotPlugBridge)
        hint.identity.device = 0x21
        #expect(!hint.isHotPlugBridge)
        let children = ["01:00.0", "01:00.1", "01:01.0", "01:03.0"].map {
            Function(address: at($0), identity: Function.Identity(vendor: 1, device: 1))
        }
        #expect(function(nil).freeDevice(among: children) == 2)
        #expect(function(5).freeDevice(among: children) == 2)
        #expect(function(4).freeDevice(among: children) == nil && function(6).freeDevice(among: children) == nil)
        #expect(function(nil).freeDevice(among: []) == nil && children[0].freeDevice(among: children) == nil)
        let full = (UInt8(0)..<32).map {
            Function(
                address: FunctionAddress(bus: BusNumber(1), devfn: $0 << 3),
                identity: Function.Identity(vendor: 1, device: 1)
            )
        }
        #expect(function(nil).freeDevice(among: full) == nil && function(nil).freeDevice(among: full.dropLast()) == 31)
    }

    @Test("one side of a non-transparent bridge: by its driver, else by its ids")
    func nonTransparent() {
        func isOne(_ vendor: UInt16, _ device: UInt16, _ classCode: UInt32 = 0x06_8000, driver: String? = nil) -> Bool {
            Function.Identity(vendor: vendor, device: device, classCode: classCode).isNonTransparentBridge(
                driver: driver
            )
        }
        for (vendor, first, last) in [
            (0x8086, 0x3725, 0x3727), (0x8086, 0x3c0d, 0x3c0f), (0x8086, 0x0e0d, 0x0e0f), (0x8086, 0x2f0d, 0x2f0f),
            (0x8086, 0x6f0d, 0x6f0f), (0x8086, 0x201c, 0x201c), (0x1022, 0x145b, 0x145b), (0x10b5, 0x87b0, 0x87b1),
        ] as [(UInt16, UInt16, UInt16)] {
            #expect(isOne(vendor, first) && isOne(vendor, last), "\(first)")
            #expect(!isOne(vendor, first - 1) && !isOne(vendor, last + 1), "\(first)")
        }
        #expect(isOne(0x11f8, 0x8531) && !isOne(0x11f8, 0x8531, 0x05_8000))
        #expect(isOne(1, 1, driver: "ntb_hw_amd") && !isOne(1, 1, driver: "e1000e"))
        #expect(isOne(1, 1, driver: "switchtec") && !isOne(1, 1, 0x05_8000, driver: "switchtec"))
    }

    @Test("memory hides where an aperture covers where RAM lies and nothing tells of it")
    func hiddenMemory() throws {
        func hides(_ range: ClosedRange<UInt64>, _ change: (inout DrawnTree) -> Void = { _ in }) throws -> Bool {
            var tree = DrawnTree(memory: [range])
            change(&tree)
            return try tree.topology().hidesMemory
        }
        #expect(try hides(0...0xff_ffff_ffff))
        #expect(try hides(0x9_ffff...0x8000_0001) && !hides(0xa_0000...0x8000_0001) && !hides(0x9_ffff...0x8000_0000))
        #expect(
            try !hides(0...0xff_ffff_ffff) {
                $0.blockers = [Blocker(range: span(0...0xfff), isIO: false, name: "System RAM", source: .iomem)]
            }
        )
        for (name, isX86) in [("x86_64", true), ("i686", true), ("ia64", false), ("aarch64", false), ("86", false)] {
            #expect(KernelIdentity.isX86(name) == isX86, "\(name)")
        }
    }
}
