// SPDX-License-Identifier: GPL-2.0-or-later

/// How the lines of a `resource` file map to resource indexes; the number of lines tells (`resource_show`).
///
/// With CONFIG_PCI_IOV a function prints 13 lines and a bridge with a bus 17; without it 7 and 11. Kernels before 5.7
/// print one line more for a bridge.
public enum ResourceNumbering: Hashable, Sendable {
    /// Lines are indexes.
    case withVFs
    /// Windows follow the ROM: line 7 is index 13.
    case withoutVFs

    /// The numbering of a file with `count` lines.
    public init(lineCount count: Int) {
        self = count == 7 || count == 11 || count == 12 ? .withoutVFs : .withVFs
    }

    /// The line of `index` in a file of this numbering, or nil when no line shows it.
    public func line(of index: ResourceIndex) -> Int? {
        let raw = Int(index.rawValue)
        switch self {
        case .withVFs: return raw
        case .withoutVFs:
            if raw < 7 { return raw }
            return raw >= 13 ? raw - 6 : nil
        }
    }

    /// The index that `line` shows in a file of this numbering, or nil for a line that no index has.
    public func index(ofLine line: Int) -> ResourceIndex? {
        switch self {
        case .withVFs: ResourceIndex(line)
        case .withoutVFs: line < 7 ? ResourceIndex(line) : ResourceIndex(line + 6)
        }
    }

    /// Whether a file with `count` lines shows the windows of a bridge: the bridge has a bus.
    public static func showsWindows(lineCount count: Int) -> Bool { count == 11 || count == 12 || count >= 17 }

    /// The most lines that any kernel prints.
    public static let maximumLineCount = 18
}

/// How many lines the `resource` files of one machine have: the same for all its functions of a kind.
public struct ResourceFileShape: Hashable, Sendable {
    /// How lines map to indexes.
    public let numbering: ResourceNumbering
    /// The lines of a bridge that has a bus: 11, 12, 17 or 18.
    public let bridgeLineCount: Int

    /// The lines of a function without a bus behind it: 7 or 13.
    public var lineCount: Int { numbering == .withVFs ? 13 : 7 }

    /// The shape of the files that a machine's functions were read from.
    ///
    /// - Parameter functions: the functions; where none has lines, a kernel of today with CONFIG_PCI_IOV is taken.
    public init(_ functions: some Sequence<Function>) {
        var plain: Int?
        var bridge: Int?
        for count in functions.lazy.map(\.lines.count) where count > 0 {
            if ResourceNumbering.showsWindows(lineCount: count) {
                bridge = count
                break
            }
            plain = plain ?? count
        }
        let numbering = ResourceNumbering(lineCount: bridge ?? plain ?? 17)
        self.numbering = numbering
        bridgeLineCount = min(bridge ?? (numbering == .withVFs ? 17 : 11), ResourceNumbering.maximumLineCount)
    }

    /// A kernel of today with CONFIG_PCI_IOV.
    public static let current = ResourceFileShape([])

    /// The number of lines of a function.
    public func lineCount(hasBus: Bool) -> Int { hasBus ? bridgeLineCount : lineCount }
}

extension Array where Element == ResourceLine {
    /// The line of `index`, found by the numbering that the number of lines tells; zero where no line shows it.
    public subscript(_ index: ResourceIndex) -> ResourceLine {
        guard let at = ResourceNumbering(lineCount: count).line(of: index), at < count else { return .zero }
        return self[at]
    }

    /// The lines with the indexes that they show, in the order of the file.
    public var byIndex: [(index: ResourceIndex, line: ResourceLine)] {
        let numbering = ResourceNumbering(lineCount: count)
        return enumerated().compactMap { at, line in numbering.index(ofLine: at).map { ($0, line) } }
    }

    /// Both lists of lines by index, ascending; what one side does not show counts as zero.
    public func pairs(with others: [ResourceLine]) -> [(ResourceIndex, ResourceLine, ResourceLine)] {
        if ResourceNumbering(lineCount: count) == ResourceNumbering(lineCount: others.count) {
            // The usual case, without a search.
            let longer = count >= others.count ? self : others
            return longer.byIndex.enumerated().map { at, each in
                (each.index, at < count ? self[at] : .zero, at < others.count ? others[at] : .zero)
            }
        }
        return (0...16).compactMap { ResourceIndex($0) }.map { ($0, self[$0], others[$0]) }
    }
}
