// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The bus numbers of one host bridge.
public struct BusMap: Hashable, Sendable {
    /// How one number is used.
    public enum Use: Hashable, Sendable {
        /// Outside the host bridge's range.
        case outside
        /// In no bridge's range.
        case free
        /// In a bridge's range, and no bus yet.
        case reserved
        /// A bus.
        case used
    }

    /// One bridge with a bus range.
    public struct Bridge: Hashable, Sendable {
        /// The place in the tree.
        public var path: TopologyPath
        /// The address: `00:02.0`.
        public var owner: String
        /// What it is: `root port`.
        public var detail: String
        /// The range.
        public var range: BusRange
        /// The number of bridges above it.
        public var depth: Int
        /// The range before, where it differs.
        public var before: BusRange?
    }

    /// The host bridge's range.
    public var range: BusRange
    /// The 256 numbers.
    public var numbers: [Use]
    /// The bridges, in walk order.
    public var bridges: [Bridge]
    /// Bridges without a bus: `04:00.0`.
    public var unnumbered: [String]

    init(_ topology: Topology, host: Int) {
        let own = topology.hostBridges[host].busRange
        range = own
        bridges = []
        unnumbered = []
        numbers = (0...255).map { own.contains(BusNumber(UInt8($0))) ? .free : .outside }
        add(topology, topology.roots(of: host), depth: 0)
        for bridge in bridges {
            for number in bridge.range.first.rawValue...bridge.range.last.rawValue { numbers[Int(number)] = .reserved }
        }
        numbers[Int(own.first.rawValue)] = .used
        for bridge in bridges { numbers[Int(bridge.range.first.rawValue)] = .used }
        // A bus may also exist for VFs alone.
        for i in topology.functions.indices where topology.host(of: i) == host {
            numbers[Int(topology.functions[i].address.bus.rawValue)] = .used
        }
    }

    private mutating func add(_ topology: Topology, _ functions: [Int], depth: Int) {
        for i in functions {
            let function = topology.functions[i]
            guard let bridge = function.bridge else { continue }
            if let range = bridge.busRange {
                bridges.append(
                    Bridge(
                        path: topology.path(of: i),
                        owner: function.address.short,
                        detail: function.roleText,
                        range: range,
                        depth: depth
                    )
                )
            } else {
                unnumbered.append(function.address.short)
            }
            add(topology, topology.children(of: i), depth: depth + 1)
        }
    }

    /// How many numbers have a use.
    public func count(_ use: Use) -> Int { numbers.filter { $0 == use }.count }
}
