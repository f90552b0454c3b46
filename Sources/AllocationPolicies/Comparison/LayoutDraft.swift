// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// A layout under construction, in bus addresses; the places are those of the demand.
struct LayoutDraft {
    let demand: ResourceDemand
    /// Ranges of the requests, parallel to `demand.functions[i].requests`.
    var ranges: [[AddressRange?]]
    /// Why a request has no range.
    var reasons: [[String?]]
    /// The windows of bridges: I/O, memory, prefetchable.
    var windows: [[AddressRange?]]
    /// The bus ranges of bridges.
    var buses: [BusRange?]
    var halt: String?
    var notes: [String]

    init(_ demand: ResourceDemand) {
        self.demand = demand
        ranges = demand.functions.map { Array(repeating: nil, count: $0.requests.count) }
        reasons = ranges.map { $0.map { _ in nil } }
        windows = demand.functions.map { _ in [nil, nil, nil] }
        buses = demand.functions.map { _ in nil }
        notes = demand.notes
    }

    /// The number of the bus that the function at `place` sits on, or nil when its bridge has no bus.
    func bus(of place: Int) -> BusNumber? {
        guard let parent = demand.functions[place].parent else {
            return demand.hosts[demand.functions[place].host].busRange.first
        }
        return buses[parent]?.first
    }

    /// Records the window of `kind` as `size` bytes at `first`, widened to the granularity of its registers.
    mutating func openWindow(of place: Int, _ kind: ResourceKind, first: UInt64, size: UInt64) {
        guard let range = AddressRange(first: first, size: size) else { return }
        let mask: UInt64 = kind == .io ? 0xfff : 0xf_ffff
        windows[place][Int(kind.rawValue)] = AddressRange(first: range.first & ~mask, last: range.last | mask)
    }

    /// The finished outcome. A request without range and without reason counts as `defaultReason`.
    func outcome(policy: String, defaultReason: String) -> PolicyOutcome {
        let indices: [ResourceIndex] = [.ioWindow, .memoryWindow, .prefetchableWindow]
        var functions: [FunctionOutcome] = []
        functions.reserveCapacity(demand.functions.count)
        for (place, function) in demand.functions.enumerated() {
            let host = demand.hosts[function.host]
            var entry = FunctionOutcome(path: function.path, today: function.today, bus: bus(of: place))
            for (r, request) in function.requests.enumerated() {
                let range = ranges[place][r].map { host.cpuRange(of: $0, isIO: request.kind == .io) }
                let reason = range == nil ? halt ?? reasons[place][r] ?? defaultReason : nil
                entry.resources.append(ResourceOutcome(request, range: range, reason: reason))
            }
            for (k, index) in indices.enumerated() {
                if let range = windows[place][k] {
                    entry.windows.append(
                        WindowOutcome(index: index, range: host.cpuRange(of: range, isIO: k == 0))
                    )
                }
            }
            entry.buses = buses[place]
            functions.append(entry)
        }
        return PolicyOutcome(policy: policy, functions: functions, halt: halt, notes: notes)
    }
}
