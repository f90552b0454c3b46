// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// How a policy names a port or a function, so that the name survives renumbered buses.
///
/// - `0000:00:02.0/00.0/01.0`: the place in the tree, as `TopologyPath` prints it and `resource_alignment` takes it;
/// - `slot:3`: the physical slot, by its name below `/sys/bus/pci/slots` or its number in Slot Capabilities;
/// - `0000:3a:00.0`: the address of the moment. On a root bus it is as stable as a place.
public enum PortName: Hashable, Sendable {
    /// A place in the tree.
    case place(TopologyPath)
    /// A physical slot.
    case slot(String)
    /// An address.
    case address(FunctionAddress)

    /// Reads a name; nil for anything that is none of the three forms.
    public init?(parsing text: String) {
        if text.hasPrefix("slot:") {
            let name = String(text.dropFirst(5))
            guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x2f })
            else { return nil }
            self = .slot(name)
            return
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...256).contains(parts.count), let root = FunctionAddress(parsing: parts[0]) else { return nil }
        guard parts.count > 1 else {
            self = .address(root)
            return
        }
        var hops = [root.devfn]
        for part in parts.dropFirst() {
            // Borrows the parser of addresses for `01.0`.
            guard part.utf8.count <= 4, let hop = FunctionAddress(parsing: "00:" + part) else { return nil }
            hops.append(hop.devfn)
        }
        self = .place(TopologyPath(segment: root.segment, rootBus: root.bus, hops: hops))
    }

    /// The indexes in `topology` of what the name means: nothing, one function, or the functions of one slot.
    ///
    /// A slot means the port above it where there is one, so that a rule holds for the empty slot as well. A slot's number
    /// is what a bridge says of itself: several may say the same, and then all of them are meant (`isCertain(in:)`).
    /// - Complexity: O(number of functions x depth).
    public func positions(in topology: Topology) -> [Int] {
        switch self {
        case .address(let address): return topology.position(of: address).map { [$0] } ?? []
        case .place(let place):
            return topology.functions.indices.filter {
                topology.functions[$0].address.devfn == place.hops.last && topology.path(of: $0) == place
            }
        case .slot(let name):
            let occupants = topology.functions.indices.filter { topology.functions[$0].use.slot == name }
            let named = occupants.map { topology.parent(of: $0) ?? $0 }
            let numbered = topology.functions.indices.filter {
                guard topology.functions[$0].isHotPlugBridge,
                    let slot = topology.functions[$0].capabilities.express?.slotCapabilities
                else { return false }
                return "\(slot.physicalSlotNumber)" == name
            }
            return Set(named + numbered).sorted()
        }
    }
}

extension PortName {
    /// Whether the name rests on what a device below an untrusted port could say of itself: a slot's number, or an address
    /// behind a bridge, which follows from the bus numbers that all bridges ask for. A place is where the wires lead.
    func canBeClaimed(in topology: Topology) -> Bool {
        switch self {
        case .slot: true
        case .address(let address): topology.position(of: address).map { topology.parent(of: $0) != nil } ?? true
        case .place: false
        }
    }

    /// Whether the name means one thing in `topology`: one port, or the functions of one device on a root bus.
    func isCertain(in topology: Topology) -> Bool {
        let places = positions(in: topology)
        let devices = Set(
            places.map { i in
                let address = topology.functions[i].address
                return [UInt64(address.segment), UInt64(address.bus.rawValue), UInt64(address.device)]
            }
        )
        let areOccupants = places.allSatisfy { topology.parent(of: $0) == nil && !topology.functions[$0].isBridge }
        return places.count <= 1 || devices.count == 1 && areOccupants
    }
}

extension PortName: CustomStringConvertible {
    /// The name as a policy writes it.
    public var description: String {
        switch self {
        case .place(let place): place.description
        case .slot(let name): "slot:\(name)"
        case .address(let address): address.description
        }
    }
}
