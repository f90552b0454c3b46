// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The figures by which layouts are compared.
public struct PolicyMetrics: Hashable, Sendable {
    /// The policy's name.
    public var policy: String
    /// Why it gave up as a whole, or nil.
    public var halt: String?
    /// Required resources (BARs) with an address.
    public var requiredPlaced = 0
    /// Required resources without.
    public var requiredFailed = 0
    /// Optional resources (ROMs, VF BARs) with an address.
    public var optionalPlaced = 0
    /// Optional resources without.
    public var optionalFailed = 0
    /// Memory bytes that BARs, ROMs and VF BARs hold.
    public var memoryUsed: UInt64 = 0
    /// Memory bytes that the root buses' BARs and windows take from the apertures.
    public var memoryTaken: UInt64 = 0
    /// I/O bytes that BARs hold.
    public var ioUsed: UInt64 = 0
    /// I/O bytes that the root buses' BARs and windows take.
    public var ioTaken: UInt64 = 0
    /// Memory bytes of windows that nothing below holds, summed over the leaves of the tree of windows (free space in a
    /// window inside a window counts once, in the inner one).
    public var windowSlack: UInt64 = 0
    /// The apertures, host by host in list order.
    public var apertures: [ApertureMetrics] = []
    /// The hot-plug ports, in walk order.
    public var ports: [PortMetrics] = []
    /// Bus numbers in use: root buses and secondary buses.
    public var busesUsed = 0
    /// Bus numbers that bridges hold beyond those in use.
    public var busesReserved = 0
    /// Bus numbers that no bridge holds.
    public var busesFree = 0
    /// Functions with a BAR, ROM or VF BAR at another address than at present, or at none now.
    public var functionsMoved = 0
    /// Functions whose bus number differs from the present one.
    public var functionsRenumbered = 0
    /// Bridges with another window than at present.
    public var bridgesChanged = 0
    /// What would not work on hardware, from `LayoutAudit`.
    public var violations: [String] = []
    /// Required resources without address, with the reason, in walk order.
    public var failures: [String] = []

    /// Memory taken and not used, in bytes.
    public var waste: UInt64 { memoryTaken >= memoryUsed ? memoryTaken - memoryUsed : 0 }
}

/// The free space of one aperture.
public struct ApertureMetrics: Hashable, Sendable {
    /// The host bridge: segment and root bus.
    public var host: String
    /// The CPU addresses.
    public var range: AddressRange
    /// Whether it is I/O space.
    public var isIO: Bool
    /// Free bytes.
    public var free: UInt64
    /// The largest naturally aligned block that is free, 0 when nothing is.
    public var largestBlock: UInt64
}

/// The room behind one hot-plug port.
public struct PortMetrics: Hashable, Sendable {
    /// The place in the tree.
    public var path: TopologyPath
    /// The address at present.
    public var today: FunctionAddress
    /// Free bus numbers in the port's range.
    public var freeBuses: Int
    /// The largest naturally aligned free block in the port's windows: I/O, memory, prefetchable; 0 for none.
    public var largestBlocks: [UInt64]
    /// How many cards of each named profile fit beside what is there, at most 16.
    public var cards: [CardCount]

    /// A number of cards of a profile.
    public struct CardCount: Hashable, Sendable {
        /// The profile's name.
        public var profile: String
        /// The number of cards, 0 to 16.
        public var count: Int
    }
}

extension PolicyMetrics {
    /// Measures an outcome.
    ///
    /// - Parameters:
    ///   - outcome: where the policy puts everything.
    ///   - demand: what was asked for.
    ///   - today: the present layout, to count what moves; nil counts nothing.
    ///   - profiles: the cards for the headroom of ports.
    /// - Complexity: O(n log n) in the number of resources, times the number of profiles for hot-plug ports.
    public init(
        _ outcome: PolicyOutcome,
        _ demand: ResourceDemand,
        today: PolicyOutcome? = nil,
        profiles: [CardProfile] = CardProfile.named
    ) {
        self.init(policy: outcome.policy, halt: outcome.halt)
        let survey = LayoutSurvey(outcome, demand)
        let needs = profiles.map { ($0.name, CardNeed($0)) }
        for function in outcome.functions {
            for resource in function.resources {
                switch (resource.isRequired, resource.range != nil) {
                case (true, true): requiredPlaced += 1
                case (true, false):
                    requiredFailed += 1
                    failures.append("\(function.today) \(resource.index): \(resource.reason ?? "has no address")")
                case (false, true): optionalPlaced += 1
                case (false, false): optionalFailed += 1
                }
                guard let range = resource.range else { continue }
                if resource.kind == .io {
                    ioUsed = ioUsed.saturatingSum(range.clampedSize)
                } else {
                    memoryUsed = memoryUsed.saturatingSum(range.clampedSize)
                }
            }
        }
        for (h, host) in demand.hosts.enumerated() {
            memoryTaken = memoryTaken.saturatingSum(survey.rootClaims(h, isIO: false).totalSize)
            ioTaken = ioTaken.saturatingSum(survey.rootClaims(h, isIO: true).totalSize)
            for aperture in host.apertures {
                guard let range = aperture.range.shifted(by: aperture.offset) else { continue }
                let obstacles = host.obstacles.filter { $0.isIO == aperture.isIO }.map {
                    host.cpuRange(of: $0.range, isIO: $0.isIO)
                }
                let free = range.subtracting(survey.rootClaims(h, isIO: aperture.isIO) + obstacles)
                apertures.append(
                    ApertureMetrics(
                        host: host.name,
                        range: range,
                        isIO: aperture.isIO,
                        free: free.totalSize,
                        largestBlock: free.map(\.largestAlignedBlock).max() ?? 0
                    )
                )
            }
            let used = survey.usedBuses(h)
            let held = survey.heldBuses(h)
            busesUsed += used
            busesReserved += max(held - used, 0)
            busesFree += max(host.busRange.count - max(held, used), 0)
        }
        for (place, function) in demand.functions.enumerated() {
            guard let ability = function.bridge, let entry = survey.entry(place) else { continue }
            let free = survey.freeInWindows(of: place)
            windowSlack = windowSlack.saturatingSum((free[1] + free[2]).totalSize)
            guard ability.isHotPlug else { continue }
            let host = demand.hosts[function.host]
            let bus = free.enumerated().map { k, ranges in ranges.map { host.busRange(of: $0, isIO: k == 0) } }
            let freeBuses = (entry.buses?.count ?? 0) - 1 - survey.busesBelow(place)
            ports.append(
                PortMetrics(
                    path: function.path,
                    today: function.today,
                    freeBuses: max(freeBuses, 0),
                    largestBlocks: free.map { $0.map(\.largestAlignedBlock).max() ?? 0 },
                    cards: needs.map {
                        PortMetrics.CardCount(profile: $0.0, count: $0.1.copies(in: bus, buses: max(freeBuses, 0)))
                    }
                )
            )
        }
        if let today { countMoves(outcome, today) }
        violations = outcome.halt == nil ? LayoutAudit(outcome, demand).violations : []
    }

    private mutating func countMoves(_ outcome: PolicyOutcome, _ today: PolicyOutcome) {
        let before = Dictionary(today.functions.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        for function in outcome.functions {
            guard let old = before[function.path] else { continue }
            let hasMoved = old.resources.contains { resource in
                resource.range != nil && resource.range != function.range(resource.index)
            }
            if hasMoved { functionsMoved += 1 }
            if function.bus != old.bus { functionsRenumbered += 1 }
            if function.windows != old.windows { bridgesChanged += 1 }
        }
    }
}

extension UInt64 {
    /// The sum, 2^64-1 where it would be more: layouts that make no sense may claim the whole space twice.
    fileprivate func saturatingSum(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}

extension [AddressRange] {
    /// The bytes in all ranges together, at most 2^64-1.
    fileprivate var totalSize: UInt64 { reduce(UInt64(0)) { $0.saturatingSum($1.clampedSize) } }
}
