// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Maps as one SVG drawing, side by side.
///
/// Addresses grow downwards. Windows are boxes around what they hold; a box without contents is as high as the
/// logarithm of its size, so that 4 KiB and 64 GiB are both legible. Apertures of the same host bridge begin at the
/// same height in every column.
public struct SVGMap: Hashable, Sendable {
    /// The width of one column in pixels, 240 and up.
    public var columnWidth: Int

    /// Creates a renderer.
    public init(columnWidth: Int = 430) {
        self.columnWidth = max(columnWidth, 240)
    }

    /// A complete SVG document.
    /// - Returns: the text of the document, encoded as UTF-8 when written.
    public func render(_ maps: [AddressMap]) -> String {
        var canvas = SVGCanvas(columnWidth: columnWidth, isInteractive: false)
        canvas.draw(maps)
        return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            + canvas.documents(columns: maps.count, title: maps.map(\.title).joined(separator: " / ")).joined()
    }

    /// The drawing as one `svg` element per section, between which a printed page can break; in a page that handles keys
    /// only the first segment is a tab stop.
    func sections(_ maps: [AddressMap]) -> [String] {
        var canvas = SVGCanvas(columnWidth: columnWidth, isInteractive: true)
        canvas.draw(maps)
        return canvas.documents(columns: maps.count, title: maps.map(\.title).joined(separator: " / "))
    }
}

/// A drawing under construction.
private struct SVGCanvas {
    let columnWidth: Int
    let isInteractive: Bool
    var body = MarkupText()
    var height = 0
    var hasTabStop = false
    /// The sections that have been cut off: what they draw and how high they are.
    private var finished: [(body: String, height: Int)] = []
    /// The column being drawn.
    var column = 0

    private let margin = 16
    private let gap = 28
    private let header = 17
    private let indent = 12

    init(columnWidth: Int, isInteractive: Bool) {
        self.columnWidth = columnWidth
        self.isInteractive = isInteractive
    }

    /// Ends a section where the drawing may be cut.
    private mutating func cut() {
        guard isInteractive else { return }
        finished.append((body.text, height))
        body = MarkupText()
        height = 0
    }

    /// The finished sections; without cuts one.
    func documents(columns: Int, title: String) -> [String] {
        (finished + [(body.text, height)]).filter { !$0.body.isEmpty }.enumerated().map { i, part in
            document(part.body, height: part.height, columns: columns, title: title, isFirst: i == 0)
        }
    }

    private func document(_ body: String, height: Int, columns: Int, title: String, isFirst: Bool) -> String {
        let width = margin * 2 + columns * columnWidth + max(columns - 1, 0) * gap
        var result = MarkupText()
        result.open(
            "svg",
            [
                ("xmlns", "http://www.w3.org/2000/svg"), ("class", "map"), ("viewBox", "0 0 \(width) \(height)"),
                ("width", "\(width)"), ("height", "\(height)"), ("role", "group"), ("aria-label", title),
            ]
        )
        if isFirst {
            if !isInteractive { result.element("title", [], title) }
            // The sections of a page share styles and patterns.
            result.raw("<style>\n\(MapPalette.style)\n</style>\n\(MapPalette.definitions)\n")
        }
        result.element(
            "rect",
            [("width", "\(width)"), ("height", "\(height)"), ("fill", "#fff")]
        )
        result.raw("\n" + body + "</svg>\n")
        return result.text
    }

    // MARK: Sections

    mutating func draw(_ maps: [AddressMap]) {
        height = margin
        legend()
        for (c, map) in maps.enumerated() { text(map.title, x: left(c), y: height + 16, "h") }
        height += 28
        let hosts = maps.map(\.hosts.count).max() ?? 0
        for h in 0..<hosts {
            for (c, map) in maps.enumerated() where h < map.hosts.count {
                text("host bridge \(map.hosts[h].name) \(map.hosts[h].buses.range)", x: left(c), y: height + 12, "a")
            }
            height += 20
            let apertures = maps.map { h < $0.hosts.count ? $0.hosts[h].apertures.count : 0 }.max() ?? 0
            var section = ""
            for a in 0..<apertures {
                let heads = maps.map { map in
                    h < map.hosts.count && a < map.hosts[h].apertures.count ? map.hosts[h].apertures[a].section : ""
                }
                if let head = heads.first(where: { !$0.isEmpty }), head != section {
                    if !section.isEmpty { cut() }
                    section = head
                    for (c, map) in maps.enumerated() where heads[c] == head {
                        text(maps.count > 1 ? "\(head), \(map.title)" : head, x: left(c), y: height + 11, "q")
                    }
                    height += 16
                }
                row(maps) { host in h < host.count && a < host[h].apertures.count ? [host[h].apertures[a]] : [] }
            }
            cut()
            if maps.contains(where: { h < $0.hosts.count && !$0.hosts[h].outside.isEmpty }) {
                for (c, map) in maps.enumerated() where h < map.hosts.count && !map.hosts[h].outside.isEmpty {
                    text("outside the apertures", x: left(c), y: height + 12, "a")
                }
                height += 18
                row(maps) { h < $0.count ? $0[h].outside : [] }
            }
            unplaced(maps, h)
            buses(maps, h)
            height += 12
            cut()
        }
        height += margin
    }

    private func left(_ column: Int) -> Int { margin + column * (columnWidth + gap) }

    private mutating func legend() {
        var x = margin
        let items: [(String, String)] = [
            ("io", "I/O"), ("mem", "memory"), ("pref", "prefetchable"), ("blk", "not PCI"),
        ]
        for (word, label) in items {
            body.element(
                "rect",
                [
                    ("x", "\(x)"), ("y", "\(height)"), ("width", "14"), ("height", "12"), ("fill", "url(#p-\(word))"),
                    ("stroke", "#333"),
                ]
            )
            text(label, x: x + 18, y: height + 10, "")
            x += 26 + 7 * label.count
        }
        text("dashed: free", x: x, y: height + 10, "")
        height += 16
        for line in [
            "thick edge: differs from the first map, \u{25c6} moved, \u{2195} resized, \u{271a} new",
            "heights grow with the logarithm of sizes",
        ] {
            text(line, x: margin, y: height + 10, "q")
            height += 13
        }
        height += 7
    }

    private mutating func row(_ maps: [AddressMap], _ segments: ([HostMap]) -> [MapSegment]) {
        var most = 0
        for (c, map) in maps.enumerated() {
            var y = height
            column = c
            for segment in segments(map.hosts) {
                draw(segment, x: left(c), y: y, width: columnWidth)
                y += boxHeight(segment) + 8
            }
            most = max(most, y - height)
        }
        height += most
    }

    private mutating func unplaced(_ maps: [AddressMap], _ h: Int) {
        let lists = maps.map { h < $0.hosts.count ? $0.hosts[h].unplaced : [] }
        guard lists.contains(where: { !$0.isEmpty }) else { return }
        var most = 0
        for (c, list) in lists.enumerated() {
            text(list.isEmpty ? "everything has an address" : "without address", x: left(c), y: height + 12, "a")
            for (i, resource) in list.enumerated() {
                let word = resource.isRequired ? "\u{2715} " : "(optional) "
                text(word + resource.text, x: left(c) + 8, y: height + 28 + 15 * i, resource.isRequired ? "lost" : "")
            }
            most = max(most, 24 + 15 * list.count)
        }
        height += most + 8
    }

    // MARK: Segments

    /// The height of a leaf: 16 pixels up to 4 KiB, and 1.6 more for every doubling.
    private func boxHeight(_ segment: MapSegment) -> Int {
        if segment.children.isEmpty || segment.isEmptyWindow { return 16 + segment.logStep * 8 / 5 }
        return header + segment.children.reduce(0) { $0 + boxHeight($1) + 2 } + 3
    }

    private mutating func draw(_ segment: MapSegment, x: Int, y: Int, width: Int) {
        let full = boxHeight(segment)
        var classes = ["s"]
        switch segment.content {
        case .aperture: classes.append("ap")
        case .window: classes += ["w", MapPalette.word(segment.kind)]
        case .resource: classes.append(MapPalette.word(segment.kind))
        case .blocker: classes.append("blk")
        case .free: classes.append("free")
        }
        if segment.mark != .same { classes.append("ch") }
        var attributes = [("class", classes.joined(separator: " ")), ("role", "img"), ("aria-label", summary(segment))]
        if isInteractive {
            attributes.append(("tabindex", hasTabStop ? "-1" : "0"))
            attributes.append(("data-c", "\(column)"))
            hasTabStop = true
            if let key = segment.key { attributes.append(("data-k", key)) }
        } else {
            attributes.append(("tabindex", "0"))
        }
        body.open("g", attributes)
        body.element("title", [], summary(segment))
        body.element(
            "rect",
            [("class", "b"), ("x", "\(x)"), ("y", "\(y)"), ("width", "\(width)"), ("height", "\(full)"), ("rx", "2")]
        )
        let swatch: String?
        switch segment.content {
        case .free, .aperture: swatch = nil
        case .blocker: swatch = "blk"
        case .window, .resource: swatch = MapPalette.word(segment.kind)
        }
        if let swatch {
            body.element(
                "rect",
                [
                    ("x", "\(x + 2)"), ("y", "\(y + 2)"), ("width", "9"), ("height", "\(full - 4)"),
                    ("fill", "url(#p-\(swatch))"),
                ]
            )
        }
        label(segment, x: x, y: y, width: width, isTall: segment.children.isEmpty && full >= 31)
        body.raw("</g>\n")
        guard !segment.children.isEmpty, !segment.isEmptyWindow else { return }
        var next = y + header
        for child in segment.children {
            draw(child, x: x + indent, y: next, width: width - indent - 3)
            next += boxHeight(child) + 2
        }
    }

    private mutating func label(_ segment: MapSegment, x: Int, y: Int, width: Int, isTall: Bool) {
        let isAperture = segment.content == .aperture
        let start = x + (isAperture ? 5 : 15)
        let right = ByteCount(segment.size).description
        let mark = segment.mark == .same ? "" : segment.markSign + " "
        var name = segment.owner.isEmpty ? segment.label : "\(segment.owner) \(segment.label)"
        if isAperture { name += " \(segment.range)" } else if !isTall { name += "  \(hex(segment.range.first))" }
        // Bold letters are wider.
        let letter = isAperture || !mark.isEmpty ? 75 : 66
        let room = (width - (start - x) - 10 - right.count * 7) * 10 / letter
        // The word is left out whole where it does not fit: an empty box shows it.
        if segment.isEmptyWindow, name.count + 7 + mark.count <= room { name += "  empty" }
        text(mark + cut(name, room - mark.count), x: start, y: y + 12, mark.isEmpty ? (isAperture ? "a" : "") : "m")
        body.element(
            "text",
            [("x", "\(x + width - 5)"), ("y", "\(y + 12)"), ("text-anchor", "end")],
            right
        )
        guard isTall else { return }
        var second = "\(segment.range)"
        if let mark = segment.markText {
            second += ", \(mark)"
        } else if !segment.detail.isEmpty {
            second += ", \(segment.detail)"
        }
        text(cut(second, (width - 20) * 10 / 61), x: start, y: y + 25, "q")
    }

    private func summary(_ segment: MapSegment) -> String {
        var parts = [segment.owner.isEmpty ? segment.label : "\(segment.owner) \(segment.label)"]
        parts.append(ByteCount(segment.size).description)
        parts.append("\(segment.range)")
        if !segment.detail.isEmpty { parts.append(segment.detail) }
        if segment.isEmptyWindow { parts.append("empty") }
        if let mark = segment.markText { parts.append(mark) }
        return parts.joined(separator: ", ")
    }

    private func cut(_ text: String, _ count: Int) -> String {
        guard text.count > count, count > 1 else { return text }
        return String(text.prefix(count - 1)) + "\u{2026}"
    }

    private mutating func text(_ content: String, x: Int, y: Int, _ name: String) {
        body.element("text", [("x", "\(x)"), ("y", "\(y)")] + (name.isEmpty ? [] : [("class", name)]), content)
        body.raw("\n")
    }

    // MARK: Bus numbers

    private mutating func buses(_ maps: [AddressMap], _ h: Int) {
        var most = 0
        let axis = BusAxis(maps.filter { h < $0.hosts.count }.map { $0.hosts[h].buses }, width: columnWidth - 154)
        for (c, map) in maps.enumerated() where h < map.hosts.count {
            column = c
            let buses = map.hosts[h].buses
            let counts = "\(buses.count(.used)) in use, \(buses.count(.reserved)) reserved, \(buses.count(.free)) free"
            text("bus numbers: \(counts)", x: left(c), y: height + 12, "a")
            var y = height + 20
            strip(buses, axis, x: left(c), y: y, name: map.hosts[h].name)
            y += 20
            for bridge in buses.bridges {
                draw(bridge, axis, x: left(c), y: y)
                y += 15
            }
            for bridge in buses.unnumbered {
                text("\u{2715} \(bridge) has no bus", x: left(c) + 8, y: y + 11, "lost")
                y += 15
            }
            most = max(most, y - height)
        }
        height += most + 6
    }

    private mutating func strip(_ buses: BusMap, _ axis: BusAxis, x: Int, y: Int, name: String) {
        text(name, x: x + 4, y: y + 11, "")
        for run in axis.runs {
            let fill: String
            switch buses.numbers[run.lowerBound] {
            case .used: fill = "#222"
            case .reserved: fill = "url(#p-blk)"
            case .free: fill = "#fff"
            case .outside: fill = "#eee"
            }
            let left = x + 150 + axis[run.lowerBound]
            let width = axis[run.upperBound] - axis[run.lowerBound]
            body.element(
                "rect",
                [
                    ("x", "\(left)"), ("y", "\(y)"), ("width", "\(max(width, 1))"), ("height", "14"), ("fill", fill),
                    ("stroke", "#555"), ("stroke-width", "0.5"),
                ]
            )
            // The numbers where there is room: the first of a cell, both ends of a longer run.
            let first = bareHex(UInt64(run.lowerBound), width: 2)
            let last = bareHex(UInt64(run.upperBound - 1), width: 2)
            let label = run.count == 1 ? first : "\(first)-\(last)"
            guard width >= label.count * 6 + 3 else { continue }
            let isDark = buses.numbers[run.lowerBound] == .used
            body.element(
                "text",
                [
                    ("x", "\(left + width / 2)"), ("y", "\(y + 11)"), ("text-anchor", "middle"),
                    ("class", isDark ? "q inv" : buses.numbers[run.lowerBound] == .reserved ? "q halo" : "q"),
                ],
                label
            )
        }
        body.raw("\n")
    }

    private mutating func draw(_ bridge: BusMap.Bridge, _ axis: BusAxis, x: Int, y: Int) {
        let was = bridge.before.map { ", was \($0)" } ?? ""
        let summary = "\(bridge.owner) \(bridge.detail) \(bridge.range)\(was)"
        var attributes = [
            ("class", bridge.before == nil ? "s bus" : "s bus ch"), ("role", "img"), ("aria-label", summary),
            ("tabindex", isInteractive ? "-1" : "0"),
        ]
        if isInteractive {
            attributes.append(("data-c", "\(column)"))
            attributes.append(("data-k", "\(bridge.path) buses"))
        }
        body.open("g", attributes)
        body.element("title", [], summary)
        let mark = bridge.before == nil ? "" : "\u{25c6} "
        let first = Int(bridge.range.first.rawValue)
        let last = Int(bridge.range.last.rawValue)
        text(
            "\(mark)\(bridge.owner) \(bridge.range)",
            x: x + 4 + min(bridge.depth, 6) * 6,
            y: y + 11,
            mark.isEmpty ? "" : "m"
        )
        body.element(
            "rect",
            [
                ("class", "b"), ("x", "\(x + 150 + axis[first])"), ("y", "\(y + 1)"),
                ("width", "\(max(axis[last + 1] - axis[first], 2))"), ("height", "11"), ("fill", "#cfe3f5"),
            ]
        )
        body.element(
            "rect",
            [
                ("x", "\(x + 150 + axis[first])"), ("y", "\(y + 1)"),
                ("width", "\(max(axis[first + 1] - axis[first], 2))"), ("height", "11"), ("fill", "#222"),
            ]
        )
        body.raw("</g>\n")
    }
}
