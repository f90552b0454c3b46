// SPDX-License-Identifier: GPL-2.0-or-later

/// How the lines of a `resource` file map to resource indexes; the number of lines tells (`resource_show`).
///
/// With CONFIG_PCI_IOV a function prints 13 lines and a bridge with a bus 17; without it 7 and 11. Kernels before 5.7
/// print one line more.
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

    /// Whether a file with `count` lines shows the windows of a bridge: the bridge has a bus.
    public static func showsWindows(lineCount count: Int) -> Bool { count == 11 || count == 12 || count >= 17 }
}
