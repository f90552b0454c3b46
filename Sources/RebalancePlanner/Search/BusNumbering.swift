// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Bus numbers for bridges that are to be removed and found again.
///
/// A re-discovered bridge keeps the numbers in its registers when the primary is its parent's bus and the secondary
/// lies above that and not above the subordinate (`pci_scan_bridge_extend`). The kernel checks neither that the range
/// lies in the parent's nor that a neighbour's does not overlap; both are checked here.
struct BusNumbering {
    let topology: Topology
    /// Numbers kept for a bridge whose inside was never seen, beyond its secondary: a switch needs some.
    var roomForUnseen = 8

    /// The ways to number the bridges among `roots` anew, the tightest first; empty when no way fits.
    ///
    /// - Parameters:
    ///   - roots: indices of functions on one bus.
    ///   - bridge: the index of the bridge above that bus, or -1 minus the host bridge's index.
    /// - Returns: numberings without duplicates, each with the bridges to be written in the order of the tree.
    func numberings(removing roots: Set<Int>, below bridge: Int) -> [[Maneuver.BridgeNumbers]] {
        guard let parentRange = range(above: bridge) else { return [] }
        let members = bridge >= 0 ? topology.children(of: bridge) : topology.roots(of: -1 - bridge)
        var taken = [Bool](repeating: false, count: 256)
        taken[Int(parentRange.first.rawValue)] = true
        for member in members where !roots.contains(member) {
            guard let range = topology.functions[member].bridge?.busRange else { continue }
            for bus in range.first.rawValue...range.last.rawValue { taken[Int(bus)] = true }
        }
        let bridges = roots.filter { topology.functions[$0].isBridge }.sorted()
        guard !bridges.isEmpty else { return [] }

        var result: [[Maneuver.BridgeNumbers]] = []
        for style in [
            Style(keepsRoom: true, unseen: 0), Style(keepsRoom: true, unseen: roomForUnseen),
            Style(keepsRoom: false, unseen: 0),
        ] {
            for prefersPlace in [true, false] {
                if let numbering = number(
                    bridges,
                    within: parentRange,
                    taken: taken,
                    style: style,
                    staysInPlace: prefersPlace
                ),
                    !numbering.isEmpty, !result.contains(numbering)
                {
                    result.append(numbering)
                }
            }
        }
        return result
    }

    private struct Style {
        /// Whether a bridge keeps at least as many numbers as it has.
        var keepsRoom: Bool
        /// Numbers beyond its secondary for a bridge whose inside was never seen.
        var unseen: Int
    }

    private func range(above bridge: Int) -> BusRange? {
        bridge >= 0 ? topology.functions[bridge].bridge?.busRange : topology.hostBridges[-1 - bridge].busRange
    }

    /// The numbers that the bridge at index `i` needs: its secondary bus, VF buses there, and everything below.
    private func need(_ i: Int, _ style: Style) -> Int {
        let function = topology.functions[i]
        guard let present = function.bridge?.busRange else { return 1 + style.unseen }
        var sum = 1 + busesOfVFs(i)
        for child in topology.children(of: i) where topology.functions[child].isBridge { sum += need(child, style) }
        return style.keepsRoom ? max(sum, present.count) : sum
    }

    /// The numbers after the secondary bus of bridge `i` that the VFs of functions there may use.
    private func busesOfVFs(_ i: Int) -> Int {
        var last = 0
        for child in topology.children(of: i) {
            let f = topology.functions[child]
            guard let sriov = f.capabilities.sriov, sriov.totalVFs > 0 else { continue }
            let bus = sriov.routingID(ofVF: sriov.totalVFs - 1, bus: BusNumber(0), devfn: f.address.devfn) >> 8
            last = max(last, min(bus, 255))
        }
        return last
    }

    private func number(
        _ bridges: [Int],
        within parent: BusRange,
        taken initially: [Bool],
        style: Style,
        staysInPlace: Bool
    ) -> [Maneuver.BridgeNumbers]? {
        var taken = initially
        var result: [Maneuver.BridgeNumbers] = []
        // Those that can stay where they begin are placed first; then the widest, lowest first fit.
        var waiting: [(index: Int, width: Int)] = []
        for i in bridges {
            let width = need(i, style)
            if staysInPlace, let present = topology.functions[i].bridge?.busRange,
                fits(start: Int(present.first.rawValue), width: width, within: parent, taken: taken)
            {
                place(
                    i,
                    start: Int(present.first.rawValue),
                    width: width,
                    style: style,
                    taken: &taken,
                    into: &result,
                    primary: topology.functions[i].address.bus
                )
            } else {
                waiting.append((i, width))
            }
        }
        for (i, width) in waiting.sorted(by: { ($1.width, $0.index) < ($0.width, $1.index) }) {
            guard let start = lowestFit(width: width, within: parent, taken: taken) else { return nil }
            place(
                i,
                start: start,
                width: width,
                style: style,
                taken: &taken,
                into: &result,
                primary: topology.functions[i].address.bus
            )
        }
        return result
    }

    private func fits(start: Int, width: Int, within parent: BusRange, taken: [Bool]) -> Bool {
        guard start > Int(parent.first.rawValue), start + width - 1 <= Int(parent.last.rawValue) else { return false }
        return !taken[start..<(start + width)].contains(true)
    }

    private func lowestFit(width: Int, within parent: BusRange, taken: [Bool]) -> Int? {
        let first = Int(parent.first.rawValue) + 1
        let last = Int(parent.last.rawValue)
        guard width > 0, last - first + 1 >= width else { return nil }
        return (first...(last - width + 1)).first { !taken[$0..<($0 + width)].contains(true) }
    }

    /// Gives bridge `i` the range `start..<(start + width)` and its bridges below theirs inside it, in list order; bridges
    /// that keep exactly what they have are not written.
    private func place(
        _ i: Int,
        start: Int,
        width: Int,
        style: Style,
        taken: inout [Bool],
        into result: inout [Maneuver.BridgeNumbers],
        primary: BusNumber
    ) {
        for number in start..<(start + width) { taken[number] = true }
        guard let first = UInt8(exactly: start), let last = UInt8(exactly: start + width - 1),
            let range = BusRange(first: BusNumber(first), last: BusNumber(last))
        else { return }
        let function = topology.functions[i]
        if function.bridge?.busRange != range || function.address.bus != primary
            || function.bridge?.registers?.subordinate != range.last
            || function.bridge?.registers?.secondary != range.first
        {
            result.append(Maneuver.BridgeNumbers(bridge: function.address, primary: primary, range: range))
        }
        var next = start + 1 + busesOfVFs(i)
        let children = topology.children(of: i).filter { topology.functions[$0].isBridge }
        var spare = width - 1 - busesOfVFs(i) - children.reduce(0) { $0 + need($1, style) }
        for child in children {
            var childWidth = need(child, style)
            let isLast = child == children.last
            // What is left goes to a port that can take more cards, else it stays with the bridge above.
            if spare > 0, topology.functions[child].isHotPlugBridge, isLast {
                childWidth += spare
                spare = 0
            }
            place(
                child,
                start: next,
                width: childWidth,
                style: style,
                taken: &taken,
                into: &result,
                primary: range.first
            )
            next += childWidth
        }
    }
}
