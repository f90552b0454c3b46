// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

/// A port with a card, and a second port; nothing is wrong with it.
func healthyTree() -> DrawnTree {
    var tree = DrawnTree()
    tree.bridge(
        "00:01.0",
        buses(1, 2),
        io: 0x1000...0x1fff,
        memory: 0xc000_0000...0xc01f_ffff,
        prefetchable: 0x40_0000_0000...0x40_1fff_ffff
    )
    tree.bridge("00:02.0", buses(3, 3), memory: 0xc020_0000...0xc02f_ffff)
    tree.card(
        "01:00.0",
        below: "00:01.0",
        [
            bar(0, .memory, 0x10_0000, at: 0xc000_0000), bar(2, .wide, 0x1000_0000, at: 0x40_0000_0000),
            bar(4, .io, 0x100, at: 0x1000),
        ]
    )
    return tree
}

extension Topology {
    /// `bar-unassigned problem 01:00.0 BAR 0` for each finding.
    func told() -> [String] {
        findings().map { finding in
            var text = "\(finding.code.rawValue) \(finding.severity.rawValue) \(finding.address.short)"
            if let resource = finding.resource { text += " \(resource)" }
            if !finding.related.isEmpty { text += " <- " + finding.related.map(\.short).joined(separator: " ") }
            return text
        }
    }

    func causes(_ code: Finding.Code) -> [String] {
        findings().first { $0.code == code }?.causes ?? ["no such finding"]
    }
}

/// Each finding with an example, and with one that just misses it.
@Suite("Findings about resources")
struct ResourceFindingTests {
    private func told(_ change: (inout DrawnTree) -> Void) throws -> [String] {
        var tree = healthyTree()
        change(&tree)
        return try tree.topology().told()
    }

    @Test("a sound tree has no finding")
    func sound() throws {
        #expect(try told { _ in } == [])
    }

    @Test("a BAR without address: unassigned, forgotten, or lost when its register still holds one")
    func missing() throws {
        #expect(
            try told { $0.change("01:00.0", number(0)) { $0.assignment = .unassigned } }
                == ["bar-unassigned problem 01:00.0 BAR 0"]
        )
        #expect(
            try told { $0.change("01:00.0", number(0)) { $0.assignment = .wiped } } == [
                "bar-wiped problem 01:00.0 BAR 0"
            ]
        )
        for (register, code) in [
            (0xc000_0000, "bar-lost"), (0x10, "bar-lost"), (0xf, "bar-unassigned"), (.max, "bar-unassigned"),
        ] as [(UInt32, String)] {
            let found = try told {
                $0.registers("01:00.0", [0x04: 2, 0x10: register, 0x1c: 0x40, 0x20: 0x1001])
                $0.change("01:00.0", number(0)) { $0.assignment = .unassigned }
                $0.change("01:00.0", number(4)) { $0.flags.insert(.fixed) }
            }
            #expect(found.first == "\(code) problem 01:00.0 BAR 0", "\(register)")
        }
        // Without a size nobody can say that it was held; bytes put together from text hold nothing of their own.
        #expect(
            try told {
                $0.registers("01:00.0", [0x10: 0xc000_0000])
                $0.change("01:00.0") { $0.knowledge.registers = .unseen }
                $0.change("01:00.0", number(0)) { $0.assignment = .unassigned }
            } == ["bar-unassigned problem 01:00.0 BAR 0"]
        )
        #expect(
            try told {
                $0.registers("01:00.0", [0x10: 0xc000_0000, 0x1c: 0x40, 0x20: 0x1001])
                $0.change("01:00.0", number(0)) {
                    $0.assignment = .wiped
                    $0.size = nil
                }
            } == ["bar-wiped problem 01:00.0 BAR 0"]
        )
    }

    @Test("the upper half of a 64-bit BAR counts as an address, that of another BAR does not")
    func upperHalf() throws {
        for (low, high, code) in [(0xc, 0x40, "bar-lost"), (0xc, 0, "bar-unassigned"), (0xc, .max, "bar-unassigned")]
            as [(UInt32, UInt32, String)]
        {
            let found = try told {
                $0.registers("01:00.0", [0x10: 0xc000_0000, 0x18: low, 0x1c: high, 0x20: 0x1001])
                $0.change("01:00.0", number(2)) { $0.assignment = .unassigned }
            }
            #expect(found == ["\(code) problem 01:00.0 BAR 2"], "\(low) \(high)")
        }
        let narrow = try told {
            $0.registers("01:00.0", [0x10: 0, 0x14: 0x40, 0x1c: 0x40, 0x20: 0x1001])
            $0.change("01:00.0", number(0)) { $0.assignment = .unassigned }
        }
        #expect(narrow == ["bar-unassigned problem 01:00.0 BAR 0"])
    }

    @Test("what a function does without is a note: I/O beside memory, a port's own BAR, classes that are left alone")
    func needs() throws {
        let lost: (inout Resource) -> Void = { $0.assignment = .unassigned }
        #expect(try told { $0.change("01:00.0", number(4), lost) } == ["bar-unassigned note 01:00.0 BAR 4"])
        let onlyIO = try told {
            $0.change("01:00.0") { $0.resources = [bar(4, .io, 0x100)] }
        }
        #expect(onlyIO == ["bar-unassigned problem 01:00.0 BAR 4"])
        for (classCode, severity) in [
            (0x00_0000, "note"), (0x06_0000, "note"), (0x08_0000, "note"), (0x00_0100, "problem"),
            (0x08_8000, "problem"),
        ] as [(UInt32, String)] {
            let found = try told {
                $0.change("01:00.0") { $0.identity.classCode = classCode }
                $0.change("01:00.0", number(0), lost)
            }
            #expect(found == ["bar-unassigned \(severity) 01:00.0 BAR 0"], "\(classCode)")
            let register = try told {
                $0.change("01:00.0") { $0.identity.classCode = classCode }
                $0.registers("01:00.0", [0x10: 0xc000_0000, 0x1c: 0x40, 0x20: 0x1001])
                $0.change("01:00.0", number(0), lost)
            }
            #expect(register == ["bar-lost \(severity) 01:00.0 BAR 0"], "\(classCode)")
        }
        let port = try told { $0.change("00:02.0") { $0.resources.insert(bar(0, .memory, 0x1000), at: 0) } }
        #expect(port == ["bar-unassigned note 00:02.0 BAR 0"])
        let rom = try told { $0.change("01:00.0") { $0.resources.append(bar(6, .memory, 0x1_0000)) } }
        #expect(rom == ["rom-unassigned note 01:00.0 ROM"])
        let virtual = try told { $0.change("01:00.0") { $0.resources.append(bar(7, .memory, 0x1_0000)) } }
        #expect(virtual == ["vf-bar-unassigned note 01:00.0 VF BAR 0"])
        // What a VF lacks is its physical function's to have.
        let isVF = try told {
            $0.change("01:00.0") { $0.physicalFunction = at("01:00.1") }
            $0.change("01:00.0", number(0), lost)
        }
        #expect(isVF == [])
    }

    @Test("a function that sleeps and was read from its registers alone is no problem")
    func sleeping() throws {
        func found(power: UInt32, _ change: (inout DrawnTree) -> Void = { _ in }) throws -> [String] {
            try told {
                $0.registers("01:00.0", count: 256, [0x04: 0x10_0000, 0x34: 0x40, 0x40: 1, 0x44: power])
                $0.change("01:00.0", number(0)) { $0.assignment = .unassigned }
                change(&$0)
            }
        }
        #expect(try found(power: 3) == ["bar-unassigned note 01:00.0 BAR 0"])
        #expect(try found(power: 1) == ["bar-unassigned note 01:00.0 BAR 0"])
        #expect(try found(power: 4).first == "bar-unassigned problem 01:00.0 BAR 0")
        let lines = try found(power: 3) {
            $0.change("01:00.0") { $0.lines = Array(repeating: .zero, count: 13) }
        }
        #expect(lines == ["bar-unassigned problem 01:00.0 BAR 0"])
    }

    @Test("an address that the kernel does not hold: a note, a problem where it refused to enable the function")
    func unclaimed() throws {
        func found(_ index: Int, _ change: (inout Function) -> Void = { _ in }) throws -> [String] {
            try told {
                $0.change("01:00.0") { function in
                    for i in function.resources.indices where function.resources[i].index == number(index) {
                        function.resources[i].assignment = .unclaimed(function.resources[i].range ?? .all)
                    }
                    change(&function)
                }
            }
        }
        #expect(try found(0) == ["bar-unclaimed note 01:00.0 BAR 0"])
        #expect(try found(0) { $0.knowledge.refused = [number(0)] } == ["bar-unclaimed problem 01:00.0 BAR 0"])
        #expect(try found(0) { $0.knowledge.refused = [number(1)] } == ["bar-unclaimed note 01:00.0 BAR 0"])
        #expect(try found(4) { $0.knowledge.refused = [number(4)] } == ["bar-unclaimed problem 01:00.0 BAR 4"])
        #expect(try found(0) { $0.resources[0].flags.insert(.fixed) } == [])
        var tree = healthyTree()
        tree.change("01:00.0", number(0)) { $0.assignment = .unclaimed(span(0xc000_0000...0xc00f_ffff)) }
        #expect(try tree.topology().causes(.barUnclaimed) == [])
        tree.change("01:00.0", number(0)) { $0.assignment = .unclaimed(span(0xc010_0001...0xc020_0000)) }
        #expect(try tree.topology().causes(.barUnclaimed) == ["no window above 0000:01:00.0 forwards it"])
        tree.change("00:01.0", .memoryWindow) { $0.assignment = .unclaimed(span(0xc000_0000...0xc020_0000)) }
        #expect(try tree.topology().told() == ["bar-unclaimed note 01:00.0 BAR 0"])
        #expect(try tree.topology().causes(.barUnclaimed) == [])
    }

    @Test("outside the windows above: by one address, at either end")
    func outside() throws {
        for (first, isOutside) in [
            (0xc000_0000, false), (0xbfff_ffff, true), (0xc010_0000, false), (0xc010_0001, true),
        ] as [(UInt64, Bool)] {
            let found = try told {
                $0.change("01:00.0", number(0)) { $0.assignment = .assigned(span(first...(first + 0xf_ffff))) }
            }
            #expect(found == (isOutside ? ["outside-window problem 01:00.0 BAR 0 <- 00:01.0"] : []), "\(first)")
        }
        // I/O is not looked for in memory windows, nor memory in I/O windows.
        let crossed = try told {
            $0.change("01:00.0", number(0)) { $0.assignment = .assigned(span(0x1000...0x10ff)) }
            $0.change("01:00.0", number(4)) { $0.assignment = .assigned(span(0xc000_0000...0xc000_00ff)) }
        }
        #expect(
            crossed == [
                "outside-window problem 01:00.0 BAR 0 <- 00:01.0", "outside-window problem 01:00.0 BAR 4 <- 00:01.0",
            ]
        )
        let rom = try told {
            $0.change("01:00.0") { $0.resources.append(bar(6, .memory, 0x1_0000, at: 0xd000_0000)) }
        }
        #expect(rom == ["outside-window note 01:00.0 ROM <- 00:01.0"])
        let fixed = try told {
            $0.change("01:00.0") { $0.resources[0] = bar(0, [.memory, .fixed], 0x1_0000, at: 0xd000_0000) }
        }
        #expect(fixed == [])
    }

    @Test("who forwards is not judged where it is not known, and a subtractive bridge forwards the rest")
    func notKnown() throws {
        func found(_ change: (inout DrawnTree) -> Void) throws -> [String] {
            try told {
                $0.change("01:00.0", number(0)) { $0.assignment = .assigned(span(0xd000_0000...0xd00f_ffff)) }
                change(&$0)
            }
        }
        let outside = ["outside-window problem 01:00.0 BAR 0 <- 00:01.0"]
        #expect(try found { _ in } == outside)
        #expect(try found { $0.change("00:01.0") { $0.knowledge.windows = .partly } } == [])
        #expect(try found { $0.change("00:01.0") { $0.bridge?.isSubtractive = true } } == [])
        #expect(try found { $0.change("00:01.0") { $0.resources = [] } } == [])
        // A subtractive bridge hands on to what is above it: here an aperture that ends before.
        let below = try found {
            $0.change("00:01.0") { $0.bridge?.isSubtractive = true }
            $0.hosts[0].apertures[1].range = span(0xc000_0000...0xd00f_fffe)
        }
        #expect(below == outside)
        let exact = try found {
            $0.change("00:01.0") { $0.bridge?.isSubtractive = true }
            $0.hosts[0].apertures[1].range = span(0xc000_0000...0xd00f_ffff)
        }
        #expect(exact == [])
    }

    @Test("on a root bus apertures of the kind count, as far as the kernel told them")
    func rootBus() throws {
        func found(_ resource: Resource, _ change: (inout DrawnTree) -> Void = { _ in }) throws -> [String] {
            try told {
                $0.card("00:1f.0", [resource])
                change(&$0)
            }
        }
        #expect(try found(bar(0, .memory, 0x1000, at: 0xdfff_f000)) == [])
        #expect(try found(bar(0, .memory, 0x1000, at: 0xe000_0000)) == ["outside-window note 00:1f.0 BAR 0"])
        #expect(try found(bar(0, .memory, 0x1000, at: 0xe000_0000)) { $0.hosts[0].source = .iomem } == [])
        #expect(try found(bar(0, .io, 0x20, at: 0xfe0)) == ["outside-window note 00:1f.0 BAR 0"])
        #expect(try found(bar(0, .io, 0x20, at: 0xfe0)) { $0.hosts[0].apertures.removeFirst() } == [])
    }

    @Test("windows from registers are not compared with translated addresses above 4 GiB")
    func translated() throws {
        for (first, flags, isOutside) in [
            (0xfff0_0000, .memory, true), (0xfff0_0001, .memory, false),
            (0x60_0000_0000, .wide, true), (0x60_0000_0000, [.memory, .memory64], false),
        ] as [(UInt64, ResourceFlags, Bool)] {
            let found = try told {
                $0.hosts[0].source = .unknown
                $0.change("01:00.0") { $0.resources = [bar(0, flags, 0x10_0000, at: first)] }
            }
            #expect(found.count == (isOutside ? 1 : 0), "\(first)")
        }
    }

    @Test("an I/O window that begins at port 0 forwards what lies below its end")
    func portZero() throws {
        for (last, isOutside) in [(0xfff, false), (0x1000, true)] as [(UInt64, Bool)] {
            let found = try told {
                $0.change("00:01.0", .ioWindow) { $0.assignment = .unassigned }
                $0.change("01:00.0", number(4)) { $0.assignment = .assigned(span(last - 0xff...last)) }
            }
            #expect(found.contains("outside-window problem 01:00.0 BAR 4 <- 00:01.0") == isOutside, "\(last)")
        }
    }

    @Test("a closed window is told where somebody below needs it, with the severity of the need")
    func closed() throws {
        func found(_ change: (inout DrawnTree) -> Void) throws -> [String] {
            try told {
                $0.change("00:01.0", .memoryWindow) { $0.assignment = .closed }
                $0.change("01:00.0", number(0)) { $0.assignment = .unassigned }
                change(&$0)
            }
        }
        let missing = "bar-unassigned problem 01:00.0 BAR 0"
        #expect(
            try found { _ in } == ["window-closed problem 00:01.0 mem window <- 01:00.0", missing]
        )
        // The window is there but has no place, or is not there at all.
        #expect(
            try found { $0.change("00:01.0", .memoryWindow) { $0.assignment = .unassigned } }
                == ["window-closed problem 00:01.0 mem window <- 01:00.0", missing]
        )
        #expect(
            try found { $0.change("00:01.0") { $0.resources.remove(at: 1) } }
                == ["window-closed problem 00:01.0 mem window <- 01:00.0", missing]
        )
        // Nobody told of it; it may be open.
        #expect(try found { $0.change("00:01.0") { $0.knowledge.windows = .partly } } == [missing])
        // Nobody lacks anything.
        #expect(try told { $0.change("00:02.0", .memoryWindow) { $0.assignment = .closed } } == [])
        // A card that does without.
        let note = try told {
            $0.change("00:01.0", .ioWindow) { $0.assignment = .closed }
            $0.change("01:00.0", number(4)) { $0.assignment = .unassigned }
        }
        #expect(
            note == ["window-closed note 00:01.0 io window <- 01:00.0", "bar-unassigned note 01:00.0 BAR 4"]
        )
        // Whatever a resource needs, a lost address is a problem.
        let lost = try told {
            $0.change("00:01.0", .ioWindow) { $0.assignment = .closed }
            $0.registers("01:00.0", [0x10: 0xc000_0000, 0x1c: 0x40, 0x20: 0x1001])
            $0.change("01:00.0", number(4)) { $0.assignment = .unassigned }
        }
        #expect(
            lost == ["window-closed problem 00:01.0 io window <- 01:00.0", "bar-lost problem 01:00.0 BAR 4"]
        )
        // A prefetchable BAR of 32 bits goes to the memory window when the other one is wide.
        let narrow = try told {
            $0.change("00:01.0", .memoryWindow) { $0.assignment = .closed }
            $0.change("00:01.0", .prefetchableWindow) { $0.assignment = .closed }
            $0.change("01:00.0") { $0.resources = [bar(0, [.memory, .prefetchable], 0x1000)] }
        }
        #expect(narrow.first == "window-closed problem 00:01.0 mem window <- 01:00.0" && narrow.count == 2)
    }
}
