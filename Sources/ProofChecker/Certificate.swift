// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Why a plan is impossible, or the least disruptive one, as facts that another program can check.
///
/// Addresses are bus addresses. A certificate speaks of one host bridge and of address space and bus numbers alone: of what
/// a kernel's own rules forbid beyond that it says nothing.
public struct Certificate: Hashable, Sendable {
    /// What is claimed.
    public enum Claim: Hashable, Sendable {
        /// The members of the only conflict cannot all have what they need.
        case impossible
        /// Whatever gives the members of every conflict what they need disturbs at least this weight, in all.
        case least(Int)
    }

    /// What is claimed.
    public var claim: Claim
    /// The fingerprint of the tree that it was made for (`TreeState.fingerprint`).
    public var fingerprint: UInt64
    /// The name of the host bridge, `0000:00`.
    public var host: String
    /// No new memory address may end above this; nil without such a wish.
    public var highestAddress: UInt64?
    /// The memory and I/O that the host bridge decodes.
    public var apertures: [Aperture]
    /// The bus numbers behind the root bus; nil where there are none.
    public var busNumbers: AddressRange?
    /// The bridges that members sit behind, parents before children.
    public var bridges: [Bridge]
    /// The functions that members belong to, with what it costs to disturb each.
    public var devices: [Device]
    /// Positions in `devices` of those that every plan stops, whatever the layout.
    public var certain: [Int]
    /// Sets of needs and holders that cannot all be satisfied.
    public var conflicts: [[Member]]

    /// Creates a certificate.
    public init(
        claim: Claim,
        fingerprint: UInt64,
        host: String = "",
        highestAddress: UInt64? = nil,
        apertures: [Aperture] = [],
        busNumbers: AddressRange? = nil,
        bridges: [Bridge] = [],
        devices: [Device] = [],
        certain: [Int] = [],
        conflicts: [[Member]] = []
    ) {
        self.claim = claim
        self.fingerprint = fingerprint
        self.host = host
        self.highestAddress = highestAddress
        self.apertures = apertures
        self.busNumbers = busNumbers
        self.bridges = bridges
        self.devices = devices
        self.certain = certain
        self.conflicts = conflicts
    }

    /// A range that the host bridge decodes.
    public struct Aperture: Hashable, Sendable {
        /// `io`, `memory` (takes all memory) or `prefetchable` (takes prefetchable memory only).
        public var kind: ResourceKind
        /// The bus addresses.
        public var range: AddressRange

        /// Creates an aperture.
        public init(kind: ResourceKind, range: AddressRange) {
            self.kind = kind
            self.range = range
        }
    }

    /// A bridge with the windows that it can have.
    public struct Bridge: Hashable, Sendable {
        /// The bridge.
        public var function: FunctionAddress
        /// The position in `bridges` of the bridge above, less than its own; nil on a root bus.
        public var parent: Int?
        /// The windows.
        public var windows: [Window]

        /// Creates a bridge.
        public init(function: FunctionAddress, parent: Int? = nil, windows: [Window] = []) {
            self.function = function
            self.parent = parent
            self.windows = windows
        }
    }

    /// A window that a bridge can have.
    public struct Window: Hashable, Sendable {
        /// What it forwards.
        public var kind: WindowKind
        /// First address and last address plus one are multiples of this power of two.
        public var granule: UInt64
        /// The addresses that its registers can express.
        public var limits: AddressRange

        /// Creates a window.
        public init(kind: WindowKind, granule: UInt64, limits: AddressRange) {
            self.kind = kind
            self.granule = granule
            self.limits = limits
        }
    }

    /// What a window forwards.
    public enum WindowKind: String, Hashable, Sendable, CaseIterable {
        case io
        case memory
        case prefetchable
        case bus

        /// The kind of the window of this name in the model; nil for bus numbers.
        var index: ResourceIndex? {
            switch self {
            case .io: .ioWindow
            case .memory: .memoryWindow
            case .prefetchable: .prefetchableWindow
            case .bus: nil
            }
        }
    }

    /// A function.
    public struct Device: Hashable, Sendable {
        /// Its address.
        public var function: FunctionAddress
        /// What it costs to disturb it, at least 0.
        public var weight: Int

        /// Creates a device.
        public init(function: FunctionAddress, weight: Int) {
            self.function = function
            self.weight = weight
        }
    }

    /// A member of a conflict.
    public struct Member: Hashable, Sendable {
        /// What the member is.
        public enum Role: Hashable, Sendable {
            /// It must have a range of so many bytes or bus numbers, at a multiple of the alignment, within the limits.
            case place(size: UInt64, alignment: UInt64, limits: AddressRange)
            /// It holds this range and does not move.
            case stay(AddressRange)
            /// The window of the bridge keeps this range, or stays closed.
            case window(AddressRange?)
            /// The range is taken by what is no PCI resource.
            case obstacle(AddressRange)
        }

        /// What kind of space it is about.
        public enum Kind: String, Hashable, Sendable, CaseIterable {
            case io
            case memory
            case prefetchable
            /// The first number of the bridge's range.
            case bus
            /// Numbers anywhere in the bridge's range.
            case busNumbers
        }

        /// What the member is.
        public var role: Role
        /// What kind of space it is about.
        public var kind: Kind
        /// Its name in sentences: `0000:3a:00.0 BAR 2`.
        public var label: String
        /// The function and resource of the model; nil for room that is asked for, bus numbers and obstacles.
        public var resource: ResourceName?
        /// The position in `bridges` of the bridge behind which it lies, or whose window it is; nil on a root bus.
        public var bridge: Int?
        /// Positions in `devices` of those that are disturbed, all of them, when it changes.
        public var holders: [Int]

        /// Creates a member.
        public init(
            _ role: Role,
            kind: Kind,
            label: String,
            resource: ResourceName? = nil,
            bridge: Int? = nil,
            holders: [Int] = []
        ) {
            self.role = role
            self.kind = kind
            self.label = label
            self.resource = resource
            self.bridge = bridge
            self.holders = holders
        }
    }

    /// A resource of a function.
    public struct ResourceName: Hashable, Sendable {
        /// The function.
        public var function: FunctionAddress
        /// The resource.
        public var index: ResourceIndex

        /// Creates a name.
        public init(function: FunctionAddress, index: ResourceIndex) {
            self.function = function
            self.index = index
        }
    }
}
