// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The stages that could help given functions, for every bus on the way from them to the root bus.
///
/// A stage removes some of the functions that sit on one bus: those that lead to what lacks something, alone or together
/// with empty neighbours (they hold windows or numbers that nobody uses), with single cheap neighbours, or with all of
/// them (an emptied bus may be rescanned so that the bridge's own windows grow).
struct ManeuverSource {
    let topology: Topology
    let weights: DisturbanceWeights
    /// Neighbours tried one at a time per bus.
    var singleNeighbours = 6

    /// The stages for the functions at `places`, without duplicates, innermost bus first.
    func maneuvers(for wanted: [Demand]) -> [Maneuver] {
        var result: [Maneuver] = []
        var seen: Set<Maneuver> = []
        let resizes = resizes(for: wanted)
        if !resizes.isEmpty, !resizes.contains(where: { isProtected($0.function) }) {
            result.append(
                Maneuver(roots: [], numbering: [], closesWindows: false, resizes: resizes, rescan: .resizeFiles)
            )
        }
        var busesSeen: Set<Int> = []
        let indexOf = placesByPath()
        let targets = wanted.compactMap { indexOf[$0.path] }
        let lacksBus = wanted.contains(where: \.wantsBuses)
        let targetSet = Set(targets)
        // Every bus that holds a target or an ancestor of one, innermost first.
        var level: [Int] = targets
        while !level.isEmpty {
            var next: [Int] = []
            for i in level {
                let bridge = topology.parent(of: i) ?? -1 - topology.host(of: i)
                guard busesSeen.insert(bridge).inserted else { continue }
                append(bridge: bridge, targets: targetSet, resizes, lacksBus: lacksBus, to: &result, seen: &seen)
                if let parent = topology.parent(of: i) { next.append(parent) }
            }
            level = next
        }
        return result
    }

    private func placesByPath() -> [TopologyPath: Int] {
        var result: [TopologyPath: Int] = [:]
        for i in topology.functions.indices where !topology.functions[i].isVirtual { result[topology.path(of: i)] = i }
        return result
    }

    private func append(
        bridge: Int,
        targets: Set<Int>,
        _ resizes: [Maneuver.Resize],
        lacksBus: Bool,
        to result: inout [Maneuver],
        seen: inout Set<Maneuver>
    ) {
        let members = (bridge >= 0 ? topology.children(of: bridge) : topology.roots(of: -1 - bridge))
            .filter { !topology.functions[$0].isVirtual }
        let leading = members.filter { member in topology.subtree(of: member).contains(where: targets.contains) }
        guard let first = leading.first else { return }
        let segment = topology.functions[first].address.segment
        let bus = topology.functions[first].address.bus

        var sets: [[Int]] = [leading]
        for one in leading where leading.count > 1 { sets.append([one]) }
        let neighbours = members.filter { !leading.contains($0) && !isProtected($0) }
        let empty = neighbours.filter { topology.functions[$0].isBridge && topology.children(of: $0).isEmpty }
        if !empty.isEmpty { sets.append(leading + empty) }
        let cheap = neighbours.sorted { (cost($0), $0) < (cost($1), $1) }
        for neighbour in cheap.prefix(singleNeighbours) { sets.append(leading + [neighbour]) }
        let free = cheap.filter { cost($0) == 0 }
        if free.count > 1 { sets.append(leading + free) }
        if neighbours.count + leading.count == members.count { sets.append(members) }

        for set in sets {
            let roots = wholeDevices(set, among: members)
            guard !roots.contains(where: isProtected) else { continue }
            let addresses = members.filter(roots.contains).map { topology.functions[$0].address }
            var rescans: [Maneuver.Rescan] = [.bus(segment: segment, bus: bus)]
            if bridge >= 0, addresses.count == members.count {
                rescans.append(.aboveBridge(topology.functions[bridge].address))
            }
            let hasBridge = roots.contains { topology.functions[$0].isBridge }
            var numberings: [[Maneuver.BridgeNumbers]] = [[]]
            if lacksBus, hasBridge {
                numberings += BusNumbering(topology: topology).numberings(removing: roots, below: bridge)
            }
            for rescan in rescans {
                for numbering in numberings {
                    for closes in hasBridge ? [false, true] : [false] {
                        let maneuver = Maneuver(
                            roots: addresses,
                            numbering: numbering,
                            closesWindows: closes,
                            resizes: resizes.filter { covers(roots, $0.function) },
                            rescan: rescan
                        )
                        if seen.insert(maneuver).inserted { result.append(maneuver) }
                    }
                }
            }
        }
    }

    /// Function 0 of a device is never removed without the others: a rescan finds a device by its function 0, and
    /// removing one function of an SR-IOV device alone changes where its VFs are.
    private func wholeDevices(_ set: [Int], among members: [Int]) -> Set<Int> {
        var result = Set(set)
        for i in set {
            let address = topology.functions[i].address
            guard !topology.functions[i].isBridge || address.function == 0 else { continue }
            for other in members {
                let sibling = topology.functions[other].address
                guard sibling.device == address.device, !topology.functions[other].isBridge else { continue }
                result.insert(other)
            }
        }
        return result
    }

    /// The sizes that are asked for and not yet there, as register writes.
    private func resizes(for wanted: [Demand]) -> [Maneuver.Resize] {
        let indexOf = placesByPath()
        var result: [Maneuver.Resize] = []
        for demand in wanted {
            guard case .size(let path, let index, let size) = demand, let i = indexOf[path] else { continue }
            let function = topology.functions[i]
            guard let entry = function.capabilities.resizableBARs.first(where: { $0.bar == Int(index.rawValue) }),
                let exponent = entry.exponents.first(where: { ResizableBAR.size(ofExponent: $0)?.rawValue == size })
            else { continue }
            result.append(
                Maneuver.Resize(
                    function: function.address,
                    bar: entry.bar,
                    exponent: exponent,
                    controlOffset: Int(entry.controlOffset),
                    isBound: function.use.driver != nil
                )
            )
        }
        return result.sorted { ($0.function, $0.bar) < ($1.function, $1.bar) }
    }

    private func covers(_ roots: Set<Int>, _ address: FunctionAddress) -> Bool {
        guard let i = topology.position(of: address) else { return false }
        return roots.contains(i) || topology.ancestors(of: i).contains(where: roots.contains)
    }

    private func isProtected(_ address: FunctionAddress) -> Bool {
        topology.position(of: address).map { isProtected($0) } ?? true
    }

    private func cost(_ i: Int) -> Int {
        topology.subtree(of: i).reduce(0) { $0 + weights.weight(topology.path(of: $1)) }
    }

    private func isProtected(_ i: Int) -> Bool {
        topology.subtree(of: i).contains { weights.protection(topology.path(of: $0)) != nil }
    }

    /// The endpoints with a weight that get another bus number: names and guest configurations hang on it.
    func renumbered(by maneuver: Maneuver) -> Int {
        maneuver.numbering.reduce(0) { sum, numbers in
            guard let i = topology.position(of: numbers.bridge),
                let present = topology.functions[i].bridge?.busRange, present.first != numbers.range.first
            else { return sum }
            return sum
                + topology.children(of: i).filter {
                    !topology.functions[$0].isBridge && weights.weight(topology.path(of: $0)) > 0
                }.count
        }
    }

    /// Everything that the removal of the functions at `addresses` stops, by place, VFs of removed functions included.
    func disturbed(by addresses: [FunctionAddress]) -> Set<TopologyPath> {
        var result: Set<TopologyPath> = []
        var removed: Set<FunctionAddress> = []
        for address in addresses {
            guard let i = topology.position(of: address) else { continue }
            for member in topology.subtree(of: i) {
                result.insert(topology.path(of: member))
                removed.insert(topology.functions[member].address)
            }
        }
        for i in topology.functions.indices {
            if let physical = topology.functions[i].physicalFunction, removed.contains(physical) {
                result.insert(topology.path(of: i))
            }
        }
        return result
    }
}
