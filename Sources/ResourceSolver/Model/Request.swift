// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension Problem {
    /// A need for one contiguous range: a BAR, a ROM, a VF BAR block, a bus number, room to keep free.
    public struct Request: Hashable, Sendable {
        /// Unique among requests; decides ties.
        public var key: UInt64
        /// The name in explanations: `0000:3a:00.0 BAR 2`.
        public var label: String
        /// The index of the host bridge.
        public var host: Int
        /// The index of the bridge on whose secondary bus the range is used, or nil on a root bus.
        public var bridge: Int?
        /// The kind of request.
        public var kind: Kind
        /// The size in bytes or bus numbers, at least 1, a multiple of `alignment` unless `alignment` is the granule.
        public var size: UInt64
        /// The alignment: a power of two.
        public var alignment: UInt64
        /// The addresses that it may take, for example below 4 GiB for a 32-bit BAR.
        public var limits: AddressRange
        /// The first address at present; nil when it has none.
        public var current: UInt64?
        /// The size at present, where it differs from `size` (a BAR that is to be resized); nil when it does not.
        public var currentSize: UInt64?
        /// The indices of the devices that are disturbed when the range changes. Empty: nobody minds.
        public var holders: [Int]
        /// What happens when it does not fit.
        public var tier: Tier
        /// Smaller sizes that will do when `size` does not fit, in any order; the alignment equals the size then (a
        /// resizable BAR). All requests with alternatives are decided together: the largest sum of sizes wins.
        public var alternatives: [UInt64]
        /// Whether it never moves (Enhanced Allocation, a framebuffer in use).
        public var isFixed: Bool

        /// Creates a request.
        public init(
            key: UInt64,
            label: String,
            host: Int = 0,
            bridge: Int? = nil,
            kind: Kind,
            size: UInt64,
            alignment: UInt64? = nil,
            limits: AddressRange = .all,
            current: UInt64? = nil,
            currentSize: UInt64? = nil,
            holders: [Int] = [],
            tier: Tier = .required,
            alternatives: [UInt64] = [],
            isFixed: Bool = false
        ) {
            self.key = key
            self.label = label
            self.host = host
            self.bridge = bridge
            self.kind = kind
            self.size = size
            self.alignment = alignment ?? size
            self.limits = limits
            self.current = current
            self.currentSize = currentSize
            self.holders = holders
            self.tier = tier
            self.alternatives = alternatives
            self.isFixed = isFixed
        }

        /// The range at present, or nil.
        public var currentRange: AddressRange? {
            current.flatMap { AddressRange(first: $0, size: currentSize ?? size) }
        }
    }

    /// The kind of a request, which decides the windows that may hold it.
    public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        /// I/O ports: I/O window.
        case io
        /// Non-prefetchable memory: memory window.
        case memory
        /// Prefetchable memory: prefetchable window, else memory window.
        case prefetchable
        /// The secondary bus number of `bridge` with the numbers that VFs behind it take: the first of its bus range.
        case busHeader
        /// Bus numbers anywhere in the bus range of `bridge`: room to keep free.
        case busRoom

        /// The space it lies in.
        public var space: Space {
            switch self {
            case .io: .io
            case .memory, .prefetchable: .memory
            case .busHeader, .busRoom: .bus
            }
        }
    }

    /// What happens when a request does not fit.
    public enum Tier: Hashable, Sendable {
        /// Without it there is no answer.
        case required
        /// Placed if it can be at any disturbance; lower ranks first.
        case preferred(Int)
        /// Placed if it can be without disturbing anybody else; lower ranks first.
        case optional(Int)
        /// Room to keep free, granted in part: the share of what is asked is the same for all, or larger for a port whose
        /// weight is larger.
        case reserve(weight: Int)
    }
}
