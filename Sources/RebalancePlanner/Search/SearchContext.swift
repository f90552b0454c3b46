// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// What no stage of a plan changes: the functions by number, their places, what stopping them costs.
///
/// A function's number is its position in the topology that planning began with, and its number in the twin. A class, since
/// every search state of a search refers to it; nothing in it changes.
final class SearchContext: Sendable {
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
    /// Per function: the bus numbers after the secondary bus that the VFs of functions there may use.
    let virtualBuses: [Int]
    /// Per function: those directly below by the wires, which differ from `children` where bus ranges overlap.
    let wired: [[Int]]
    /// Per function: the bridge above by the wires, -1 on a root bus.
    let wiredParent: [Int]
    /// The functions on root buses that the kernel made up, each with the nearest bridge above it by the wires that is known.
    let strays: [(function: Int, home: Int)]
    /// The root buses that the kernel made up.
    let madeUpRootBuses: [(segment: UInt32, bus: BusNumber)]
    /// Per function: the home of a stray between which and it is a bridge that nobody could see, and what is below the
    /// stray; nil for others. Such a function is found again, but where is not known.
    let homeOfAdrift: [Int?]
    /// Per function: a bridge behind which functions may be that nobody could see when planning began.
    let isUnseenInside: [Bool]
    /// Per function: it, or something below it by the wires, is such a bridge.
    let isUnseenBelow: [Bool]
    /// The functions that a word of the kernel's command line names by address: least disturbed when they keep it.
    let isNamedByWords: Set<Int>
    private let traits: [Traits]
    /// Per function and index (`number * TwinSummary.width + index`): the kind of the resource, nil without one.
    private let kinds: [ResourceKind?]
    private let places: [TopologyPath: Int]

    /// What the search asks of functions again and again: a `Function` is large, and costly to hand around.
    private struct Traits: OptionSet {
        let rawValue: UInt8
        static let bridge = Traits(rawValue: 1)
        static let hotPlugBridge = Traits(rawValue: 2)
        static let virtual = Traits(rawValue: 4)
        static let driven = Traits(rawValue: 8)
        static let ioWindow = Traits(rawValue: 16)
        static let prefetchableWindow = Traits(rawValue: 32)
    }

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
        let states = TreeState(topology).functions
        let wired = Self.wired(topology, states, children)
        self.wired = wired
        var wiredParent = parent
        for (bridge, below) in wired.enumerated() { for i in below { wiredParent[i] = bridge } }
        self.wiredParent = wiredParent
        let named = Set(topology.addressWords.map(\.address))
        isNamedByWords = named.isEmpty ? [] : Set((0..<count).filter { named.contains(topology.functions[$0].address) })
        strays = Self.strays(topology, states)
        madeUpRootBuses = topology.hostBridges.indices.filter { topology.isMadeUp(host: $0) }.map { h in
            (topology.hostBridges[h].segment, topology.hostBridges[h].rootBus)
        }
        var homeOfAdrift = [Int?](repeating: nil, count: count)
        for stray in strays where wiredParent[stray.function] != stray.home {
            for i in subtree[stray.function] { homeOfAdrift[i] = stray.home }
        }
        self.homeOfAdrift = homeOfAdrift
        isUnseenInside = (0..<count).map { topology.unseenReason(behind: $0) != nil }
        var isUnseenBelow = isUnseenInside
        for i in 0..<count where isUnseenInside[i] {
            var above = wiredParent[i]
            while above >= 0, !isUnseenBelow[above] {
                isUnseenBelow[above] = true
                above = wiredParent[above]
            }
        }
        self.isUnseenBelow = isUnseenBelow
        companions = (0..<count).map { i in
            Self.companions(of: i, topology)
        }
        var kinds = [ResourceKind?](repeating: nil, count: count * TwinSummary.width)
        var lastBuses = [Int](repeating: 0, count: count)
        traits = (0..<count).map { i in
            let function = topology.functions[i]
            for resource in function.resources {
                let index = Int(resource.index.rawValue)
                if index < TwinSummary.width { kinds[i * TwinSummary.width + index] = resource.kind }
            }
            if let sriov = function.capabilities.sriov, sriov.totalVFs > 0 {
                let last = sriov.routingID(
                    ofVF: sriov.totalVFs - 1,
                    bus: BusNumber(0),
                    devfn: function.address.devfn
                )
                lastBuses[i] = min(last >> 8, 255)
            }
            var traits: Traits = []
            if function.isBridge { traits.insert(.bridge) }
            if function.isHotPlugBridge { traits.insert(.hotPlugBridge) }
            if function.isVirtual { traits.insert(.virtual) }
            if function.use.driver != nil { traits.insert(.driven) }
            if function.resource(.ioWindow) != nil { traits.insert(.ioWindow) }
            if function.resource(.prefetchableWindow) != nil { traits.insert(.prefetchableWindow) }
            return traits
        }
        self.kinds = kinds
        virtualBuses = children.map { below in below.reduce(0) { max($0, lastBuses[$1]) } }
    }

    private static func strays(_ topology: Topology, _ states: [FunctionState]) -> [(function: Int, home: Int)] {
        let madeUp = topology.hostBridges.indices.filter { topology.isMadeUp(host: $0) }
        guard !madeUp.isEmpty else { return [] }
        var numbers: [TopologyPath: Int] = [:]
        var places: [FunctionAddress: TopologyPath] = [:]
        for state in states {
            places[state.address] = state.place
            if state.place == state.path { numbers[state.place] = topology.position(of: state.address) }
        }
        for state in states where numbers[state.place] == nil {
            numbers[state.place] = topology.position(of: state.address)
        }
        return madeUp.flatMap { topology.roots(of: $0) }.compactMap { i in
            guard let place = places[topology.functions[i].address] else { return nil }
            var hops = place.hops.dropLast()
            while !hops.isEmpty {
                let above = TopologyPath(segment: place.segment, rootBus: place.rootBus, hops: Array(hops))
                if let home = numbers[above], home != i { return (i, home) }
                hops = hops.dropLast()
            }
            return nil
        }
    }

    /// The functions below each bridge by their places; VFs stay where the kernel lists them.
    private static func wired(_ topology: Topology, _ states: [FunctionState], _ children: [[Int]]) -> [[Int]] {
        guard states.contains(where: { $0.place != $0.path }) else { return children }
        let numbers = Dictionary(topology.functions.indices.map { (topology.functions[$0].address, $0) }) { a, _ in a }
        var places: [TopologyPath: Int] = [:]
        for state in states where numbers[state.address] != nil { places[state.place] = numbers[state.address] }
        var result = children
        for state in states where state.place != state.path {
            guard let i = numbers[state.address], !topology.functions[i].isVirtual else { continue }
            if let old = topology.parent(of: i) { result[old].removeAll { $0 == i } }
            let above = TopologyPath(
                segment: state.place.segment,
                rootBus: state.place.rootBus,
                hops: Array(state.place.hops.dropLast())
            )
            if let new = places[above], new != i, !result[new].contains(i) { result[new].append(i) }
        }
        return result
    }

    /// Function 0 of a device is never removed without the others: a rescan finds a device by its function 0, and removing
    /// one function of an SR-IOV device alone changes where its VFs are. Ports of a root complex stand for themselves. Below
    /// a port that forwards ARI requests all functions of the bus are one device (PCIe 6.0 §6.13).
    private static func companions(of i: Int, _ topology: Topology) -> [Int] {
        let address = topology.functions[i].address
        guard !topology.functions[i].isVirtual, !topology.functions[i].isBridge || address.function == 0 else {
            return []
        }
        let siblings =
            topology.parent(of: i).map { topology.children(of: $0) } ?? topology.roots(of: topology.host(of: i))
        let isWholeBus =
            topology.functions[i].capabilities.hasARI
            && topology.parent(of: i).map {
                topology.functions[$0].capabilities.express?.isARIForwardingEnabled == true
            } ?? false
        return siblings.filter { other in
            let sibling = topology.functions[other]
            return other != i && sibling.address.bus == address.bus
                && (isWholeBus || sibling.address.device == address.device)
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
    func isBridge(_ i: Int) -> Bool { traits[i].contains(.bridge) }

    /// Whether function `i` is a bridge behind which cards come and go.
    func isHotPlugBridge(_ i: Int) -> Bool { traits[i].contains(.hotPlugBridge) }

    /// Whether function `i` implements a bridge window of a kind; every bridge has one for memory.
    func hasWindow(_ i: Int, _ kind: ResourceKind) -> Bool {
        switch kind {
        case .io: traits[i].contains(.ioWindow)
        case .memory: isBridge(i)
        case .prefetchable: traits[i].contains(.prefetchableWindow)
        }
    }

    /// Whether function `i` is a VF.
    func isVirtual(_ i: Int) -> Bool { traits[i].contains(.virtual) }

    /// Whether a driver is bound to function `i`.
    func hasDriver(_ i: Int) -> Bool { traits[i].contains(.driven) }

    /// The kind of a resource of function `i`; nil without one, or when its flags state none.
    func kind(_ i: Int, _ index: ResourceIndex) -> ResourceKind? { kind(i, Int(index.rawValue)) }

    /// The kind of a resource of function `i` by index, below `TwinSummary.width`.
    func kind(_ i: Int, _ index: Int) -> ResourceKind? { kinds[i * TwinSummary.width + index] }
}
