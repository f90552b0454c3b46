// SPDX-License-Identifier: GPL-2.0-or-later

/// The decisions of an allocator, in the order in which allocators take them.
public enum LayoutDecision: String, Hashable, Sendable, CaseIterable {
    /// The bus numbers behind a bridge, from the root down.
    case busRange = "bus-range"
    /// How large a bridge's window is, closed counting as nothing, from the leaves up.
    case windowSize = "window-size"
    /// Where a window of that size goes, from the root down.
    case windowPlace = "window-place"
    /// Where a BAR, ROM or VF BAR goes.
    case place
    /// That a BAR, ROM or VF BAR goes nowhere.
    case omission

    /// A word for headings.
    public var word: String {
        switch self {
        case .busRange: "bus range"
        case .windowSize: "window size"
        case .windowPlace: "window place"
        case .place: "address"
        case .omission: "left out"
        }
    }
}
