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
                ports: ports.map { port in
                    switch functions[port].accessControl {
                    case .absent: PeerRoutes.Port(index: port, way: .direct)
                    case .unread: PeerRoutes.Port(index: port, way: .unknown)
                    case .present(let acs):
                        PeerRoutes.Port(
                            index: port,
                            // A port without the switch does not send requests sideways.
                            way: acs.off(.requestRedirect).isEmpty ? .redirected : .direct
                        )
                    }
                }
            )
        }
    }
}
