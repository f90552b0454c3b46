// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Free and taken space of a layout, bus by bus.
struct LayoutSurvey {
    private let demand: ResourceDemand
    private let entries: [FunctionOutcome?]

    init(_ outcome: PolicyOutcome, _ demand: ResourceDemand) {
        self.demand = demand
        let byPath = Dictionary(outcome.functions.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        entries = demand.functions.map { byPath[$0.path] }
    }

    func entry(_ place: Int) -> FunctionOutcome? { entries[place] }

    /// The claims of one bus in one space, merged, ascending.
    private func claims(_ functions: [Int], isIO: Bool) -> [AddressRange] {
        var ranges: [AddressRange] = []
        for place in functions {
            guard let entry = entries[place] else { continue }
            for resource in entry.resources where (resource.kind == .io) == isIO {
                if let range = resource.range { ranges.append(range) }
            }
            for window in entry.windows where (window.index == .ioWindow) == isIO { ranges.append(window.range) }
        }
        var merged: [AddressRange] = []
        for range in ranges.sorted() {
            if let last = merged.last, last.overlaps(range) {
                merged[merged.count - 1] = last.hull(range)
            } else {
                merged.append(range)
            }
        }
        return merged
    }

    func rootClaims(_ host: Int, isIO: Bool) -> [AddressRange] { claims(demand.hosts[host].roots, isIO: isIO) }

    /// The free ranges in a bridge's windows: I/O, memory, prefetchable.
    func freeInWindows(of place: Int) -> [[AddressRange]] {
        guard let entry = entries[place] else { return [[], [], []] }
        let memory = claims(demand.functions[place].children, isIO: false)
        let io = claims(demand.functions[place].children, isIO: true)
        return [
            entry.window(.ioWindow)?.subtracting(io) ?? [],
            entry.window(.memoryWindow)?.subtracting(memory) ?? [],
            entry.window(.prefetchableWindow)?.subtracting(memory) ?? [],
        ]
    }

    /// Root bus and secondary buses.
    func usedBuses(_ host: Int) -> Int {
        1 + demand.functions.indices.filter { demand.functions[$0].host == host && entries[$0]?.buses != nil }.count
    }

    /// The root bus and what the root bus's bridges hold.
    func heldBuses(_ host: Int) -> Int {
        1 + demand.hosts[host].roots.reduce(0) { $0 + (entries[$1]?.buses?.count ?? 0) }
    }

    /// Bus numbers that the bridges on a bridge's secondary bus hold.
    func busesBelow(_ place: Int) -> Int {
        demand.functions[place].children.reduce(0) { $0 + (entries[$1]?.buses?.count ?? 0) }
    }
}
