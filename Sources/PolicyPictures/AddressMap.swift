// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The address space and the bus numbers of one layout, host bridge by host bridge: what the renderers draw.
public struct AddressMap: Hashable, Sendable {
    /// The title: `before`, `after`, a policy's name.
    public var title: String
    /// The host bridges.
    public var hosts: [HostMap]

    /// Lays out the map of a tree.
    ///
    /// - Parameters:
    ///   - topology: the tree.
    ///   - title: the title.
    /// - Complexity: O(n log n) in the number of resources.
    public init(_ topology: Topology, title: String) {
        self.title = title
        hosts = topology.hostBridges.indices.map { HostMap(topology, host: $0) }
    }

    /// Every segment in reading order.
    public var segments: [MapSegment] {
        hosts.flatMap { host in (host.apertures + host.outside).flatMap(\.flattened) }
    }
}

/// One host bridge of a map.
public struct HostMap: Hashable, Sendable {
    /// Segment and root bus: `0000:00`.
    public var name: String
    /// The bus numbers.
    public var buses: BusMap
    /// The apertures with everything inside: memory below 4 GiB, memory above, I/O, each ascending.
    public var apertures: [MapSegment]
    /// What holds addresses outside every aperture.
    public var outside: [MapSegment]
    /// What has no address.
    public var unplaced: [Unplaced]

    /// A resource without address.
    public struct Unplaced: Hashable, Sendable {
        /// The function.
        public var path: TopologyPath
        /// Which resource.
        public var index: ResourceIndex
        /// The kind of space.
        public var kind: ResourceKind
        /// Whose it is: `03:00.0`.
        public var owner: String
        /// The size in bytes, or nil when unknown.
        public var size: UInt64?
        /// Whether the function needs it.
        public var isRequired: Bool

        /// `03:00.0 BAR 0 256M pref`.
        public var text: String {
            "\(owner) \(index) \(size.map { ByteCount($0).description } ?? "size unknown") \(kind.word)"
        }
    }

    init(_ topology: Topology, host: Int) {
        let bridge = topology.hostBridges[host]
        name = bridge.name
        buses = BusMap(topology, host: host)
        var claims = Self.claims(topology, topology.roots(of: host))
        apertures = []
        let ordered = bridge.apertures.sorted { ($0.isIO ? 1 : 0, $0.range) < ($1.isIO ? 1 : 0, $1.range) }
        for aperture in ordered {
            let isInside = { (segment: MapSegment) in
                (segment.kind == .io) == aperture.isIO && aperture.range.contains(segment.range)
            }
            let inside = claims.filter(isInside)
            claims.removeAll(where: isInside)
            apertures.append(Self.segment(of: aperture, holding: inside, blockers: topology.blockers))
        }
        outside = claims.sorted { $0.range < $1.range }
        unplaced = []
        for i in topology.functions.indices where topology.host(of: i) == host {
            let function = topology.functions[i]
            if function.isVirtual { continue }
            for resource in function.resources where !resource.index.isWindow && resource.lacksAddress {
                guard let kind = resource.kind else { continue }
                unplaced.append(
                    Unplaced(
                        path: topology.path(of: i),
                        index: resource.index,
                        kind: kind,
                        owner: function.address.short,
                        size: resource.size?.rawValue,
                        isRequired: resource.isRequired
                    )
                )
            }
        }
    }

    private static func segment(of aperture: Aperture, holding claims: [MapSegment], blockers: [Blocker]) -> MapSegment
    {
        let kind: ResourceKind = aperture.isIO ? .io : aperture.flags.contains(.prefetchable) ? .prefetchable : .memory
        var inside = claims
        for blocker in blockers where blocker.isIO == aperture.isIO {
            guard let range = blocker.range.intersection(aperture.range),
                !inside.contains(where: { $0.range.overlaps(range) })
            else { continue }
            inside.append(
                MapSegment(
                    range: range,
                    content: .blocker,
                    kind: kind,
                    owner: "",
                    label: blocker.name,
                    detail: "not PCI",
                    children: []
                )
            )
        }
        return MapSegment(
            range: aperture.range,
            content: .aperture,
            kind: kind,
            owner: "",
            label: aperture.isIO ? "I/O aperture" : "memory aperture",
            detail: aperture.offset == 0 ? "" : "bus addresses differ by \(aperture.offset)",
            children: MapSegment.folded(MapSegment.filled(inside, in: aperture.range, kind: kind))
        )
    }

    /// What the functions of one bus hold, with everything below inside the windows; what no window holds stays beside.
    private static func claims(_ topology: Topology, _ functions: [Int]) -> [MapSegment] {
        var result: [MapSegment] = []
        for i in functions {
            let function = topology.functions[i]
            // The VF BAR block of the physical function covers them.
            if let physical = function.physicalFunction,
                topology[physical]?.resources.contains(where: { $0.index.isVFBAR && $0.range != nil }) == true
            {
                continue
            }
            let path = topology.path(of: i)
            let detail = [function.identity.name ?? function.roleText, function.use.driver.map { "driver \($0)" }]
                .compactMap { $0 }.joined(separator: ", ")
            var below = function.isBridge ? claims(topology, topology.children(of: i)) : []
            for resource in function.resources {
                guard let range = resource.range, let kind = resource.kind else { continue }
                let isWindow = resource.index.isWindow
                var segment = MapSegment(
                    range: range,
                    content: isWindow ? .window(path, resource.index) : .resource(path, resource.index),
                    kind: kind,
                    owner: function.address.short,
                    label: resource.index.description,
                    detail: detail,
                    children: []
                )
                if isWindow {
                    let isInside = { (claim: MapSegment) in
                        (claim.kind == .io) == (kind == .io) && range.contains(claim.range)
                    }
                    let inside = below.filter(isInside)
                    below.removeAll(where: isInside)
                    segment.children = MapSegment.filled(inside, in: range, kind: kind)
                }
                result.append(segment)
            }
            result += below
        }
        return result
    }
}
