// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// coreboot's resource allocator v4 (coreboot, src/device/resource_allocator_v4.c, pci_device.c, pciexp_device.c).
///
/// Pass 1 gives every window a size with its contents at relative offsets; pass 2 takes the root bus's requests,
/// largest alignment first and memory kinds mixed, from the free ranges, from the top by default. A bridge gets its
/// whole window or none. The page Docs/policies/coreboot.md says more.
public struct CorebootPolicy: AllocationPolicy, Hashable {
    /// Whether ranges are taken from the top (RESOURCE_ALLOCATION_TOP_DOWN, default true).
    public var isTopDown: Bool
    /// Whether every 64-bit BAR may go above 4 GiB (ALWAYS_ALLOW_ABOVE_4G_ALLOCATION, false by default on x86).
    public var allowsHigh: Bool
    /// The largest size of a resizable BAR as an exponent of 2 (PCIEXP_DEFAULT_MAX_RESIZABLE_BAR_BITS, 29); nil leaves
    /// resizable BARs alone.
    public var resizableBits: Int?
    /// The reserve of a hot-plug port; nil without hot-plug support.
    public var reserve: Reserve?

    /// What a hot-plug port gets for cards to come.
    public struct Reserve: Hashable, Sendable {
        /// Bus numbers (PCIEXP_HOTPLUG_BUSES).
        public var buses = 8
        /// Memory bytes (PCIEXP_HOTPLUG_MEM).
        public var memory: UInt64 = 8 << 20
        /// Prefetchable bytes, above 4 GiB where that is possible (PCIEXP_HOTPLUG_PREFETCH_MEM).
        public var prefetchable: UInt64 = 256 << 20
        /// I/O bytes (PCIEXP_HOTPLUG_IO).
        public var io: UInt64 = 2048

        /// Creates coreboot's defaults.
        public init() {}
    }

    /// Creates the policy; the defaults are coreboot's on x86 with hot-plug support.
    public init(
        isTopDown: Bool = true,
        allowsHigh: Bool = false,
        resizableBits: Int? = 29,
        reserve: Reserve? = Reserve()
    ) {
        self.isTopDown = isTopDown
        self.allowsHigh = allowsHigh
        self.resizableBits = resizableBits
        self.reserve = reserve
    }

    /// The name.
    public var name: String { "coreboot v4" + (allowsHigh ? " high" : "") }

    /// One sentence on what it does.
    public var summary: String {
        "sizes windows bottom-up, then takes whole windows from the top of the free ranges, largest alignment first"
    }

    /// Lays out the tree.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        var run = CorebootRun(self, demand)
        for host in demand.hosts.indices {
            run.numberBuses(of: host)
            run.allocate(host)
        }
        return run.draft.outcome(policy: name, defaultReason: "did not fit, or the window above it did not")
    }
}

/// A request on a bus: a BAR, a reserve, or the window of a bridge.
private struct CorebootResource {
    enum Content {
        case request(place: Int, index: Int)
        case reserve
        case window(place: Int, children: [CorebootResource])
    }

    var content: Content
    var kind: ResourceKind
    var size: UInt64
    var alignment: UInt64
    /// The highest address that it may end at.
    var limit: UInt64
    /// The offset in the window above, after pass 1.
    var offset: UInt64 = 0
}

private struct CorebootRun {
    let policy: CorebootPolicy
    let demand: ResourceDemand
    var draft: LayoutDraft

    init(_ policy: CorebootPolicy, _ demand: ResourceDemand) {
        self.policy = policy
        self.demand = demand
        draft = LayoutDraft(demand)
    }

    private func isHotPlug(_ place: Int) -> Bool {
        policy.reserve != nil && demand.functions[place].bridge?.isHotPlugCapable == true
    }

    /// Depth first; a hot-plug port keeps its reserve between its secondary bus and the buses found below.
    mutating func numberBuses(of host: Int) {
        let range = demand.hosts[host].busRange
        var last = Int(range.first.rawValue)
        number(demand.hosts[host].roots, &last, limit: Int(range.last.rawValue))
    }

    private mutating func number(_ functions: [Int], _ last: inout Int, limit: Int) {
        for place in functions where demand.functions[place].bridge != nil {
            guard last < limit else {
                draft.notes.append("\(demand.functions[place].today): no bus number left")
                continue
            }
            let secondary = last + 1
            last = secondary
            if isHotPlug(place), let reserve = policy.reserve {
                last = min(secondary + reserve.buses, limit)
                if last == limit { draft.notes.append("\(demand.functions[place].today): reserve of buses cut short") }
            }
            number(demand.functions[place].children, &last, limit: limit)
            draft.buses[place] = BusRange(
                first: BusNumber(UInt8(truncatingIfNeeded: secondary)),
                last: BusNumber(UInt8(truncatingIfNeeded: last))
            )
        }
    }

    // MARK: Pass 1

    private let low: UInt64 = 0xffff_ffff

    /// The highest address that a BAR may end at; 32 bits unless the build or the BAR says otherwise.
    private func limit(of request: ResourceRequest, belowHotPlug: Bool) -> UInt64 {
        guard request.kind != .io else { return 0xffff }
        guard request.is64Bit, !request.index.isROM else { return low }
        let isExempt =
            request.index.isVFBAR || (!request.sizes.isEmpty && policy.resizableBits != nil)
            || (request.kind == .prefetchable && belowHotPlug)
        return policy.allowsHigh || isExempt ? .max : low
    }

    private func size(of request: ResourceRequest) -> UInt64 {
        guard let bits = policy.resizableBits, let most = request.sizes.last else { return request.size }
        return min(most, 1 << UInt64(min(max(bits, 20), 63)))
    }

    /// The requests on the bus of `functions`, by alignment and then size, largest first; equal ones in order found.
    private func requests(_ functions: [Int], _ isOfKind: (ResourceKind) -> Bool, belowHotPlug: Bool)
        -> [CorebootResource]
    {
        var result: [CorebootResource] = []
        for place in functions {
            // Windows come first in a bridge's list: I/O, prefetchable, memory.
            for kind in [ResourceKind.io, .prefetchable, .memory] where isOfKind(kind) {
                if let window = window(of: place, kind, belowHotPlug: belowHotPlug) { result.append(window) }
            }
            for (r, request) in demand.functions[place].requests.enumerated() where isOfKind(request.kind) {
                let size = size(of: request)
                let unit = request.index.isVFBAR ? request.alignment : size
                result.append(
                    CorebootResource(
                        content: .request(place: place, index: r),
                        kind: request.kind,
                        size: size,
                        alignment: request.kind == .io ? unit : max(unit, 4096),
                        limit: limit(of: request, belowHotPlug: belowHotPlug)
                    )
                )
            }
        }
        return sorted(result)
    }

    private func sorted(_ list: [CorebootResource]) -> [CorebootResource] {
        list.enumerated().sorted { a, b in
            if a.element.alignment != b.element.alignment { return a.element.alignment > b.element.alignment }
            if a.element.size != b.element.size { return a.element.size > b.element.size }
            return a.offset < b.offset
        }.map(\.element)
    }

    private func window(of place: Int, _ kind: ResourceKind, belowHotPlug: Bool) -> CorebootResource? {
        guard let ability = demand.functions[place].bridge else { return nil }
        var limit: UInt64
        switch kind {
        case .io:
            guard ability.ioBits > 0 else { return nil }
            limit = ability.ioBits == 32 ? low : 0xffff
        case .memory: limit = low
        case .prefetchable:
            guard ability.prefetchableBits > 0 else { return nil }
            limit = ability.prefetchableBits == 64 ? .max : low
        }
        let isPort = isHotPlug(place)
        var children = requests(
            demand.functions[place].children,
            { $0 == kind },
            belowHotPlug: belowHotPlug || isPort
        )
        if isPort, let reserve = policy.reserve {
            let size = kind == .io ? reserve.io : kind == .memory ? reserve.memory : reserve.prefetchable
            children.append(
                CorebootResource(
                    content: .reserve,
                    kind: kind,
                    size: size,
                    alignment: 4096,
                    limit: kind == .io ? 0xffff : kind == .memory ? low : .max
                )
            )
            children = sorted(children)
        }
        let granularity: UInt64 = kind == .io ? 0x1000 : 0x10_0000
        var alignment = granularity
        var end: UInt64 = 0
        for i in children.indices {
            alignment = max(alignment, children[i].alignment)
            limit = min(limit, children[i].limit)
            children[i].offset = alignUp(end, children[i].alignment) ?? .max
            let (sum, overflow) = children[i].offset.addingReportingOverflow(children[i].size)
            end = overflow ? .max : sum
        }
        guard end > 0, let size = alignUp(end, granularity) else { return nil }
        return CorebootResource(
            content: .window(place: place, children: children),
            kind: kind,
            size: size,
            alignment: alignment,
            limit: limit
        )
    }

    // MARK: Pass 2

    mutating func allocate(_ host: Int) {
        let roots = demand.hosts[host].roots
        for isIO in [true, false] {
            var free = demand.hosts[host].freeRanges(isIO: isIO)
            if isIO, let vga = AddressRange(first: 0x3b0, last: 0x3df) { free = free.flatMap { $0.subtracting([vga]) } }
            for resource in requests(roots, { ($0 == .io) == isIO }, belowHotPlug: false) {
                guard let range = steal(resource, from: &free) else { continue }
                assign(resource, at: range.first)
            }
        }
    }

    private func steal(_ resource: CorebootResource, from free: inout [AddressRange]) -> AddressRange? {
        var found: (index: Int, first: UInt64)?
        for (i, range) in free.enumerated() {
            guard let first = alignUp(range.first, resource.alignment),
                let block = AddressRange(first: first, size: resource.size), block.last <= range.last
            else { continue }
            if block.last > resource.limit { break }
            found = (i, first)
            if !policy.isTopDown { break }
        }
        guard let (index, lowest) = found else { return nil }
        var first = lowest
        if policy.isTopDown {
            let top = min(resource.limit, free[index].last)
            // The lowest place fits below `top`, so the difference cannot wrap.
            first = alignDown(top - (resource.size - 1), resource.alignment)
        }
        guard let range = AddressRange(first: first, size: resource.size) else { return nil }
        free = free.flatMap { $0.subtracting([range]) }
        return range
    }

    private mutating func assign(_ resource: CorebootResource, at first: UInt64) {
        switch resource.content {
        case .reserve: return
        case .request(let place, let r):
            draft.ranges[place][r] = AddressRange(first: first, size: resource.size)
        case .window(let place, let children):
            draft.openWindow(of: place, resource.kind, first: first, size: resource.size)
            for child in children {
                let (start, overflow) = first.addingReportingOverflow(child.offset)
                if !overflow { assign(child, at: start) }
            }
        }
    }
}
