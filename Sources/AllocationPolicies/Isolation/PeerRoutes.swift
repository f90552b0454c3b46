// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Whether requests from below one port of a switch reach what is below its other ports without passing the root complex.
public struct PeerRoutes: Hashable, Sendable {
    /// Where the requests that come up through a port go when they are for a sibling.
    public enum Way: String, Hashable, Sendable {
        /// Across the switch.
        case direct
        /// Up to the root complex, and the IOMMU, first.
        case redirected
        /// The port's registers were not told.
        case unknown
    }

    /// One port of a switch below which something is.
    public struct Port: Hashable, Sendable {
        /// The downstream port's index.
        public var index: Int
        /// Where its requests for siblings go.
        public var way: Way
    }

    /// The upstream port's index.
    public var upstream: Int
    /// The downstream ports below which functions are, in the order of the tree.
    public var ports: [Port]

    /// Whether one is redirected and another not: a request takes another way than its answer.
    public var isMixed: Bool { Set(ports.map(\.way)).count > 1 }
}

extension Topology {
    /// For each switch with two or more ports in use, which ways requests between those take.
    ///
    /// ACS Request Redirect of the port that a request enters by decides (PCIe 6.0 §6.12.3): a port without the capability
    /// routes by address alone. Direct translated requests (ATS) are not looked at.
    ///
    /// - Complexity: O(number of functions).
    public func peerRoutes() -> [PeerRoutes] {
        functions.indices.compactMap { i in
            guard functions[i].capabilities.express?.portType == .upstreamPort else { return nil }
            let ports = children(of: i).filter {
                functions[$0].capabilities.express?.portType == .downstreamPort && !children(of: $0).isEmpty
            }
            guard ports.count > 1 else { return nil }
            return PeerRoutes(
                upstream: i,
                ports: ports.map { PeerRoutes.Port(index: $0, way: way(ofRequestsThrough: $0)) }
            )
        }
    }

    private func way(ofRequestsThrough port: Int) -> PeerRoutes.Way {
        switch functions[port].accessControl {
        case .absent: .direct
        case .unread: .unknown
        // A port without the switch does not send requests sideways.
        case .present(let acs): acs.off(.requestRedirect).isEmpty ? .redirected : .direct
        }
    }

    /// The upstream port of the innermost switch that functions `a` and `b` are both below.
    ///
    /// - Returns: the port's index; `untold` where a bridge above both does not tell what it is, and could be one.
    /// - Complexity: O(depth).
    public func commonSwitch(of a: Int, _ b: Int) -> CommonSwitch {
        let others = Set(ancestors(of: b))
        for bridge in ancestors(of: a) where others.contains(bridge) {
            if functions[bridge].capabilities.express?.portType == .upstreamPort { return .at(bridge) }
            if functions[bridge].capabilities.express == nil, !functions[bridge].knowsKind { return .untold(bridge) }
        }
        return .none
    }

    /// Which way requests between what functions `a` and `b` are take.
    ///
    /// - Complexity: O(depth).
    public func peerRoute(between a: Int, _ b: Int) -> PeerRoute {
        func way(_ i: Int) -> [Int] { [i] + ancestors(of: i) }
        let others = Set(way(b))
        guard let meeting = way(a).first(where: { others.contains($0) }) else { return .outside }
        guard let first = way(a).first(where: { parent(of: $0) == meeting }),
            let second = way(b).first(where: { parent(of: $0) == meeting })
        else { return .inside(meeting) }
        guard let express = functions[meeting].capabilities.express else {
            return functions[meeting].knowsKind ? .inside(meeting) : .untold(meeting)
        }
        guard express.portType == .upstreamPort else { return express.portType == nil ? .outside : .inside(meeting) }
        let ports = [first, second]
        if let port = ports.first(where: { self.way(ofRequestsThrough: $0) == .unknown }) { return .untold(port) }
        let redirected = ports.filter { self.way(ofRequestsThrough: $0) == .redirected }
        return redirected.isEmpty ? .direct(meeting, first, second) : .redirected(meeting, by: redirected)
    }
}

/// The switch that two functions are both below.
public enum CommonSwitch: Hashable, Sendable {
    /// The one with the upstream port at this index.
    case at(Int)
    /// There is none.
    case none
    /// The bridge at this index does not tell whether it is one.
    case untold(Int)
}

/// The way that requests between two functions take.
public enum PeerRoute: Hashable, Sendable {
    /// Across the switch with the upstream port at the first index, in by its ports at the other two.
    case direct(Int, Int, Int)
    /// By way of the root complex, since these ports of the switch at the first index redirect requests.
    case redirected(Int, by: [Int])
    /// They do not leave the bus behind the bridge at this index.
    case inside(Int)
    /// By way of the root complex, or of a bridge that is no switch.
    case outside
    /// The registers of the function at this index were not told.
    case untold(Int)
}
