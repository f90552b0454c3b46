// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// Bus numbers for bridges that are to be removed and found again.
///
/// A re-discovered bridge keeps the numbers in its registers when the primary is its parent's bus and the secondary
/// lies above that and not above the subordinate (`pci_scan_bridge_extend`). The kernel checks neither that the range
/// lies in the parent's nor that a neighbour's does not overlap; both are checked here.
struct BusNumbering {
    let searchState: SearchState
    /// Bridges that must have at least so many numbers.
    var least: [Int: Int] = [:]
    /// Bridges that must have so many numbers beyond those in use.
    var spare: [Int: Int] = [:]
    /// Numbers kept for a bridge whose inside was never seen, beyond its secondary, the most that is tried first: switches
    /// behind switches, a switch with eight ports, one of which has another behind it, and a conventional bridge alone.
    ///
    /// The kernel shares the numbers of a port evenly among the ports that it finds inside, and what is below the last of
    /// them takes the numbers that follow, whosever they are (`pci_scan_bridge_extend`).
    static let roomForUnseen = [48, 16, 4]

    private var context: SearchContext { searchState.context }

    init(_ searchState: SearchState, for demands: [Demand]) {
        self.searchState = searchState
        for demand in demands {
            switch demand {
            case .buses(let i, let count): least[i] = max(least[i] ?? 0, count)
            case .freeBuses(let i, let count): spare[i] = max(spare[i] ?? 0, count)
            default: continue
            }
        }
    }

    /// The ways to number the bridges among `roots` anew, without duplicates; empty when no way fits.
    ///
    /// - Parameters:
    ///   - roots: functions on one bus.
    ///   - bridge: the bridge above that bus, or -1 minus the host bridge.
    /// - Returns: numberings, each with the bridges to be written in ascending order.
    func numberings(removing roots: Set<Int>, below bridge: Int) -> [[Stage.BridgeNumbers]] {
        guard let parentRange = range(above: bridge) else { return [] }
        var taken = [Bool](repeating: false, count: 256)
        taken[Int(parentRange.first.rawValue)] = true
        for member in context.members(behind: bridge) where !roots.contains(member) {
            // Registers of a bridge that is not removed keep forwarding what they say.
            guard let range = numbersTaken(by: member) else { continue }
            for bus in range.first.rawValue...range.last.rawValue { taken[Int(bus)] = true }
        }
        // Nobody can take the number of a root bus, also of one that the kernel made up among the numbers of another.
        let host = context.topology.hostBridges[bridge >= 0 ? context.host[bridge] : -1 - bridge]
        for other in context.topology.hostBridges where other.segment == host.segment && other.rootBus != host.rootBus {
            taken[Int(other.rootBus.rawValue)] = true
        }
        let bridges = roots.filter { context.isBridge($0) }.sorted()
        guard !bridges.isEmpty, !leavesInDoubt(bridges, removing: roots) else { return [] }
        var result: [[Stage.BridgeNumbers]] = []
        let styles =
            Self.roomForUnseen.map { Style(keepsRoom: true, unseen: $0) } + [
                Style(keepsRoom: true, unseen: 0), Style(keepsRoom: false, unseen: 0),
            ]
        for style in styles {
            for staysInPlace in [true, false] {
                guard
                    let numbering = number(
                        bridges,
                        primary: parentRange.first,
                        within: parentRange,
                        taken: taken,
                        style: style,
                        staysInPlace: staysInPlace
                    ), !numbering.isEmpty, !result.contains(numbering)
                else { continue }
                result.append(numbering)
            }
        }
        return result
    }

    /// Whether a function that stays may stand behind one of `bridges`: one without a bus whose registers take the cycles to
    /// the function's bus. With other numbers there somebody else might answer in its place.
    private func leavesInDoubt(_ bridges: [Int], removing roots: Set<Int>) -> Bool {
        let claims = bridges.filter { searchState.summary.buses[$0] == nil }.compactMap { i in
            claim(i).map { (segment: context.function(i).address.segment, range: $0) }
        }
        guard !claims.isEmpty else { return false }
        let removed = Set(roots.flatMap { context.subtree[$0] })
        return (0..<context.count).contains { i in
            if let home = context.homeOfAdrift[i], removed.contains(home) { return false }
            guard !removed.contains(i), let address = searchState.address(i) else { return false }
            return claims.contains { $0.segment == address.segment && $0.range.contains(address.bus) }
        }
    }

    /// Whether a stage would have the kernel scan a bridge that has the number of a root bus among its own.
    ///
    /// A bridge found behind it with that number would get the root bus for its own, which has no bridge above: 7.2.13
    /// reads through a null pointer there (`pbus_validate_busn`), and holds the lock of all rescans for ever. Of other
    /// releases that is not known.
    /// - Complexity: O(1) where the kernel made no root bus up.
    func meetsRootBus(_ stage: Stage) -> Bool {
        let roots = context.madeUpRootBuses
        guard !roots.isEmpty else { return false }
        let numbered = Dictionary(stage.numbering.map { ($0.bridge, $0.range) }) { a, _ in a }
        return stage.rescans.contains { rescan in
            let bridge: Int
            switch rescan {
            case .bus(let behind): bridge = behind
            case .aboveBridge(let i): bridge = context.busAbove(i)
            case .resizeFiles: return false
            }
            let below = context.members(behind: bridge).flatMap { context.subtree[$0] }
            return ((bridge >= 0 ? [bridge] : []) + below).contains { i in
                guard context.isBridge(i), let range = numbered[i] ?? numbersTaken(by: i) else { return false }
                return roots.contains { $0.segment == context.function(i).address.segment && range.contains($0.bus) }
            }
        }
    }

    /// The numbers that a bridge takes: those that the kernel gave it, without any those of its registers.
    private func numbersTaken(by i: Int) -> BusRange? { searchState.summary.buses[i] ?? claim(i) }

    /// The numbers that a bridge without a bus takes by its registers.
    private func claim(_ i: Int) -> BusRange? {
        guard context.isBridge(i), let address = searchState.address(i),
            let value = searchState.simulation.twin.register(of: address, at: 0x18, width: 4), value >> 8 & 0xff != 0
        else { return nil }
        return BusRange(
            first: BusNumber(UInt8(truncatingIfNeeded: value >> 8)),
            last: BusNumber(UInt8(truncatingIfNeeded: value >> 16))
        )
    }

    private struct Style {
        /// Whether a bridge keeps at least as many numbers as it has.
        var keepsRoom: Bool
        /// Numbers beyond its secondary for a bridge whose inside was never seen.
        var unseen: Int
    }

    private func range(above bridge: Int) -> BusRange? {
        bridge >= 0 ? searchState.summary.buses[bridge] : context.topology.hostBridges[-1 - bridge].busRange
    }

    /// The numbers that bridge `i` needs: its secondary bus, VF buses there, everything below, and what is asked for.
    private func need(_ i: Int, _ style: Style) -> Int {
        // What is behind a bridge that nobody could see is anybody's guess; a switch has ports inside.
        let present = searchState.summary.buses[i]
        let isSwitch = context.function(i).capabilities.express?.portType == .upstreamPort
        let isUnseen = context.isUnseenInside[i] || (present == nil && isSwitch)
        let mayHoldMore =
            isUnseen
            && (context.wired[i].isEmpty || context.topology.unseenReason(behind: i) == .claimedTwice)
        let unseen = mayHoldMore ? style.unseen : 0
        if present == nil, context.wired[i].isEmpty { return max(1 + unseen, least[i] ?? 0) }
        var sum = 1 + context.virtualBuses[i]
        for child in context.wired[i] where context.isBridge(child) { sum += need(child, style) }
        sum += spare[i] ?? 0
        return max(sum, least[i] ?? 0, style.keepsRoom ? max(present?.count ?? 0, 1 + unseen) : 0)
    }

    private func number(
        _ bridges: [Int],
        primary: BusNumber,
        within parent: BusRange,
        taken initially: [Bool],
        style: Style,
        staysInPlace: Bool
    ) -> [Stage.BridgeNumbers]? {
        var taken = initially
        var result: [Stage.BridgeNumbers] = []
        // Those that can stay where they begin are placed first; then the widest, lowest first fit.
        var waiting: [(bridge: Int, width: Int)] = []
        for i in bridges {
            let width = need(i, style)
            if staysInPlace, let present = searchState.summary.buses[i],
                fits(start: Int(present.first.rawValue), width: width, within: parent, taken: taken)
            {
                let start = Int(present.first.rawValue)
                place(i, start: start, width: width, style: style, taken: &taken, into: &result, primary: primary)
            } else {
                waiting.append((i, width))
            }
        }
        for (i, width) in waiting.sorted(by: { ($1.width, $0.bridge) < ($0.width, $1.bridge) }) {
            guard let start = lowestFit(width: width, within: parent, taken: taken) else { return nil }
            place(i, start: start, width: width, style: style, taken: &taken, into: &result, primary: primary)
        }
        return result.sorted { $0.bridge < $1.bridge }
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
    /// whose registers say so already are not written.
    private func place(
        _ i: Int,
        start: Int,
        width: Int,
        style: Style,
        taken: inout [Bool],
        into result: inout [Stage.BridgeNumbers],
        primary: BusNumber
    ) {
        for number in start..<(start + width) { taken[number] = true }
        guard let first = UInt8(exactly: start), let last = UInt8(exactly: start + width - 1),
            let range = BusRange(first: BusNumber(first), last: BusNumber(last))
        else { return }
        let wanted = UInt32(primary.rawValue) | UInt32(first) << 8 | UInt32(last) << 16
        let address = searchState.address(i)
        let register = address.flatMap { searchState.simulation.twin.register(of: $0, at: 0x18, width: 4) } ?? 0
        if searchState.summary.buses[i] != range || register & 0xff_ffff != wanted {
            result.append(Stage.BridgeNumbers(bridge: i, primary: primary, range: range))
        }
        var next = start + 1 + context.virtualBuses[i]
        let below = context.wired[i].filter { context.isBridge($0) }
        var rest = width - 1 - context.virtualBuses[i] - (spare[i] ?? 0) - below.reduce(0) { $0 + need($1, style) }
        for child in below {
            var childWidth = need(child, style)
            // What is left goes to a port that can take more cards, else it stays with the bridge above.
            if rest > 0, child == below.last, context.isHotPlugBridge(child) {
                childWidth += rest
                rest = 0
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
