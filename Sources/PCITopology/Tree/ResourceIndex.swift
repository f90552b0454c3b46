// SPDX-License-Identifier: GPL-2.0-or-later

/// The index of a resource of a function, as the kernel counts with CONFIG_PCI_IOV (include/linux/pci.h).
///
/// 0-5 BARs, 6 the expansion ROM, 7-12 VF BARs, 13 the I/O window, 14 the memory window, 15 the prefetchable window,
/// 16 the fourth CardBus window. Kernels without CONFIG_PCI_IOV count windows from 7; readers renumber.
public struct ResourceIndex: RawRepresentable, Hashable, Sendable, Comparable {
    /// The index, 0 to 16.
    public let rawValue: UInt8

    /// Creates an index, or nil beyond 16.
    public init?(rawValue: UInt8) {
        guard rawValue <= 16 else { return nil }
        self.rawValue = rawValue
    }

    /// Creates an index from an integer, or nil outside 0 to 16.
    public init?(_ value: Int) {
        guard (0...16).contains(value) else { return nil }
        rawValue = UInt8(value)
    }

    private init(known: UInt8) { rawValue = known }

    /// BAR `number`, or nil outside 0 to 5.
    public static func bar(_ number: Int) -> ResourceIndex? { (0...5).contains(number) ? ResourceIndex(number) : nil }
    /// VF BAR `number`, or nil outside 0 to 5.
    public static func vfBAR(_ number: Int) -> ResourceIndex? {
        (0...5).contains(number) ? ResourceIndex(number + 7) : nil
    }
    /// The expansion ROM.
    public static let rom = ResourceIndex(known: 6)
    /// A bridge's I/O window.
    public static let ioWindow = ResourceIndex(known: 13)
    /// A bridge's non-prefetchable memory window.
    public static let memoryWindow = ResourceIndex(known: 14)
    /// A bridge's prefetchable memory window.
    public static let prefetchableWindow = ResourceIndex(known: 15)

    /// A bridge's window of `kind`.
    public static func window(_ kind: ResourceKind) -> ResourceIndex { ResourceIndex(known: 13 + kind.rawValue) }
    /// The kind of a bridge's window, 13 to 15; nil for every other index.
    public var windowKind: ResourceKind? { rawValue >= 13 ? ResourceKind(rawValue: rawValue - 13) : nil }

    /// Whether this is one of a bridge's windows, 13 to 16.
    public var isWindow: Bool { rawValue >= 13 }
    /// Whether this is a BAR of the function itself, 0 to 5.
    public var isBAR: Bool { rawValue <= 5 }
    /// Whether this is the ROM.
    public var isROM: Bool { rawValue == 6 }
    /// Whether this is a VF BAR, 7 to 12.
    public var isVFBAR: Bool { (7...12).contains(rawValue) }

    /// Orders by index.
    public static func < (a: ResourceIndex, b: ResourceIndex) -> Bool { a.rawValue < b.rawValue }
}

extension ResourceIndex: CustomStringConvertible {
    /// The name as recent kernels print it: `BAR 0`, `ROM`, `VF BAR 2`, `io window`, `mem window`, `pref window`.
    public var description: String {
        switch rawValue {
        case 0...5: "BAR \(rawValue)"
        case 6: "ROM"
        case 7...12: "VF BAR \(rawValue - 7)"
        case 13: "io window"
        case 14: "mem window"
        case 15: "pref window"
        default: "CardBus window"
        }
    }
}
