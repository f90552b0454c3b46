// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// U-Boot's PCI auto-configuration (u-boot, drivers/pci/pci_auto.c, pci_auto_common.c).
///
/// One walk, one pointer per region: align up, hand out, go on. The page Docs/policies/u-boot.md says more.
public struct UBootPolicy: AllocationPolicy, Hashable {
    /// The alignment of memory windows (PCI_BRIDGE_MEM_ALIGNMENT, 1 MiB by default).
    public var windowAlignment: UInt64

    /// Creates the policy.
    public init(windowAlignment: UInt64 = 0x10_0000) {
        self.windowAlignment = windowAlignment
    }

    /// The name.
    public var name: String { "u-boot" }

    /// One sentence on what it does.
    public var summary: String {
        "walks the tree once and hands out addresses in the order of discovery, one rising pointer per region"
    }

    /// Lays out the tree.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        var run = UBootRun(self, demand)
        for host in demand.hosts.indices { run.configure(host) }
        return run.draft.outcome(policy: name, defaultReason: "no room left in the region")
    }
}

private struct UBootRun {
    /// A region with its pointer; the end is inclusive.
    struct Region {
        var range: AddressRange
        /// The next free address, or nil when the region ends at the top of the space and is used up.
        var next: UInt64?
    }

    let policy: UBootPolicy
    let demand: ResourceDemand
    var draft: LayoutDraft
    var regions: [Region?] = [nil, nil, nil]
    var lastBus = 0

    init(_ policy: UBootPolicy, _ demand: ResourceDemand) {
        self.policy = policy
        self.demand = demand
        draft = LayoutDraft(demand)
    }

    /// The largest region of each kind. Where no aperture is declared prefetchable, the largest one above 4 GiB serves
    /// as the prefetchable region, as boards' device trees do.
    mutating func configure(_ host: Int) {
        let apertures = demand.hosts[host].apertures
        func largest(_ isRight: (ApertureDemand) -> Bool) -> Region? {
            let range = apertures.filter(isRight).map(\.range).max { $0.clampedSize < $1.clampedSize }
            // Address 0 is no address for a BAR; the first page is left out.
            return range.map { Region(range: $0, next: max($0.first, 0x1000)) }
        }
        regions = [
            largest { $0.isIO },
            largest { !$0.isIO && !$0.isPrefetchable && $0.range.last <= 0xffff_ffff },
            largest { !$0.isIO && $0.isPrefetchable }
                ?? largest { !$0.isIO && $0.range.first > 0xffff_ffff },
        ]
        lastBus = Int(demand.hosts[host].busRange.first.rawValue)
        configure(demand.hosts[host].roots, limit: Int(demand.hosts[host].busRange.last.rawValue))
    }

    private mutating func configure(_ functions: [Int], limit: Int) {
        for place in functions {
            for (r, request) in demand.functions[place].requests.enumerated() {
                if request.index.isVFBAR {
                    draft.reasons[place][r] = "u-boot gives VFs no space"
                    continue
                }
                // The ROM is taken from the memory region.
                var kind = request.kind
                if kind == .prefetchable, !takesPrefetchable(request) || request.index.isROM { kind = .memory }
                draft.ranges[place][r] = take(request, from: kind)
                if draft.ranges[place][r] == nil, request.is64Bit, !request.index.isROM { takeStray(request.size) }
            }
            guard demand.functions[place].bridge != nil else { continue }
            guard lastBus < limit else {
                draft.notes.append("\(demand.functions[place].today): no bus number left")
                continue
            }
            lastBus += 1
            let secondary = lastBus
            var starts: [UInt64?] = []
            for kind in ResourceKind.allCases { starts.append(align(kind)) }
            configure(demand.functions[place].children, limit: limit)
            for kind in ResourceKind.allCases {
                guard let start = starts[Int(kind.rawValue)], let end = align(kind), end > start, hasWindow(place, kind)
                else { continue }
                draft.windows[place][Int(kind.rawValue)] = AddressRange(first: start, last: end - 1)
            }
            draft.buses[place] = BusRange(
                first: BusNumber(UInt8(truncatingIfNeeded: secondary)),
                last: BusNumber(UInt8(truncatingIfNeeded: lastBus))
            )
        }
    }

    private func hasWindow(_ place: Int, _ kind: ResourceKind) -> Bool {
        guard let ability = demand.functions[place].bridge else { return false }
        switch kind {
        case .io: return ability.ioBits > 0
        case .memory: return true
        case .prefetchable: return ability.prefetchableBits > 0
        }
    }

    private func takesPrefetchable(_ request: ResourceRequest) -> Bool {
        guard let region = regions[2] else { return false }
        return request.is64Bit || (region.next ?? .max) <= 0xffff_ffff
    }

    private mutating func take(_ request: ResourceRequest, from kind: ResourceKind) -> AddressRange? {
        guard var region = regions[Int(kind.rawValue)], let next = region.next,
            let first = alignUp(next, request.size), let range = AddressRange(first: first, size: request.size),
            range.last <= region.range.last, request.is64Bit || range.last <= 0xffff_ffff
        else { return nil }
        region.next = range.last == .max ? nil : range.last + 1
        regions[Int(kind.rawValue)] = region
        return range
    }

    /// After a 64-bit BAR that did not fit, the walk goes on with its upper register as if it were a BAR of its own: what
    /// that register answers to sizing asks for a few bytes, 16 and up, that nobody can use.
    private mutating func takeStray(_ size: UInt64) {
        let bits = 63 - size.leadingZeroBitCount
        // Below 8 GiB the register answers all ones and is skipped; at 16 GiB it reads as another 64-bit BAR that fails.
        guard bits >= 33, bits != 34 else { return }
        let isPrefetchable = bits == 35 || bits == 33
        let bytes: UInt64 = isPrefetchable ? 16 : 1 << UInt64(bits - 32)
        let kind = isPrefetchable && (regions[2].map { ($0.next ?? .max) <= 0xffff_ffff } ?? false) ? 2 : 1
        guard var region = regions[kind], let next = region.next, let first = alignUp(next, bytes),
            let range = AddressRange(first: first, size: bytes), range.last <= min(region.range.last, 0xffff_ffff)
        else { return }
        region.next = range.last + 1
        regions[kind] = region
    }

    /// Aligns the pointer of a region for a window's edge and returns it.
    private mutating func align(_ kind: ResourceKind) -> UInt64? {
        guard let next = regions[Int(kind.rawValue)]?.next else { return nil }
        let aligned = alignUp(next, kind == .io ? 0x1000 : policy.windowAlignment)
        regions[Int(kind.rawValue)]?.next = aligned
        return aligned
    }
}
