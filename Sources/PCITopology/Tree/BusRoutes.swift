// SPDX-License-Identifier: GPL-2.0-or-later

/// Where configuration cycles go, by the bus numbers that bridges claim.
///
/// The kernel's tree says who is above whom by its own books. Where ranges of bus numbers overlap, or a bridge that the
/// kernel gave no bus keeps numbers in its registers, the books and the wires differ: a bridge takes a cycle whose bus its
/// range holds (PCI-to-PCI Bridge Architecture 1.2 §3.1.2). Where several on one bus do, which of them answers is the
/// hardware's, and nobody can tell: the one with the lowest device number is named first, the others as well.
public struct BusRoutes: Sendable {
    /// A range of bus numbers that a bridge takes.
    public struct Claim: Hashable, Sendable {
        /// The bridge.
        public var address: FunctionAddress
        /// The numbers, by the registers where they are known.
        public var range: BusRange

        /// Creates a claim.
        public init(_ address: FunctionAddress, _ range: BusRange) {
            self.address = address
            self.range = range
        }
    }

    private struct Bus: Hashable {
        let segment: UInt32
        let number: BusNumber
    }

    private var claims: [Bus: [Claim]] = [:]
    /// The most places that are told for one bus: as many as a plan's document holds. Real machines have two or three.
    private static let mostInDoubt = 256
    /// The buses that are the secondary bus of several bridges.
    private var claimedTwice: Set<Bus> = []
    fileprivate private(set) var rootBuses: [UInt32: [BusNumber]] = [:]

    /// Creates routes from the claims of the bridges and the root buses, which are those of the functions' paths.
    public init(_ claims: [Claim], _ functions: [FunctionState]) {
        for claim in claims.sorted(by: { $0.address < $1.address }) {
            self.claims[Bus(segment: claim.address.segment, number: claim.address.bus), default: []].append(claim)
        }
        var secondaries: Set<Bus> = []
        for claim in claims {
            let bus = Bus(segment: claim.address.segment, number: claim.range.first)
            if !secondaries.insert(bus).inserted { claimedTwice.insert(bus) }
        }
        var roots: Set<Bus> = []
        for function in functions { roots.insert(Bus(segment: function.path.segment, number: function.path.rootBus)) }
        for root in roots { rootBuses[root.segment, default: []].append(root.number) }
        for segment in rootBuses.keys { rootBuses[segment]?.sort() }
    }

    /// The place of the bridge whose secondary bus a cycle to `bus` reaches; nil when no claim leads there.
    /// - Complexity: O(d b) for d levels and b bridges on a bus.
    public func bridge(above bus: BusNumber, segment: UInt32) -> TopologyPath? {
        guard let (bridge, isSecondary) = way(to: bus, segment: segment), isSecondary else { return nil }
        return bridge
    }

    /// The place of the last bridge that a cycle to `bus` passes, and whether `bus` is its secondary bus; nil when no claim
    /// leads there.
    func way(to bus: BusNumber, segment: UInt32) -> (bridge: TopologyPath, isSecondary: Bool)? {
        var nearest: TopologyPath?
        for root in rootBuses[segment] ?? [] where root != bus {
            var hops: [UInt8] = []
            var level = claims[Bus(segment: segment, number: root)] ?? []
            // A sane chain has at most one bridge for each bus number.
            while hops.count < 256, let next = level.first(where: { $0.range.contains(bus) }) {
                hops.append(next.address.devfn)
                let place = TopologyPath(segment: segment, rootBus: root, hops: hops)
                if next.range.first == bus { return (place, true) }
                nearest = nearest.map { $0.hops.count >= hops.count ? $0 : place } ?? place
                level = claims[Bus(segment: segment, number: next.range.first)] ?? []
            }
        }
        return nearest.map { ($0, false) }
    }

    /// The places of the bridges whose secondary bus is `bus` and to which a cycle to it may go, in the order of the tree,
    /// at most `mostInDoubt`; empty where no two bridges have that secondary bus.
    /// - Complexity: O(b d) for b bridges that claim anything and d levels.
    func bridgesInDoubt(above bus: BusNumber, segment: UInt32) -> [TopologyPath] {
        guard claimedTwice.contains(Bus(segment: segment, number: bus)) else { return [] }
        var result: [TopologyPath] = []
        for root in rootBuses[segment] ?? [] where root != bus {
            // Each bus is looked at once: claims that lead round in a circle end.
            var seen: Set<BusNumber> = [root]
            var open: [(bus: BusNumber, hops: [UInt8])] = [(root, [])]
            while let (level, hops) = open.popLast() {
                for claim in claims[Bus(segment: segment, number: level)] ?? [] where claim.range.contains(bus) {
                    let next = hops + [claim.address.devfn]
                    if claim.range.first == bus {
                        guard result.count < Self.mostInDoubt else { return result }
                        result.append(TopologyPath(segment: segment, rootBus: root, hops: next))
                    } else if seen.insert(claim.range.first).inserted {
                        open.append((claim.range.first, next))
                    }
                }
            }
        }
        return result
    }
}

extension TreeState {
    /// Gives every function its place by the wires, and the other places where it may stand.
    ///
    /// - Parameter claims: the numbers that bridges take which the kernel gave no bus; the others claim their bus ranges.
    /// - Complexity: O(n d b) for n functions, d levels and b bridges on a bus.
    public mutating func setPlaces(claimedBesides claims: [BusRoutes.Claim]) {
        var functions = functions
        let held = functions.compactMap { function in
            function.busRange.map { BusRoutes.Claim(function.address, $0) }
        }
        let routes = BusRoutes(held + claims, functions)
        var known: [UInt64: (above: TopologyPath?, others: [TopologyPath])] = [:]
        // Root buses to which a bridge passes cycles on, with that bridge: those that the kernel made up.
        var homes: [UInt64: TopologyPath] = [:]
        for (segment, buses) in routes.rootBuses {
            for bus in buses {
                guard let way = routes.way(to: bus, segment: segment), !way.isSecondary else { continue }
                homes[UInt64(segment) << 8 | UInt64(bus.rawValue)] = way.bridge
            }
        }
        for i in functions.indices {
            let address = functions[i].address
            let key = UInt64(address.segment) << 8 | UInt64(address.bus.rawValue)
            let above: TopologyPath?
            let others: [TopologyPath]
            if let found = known[key] {
                (above, others) = found
            } else {
                above = routes.bridge(above: address.bus, segment: address.segment)
                others = routes.bridgesInDoubt(above: address.bus, segment: address.segment)
                known[key] = (above, others)
            }
            func below(_ bridge: TopologyPath) -> TopologyPath {
                TopologyPath(segment: bridge.segment, rootBus: bridge.rootBus, hops: bridge.hops + [address.devfn])
            }
            let place = above.map(below) ?? functions[i].path
            // Between the last bridge that is known and that root bus is one that nobody could see: device 0, as behind
            // every port.
            functions[i].place =
                homes[UInt64(place.segment) << 8 | UInt64(place.rootBus.rawValue)].map { home in
                    TopologyPath(segment: place.segment, rootBus: home.rootBus, hops: home.hops + [0] + place.hops)
                } ?? place
            functions[i].otherPlaces = others.map(below).filter { $0 != place && $0 != functions[i].place }
        }
        self.functions = functions
    }
}

extension BusRoutes.Claim {
    /// What a bridge at `address` without a bus claims by its registers; nil when they claim nothing.
    public init?(_ address: FunctionAddress, _ registers: BridgeRegisters?) {
        guard let registers, registers.secondary.rawValue != 0,
            let range = BusRange(first: registers.secondary, last: registers.subordinate)
        else { return nil }
        self.init(address, range)
    }
}
