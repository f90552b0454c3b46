// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// Builds emulated bridges with what is behind them.
struct TreeBuilder {
    let topology: Topology
    /// The bridges whose missing bus numbers are to be shown.
    let busless: Set<FunctionAddress>
    private(set) var cards: CardBuilder
    private(set) var notes: [String] = []

    init(_ topology: Topology, failing: Set<ResourceKey>, busless: Set<FunctionAddress>) {
        self.topology = topology
        self.busless = busless
        cards = CardBuilder(topology, failing: failing)
    }

    /// The remarks of everything that was built, each once.
    var remarks: [String] { (cards.notes + notes).uniqued() }

    /// What a bridge is built as.
    enum Role {
        /// A port with a slot: one device behind it.
        case slot
        /// The upstream port of a switch.
        case upstream
        /// A bridge to a conventional bus.
        case conventional
    }

    /// What the bridge at index `i` is built as: by its capability, else by what is behind it.
    func role(of i: Int) -> Role {
        switch topology.functions[i].capabilities.express?.portType {
        case .rootPort?, .downstreamPort?: return .slot
        case .upstreamPort?: return .upstream
        case .bridgeToPCI?, .bridgeToExpress?: return .conventional
        default: break
        }
        let children = topology.children(of: i).filter { !topology.functions[$0].isVirtual }
        if !children.isEmpty, children.allSatisfy({ topology.functions[$0].isBridge }),
            topology.parent(of: i) != nil || children.count > 1
        {
            return .upstream
        }
        let isOneDevice = children.allSatisfy { topology.functions[$0].address.device == 0 }
        return isOneDevice && (topology.parent(of: i) == nil || !children.isEmpty) ? .slot : .conventional
    }

    /// What stands in the slot of the port at index `i`: functions of device 0.
    mutating func slotContent(of i: Int) -> [EmulatedNode] {
        content(topology.children(of: i).filter { !topology.functions[$0].isVirtual })
    }

    /// The BARs of the bridge at index `i` itself, as those of a card.
    mutating func ownBARs(of i: Int) -> [EmulatedNode] {
        notes.append("\(topology.functions[i].address): the bridge's own BARs are those of a card in a slot")
        return cards.endpoint([i], device: 0)
    }

    /// The functions `members` of the report as the functions of one device in a slot.
    mutating func content(_ members: [Int]) -> [EmulatedNode] {
        let bridges = members.filter { topology.functions[$0].isBridge }
        var nodes = bridges.map { bridgeNode($0) }
        nodes += cards.endpoint(members.filter { !topology.functions[$0].isBridge }, device: 0)
        return CardBuilder.numbered(Array(nodes.prefix(8)), device: 0)
    }

    /// The bridge at index `i` as a part of a card.
    mutating func bridgeNode(_ i: Int) -> EmulatedNode {
        let address = topology.functions[i].address
        let children = topology.children(of: i).filter { !topology.functions[$0].isVirtual }
        switch role(of: i) {
        case .slot, .upstream:
            var node = EmulatedNode(.upstreamPort, bridge: address)
            let ports = children.filter { topology.functions[$0].isBridge }
            if ports.isEmpty, !children.isEmpty {
                // A port right below a port: one port of a switch more stands between.
                var port = EmulatedNode(.downstreamPort)
                port.children = content(children)
                node.children = [port]
                notes.append("\(address): built as a switch with one port")
                return node
            }
            for (number, port) in ports.prefix(32).enumerated() {
                var below = EmulatedNode(.downstreamPort, bridge: topology.functions[port].address)
                let device = topology.functions[port].address.device
                let isFree = topology.functions[port].address.function == 0 && ports.count <= 32
                below.devfn = (isFree ? device : UInt8(truncatingIfNeeded: number)) << 3
                below.children = slotContent(of: port)
                node.children.append(below)
            }
            return node
        case .conventional:
            var node = EmulatedNode(.bridgeToPCI, bridge: address)
            var free: UInt8 = 1
            for (_, members) in Dictionary(grouping: children, by: { topology.functions[$0].address.device })
                .sorted(by: { $0.key < $1.key })
            {
                let endpoints = members.filter { !topology.functions[$0].isBridge }
                if endpoints.count < members.count {
                    notes.append("\(address): a bridge behind this bridge is left out")
                }
                guard !endpoints.isEmpty, free < 32 else { continue }
                node.children += cards.endpoint(endpoints, device: free)
                free += 1
            }
            return node
        }
    }
}

extension Array where Element: Hashable {
    /// The elements in their order, each once.
    func uniqued() -> [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
