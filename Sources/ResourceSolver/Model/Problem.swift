// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Everything that has to be placed, where it may go, and what it costs to move what is placed already.
///
/// A problem knows no kernel: host bridges with apertures, bridges with windows, devices with weights, requests with
/// sizes. Addresses are bus addresses; the CPU address of an aperture is its bus address plus its offset. Elements refer
/// to each other by index. Every element carries a key that is unique among its kind: answers do not depend on the order
/// in which elements are listed, only on their keys.
public struct Problem: Hashable, Sendable {
    /// The host bridges. Nothing couples two of them; each is solved on its own.
    public var hosts: [Host]
    /// The bridges, in any order.
    public var bridges: [Bridge]
    /// The devices: what is disturbed as one.
    public var devices: [Device]
    /// The requests for addresses and bus numbers.
    public var requests: [Request]
    /// Who is disturbed when a window changes.
    public var rule: DisturbanceRule

    /// Creates a problem.
    public init(
        hosts: [Host] = [],
        bridges: [Bridge] = [],
        devices: [Device] = [],
        requests: [Request] = [],
        rule: DisturbanceRule = .movable
    ) {
        self.hosts = hosts
        self.bridges = bridges
        self.devices = devices
        self.requests = requests
        self.rule = rule
    }
}

/// Who is disturbed when a window changes.
public enum DisturbanceRule: String, Hashable, Sendable, CaseIterable {
    /// A window may grow, shrink and move around working devices; only devices whose own addresses change are
    /// disturbed. What a kernel with movable BARs, a firmware or a VMM could do.
    case movable
    /// Everything below a window that changes is disturbed, and with a bridge everything below it. What a stock kernel
    /// can do.
    case stock
}

extension Problem {
    /// The space that a range belongs to. Ranges of different spaces never conflict.
    public enum Space: UInt8, Hashable, Sendable, CaseIterable {
        /// I/O ports.
        case io
        /// Memory, prefetchable or not: one space of bus addresses.
        case memory
        /// Bus numbers.
        case bus
    }

    /// A host bridge: the apertures through which it decodes and the bus numbers below it.
    public struct Host: Hashable, Sendable {
        /// The name in explanations: `0000:00`.
        public var label: String
        /// The apertures, in any order; they may not overlap within a space.
        public var apertures: [Aperture]
        /// The bus numbers behind the root bus (the root bus's own number is not among them); nil when there are none.
        public var busNumbers: AddressRange?
        /// What holds addresses and never moves.
        public var obstacles: [Obstacle]

        /// Creates a host bridge.
        public init(
            label: String,
            apertures: [Aperture] = [],
            busNumbers: AddressRange? = nil,
            obstacles: [Obstacle] = []
        ) {
            self.label = label
            self.apertures = apertures
            self.busNumbers = busNumbers
            self.obstacles = obstacles
        }
    }

    /// A range that a host bridge decodes.
    public struct Aperture: Hashable, Sendable {
        /// The kind: an aperture of kind `prefetchable` takes prefetchable requests only, `memory` takes both.
        public var kind: ResourceKind
        /// The bus addresses.
        public var range: AddressRange
        /// CPU address minus bus address.
        public var offset: Int64

        /// Creates an aperture.
        public init(_ kind: ResourceKind, _ range: AddressRange, offset: Int64 = 0) {
            self.kind = kind
            self.range = range
            self.offset = offset
        }
    }

    /// A range inside an aperture that something holds which is no PCI resource.
    public struct Obstacle: Hashable, Sendable {
        /// The name in explanations.
        public var label: String
        /// The space.
        public var space: Space
        /// The bus addresses or bus numbers.
        public var range: AddressRange

        /// Creates an obstacle.
        public init(label: String, space: Space, range: AddressRange) {
            self.label = label
            self.space = space
            self.range = range
        }
    }
}
