// SPDX-License-Identifier: GPL-2.0-or-later

/// The flag word of a kernel resource, as the sysfs file `resource` prints it (include/linux/ioport.h).
public struct ResourceFlags: OptionSet, Hashable, Sendable {
    /// The flag word.
    public let rawValue: UInt64
    /// Creates a flag word.
    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The low BAR bits, or a window's type nibble.
    public static let busSpecific = ResourceFlags(rawValue: 0xff)
    /// ROM enable bit. The corresponding C constant is `IORESOURCE_ROM_ENABLE`.
    public static let romEnable = ResourceFlags(rawValue: 0x1)
    /// Never moved. The corresponding C constant is `IORESOURCE_PCI_FIXED`.
    public static let fixed = ResourceFlags(rawValue: 0x10)
    /// I/O space. The corresponding C constant is `IORESOURCE_IO`.
    public static let io = ResourceFlags(rawValue: 0x100)
    /// Memory space. The corresponding C constant is `IORESOURCE_MEM`.
    public static let memory = ResourceFlags(rawValue: 0x200)
    /// Prefetchable. The corresponding C constant is `IORESOURCE_PREFETCH`.
    public static let prefetchable = ResourceFlags(rawValue: 0x2000)
    /// Read only. The corresponding C constant is `IORESOURCE_READONLY`.
    public static let readOnly = ResourceFlags(rawValue: 0x4000)
    /// Aligned to its size. The corresponding C constant is `IORESOURCE_SIZEALIGN`.
    public static let sizeAlign = ResourceFlags(rawValue: 0x40000)
    /// Start holds the alignment. The corresponding C constant is `IORESOURCE_STARTALIGN`.
    public static let startAlign = ResourceFlags(rawValue: 0x80000)
    /// A 64-bit register pair. The corresponding C constant is `IORESOURCE_MEM_64`.
    public static let memory64 = ResourceFlags(rawValue: 0x100000)
    /// A host bridge aperture. The corresponding C constant is `IORESOURCE_WINDOW`.
    public static let window = ResourceFlags(rawValue: 0x200000)
    /// Switched off. The corresponding C constant is `IORESOURCE_DISABLED`.
    public static let disabled = ResourceFlags(rawValue: 0x1000_0000)
    /// Has no address yet. The corresponding C constant is `IORESOURCE_UNSET`.
    public static let unset = ResourceFlags(rawValue: 0x2000_0000)
    /// I/O, memory and prefetchable. The corresponding C expression is `IORESOURCE_TYPE_BITS` with the prefetch bit.
    public static let kindMask: ResourceFlags = [.io, .memory, .prefetchable]
}

/// The kind of address space that a resource asks for, as the kernel tells it apart.
public enum ResourceKind: UInt8, Hashable, Sendable, CaseIterable, Comparable {
    /// I/O ports.
    case io
    /// Non-prefetchable memory.
    case memory
    /// Prefetchable memory.
    case prefetchable

    /// Orders I/O, memory, prefetchable: the order of bridge windows 13, 14, 15.
    public static func < (a: ResourceKind, b: ResourceKind) -> Bool { a.rawValue < b.rawValue }

    /// The kind that flags state, or nil when they state none (a resource that is not implemented or was wiped).
    public init?(_ flags: ResourceFlags) {
        if flags.contains(.io) {
            self = .io
        } else if flags.contains(.memory) {
            self = flags.contains(.prefetchable) ? .prefetchable : .memory
        } else {
            return nil
        }
    }

    /// The kernel's word for the kind: `io`, `mem`, `mem pref` follows from flags; this is the short column word.
    public var word: String {
        switch self {
        case .io: "io"
        case .memory: "mem"
        case .prefetchable: "pref"
        }
    }
}
