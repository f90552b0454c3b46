// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import PolicyPictures

/// What maps hold, segment by segment, on a tree whose numbers are written here.
@Suite("Segments of maps")
struct MapTests {
    private func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
        try #require(AddressRange(first: first, last: last))
    }

    /// A port with a 1 MiB window on c0000000 and a card of 64 KiB in it, and a card on the root bus.
    private func topology(window: UInt64 = 0xc000_0000, blockers: [Blocker] = []) throws -> Topology {
        var tree = SmallTree(memory: [0xc000_0000...0xc0ff_ffff]) { _ in }
        let port = tree.port("00:02.0", windows: [.memoryWindow: window...(window + 0xf_ffff)])
        tree.endpoint("01:00.0", below: port, bars: [.mem32(0x1_0000), .io(0x20)], today: [window])
        tree.endpoint("00:03.0", bars: [.mem32(0x10_0000), .pref64(1 << 30)], today: [0xc080_0000])
        var topology = try tree.topology()
        topology.blockers = blockers
        let address = try #require(FunctionAddress(parsing: "00:02.0"))
        topology.update(address) { $0.bridge?.busRange = BusRange(first: BusNumber(1), last: BusNumber(3)) }
        return topology
    }

    private func text(_ segments: [MapSegment]) -> [String] {
        segments.map { "\(bareHex($0.range.first))-\(bareHex($0.range.last)) \($0.owner) \($0.label)" }
    }

    @Test("an aperture from end to end: windows, BARs, what is free, each with what is in it")
    func aperture() throws {
        let host = AddressMap(try topology(), title: "t").hosts[0]
        #expect(host.name == "0000:00" && host.apertures.map(\.kind) == [.memory, .io])
        #expect(
            text(host.apertures[0].children) == [
                "c0000000-c00fffff 00:02.0 mem window", "c0100000-c07fffff  free", "c0800000-c08fffff 00:03.0 BAR 0",
                "c0900000-c0ffffff  free",
            ]
        )
        #expect(
            text(host.apertures[0].children[0].children)
                == ["c0000000-c000ffff 01:00.0 BAR 0", "c0010000-c00fffff  free"]
        )
        #expect(host.apertures[1].isEmptyWindow && host.outside == [])
        #expect(host.unplaced.map(\.text) == ["00:03.0 BAR 1 1G pref", "01:00.0 BAR 1 32 io"])
    }

    @Test("what lies outside the apertures by one byte stands beside them")
    func outside() throws {
        let host = AddressMap(try topology(window: 0xc0f0_0001), title: "t").hosts[0]
        #expect(text(host.outside) == ["c0f00001-c1000000 00:02.0 mem window"])
        #expect(host.outside[0].children.first?.owner == "01:00.0")
    }

    @Test("what is not PCI is shown where nothing else is, three and more of it as one")
    func blockers() throws {
        func children(_ ranges: [(UInt64, UInt64)]) throws -> [String] {
            let blockers = try ranges.enumerated().map {
                Blocker(range: try range($1.0, $1.1), isIO: false, name: "b\($0)", source: .iomem)
            }
            return text(AddressMap(try topology(blockers: blockers), title: "t").hosts[0].apertures[0].children)
        }
        #expect(try children([(0xc090_0000, 0xc090_ffff)])[3] == "c0900000-c090ffff  b0")
        #expect(try children([(0xc08f_ffff, 0xc090_ffff)]).allSatisfy { !$0.contains("b0") })
        #expect(
            try children([(0xc0ff_f000, 0xc1ff_ffff)]).last == "c0fff000-c0ffffff  b0",
            "cut to the aperture"
        )
        let three: [(UInt64, UInt64)] = [
            (0xc090_0000, 0xc090_ffff), (0xc0a0_0000, 0xc0a0_ffff), (0xc0a1_0000, 0xc0a1_ffff),
        ]
        // The gap of 960 KiB between them is small; behind them it is free.
        #expect(
            try children(three).suffix(2) == [
                "c0900000-c0a1ffff  3 ranges that are not PCI", "c0a20000-c0ffffff  free",
            ]
        )
        #expect(try children(Array(three.prefix(2))).suffix(4).map { $0.suffix(2) } == ["b0", "ee", "b1", "ee"])
        let wide: [(UInt64, UInt64)] = [
            (0xc090_0000, 0xc090_ffff), (0xc0a1_0000, 0xc0a1_ffff), (0xc0a2_0000, 0xc0a2_ffff),
        ]
        #expect(try children(wide).allSatisfy { !$0.contains("not PCI") }, "a gap of 1 MiB parts them")
    }

    @Test("gaps: none where ranges touch, none behind the last address of 64 bits")
    func filled() throws {
        func segment(_ first: UInt64, _ last: UInt64) throws -> MapSegment {
            MapSegment(
                range: try range(first, last),
                content: .blocker,
                kind: .memory,
                owner: "",
                label: "x",
                detail: "",
                children: []
            )
        }
        func filled(_ inside: [MapSegment], _ first: UInt64, _ last: UInt64) throws -> [String] {
            text(MapSegment.filled(inside, in: try range(first, last), kind: .memory))
        }
        #expect(try filled([], 1, 2) == ["1-2  free"])
        #expect(try filled([segment(4, 7), segment(0, 3)], 0, 8) == ["0-3  x", "4-7  x", "8-8  free"])
        #expect(try filled([segment(1, 3), segment(5, 7)], 0, 7) == ["0-0  free", "1-3  x", "4-4  free", "5-7  x"])
        #expect(
            try filled([segment(.max - 1, .max)], .max - 2, .max) == [
                "fffffffffffffffd-fffffffffffffffd  free", "fffffffffffffffe-ffffffffffffffff  x",
            ]
        )
        // A short one inside a long one opens no gap.
        #expect(try filled([segment(0, 9), segment(2, 3)], 0, 9) == ["0-9  x", "2-3  x"])
    }

    @Test("against another map: moved, resized, new, the same")
    func marks() throws {
        let before = AddressMap(try topology(), title: "before")
        let same = AddressMap(try topology(), title: "after").marked(against: before)
        #expect(same.changes == 0)
        let moved = AddressMap(try topology(window: 0xc010_0000), title: "after").marked(against: before)
        let marks = moved.segments.filter { $0.mark != .same }.map { "\($0.owner) \($0.label) \($0.markText ?? "")" }
        #expect(
            marks == ["00:02.0 mem window moved from 0xc0000000", "01:00.0 BAR 0 moved from 0xc0000000"]
        )
        var larger = try topology()
        let port = try #require(FunctionAddress(parsing: "00:02.0"))
        let grown = try range(0xc000_0000, 0xc01f_ffff)
        larger.update(port) { function in
            for i in function.resources.indices where function.resources[i].index == .memoryWindow {
                function.resources[i].assignment = .assigned(grown)
            }
            function.bridge?.busRange = BusRange(BusNumber(1))
        }
        let resized = AddressMap(larger, title: "after").marked(against: before)
        #expect(resized.segments.compactMap(\.markText) == ["resized from 1M at 0xc0000000"])
        #expect(resized.hosts[0].buses.bridges.map(\.before) == [BusRange(first: BusNumber(1), last: BusNumber(3))])
        var nothing = before
        nothing.hosts = []
        #expect(before.marked(against: nothing).segments.count(where: { $0.mark == .new }) == 3)
    }

    @Test("bus numbers: the root, secondaries and buses of functions are used, the rest of a range is reserved")
    func buses() throws {
        let map = AddressMap(try topology(), title: "t").hosts[0].buses
        #expect(map.numbers[0] == .used && map.numbers[1] == .used && map.numbers[2] == .reserved)
        #expect(map.numbers[3] == .reserved && map.numbers[4] == .free && map.numbers[255] == .free)
        #expect(map.bridges.map { "\($0.owner) \($0.range) \($0.depth)" } == ["00:02.0 [bus 01-03] 0"])
        #expect([.used, .reserved, .free, .outside].map(map.count) == [2, 2, 252, 0])
    }

    @Test("sections, sizes on the logarithmic scale, and text that is safe in markup")
    func words() throws {
        func section(_ kind: ResourceKind, _ first: UInt64) throws -> String {
            MapSegment(
                range: try range(first, first),
                content: .free,
                kind: kind,
                owner: "",
                label: "",
                detail: "",
                children: []
            ).section
        }
        #expect(try section(.io, 0) == "I/O ports" && section(.memory, 0xffff_ffff) == "memory below 4 GiB")
        #expect(try section(.memory, 0x1_0000_0000) == "memory above 4 GiB")
        #expect(MapSegment.logStep(ofSize: 0) == 0 && MapSegment.logStep(ofSize: 0x3fff) == 1)
        #expect(MarkupText.escaped("a<b>&\"'\u{1b}\n") == "a&lt;b&gt;&amp;&quot;&#39;  ")
        var text = MarkupText()
        text.element("a", [("k", "1\""), ("l", "2")], "x<")
        text.element("b", [])
        text.open("c", [])
        #expect(text.text == "<a k=\"1&quot;\" l=\"2\">x&lt;</a><b/><c>")
    }

    @Test("the axis of bus numbers: runs of free ones are one step, edges rise, nothing beyond the width")
    func axis() throws {
        let map = AddressMap(try topology(), title: "t").hosts[0].buses
        let axis = BusAxis([map], width: 400)
        #expect(axis.runs == [0..<1, 1..<2, 2..<3, 3..<4, 4..<256])
        #expect(axis[0] == 0 && axis[-5] == 0 && axis[300] == axis[256] && axis[256] <= 400)
        #expect((0..<256).allSatisfy { axis[$0] <= axis[$0 + 1] } && axis[1] > axis[0])
    }
}
