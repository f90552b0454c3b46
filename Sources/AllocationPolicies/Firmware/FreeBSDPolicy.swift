// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// FreeBSD's bridge windows that grow in place (freebsd-src, sys/dev/pci/pci_pci.c, NEW_PCIB).
///
/// Nothing is sized in advance: a request that finds no room in its bridge's window lets the window grow at the end
/// that costs less, which may let the window above grow in turn. The page Docs/policies/freebsd.md says more.
public struct FreeBSDPolicy: AllocationPolicy, Hashable {
    /// Whether what is programmed at present is kept, and only the rest is asked for.
    public var keepsToday: Bool

    /// Creates the policy.
    public init(keepsToday: Bool = false) { self.keepsToday = keepsToday }

    /// The name.
    public var name: String { keepsToday ? "freebsd keep" : "freebsd" }

    /// One sentence on what it does.
    public var summary: String {
        "asks for BARs one by one; windows open on demand and grow at either end into free neighbouring space"
    }

    /// Lays out the tree.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        var run = FreeBSDRun(demand)
        for host in demand.hosts.indices {
            run.numberBuses(of: host, keeps: keepsToday)
            if keepsToday { run.claimToday(host) }
            run.attach(demand.hosts[host].roots)
        }
        return run.draft.outcome(policy: name, defaultReason: "no window could grow far enough")
    }
}

private struct FreeBSDRun {
    let demand: ResourceDemand
    var draft: LayoutDraft
    /// What is taken inside each window, by place and kind; after the functions, one entry per host bridge.
    var taken: [[[AddressRange]]]
    /// In which list above a window was taken: its kind index (a prefetchable window may sit in a memory window).
    var heldIn: [[Int]]

    init(_ demand: ResourceDemand) {
        self.demand = demand
        draft = LayoutDraft(demand)
        taken = Array(repeating: [[], [], []], count: demand.functions.count + demand.hosts.count)
        heldIn = Array(repeating: [0, 1, 2], count: demand.functions.count)
    }

    /// Bus numbers grow at the end only. After a reset that numbers the buses densely, depth first.
    mutating func numberBuses(of host: Int, keeps: Bool) {
        let range = demand.hosts[host].busRange
        if keeps {
            for place in demand.functions.indices where demand.functions[place].host == host {
                draft.buses[place] = demand.functions[place].bridge?.busRangeToday
            }
            return
        }
        var last = Int(range.first.rawValue)
        func number(_ functions: [Int], _ buses: inout [BusRange?]) {
            for place in functions where demand.functions[place].bridge != nil && last < Int(range.last.rawValue) {
                last += 1
                let secondary = last
                number(demand.functions[place].children, &buses)
                buses[place] = BusRange(
                    first: BusNumber(UInt8(truncatingIfNeeded: secondary)),
                    last: BusNumber(UInt8(truncatingIfNeeded: last))
                )
            }
        }
        number(demand.hosts[host].roots, &draft.buses)
    }

    /// Takes over windows and BARs that hold addresses, from the top down; what lies outside its window is dropped.
    mutating func claimToday(_ host: Int) {
        let demand = self.demand
        let bridge = demand.hosts[host]
        let indices: [ResourceIndex] = [.ioWindow, .memoryWindow, .prefetchableWindow]
        for place in demand.functions.indices where demand.functions[place].host == host {
            let function = demand.functions[place]
            for (k, index) in indices.enumerated() {
                if let range = function.bridge?.windowsToday[index],
                    let held = claim(bridge.busRange(of: range, isIO: k == 0), k, above: place)
                {
                    draft.windows[place][k] = bridge.busRange(of: range, isIO: k == 0)
                    heldIn[place][k] = held
                }
            }
            for (r, request) in function.requests.enumerated() {
                guard let range = request.today else { continue }
                let bus = bridge.busRange(of: range, isIO: request.kind == .io)
                if claim(bus, Int(request.kind.rawValue), above: place) != nil { draft.ranges[place][r] = bus }
            }
        }
    }

    private mutating func claim(_ range: AddressRange, _ kind: Int, above place: Int) -> Int? {
        let list = list(above: place)
        for k in kind == 2 ? [2, 1] : [kind] where regions(list, k).contains(where: { $0.contains(range) }) {
            if taken[list][k].contains(where: { $0.overlaps(range) }) { return nil }
            taken[list][k].append(range)
            return k
        }
        return nil
    }

    private func list(above place: Int) -> Int {
        demand.functions[place].parent ?? demand.functions.count + demand.functions[place].host
    }

    /// The addresses that a list hands out: a window, or the apertures.
    private func regions(_ list: Int, _ kind: Int) -> [AddressRange] {
        if list < demand.functions.count { return draft.windows[list][kind].map { [$0] } ?? [] }
        return demand.hosts[list - demand.functions.count].freeRanges(isIO: kind == 0)
    }

    /// What holds addresses in a list; at the host bridge memory of both kinds shares the apertures.
    private func holders(_ list: Int, _ kind: Int) -> [AddressRange] {
        if list < demand.functions.count || kind == 0 { return taken[list][kind] }
        return taken[list][1] + taken[list][2]
    }

    mutating func attach(_ functions: [Int]) {
        for place in functions {
            for (r, request) in demand.functions[place].requests.enumerated() where draft.ranges[place][r] == nil {
                if request.index.isROM { continue }
                let limit: UInt64 = request.kind == .io ? 0xffff : request.is64Bit ? .max : 0xffff_ffff
                let kind = Int(request.kind.rawValue)
                draft.ranges[place][r] =
                    reserve(list(above: place), kind, request.size, request.alignment, limit)?.range
            }
            attach(demand.functions[place].children)
        }
    }

    private typealias Held = (range: AddressRange, kind: Int)

    /// A request of a child: room in the window first, in the prefetchable window before the other; then growth.
    private mutating func reserve(_ list: Int, _ kind: Int, _ size: UInt64, _ alignment: UInt64, _ limit: UInt64)
        -> Held?
    {
        let kinds = kind == 2 ? [2, 1] : [kind]
        for k in kinds {
            if let range = suballocate(list, k, size, alignment, limit) { return (range, k) }
        }
        guard list < demand.functions.count else { return nil }
        for k in kinds where grow(list, k, size, alignment, limit) {
            if let range = suballocate(list, k, size, alignment, limit) { return (range, k) }
        }
        return nil
    }

    private mutating func suballocate(
        _ list: Int,
        _ kind: Int,
        _ size: UInt64,
        _ alignment: UInt64,
        _ limit: UInt64
    ) -> AddressRange? {
        let held = holders(list, kind)
        for region in regions(list, kind) {
            for gap in region.subtracting(held) {
                guard let first = alignUp(gap.first, alignment), let range = AddressRange(first: first, size: size),
                    range.last <= min(gap.last, limit)
                else { continue }
                taken[list][kind].append(range)
                return range
            }
        }
        return nil
    }

    private func windowLimit(_ place: Int, _ kind: Int) -> UInt64? {
        guard let ability = demand.functions[place].bridge else { return nil }
        switch kind {
        case 0: return ability.ioBits == 0 ? nil : ability.ioBits == 16 ? 0xffff : 0xffff_ffff
        case 1: return 0xffff_ffff
        default: return ability.prefetchableBits == 0 ? nil : ability.prefetchableBits == 32 ? 0xffff_ffff : .max
        }
    }

    /// Opens a closed window for the request, or finds the end at which growth costs less and tries that first.
    private mutating func grow(_ place: Int, _ kind: Int, _ size: UInt64, _ alignment: UInt64, _ limit: UInt64) -> Bool
    {
        guard let windowLimit = windowLimit(place, kind) else { return false }
        let limit = min(limit, windowLimit)
        let step: UInt64 = kind == 0 ? 0x1000 : 0x10_0000
        guard let window = draft.windows[place][kind] else {
            guard let rounded = alignUp(size, step),
                let held = reserve(list(above: place), kind, rounded, max(alignment, step), limit | (step - 1))
            else { return false }
            draft.windows[place][kind] = held.range
            heldIn[place][kind] = held.kind
            return true
        }
        let free = window.subtracting(taken[place][kind])
        var candidates: [(cost: UInt64, range: AddressRange)] = []
        // At the front: up to the end of the free part there, or up to the window.
        var end = free.first.flatMap { $0.first == window.first ? $0.last : nil } ?? window.first
        if end > limit { end = limit == .max ? limit : limit + 1 }
        end = alignDown(end, alignment)
        if end >= size {
            let first = alignDown(end - size, step)
            if first < window.first, let range = AddressRange(first: first, last: window.last) {
                candidates.append((window.first - first, range))
            }
        }
        // At the back: from the start of the free part there, or from behind the window.
        let back =
            free.last.flatMap { $0.last == window.last ? $0.first : nil }
            ?? window.last.addingReportingOverflow(1).partialValue
        if back > 0, let first = alignUp(back, alignment), let block = AddressRange(first: first, size: size),
            block.last <= limit, block.last | (step - 1) > window.last,
            let range = AddressRange(first: window.first, last: block.last | (step - 1))
        {
            candidates.append((range.last - window.last, range))
        }
        if candidates.count == 2, candidates[1].cost < candidates[0].cost { candidates.swapAt(0, 1) }
        for candidate in candidates where expand(place, kind, to: candidate.range) { return true }
        return false
    }

    /// Gives a window new ends when the list above has the space, letting the window above grow when it must.
    private mutating func expand(_ place: Int, _ kind: Int, to range: AddressRange) -> Bool {
        guard let window = draft.windows[place][kind] else { return false }
        let above = list(above: place)
        let held = heldIn[place][kind]
        let others = holders(above, held).filter { $0 != window }
        guard !others.contains(where: { $0.overlaps(range) }) else { return false }
        if !regions(above, held).contains(where: { $0.contains(range) }) {
            guard above < demand.functions.count, let outer = draft.windows[above][held] else { return false }
            guard let limit = windowLimit(above, held), range.last <= limit else { return false }
            guard expand(above, held, to: outer.hull(range)) else { return false }
        }
        guard let i = taken[above][held].firstIndex(of: window) else { return false }
        taken[above][held][i] = range
        draft.windows[place][kind] = range
        return true
    }
}
