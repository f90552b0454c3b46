// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What no stage of a plan changes: the functions by number, their places, what stopping them costs.
///
/// A function's number is its position in the topology that planning began with, and its number in the twin.
struct Ground {
    let topology: Topology
    /// Per function: the bridge above, -1 on a root bus.
    let parent: [Int]
    /// Per function: those directly below, in the kernel's list order.
    let children: [[Int]]
    /// Per function: itself and everything below, VFs of physical functions included.
    let subtree: [[Int]]
    /// Per function: the host bridge.
    let host: [Int]
    /// Per function: what stopping it costs.
    let weight: [Int]
    /// Per function: what stopping it and everything below costs.
    let subtreeWeight: [Int]
    /// Per function: it, or something below it, may not be stopped.
    let isProtected: [Bool]
    /// Per function: the others of its device, without which it is not removed.
    let companions: [[Int]]
    private let places: [TopologyPath: Int]

    /// The number of functions.
    var count: Int { parent.count }

    init(_ topology: Topology, weights: DisturbanceWeights) {
        self.topology = topology
        let count = topology.functions.count
        parent = (0..<count).map { topology.parent(of: $0) ?? -1 }
        children = (0..<count).map { topology.children(of: $0) }
        host = (0..<count).map { topology.host(of: $0) }
        weight = (0..<count).map { weights.weight($0) }
        var places: [TopologyPath: Int] = [:]
        places.reserveCapacity(count)
        var virtual: [FunctionAddress: [Int]] = [:]
        for i in 0..<count {
            if let physical = topology.functions[i].physicalFunction {
                virtual[physical, default: []].append(i)
            } else {
                places[topology.path(of: i)] = i
            }
        }
        self.places = places
        var subtree: [[Int]] = []
        var subtreeWeight: [Int] = []
        var isProtected: [Bool] = []
        for i in 0..<count {
            var all = topology.subtree(of: i)
            if !virtual.isEmpty {
                for member in all { all += virtual[topology.functions[member].address] ?? [] }
                all = Array(FunctionSet(all).members)
            }
            subtree.append(all)
            subtreeWeight.append(all.reduce(0) { $0 + weights.weight($1) })
            isProtected.append(all.contains { weights.protection($0) != nil })
        }
        self.subtree = subtree
        self.subtreeWeight = subtreeWeight
        self.isProtected = isProtected
        companions = (0..<count).map { i in
            Self.companions(of: i, topology)
        }
    }

    /// Function 0 of a device is never removed without the others: a rescan finds a device by its function 0, and removing
    /// one function of an SR-IOV device alone changes where its VFs are. Ports of a root complex stand for themselves.
    private static func companions(of i: Int, _ topology: Topology) -> [Int] {
        let address = topology.functions[i].address
        guard !topology.functions[i].isVirtual, !topology.functions[i].isBridge || address.function == 0 else {
            return []
        }
        let siblings =
            topology.parent(of: i).map { topology.children(of: $0) } ?? topology.roots(of: topology.host(of: i))
        return siblings.filter { other in
            let sibling = topology.functions[other]
            return other != i && sibling.address.bus == address.bus && sibling.address.device == address.device
                && !sibling.isBridge && !sibling.isVirtual
        }
    }

    /// The functions on the bus behind bridge `bridge`, or on the root bus of host bridge `-1 - bridge`, VFs left out.
    func members(behind bridge: Int) -> [Int] {
        let all = bridge >= 0 ? children[bridge] : topology.roots(of: -1 - bridge)
        return all.filter { !topology.functions[$0].isVirtual }
    }

    /// What stands for the bus that function `i` sits on: the bridge above, or -1 minus the host bridge.
    func busAbove(_ i: Int) -> Int { parent[i] >= 0 ? parent[i] : -1 - host[i] }

    /// The number of the function at a place, or nil.
    func number(at path: TopologyPath) -> Int? { places[path] }

    /// The bridges above function `i`, nearest first.
    func ancestors(of i: Int) -> [Int] {
        var result: [Int] = []
        var p = parent[i]
        while p >= 0 {
            result.append(p)
            p = parent[p]
        }
        return result
    }

    /// The address that function `i` had when planning began.
    func address(_ i: Int) -> FunctionAddress { topology.functions[i].address }

    /// The function itself.
    func function(_ i: Int) -> Function { topology.functions[i] }

    /// Whether function `i` is a bridge.
    func isBridge(_ i: Int) -> Bool { topology.functions[i].isBridge }
}
