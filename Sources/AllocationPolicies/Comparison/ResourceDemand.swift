// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// What every function of a tree asks for, as after a reset: the common input of all allocation policies.
///
/// Nothing in it depends on where things are now, except the fields named `today`, which only serve comparisons and
/// policies that start from a programmed tree. Addresses are bus addresses, as registers hold them; `today` ranges are
/// CPU addresses, as the kernel prints them.
public struct ResourceDemand: Hashable, Sendable {
    /// The host bridges, in the topology's order.
    public var hosts: [HostDemand]
    /// The functions in walk order: depth first, siblings by devfn. VFs are not among them; their space is a request of
    /// the physical function.
    public var functions: [FunctionDemand]
    /// What could not be known: a BAR of unknown size, the apertures of a host bridge.
    public var notes: [String]

    /// Derives the demand from `topology`.
    ///
    /// - Complexity: O(n log n) in the number of functions.
    public init(_ topology: Topology) {
        hosts = []
        functions = []
        notes = []
        for (h, host) in topology.hostBridges.enumerated() {
            var demand = HostDemand(host, blockers: topology.blockers)
            if host.apertures.isEmpty {
                notes.append("the apertures of root bus \(demand.name) are not known")
            }
            let roots = topology.roots(of: h).sorted { topology.functions[$0].address < topology.functions[$1].address }
            for root in roots where !topology.functions[root].isVirtual {
                demand.roots.append(append(root, of: topology, parent: nil, host: h))
            }
            hosts.append(demand)
        }
    }

    /// Appends the subtree at index `i` of `topology` and returns its place.
    private mutating func append(_ i: Int, of topology: Topology, parent: Int?, host: Int) -> Int {
        let place = functions.count
        let function = topology.functions[i]
        functions.append(FunctionDemand(function, path: topology.path(of: i), parent: parent, host: host))
        for resource in function.resources where !resource.index.isWindow {
            guard let request = ResourceRequest(resource, of: function, in: topology.hostBridges[host]) else {
                if resource.kind != nil || resource.assignment != .closed {
                    notes.append("\(function.address) \(resource.index): size unknown, left out")
                }
                continue
            }
            functions[place].requests.append(request)
        }
        let children = topology.children(of: i).sorted {
            topology.functions[$0].address < topology.functions[$1].address
        }
        for child in children where !topology.functions[child].isVirtual {
            let index = append(child, of: topology, parent: place, host: host)
            functions[place].children.append(index)
        }
        return place
    }

    /// The place of the function at `path`, or nil.
    /// - Complexity: O(n).
    public func position(of path: TopologyPath) -> Int? { functions.firstIndex { $0.path == path } }

    /// The function at `place` and everything below it, in walk order: a contiguous range.
    public func subtree(of place: Int) -> Range<Int> {
        var end = place + 1
        let hops = functions[place].path.hops.count
        while end < functions.count, functions[end].host == functions[place].host,
            functions[end].path.hops.count > hops
        {
            end += 1
        }
        return place..<end
    }
}

/// A host bridge in a demand.
public struct HostDemand: Hashable, Sendable {
    /// The segment.
    public var segment: UInt32
    /// The root bus range.
    public var busRange: BusRange
    /// The apertures, in list order.
    public var apertures: [ApertureDemand]
    /// Bus addresses inside the apertures that something else holds.
    public var obstacles: [Obstacle]
    /// The functions on the root bus, by devfn.
    public var roots: [Int] = []

    /// Segment and root bus: `0000:00`.
    public var name: String { busName(segment: segment, busRange.first) }

    /// A range of bus addresses that is taken.
    public struct Obstacle: Hashable, Sendable {
        /// The bus addresses.
        public var range: AddressRange
        /// Whether it is in I/O space.
        public var isIO: Bool
        /// Its name.
        public var name: String

        /// Creates an obstacle.
        public init(range: AddressRange, isIO: Bool, name: String) {
            self.range = range
            self.isIO = isIO
            self.name = name
        }
    }

    init(_ host: HostBridge, blockers: [Blocker]) {
        segment = host.segment
        busRange = host.busRange
        apertures = host.apertures.compactMap(ApertureDemand.init)
        obstacles = []
        // Video memory and option ROMs of old answer below 1 MiB, although an aperture may reach there.
        if let legacy = AddressRange(first: 0, last: 0xf_ffff) {
            for aperture in apertures where !aperture.isIO {
                guard let range = aperture.range.intersection(legacy) else { continue }
                obstacles.append(Obstacle(range: range, isIO: false, name: "legacy memory"))
            }
        }
        for blocker in blockers {
            for aperture in host.apertures where aperture.isIO == blocker.isIO && aperture.range.overlaps(blocker.range)
            {
                guard aperture.offset != .min, let part = aperture.range.intersection(blocker.range),
                    let range = part.shifted(by: -aperture.offset)
                else { continue }
                obstacles.append(Obstacle(range: range, isIO: blocker.isIO, name: blocker.name))
            }
        }
    }

    /// The CPU addresses of a range of bus addresses: through the aperture that holds it, else unchanged.
    public func cpuRange(of range: AddressRange, isIO: Bool) -> AddressRange {
        for aperture in apertures where aperture.isIO == isIO && aperture.range.contains(range) {
            return range.shifted(by: aperture.offset) ?? range
        }
        return range
    }

    /// The bus addresses of a range of CPU addresses: through the aperture that holds it, else unchanged.
    public func busRange(of range: AddressRange, isIO: Bool) -> AddressRange {
        for aperture in apertures where aperture.isIO == isIO && aperture.offset != .min {
            if let bus = range.shifted(by: -aperture.offset), aperture.range.contains(bus) { return bus }
        }
        return range
    }

    /// The parts of the apertures that no obstacle holds, in ascending order.
    /// - Parameters:
    ///   - isIO: which space.
    ///   - limit: the highest bus address that may be used.
    /// - Returns: disjoint ranges of bus addresses.
    public func freeRanges(isIO: Bool, limit: UInt64 = .max) -> [AddressRange] {
        let taken = obstacles.filter { $0.isIO == isIO }.map(\.range)
        var result: [AddressRange] = []
        for aperture in apertures where aperture.isIO == isIO {
            guard let range = AddressRange(first: aperture.range.first, last: min(aperture.range.last, limit)) else {
                continue
            }
            result += range.subtracting(taken)
        }
        return result.sorted()
    }
}

/// An aperture in a demand.
public struct ApertureDemand: Hashable, Sendable {
    /// The bus addresses.
    public var range: AddressRange
    /// Whether it is I/O space.
    public var isIO: Bool
    /// Whether it is declared prefetchable.
    public var isPrefetchable: Bool
    /// CPU address minus bus address.
    public var offset: Int64

    init?(_ aperture: Aperture) {
        guard let range = aperture.busRange else { return nil }
        self.range = range
        isIO = aperture.isIO
        isPrefetchable = aperture.flags.contains(.prefetchable)
        offset = aperture.offset
    }
}
