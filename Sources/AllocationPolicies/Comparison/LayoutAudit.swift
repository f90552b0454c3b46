// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Whether a layout works on hardware, checked without knowing how it was made.
///
/// Every range must be aligned, inside the window above it (an aperture on a root bus, unless the policy ignores
/// apertures and has the whole space), reachable with the address width of the BAR or window, and share no address with
/// a sibling; bus ranges must nest and not overlap.
public struct LayoutAudit: Hashable, Sendable {
    /// What is wrong, lower-case sentences in walk order; empty for a sound layout.
    public var violations: [String] = []
    private let ignoresApertures: Bool

    /// Checks `outcome` against what `demand` says about the tree.
    /// - Complexity: O(n log n) in the number of ranges.
    public init(_ outcome: PolicyOutcome, _ demand: ResourceDemand) {
        ignoresApertures = outcome.ignoresApertures
        let entries = Dictionary(outcome.functions.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        for h in demand.hosts.indices {
            check(demand.hosts[h].roots, above: nil, host: demand.hosts[h], demand, entries)
        }
    }

    private struct Claim {
        var range: AddressRange
        var isIO: Bool
        var owner: String
    }

    private mutating func check(
        _ functions: [Int],
        above: (FunctionDemand, FunctionOutcome)?,
        host: HostDemand,
        _ demand: ResourceDemand,
        _ entries: [TopologyPath: FunctionOutcome]
    ) {
        var claims: [Claim] = []
        var buses: [(BusRange, FunctionDemand)] = []
        for place in functions {
            let function = demand.functions[place]
            guard let entry = entries[function.path] else { continue }
            for resource in entry.resources {
                guard let range = resource.range else { continue }
                let owner = "\(function.today) \(resource.index)"
                let request = function.requests.first { $0.index == resource.index }
                // A legacy port that firmware wired by hand is outside all windows and of no size's alignment.
                if resource.kind == .io, range.last < 0x1000 { continue }
                let alignment = resource.index.isVFBAR ? request?.alignment ?? 1 : resource.size
                if alignment > 1, alignment & (alignment - 1) == 0, range.first & (alignment - 1) != 0 {
                    violations.append("\(owner): \(range) is not aligned to \(ByteCount(alignment))")
                }
                let bus = host.busRange(of: range, isIO: resource.kind == .io)
                if resource.kind != .io, request?.is64Bit == false, bus.last > 0xffff_ffff {
                    violations.append("\(owner): 32-bit BAR above 4 GiB at \(range)")
                }
                // A ROM may be in either memory window: kernels take it for prefetchable.
                let kind: ResourceKind = resource.index.isROM ? .prefetchable : resource.kind
                checkContained(range, kind, owner, above, host)
                claims.append(Claim(range: range, isIO: resource.kind == .io, owner: owner))
            }
            for window in entry.windows {
                let kind: ResourceKind =
                    window.index == .ioWindow ? .io : window.index == .memoryWindow ? .memory : .prefetchable
                let owner = "\(function.today) \(window.index)"
                // Memory windows have 32 bits, prefetchable ones what their type says; ranges beyond do not get into the
                // registers.
                if kind == .memory || (kind == .prefetchable && function.bridge?.prefetchableBits == 32),
                    host.busRange(of: window.range, isIO: false).last > 0xffff_ffff
                {
                    violations.append("\(owner): 32-bit window above 4 GiB at \(window.range)")
                }
                checkContained(window.range, kind, owner, above, host)
                claims.append(Claim(range: window.range, isIO: kind == .io, owner: owner))
            }
            if let range = entry.buses { buses.append((range, function)) }
            check(function.children, above: (function, entry), host: host, demand, entries)
        }
        checkDisjoint(claims)
        checkBuses(buses, above?.1.buses ?? host.busRange)
    }

    private mutating func checkContained(
        _ range: AddressRange,
        _ kind: ResourceKind,
        _ owner: String,
        _ above: (FunctionDemand, FunctionOutcome)?,
        _ host: HostDemand
    ) {
        guard let (function, entry) = above else {
            if ignoresApertures { return }
            let isInside = host.apertures.contains { aperture in
                guard aperture.isIO == (kind == .io), let cpu = aperture.range.shifted(by: aperture.offset) else {
                    return false
                }
                return cpu.contains(range)
            }
            if !isInside, !host.apertures.isEmpty { violations.append("\(owner): \(range) is outside the apertures") }
            return
        }
        if function.bridge?.isSubtractive == true { return }
        let windows: [ResourceIndex]
        switch kind {
        case .io: windows = [.ioWindow]
        case .memory: windows = [.memoryWindow]
        case .prefetchable: windows = [.prefetchableWindow, .memoryWindow]
        }
        if !windows.contains(where: { entry.window($0)?.contains(range) == true }) {
            violations.append("\(owner): \(range) is outside the windows of \(function.today)")
        }
    }

    private mutating func checkDisjoint(_ claims: [Claim]) {
        let sorted = claims.sorted { ($0.isIO ? 0 : 1, $0.range) < ($1.isIO ? 0 : 1, $1.range) }
        guard var holder = sorted.first else { return }
        for claim in sorted.dropFirst() {
            if claim.isIO == holder.isIO, claim.range.overlaps(holder.range) {
                violations.append("\(claim.owner): \(claim.range) overlaps \(holder.owner) \(holder.range)")
            }
            if claim.isIO != holder.isIO || claim.range.last > holder.range.last { holder = claim }
        }
    }

    private mutating func checkBuses(_ buses: [(BusRange, FunctionDemand)], _ above: BusRange) {
        let sorted = buses.sorted { $0.0 < $1.0 }
        for (i, (range, function)) in sorted.enumerated() {
            if !above.contains(range) { violations.append("\(function.today): \(range) is outside \(above)") }
            if i > 0, sorted[i - 1].0.overlaps(range) {
                violations.append("\(function.today): \(range) overlaps \(sorted[i - 1].0) of \(sorted[i - 1].1.today)")
            }
        }
    }
}
