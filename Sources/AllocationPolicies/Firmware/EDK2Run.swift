// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// One run of `EDK2Policy`.
struct EDK2Run {
    let policy: EDK2Policy
    let demand: ResourceDemand
    var draft: LayoutDraft
    /// Functions that were rejected.
    private var rejected: [Bool]
    /// Bridges whose padding was given up.
    private var withoutPadding: [Bool]
    /// Whether resizable BARs are at their smallest size.
    private var isShrunk = false

    init(_ policy: EDK2Policy, _ demand: ResourceDemand) {
        self.policy = policy
        self.demand = demand
        draft = LayoutDraft(demand)
        rejected = Array(repeating: false, count: demand.functions.count)
        withoutPadding = rejected
    }

    // MARK: Bus numbers

    /// Depth first; a padded port reserves numbers behind its secondary bus, a function with VFs behind the last one.
    mutating func numberBuses(of host: Int) {
        var last = Int(demand.hosts[host].busRange.first.rawValue)
        number(demand.hosts[host].roots, &last, limit: Int(demand.hosts[host].busRange.last.rawValue))
    }

    private mutating func number(_ functions: [Int], _ last: inout Int, limit: Int) {
        var reservedForDevice = 0
        var device: UInt8?
        for place in functions {
            let function = demand.functions[place]
            if device != function.today.device { reservedForDevice = 0 }
            device = function.today.device
            guard function.bridge != nil else {
                if function.extraBuses > reservedForDevice {
                    last = min(last + function.extraBuses - reservedForDevice, limit)
                    reservedForDevice = function.extraBuses
                }
                continue
            }
            guard last < limit else {
                draft.notes.append("\(function.today): no bus number left")
                continue
            }
            last += 1
            let secondary = last
            number(function.children, &last, limit: limit)
            if let buses = padding(of: place)?.buses { last = max(last, min(secondary + buses, limit)) }
            draft.buses[place] = BusRange(
                first: BusNumber(UInt8(truncatingIfNeeded: secondary)),
                last: BusNumber(UInt8(truncatingIfNeeded: last))
            )
        }
    }

    // MARK: Padding

    private struct PortPadding {
        var buses = 0
        var io: UInt64 = 0
        var memory: UInt64 = 0
        var prefetchable32: UInt64 = 0
        var prefetchable64: UInt64 = 0
    }

    private func padding(of place: Int) -> PortPadding? {
        guard policy.padding == .ovmf, !withoutPadding[place], let ability = demand.functions[place].bridge,
            ability.hasStandardHotPlugController || (ability.isDownstreamPort && ability.isHotPlugCapable)
        else { return nil }
        var result = PortPadding(io: 512, memory: 0x20_0000)
        var hasPrefetchable = false
        if let hint = ability.reserveHint {
            result.buses = Int(min(hint.buses ?? 0, 255))
            if let io = hint.io { result.io = io.roundedUpToPowerOfTwo }
            if let memory = hint.memory { result.memory = memory.roundedUpToPowerOfTwo }
            if let low = hint.prefetchable32, low > 0 {
                result.prefetchable32 = low.roundedUpToPowerOfTwo
                hasPrefetchable = true
            } else if let high = hint.prefetchable64, high > 0 {
                result.prefetchable64 = high.roundedUpToPowerOfTwo
                hasPrefetchable = true
            }
        }
        let window = memory64(demand.functions[place].host)?.clampedSize ?? 0
        if !hasPrefetchable, window > 32 << 30 { result.prefetchable64 = (window >> 8).roundedUpToPowerOfTwo }
        return result
    }

    // MARK: Resource tree

    private struct Lists {
        var pools = Array(repeating: EDK2List(), count: EDK2Pool.allCases.count)

        subscript(_ pool: EDK2Pool) -> EDK2List {
            get { pools[pool.rawValue] }
            set { pools[pool.rawValue] = newValue }
        }

        mutating func merge(_ from: EDK2Pool, into pool: EDK2Pool) {
            var source = pools[from.rawValue]
            pools[pool.rawValue].merge(&source)
            pools[from.rawValue] = source
        }
    }

    private func size(of request: ResourceRequest) -> UInt64 {
        guard policy.resizesBARs, let least = request.sizes.first, let most = request.sizes.last else {
            return request.size
        }
        return isShrunk ? least : most
    }

    private func hasROM(_ place: Int) -> UInt64 {
        demand.functions[place].requests.first { $0.index.isROM }?.size ?? 0
    }

    private func addRequests(of place: Int, to lists: inout Lists) {
        for (r, request) in demand.functions[place].requests.enumerated() where !request.index.isROM {
            // A BAR smaller than a page is placed on a page of its own for the sake of device assignment.
            let length = size(of: request)
            let unit = request.index.isVFBAR ? request.alignment : length
            let node = EDK2Node(
                content: .request(place: place, index: r),
                length: length,
                alignment: request.kind == .io ? length - 1 : max(unit, 4096) - 1
            )
            lists[pool(of: request, on: place)].insert(node)
        }
    }

    private func pool(of request: ResourceRequest, on place: Int) -> EDK2Pool {
        guard request.kind != .io else { return .io }
        let wide = request.is64Bit && !(policy.degradesForOptionROM && hasROM(place) > 0)
        switch (request.kind, wide) {
        case (.prefetchable, true): return .prefetchable64
        case (.prefetchable, false): return .prefetchable32
        case (_, true): return .memory64
        default: return .memory32
        }
    }

    private func lists(below place: Int?, functions: [Int], host: Int) -> Lists {
        var lists = Lists()
        if place == nil {
            let shadow =
                demand.functions.indices.filter { demand.functions[$0].host == host && !rejected[$0] }
                .map(hasROM).max() ?? 0
            if shadow > 0 {
                lists[.memory32].insert(EDK2Node(content: .romShadow, length: shadow, alignment: shadow - 1))
            }
        }
        for child in functions where !rejected[child] {
            addRequests(of: child, to: &lists)
            guard demand.functions[child].bridge != nil else { continue }
            var below = self.lists(below: child, functions: demand.functions[child].children, host: host)
            for pool in EDK2Pool.allCases where !below[pool].nodes.isEmpty {
                let least: UInt64 = pool == .io ? 0xfff : 0xf_ffff
                let size = below[pool].size(pool, leastAlignment: least)
                lists[pool].insert(
                    EDK2Node(
                        content: .window(place: child, pool, children: below[pool].nodes),
                        length: size.length,
                        alignment: size.alignment
                    )
                )
            }
        }
        if let place, let padding = padding(of: place) {
            let wanted: [(EDK2Pool, UInt64)] = [
                (.prefetchable64, padding.prefetchable64), (.prefetchable32, padding.prefetchable32),
                (.memory32, padding.memory), (.io, padding.io),
            ]
            for (pool, length) in wanted where length > 0 {
                lists[pool].insert(EDK2Node(content: .padding(place: place), length: length, alignment: length - 1))
            }
        }
        degrade(&lists, place: place, host: host)
        return lists
    }

    /// Moves pools that the bridge, or the root, cannot decode to ones that it can.
    private func degrade(_ lists: inout Lists, place: Int?, host: Int) {
        let decodesHigh: Bool
        if let place {
            // A bridge has no 64-bit window for memory that is not prefetchable.
            lists.merge(.memory64, into: .memory32)
            decodesHigh = demand.functions[place].bridge?.prefetchableBits == 64
        } else {
            decodesHigh = memory64(host) != nil
            if !decodesHigh { lists.merge(.memory64, into: .memory32) }
        }
        if !decodesHigh { lists.merge(.prefetchable64, into: .prefetchable32) }
        guard place != nil else {
            if policy.combinesPrefetchable {
                lists.merge(.prefetchable32, into: .memory32)
                lists.merge(.prefetchable64, into: .memory64)
            }
            return
        }
        // One window cannot be below and above 4 GiB: the 64-bit pool keeps it. A bridge whose prefetchable window is
        // 32 bits wide is taken for one without.
        if !lists[.prefetchable64].nodes.isEmpty || !decodesHigh { lists.merge(.prefetchable32, into: .memory32) }
    }

    // MARK: Placing

    private func largest(_ host: Int, isIO: Bool, high: Bool) -> AddressRange? {
        demand.hosts[host].apertures.filter { $0.isIO == isIO && (isIO || ($0.range.first > 0xffff_ffff) == high) }
            .map(\.range).max { $0.clampedSize < $1.clampedSize }
    }

    private func memory64(_ host: Int) -> AddressRange? {
        policy.memory64 ?? largest(host, isIO: false, high: true)
    }

    private func aperture(_ pool: EDK2Pool, _ host: Int) -> [AddressRange] {
        let low = policy.memory32 ?? largest(host, isIO: false, high: false)
        let io = policy.io ?? largest(host, isIO: true, high: false)
        switch pool {
        case .io: return io.map { [$0] } ?? []
        case .memory32, .prefetchable32: return low.map { [$0] } ?? []
        case .memory64, .prefetchable64: return [memory64(host), low].compactMap { $0 }
        }
    }

    /// Builds the tree, asks the host bridge driver for every pool, and degrades until all are granted.
    mutating func allocate(_ host: Int) {
        while true {
            var lists = lists(below: nil, functions: demand.hosts[host].roots, host: host)
            var sizes: [(length: UInt64, alignment: UInt64)] = []
            for pool in EDK2Pool.allCases {
                sizes.append(lists[pool].size(pool, leastAlignment: pool == .io ? 0xfff : 0xf_ffff))
            }
            var bases: [UInt64?] = Array(repeating: nil, count: sizes.count)
            var taken = demand.hosts[host].obstacles
            // Largest alignment first; among equals the later pool.
            let order = EDK2Pool.allCases.filter { !lists[$0].nodes.isEmpty }
                .sorted { (sizes[$0.rawValue].alignment, $0.rawValue) > (sizes[$1.rawValue].alignment, $1.rawValue) }
            for pool in order {
                for range in aperture(pool, host) {
                    guard
                        let base = firstFit(
                            sizes[pool.rawValue],
                            in: range,
                            taken: taken.filter { $0.isIO == (pool == .io) }.map(\.range)
                        ), let held = AddressRange(first: base, size: sizes[pool.rawValue].length)
                    else { continue }
                    bases[pool.rawValue] = base
                    taken.append(HostDemand.Obstacle(range: held, isIO: pool == .io, name: "pool"))
                    break
                }
            }
            let failed = order.filter { bases[$0.rawValue] == nil }
            if failed.isEmpty {
                for pool in order {
                    if let base = bases[pool.rawValue] { program(lists[pool].nodes, base: base) }
                }
                return
            }
            guard adjust(lists, failed) else {
                draft.halt = "gives up: no room in the apertures for \(failed.map { "\($0)" }.joined(separator: ", "))"
                return
            }
        }
    }

    private func firstFit(
        _ size: (length: UInt64, alignment: UInt64),
        in range: AddressRange,
        taken: [AddressRange]
    ) -> UInt64? {
        for gap in range.subtracting(taken) {
            let step = size.alignment == .max ? 1 << 63 : size.alignment + 1
            guard let first = alignUp(gap.first, step), let block = AddressRange(first: first, size: size.length),
                gap.contains(block)
            else { continue }
            return first
        }
        return nil
    }

    /// Shrinks resizable BARs, or rejects the largest consumer of each failed pool.
    private mutating func adjust(_ lists: Lists, _ failed: [EDK2Pool]) -> Bool {
        if policy.resizesBARs, !isShrunk {
            isShrunk = true
            draft.notes.append("set every resizable BAR to its smallest size")
            return true
        }
        var hasChanged = false
        for pool in failed {
            guard let largest = largestConsumer(lists[pool].nodes) else { continue }
            switch largest.content {
            case .request(let place, _) where !rejected[place] && demand.functions[place].bridge == nil:
                rejected[place] = true
                for r in draft.reasons[place].indices {
                    draft.reasons[place][r] = "rejected as the largest consumer of a pool that did not fit"
                }
                draft.notes.append("rejected \(demand.functions[place].today)")
                hasChanged = true
            case .padding(let place) where !withoutPadding[place]:
                withoutPadding[place] = true
                draft.notes.append("gave up the padding of \(demand.functions[place].today)")
                hasChanged = true
            default: continue
            }
        }
        return hasChanged
    }

    /// The longest node that may be rejected: nothing on a root bus, no display controller; a later one among equals.
    private func largestConsumer(_ nodes: [EDK2Node]) -> EDK2Node? {
        var result: EDK2Node?
        for node in nodes {
            var candidate: EDK2Node?
            switch node.content {
            case .window(_, _, let children): candidate = largestConsumer(children)
            case .request(let place, _):
                let function = demand.functions[place]
                if !function.isOnRootBus, function.bridge == nil, function.identity.classWord != 0x0300 {
                    candidate = node
                }
            case .padding: candidate = node
            case .romShadow: candidate = nil
            }
            guard let candidate else { continue }
            if let best = result, best.length > candidate.length { continue }
            result = candidate
        }
        return result
    }

    private mutating func program(_ nodes: [EDK2Node], base: UInt64) {
        for node in nodes {
            let (first, overflow) = base.addingReportingOverflow(node.offset)
            guard !overflow else { continue }
            switch node.content {
            case .padding, .romShadow: continue
            case .request(let place, let r):
                draft.ranges[place][r] = AddressRange(first: first, size: size(of: demand.functions[place].requests[r]))
            case .window(let place, let pool, let children):
                program(children, base: first)
                if node.length > 0 { draft.openWindow(of: place, pool.kind, first: first, size: node.length) }
            }
        }
    }
}
