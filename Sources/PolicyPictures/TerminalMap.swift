// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Maps as lines of text for a terminal.
///
/// One line per segment: address, a bar whose length grows with the logarithm of the size, the size, whose it is. The
/// bar's character tells the kind, so nothing depends on colour.
public struct TerminalMap: Hashable, Sendable {
    /// Which characters may be used.
    public enum Style: String, Hashable, Sendable, CaseIterable {
        /// Box drawing and blocks.
        case unicode
        /// ASCII only.
        case ascii
    }

    /// The characters.
    public var style: Style
    /// The width of the terminal in columns, 60 and up; longer lines are cut.
    public var width: Int

    /// Creates a renderer.
    public init(style: Style = .unicode, width: Int = 100) {
        self.style = style
        self.width = max(width, 60)
    }

    private var isUnicode: Bool { style == .unicode }

    /// The maps one after the other, with a legend.
    /// - Returns: lines that end in a newline each.
    public func render(_ maps: [AddressMap]) -> String {
        var lines: [String] = []
        for map in maps {
            lines.append(map.title)
            lines.append(String(repeating: isUnicode ? "═" : "=", count: min(max(map.title.count, 8), width)))
            for host in map.hosts { add(host, to: &lines) }
            lines.append("")
        }
        lines.append(
            isUnicode
                ? "░ I/O  █ memory  ▒ prefetchable  · free  ╳ not PCI  ◆ differs"
                : "i I/O  m memory  p prefetchable  . free  x not PCI  * differs"
        )
        lines.append("bars are logarithmic: one character for 4K and below, one more for every fourfold size")
        return lines.map { cut($0) + "\n" }.joined()
    }

    private func cut(_ line: String) -> String {
        guard line.count > width else { return line }
        return String(line.prefix(width - 1)) + (isUnicode ? "…" : ">")
    }

    private func glyph(_ segment: MapSegment) -> String {
        switch (segment.content, segment.kind) {
        case (.free, _): isUnicode ? "·" : "."
        case (.blocker, _): isUnicode ? "╳" : "x"
        case (_, .io): isUnicode ? "░" : "i"
        case (_, .memory): isUnicode ? "█" : "m"
        case (_, .prefetchable): isUnicode ? "▒" : "p"
        }
    }

    private func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
        let space = String(repeating: " ", count: max(width - text.count, 0))
        return right ? space + text : text + space
    }

    private func add(_ host: HostMap, to lines: inout [String]) {
        lines.append("host bridge \(host.name) \(host.buses.range)")
        var section = ""
        for aperture in host.apertures {
            if aperture.section != section {
                section = aperture.section
                lines.append("")
                lines.append(section)
            }
            let free = aperture.flattened.filter { $0.content == .free }
            let largest = free.map(\.range.largestAlignedBlock).max() ?? 0
            lines.append("")
            lines.append(
                "\(aperture.label) \(aperture.range) \(ByteCount(aperture.size)), "
                    + "largest free block \(ByteCount(largest))"
            )
            let digits = max(bareHex(aperture.range.last).count, 4)
            add(aperture.children, prefix: "", digits: digits, to: &lines)
        }
        if !host.outside.isEmpty {
            lines.append("")
            lines.append("outside the apertures")
            add(host.outside, prefix: "", digits: 8, to: &lines)
        }
        if !host.unplaced.isEmpty {
            lines.append("")
            lines.append("without address")
            for resource in host.unplaced { lines.append("  \(resource.text)") }
        }
        lines.append("")
        add(host.buses, to: &lines)
    }

    private func add(_ segments: [MapSegment], prefix: String, digits: Int, to lines: inout [String]) {
        for (i, segment) in segments.enumerated() {
            let isLast = i == segments.count - 1
            let branch = isUnicode ? (isLast ? "└ " : "├ ") : (isLast ? "` " : "| ")
            let bar = String(repeating: glyph(segment), count: min(1 + segment.logStep / 2, 14))
            let mark = segment.markText.map { (isUnicode ? " ◆ " : " * ") + $0 } ?? ""
            let text = segment.owner.isEmpty ? segment.label : "\(segment.owner) \(segment.label)"
            lines.append(
                padded("\(hex(segment.range.first, width: digits)) \(prefix)\(branch)\(bar)", digits + 26)
                    + padded(ByteCount(segment.size).description, 7, right: true) + "  " + text + mark
            )
            // A window that is empty says so by itself.
            if segment.isEmptyWindow { continue }
            let deeper = isLast ? "  " : isUnicode ? "│ " : "| "
            add(segment.children, prefix: prefix + deeper, digits: digits, to: &lines)
        }
    }

    private func add(_ buses: BusMap, to lines: inout [String]) {
        lines.append(
            "bus numbers: \(buses.count(.used)) in use, \(buses.count(.reserved)) reserved, \(buses.count(.free)) free"
        )
        func character(_ use: BusMap.Use) -> String {
            switch use {
            case .used: isUnicode ? "█" : "#"
            case .reserved: isUnicode ? "░" : "-"
            case .free: isUnicode ? "·" : "."
            case .outside: " "
            }
        }
        for row in 0..<4 {
            let numbers = buses.numbers[(row * 64)..<(row * 64 + 64)]
            if numbers.allSatisfy({ $0 == .outside }) { continue }
            lines.append("  \(bareHex(UInt64(row * 64), width: 2)) " + numbers.map(character).joined())
        }
        for bridge in buses.bridges {
            let before = bridge.before.map { (isUnicode ? " ◆ " : " * ") + "was \($0)" } ?? ""
            let indent = String(repeating: "  ", count: bridge.depth)
            lines.append("  \(indent)\(bridge.owner) \(bridge.detail) \(bridge.range)\(before)")
        }
        for bridge in buses.unnumbered { lines.append("  \(bridge) has no bus") }
    }
}
