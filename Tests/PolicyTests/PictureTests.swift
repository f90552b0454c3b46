// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import FoundationXML
import PCITopology
import PolicyPictures
import Testing

@Suite("Maps of address space and bus numbers")
struct PictureTests {
    /// The layouts of SeaBIOS and OVMF on one recorded tree, the second marked against the first.
    private func maps(_ name: String = "seabios-01.txt") throws -> [AddressMap] {
        let recording = try #require(try FirmwareRecording.all("seabios").first { $0.name == name })
        let demand = ResourceDemand(recording.topology)
        let policies: [any AllocationPolicy] = [SeaBIOSPolicy(release: .v1_16_2), CorebootPolicy()]
        let plain = try policies.map {
            AddressMap(try $0.allocate(demand).applied(to: recording.topology), title: $0.name)
        }
        return [plain[0], plain[1].marked(against: plain[0])]
    }

    @Test("the children of a segment cover it from end to end")
    func coverage() throws {
        for recording in try FirmwareRecording.all("seabios") {
            let demand = ResourceDemand(recording.topology)
            let topology = try CorebootPolicy().allocate(demand).applied(to: recording.topology)
            for segment in AddressMap(topology, title: "").segments where !segment.children.isEmpty {
                var next = segment.range.first
                for child in segment.children {
                    #expect(child.range.first == next)
                    next = child.range.last &+ 1
                }
                #expect(next == segment.range.last &+ 1)
            }
        }
    }

    @Test("every placed resource and open window is in the map once")
    func completeness() throws {
        for recording in try FirmwareRecording.all("seabios") {
            let demand = ResourceDemand(recording.topology)
            let topology = try CorebootPolicy().allocate(demand).applied(to: recording.topology)
            let expected = topology.functions.flatMap(\.resources).filter { $0.range != nil }.count
            let keys = AddressMap(topology, title: "").segments.compactMap(\.key)
            #expect(keys.count == expected)
            #expect(Set(keys).count == expected)
        }
    }

    @Test("the log scale gives each doubling one step and starts at 4 KiB")
    func scale() {
        #expect(MapSegment.logStep(ofSize: 1) == 0)
        #expect(MapSegment.logStep(ofSize: 4096) == 0)
        #expect(MapSegment.logStep(ofSize: 8192) == 1)
        #expect(MapSegment.logStep(ofSize: 64 << 30) == 24)
        #expect(MapSegment.logStep(ofSize: .max) == 51)
    }

    @Test("marks tell what moved, and nothing against itself")
    func marks() throws {
        let maps = try maps()
        #expect(maps[0].marked(against: maps[0]).changes == 0)
        #expect(maps[1].changes > 0)
        let moved = maps[1].segments.first { $0.mark == .moved }
        #expect(moved?.markText?.hasPrefix("moved from 0x") == true)
    }

    @Test("bus numbers of a host bridge add up to 256")
    func buses() throws {
        for map in try maps() {
            for host in map.hosts {
                let counts = [BusMap.Use.used, .reserved, .free, .outside].map(host.buses.count)
                #expect(counts.reduce(0, +) == 256)
            }
        }
        // coreboot keeps eight numbers for each of two hot-plug ports.
        #expect(try maps()[1].hosts[0].buses.count(.reserved) == 16)
    }

    @Test("the ASCII form is ASCII and no line is wider than asked", arguments: [60, 80, 132])
    func terminal(_ width: Int) throws {
        let maps = try maps()
        let ascii = TerminalMap(style: .ascii, width: width).render(maps)
        #expect(ascii.utf8.allSatisfy { $0 == 0x0a || (0x20..<0x7f).contains($0) })
        for style in TerminalMap.Style.allCases {
            let lines = TerminalMap(style: style, width: width).render(maps).split(separator: "\n")
            #expect(lines.allSatisfy { $0.count <= width })
            #expect(lines.count > 40)
        }
    }

    /// Counts the elements of an XML document and keeps their classes.
    private final class Counter: NSObject, XMLParserDelegate {
        var names: [String: Int] = [:]
        var labels = 0
        func parser(
            _ parser: XMLParser,
            didStartElement name: String,
            namespaceURI: String?,
            qualifiedName: String?,
            attributes: [String: String]
        ) {
            names[name, default: 0] += 1
            if name == "g", attributes["aria-label"]?.isEmpty == false, attributes["tabindex"] != nil { labels += 1 }
        }
    }

    @Test("the drawing is well-formed and has one labelled, reachable group per segment and bridge")
    func svg() throws {
        let maps = try maps()
        let parser = XMLParser(data: Data(SVGMap().render(maps).utf8))
        let counter = Counter()
        parser.delegate = counter
        #expect(parser.parse(), "\(parser.parserError.map { "\($0)" } ?? "")")
        func drawn(_ segment: MapSegment) -> Int {
            1 + (segment.isEmptyWindow ? 0 : segment.children.reduce(0) { $0 + drawn($1) })
        }
        let segments = maps.flatMap(\.hosts).reduce(0) { sum, host in
            sum + (host.apertures + host.outside).reduce(0) { $0 + drawn($1) } + host.buses.bridges.count
        }
        #expect(counter.names["svg"] == 1)
        #expect(counter.names["g"] == segments)
        #expect(counter.labels == segments)
    }

    @Test("hostile names stay text")
    func escaping() throws {
        let recording = try #require(try FirmwareRecording.all("seabios").first)
        var topology = try SeaBIOSPolicy().allocate(ResourceDemand(recording.topology)).applied(to: recording.topology)
        let address = try #require(topology.functions.first { !$0.resources.isEmpty }?.address)
        topology.update(address) { $0.identity.name = "</text><script>alert(\"x\")</script>\u{1b}[31m" }
        let map = AddressMap(topology, title: "a & b <c>")
        let page = HTMLMap().render([map])
        #expect(!page.contains("<script>alert"))
        #expect(!page.contains("\u{1b}"))
        #expect(XMLParser(data: Data(SVGMap().render([map]).utf8)).parse())
    }

    @Test("the page loads nothing from elsewhere")
    func selfContained() throws {
        let page = HTMLMap().render(try maps())
        for word in ["src=", "href=", "@import", "url(http", "fetch("] { #expect(!page.contains(word)) }
    }

    @Test("equal maps draw equal pictures")
    func deterministic() throws {
        #expect(HTMLMap().render(try maps()) == HTMLMap().render(try maps()))
    }

    @Test(
        "pictures are written where RECORD_PICTURES says",
        .enabled(if: ProcessInfo.processInfo.environment["RECORD_PICTURES"] != nil)
    )
    func record() throws {
        let folder = URL(fileURLWithPath: try #require(ProcessInfo.processInfo.environment["RECORD_PICTURES"]))
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in ["seabios-01.txt", "seabios-06.txt", "seabios-22.txt"] {
            let maps = try maps(name)
            let stem = String(name.dropLast(4))
            let files = [
                (".svg", SVGMap().render(maps)), (".html", HTMLMap(title: "Address map: \(stem)").render(maps)),
                (".txt", TerminalMap().render(maps)),
                (".ascii.txt", TerminalMap(style: .ascii, width: 80).render(maps)),
            ]
            for (suffix, text) in files {
                try Data(text.utf8).write(to: folder.appendingPathComponent(stem + suffix))
            }
        }
    }
}
