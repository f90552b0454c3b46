// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension Problem {
    /// A bridge: up to one window of each kind, and a range of bus numbers.
    public struct Bridge: Hashable, Sendable {
        /// Unique among bridges; decides ties.
        public var key: UInt64
        /// The name in explanations: `0000:00:1c.0`.
        public var label: String
        /// The index of the host bridge.
        public var host: Int
        /// The index of the bridge above, or nil on a root bus.
        public var parent: Int?
        /// The index of the bridge's own device, or nil when it is never disturbed.
        public var device: Int?
        /// The windows, at most one of each kind.
        public var windows: [Window]

        /// Creates a bridge.
        public init(
            key: UInt64,
            label: String,
            host: Int = 0,
            parent: Int? = nil,
            device: Int? = nil,
            windows: [Window] = []
        ) {
            self.key = key
            self.label = label
            self.host = host
            self.parent = parent
            self.device = device
            self.windows = windows
        }
    }

    /// A window of a bridge: one contiguous range that it forwards.
    public struct Window: Hashable, Sendable {
        /// The kind of window.
        public var kind: WindowKind
        /// First address and last address plus one are multiples of this power of two: 4 KiB for I/O, 1 MiB for memory
        /// (PCI-to-PCI Bridge Architecture Specification 1.2, 3.2.5), 1 for bus numbers.
        public var granule: UInt64
        /// The addresses that the registers can express.
        public var limits: AddressRange
        /// The present range, or nil when closed.
        public var current: AddressRange?
        /// Whether the window must keep its present range.
        public var isFrozen: Bool

        /// Creates a window with the granule and limits that the specification gives to its kind, unless stated.
        public init(
            _ kind: WindowKind,
            current: AddressRange? = nil,
            granule: UInt64? = nil,
            limits: AddressRange? = nil,
            isFrozen: Bool = false
        ) {
            self.kind = kind
            self.granule = granule ?? kind.usualGranule
            self.limits = limits ?? kind.usualLimits
            self.current = current
            self.isFrozen = isFrozen
        }
    }

    /// The kinds of window that a bridge can have.
    public enum WindowKind: UInt8, Hashable, Sendable, CaseIterable, Comparable {
        /// I/O window.
        case io
        /// Memory window: non-prefetchable, below 4 GiB.
        case memory
        /// Prefetchable window, here with 64-bit registers; give limits when they have 32 bits.
        case prefetchable
        /// Secondary to subordinate bus number.
        case bus

        /// The granule that the specification gives.
        public var usualGranule: UInt64 {
            switch self {
            case .io: 4096
            case .memory, .prefetchable: 1 << 20
            case .bus: 1
            }
        }

        /// The widest range that the specification gives; I/O 32-bit, prefetchable 64-bit.
        public var usualLimits: AddressRange {
            switch self {
            case .io, .memory: AddressRange(first: 0, size: 1 << 32) ?? .all
            case .prefetchable: .all
            case .bus: AddressRange(first: 0, size: 256) ?? .all
            }
        }

        /// The space that the window lies in.
        public var space: Space {
            switch self {
            case .io: .io
            case .memory, .prefetchable: .memory
            case .bus: .bus
            }
        }

        /// The word in explanations.
        public var word: String {
            switch self {
            case .io: "I/O window"
            case .memory: "memory window"
            case .prefetchable: "prefetchable window"
            case .bus: "bus range"
            }
        }

        /// Orders I/O, memory, prefetchable, bus.
        public static func < (a: WindowKind, b: WindowKind) -> Bool { a.rawValue < b.rawValue }
    }
}
