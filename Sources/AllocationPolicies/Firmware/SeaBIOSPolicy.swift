// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// SeaBIOS as QEMU's firmware (seabios, src/fw/pciinit.c).
///
/// Two passes: sizes propagate from the highest bus to bus 0; then every list is laid down without gaps, largest
/// alignment first. It halts the machine rather than leave a BAR out. The page Docs/policies/seabios.md says more.
public struct SeaBIOSPolicy: AllocationPolicy, Hashable {
    /// The release whose rules apply.
    public enum Release: String, Hashable, Sendable, CaseIterable {
        /// 1.16.2: an empty hot-plug port gets the minimum, 64-bit BARs move up only when they must.
        case v1_16_2 = "1.16.2"
        /// 1.17.0: a hot-plug port never gets less than its alignment, and with RAM above 4 GiB 64-bit BARs move up
        /// always, with prefetchable windows of ports padded to 1/2048 of the address space.
        case v1_17_0 = "1.17.0"
    }

    /// The release.
    public var release: Release
    /// The bus addresses below 4 GiB for memory; nil: the memory aperture that ends at 0xfebfffff, where
    /// SeaBIOS itself ends below the I/O APIC, as QEMU declares it; without one the largest below 4 GiB.
    public var memory: AddressRange?
    /// The first bus address above 4 GiB; nil: the start of the first aperture above 4 GiB.
    public var highStart: UInt64?
    /// The number of physical address bits; nil: as many as the highest aperture needs. Only 1.17.0 looks at it.
    public var physicalAddressBits: Int?
    /// Whether there is RAM above 4 GiB. Only 1.17.0 looks at it.
    public var hasHighRAM: Bool

    /// Creates the policy.
    public init(
        release: Release = .v1_17_0,
        memory: AddressRange? = nil,
        highStart: UInt64? = nil,
        physicalAddressBits: Int? = nil,
        hasHighRAM: Bool = true
    ) {
        self.release = release
        self.memory = memory
        self.highStart = highStart
        self.physicalAddressBits = physicalAddressBits
        self.hasHighRAM = hasHighRAM
    }

    /// The name.
    public var name: String { "seabios \(release.rawValue)" }

    /// One sentence on what it does.
    public var summary: String {
        "sorts by alignment, packs downwards from 4 GiB, moves 64-bit BARs up when they do not fit, halts when all fails"
    }

    /// Lays out the tree.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        var run = SeaBIOSRun(self, demand)
        for host in demand.hosts.indices {
            run.numberBuses(of: host)
            run.sizeWindows(of: host)
            run.place(host)
        }
        run.fixLegacyPorts()
        return run.draft.outcome(policy: name, defaultReason: "the bridge above has no window of this kind")
    }
}

/// One entry of a bus's list: a BAR, or the window of the bridge to another bus.
private struct Entry {
    var place: Int
    /// The request of the function, or nil for a window.
    var request: Int?
    var size: UInt64
    var alignment: UInt64
    var is64Bit: Bool
    var kind: ResourceKind
}

private struct SeaBIOSRun {
    let policy: SeaBIOSPolicy
    let demand: ResourceDemand
    var draft: LayoutDraft
    /// The lists of the bus below each function (index) or of the host bridge (extra entries at the end), by kind.
    var lists: [[[Entry]]]

    init(_ policy: SeaBIOSPolicy, _ demand: ResourceDemand) {
        self.policy = policy
        self.demand = demand
        draft = LayoutDraft(demand)
        lists = Array(repeating: [[], [], []], count: demand.functions.count + demand.hosts.count)
    }

    /// Numbers depth first; a bridge's reserve raises its last number.
    mutating func numberBuses(of host: Int) {
        let range = demand.hosts[host].busRange
        var last = Int(range.first.rawValue)
        number(demand.hosts[host].roots, &last, limit: Int(range.last.rawValue))
    }

    private mutating func number(_ functions: [Int], _ last: inout Int, limit: Int) {
        for place in functions {
            guard let ability = demand.functions[place].bridge else { continue }
            last += 1
            let secondary = last
            guard secondary <= limit else {
                draft.notes.append("\(demand.functions[place].today): no bus number left")
                continue
            }
            number(demand.functions[place].children, &last, limit: limit)
            var subordinate = last
            if let hint = ability.reserveHint, hint.device == 0x000c || hint.device == 0x0001, let wanted = hint.buses {
                // The reserve replaces the number that was counted, also where it is the smaller of the two: the
                // result may lie below the secondary bus, and the count then goes on from there.
                var reserve = Int(wanted & 0xff)
                if reserve + secondary > 0xff { reserve = 0 }
                subordinate = secondary + reserve > last ? secondary + reserve : reserve
                if subordinate < last {
                    let used = last - secondary
                    draft.notes.append(
                        "\(demand.functions[place].today): a reserve of \(reserve) buses, \(used) in use; the subordinate "
                            + "number becomes \(subordinate) and later bridges repeat numbers"
                    )
                }
            }
            last = subordinate
            if let buses = BusRange(
                first: BusNumber(UInt8(truncatingIfNeeded: secondary)),
                last: BusNumber(UInt8(truncatingIfNeeded: min(max(subordinate, secondary), 255)))
            ) {
                draft.buses[place] = buses
            }
        }
    }

    /// Inserts before the first entry with a smaller alignment, or the same and a smaller size.
    private mutating func insert(_ entry: Entry, list: Int) {
        let kind = Int(entry.kind.rawValue)
        let at =
            lists[list][kind].firstIndex {
                $0.alignment < entry.alignment || ($0.alignment == entry.alignment && $0.size < entry.size)
            } ?? lists[list][kind].count
        lists[list][kind].insert(entry, at: at)
    }

    private func list(above place: Int) -> Int {
        demand.functions[place].parent ?? demand.functions.count + demand.functions[place].host
    }

    /// The largest power of two up to the end of the space that 64-bit BARs may use; 0 when the release does not look.
    private var top: UInt64 {
        guard policy.release == .v1_17_0 else { return 0 }
        // Above 44 bits old guests fail (virtio), unless more than 1 TiB of RAM forces it; that much RAM is not modelled.
        if let bits = policy.physicalAddressBits { return bits > 0 ? 1 << UInt64(min(bits, 44)) : 0 }
        guard let last = demand.hosts.flatMap(\.apertures).map(\.range.last).max(), last < 1 << 63 else { return 0 }
        return min(1 << UInt64(63 - (last + 1).leadingZeroBitCount), 1 << 44)
    }

    private func padsHigh(_ host: Int) -> Bool {
        policy.release == .v1_17_0 && policy.hasHighRAM && high(host) != nil
    }

    /// The addresses above 4 GiB, or nil when the host bridge decodes none.
    private func high(_ host: Int) -> AddressRange? {
        let apertures = demand.hosts[host].apertures.filter { !$0.isIO && $0.range.first > 0xffff_ffff }.map(\.range)
        guard let largest = apertures.max(by: { $0.clampedSize < $1.clampedSize }) else { return nil }
        return AddressRange(first: policy.highStart ?? largest.first, last: largest.last)
    }

    /// Collects the BARs, then walks from the highest secondary bus to the lowest and hands sums up.
    mutating func sizeWindows(of host: Int) {
        let places = demand.functions.indices.filter { demand.functions[$0].host == host }
        for place in places {
            for (r, request) in demand.functions[place].requests.enumerated() where !request.index.isVFBAR {
                let size = request.kind == .io ? request.size : max(request.size, 4096)
                insert(
                    Entry(
                        place: place,
                        request: r,
                        size: size,
                        alignment: size,
                        is64Bit: request.is64Bit && request.index.isBAR,
                        kind: request.kind
                    ),
                    list: list(above: place)
                )
            }
            for (r, request) in demand.functions[place].requests.enumerated() where request.index.isVFBAR {
                draft.reasons[place][r] = "seabios knows no SR-IOV"
            }
        }
        let bridges = places.filter { demand.functions[$0].bridge != nil && draft.buses[$0] != nil }
        // Walk order ascends with bus numbers; a stable order keeps it where the reserve quirk repeats a number.
        for place in bridges.reversed() {
            guard let ability = demand.functions[place].bridge else { continue }
            for kind in ResourceKind.allCases { propagate(place, ability, kind) }
        }
    }

    private mutating func propagate(_ place: Int, _ ability: BridgeAbility, _ kind: ResourceKind) {
        if kind == .io && ability.ioBits == 0 || kind == .prefetchable && ability.prefetchableBits == 0 { return }
        let entries = lists[place][Int(kind.rawValue)]
        var alignment: UInt64 = kind == .io ? 0x1000 : 0x20_0000
        var hint: UInt64 = 0
        if let reserve = ability.reserveHint, reserve.device == 0x000c || reserve.device == 0x0001 {
            switch kind {
            case .io: hint = reserve.io ?? 0
            case .memory: hint = reserve.memory ?? 0
            case .prefetchable:
                switch (reserve.prefetchable32, reserve.prefetchable64) {
                case (let low?, nil): hint = low
                case (nil, let high?): hint = high
                default: hint = 0
                }
            }
        }
        alignment = max(alignment, entries.first?.alignment ?? 1)
        var sum = entries.reduce(UInt64(0)) { $0.addingReportingOverflow($1.size).partialValue }
        let is64Bit = kind == .prefetchable && ability.prefetchableBits == 64 && entries.allSatisfy(\.is64Bit)
        let isExpressSlot = ability.isDownstreamPort && ability.hasSlot
        let isHotPlug =
            ability.portType == nil || ability.portType == .bridgeToPCI
            ? ability.hasStandardHotPlugController : isExpressSlot
        let isOptional = isExpressSlot && kind == .io
        if policy.release == .v1_17_0 {
            let padding = top >> 11
            if isHotPlug, padsHigh(demand.functions[place].host), is64Bit, padding > alignment { alignment = padding }
            if alignment > sum, isHotPlug, !isOptional { sum = alignment }
        } else if sum == 0, isHotPlug, !isOptional {
            sum = alignment
        }
        let size: UInt64
        if hint > sum {
            size = kind == .io ? hint : alignUp(hint, alignment) ?? hint
        } else {
            size = alignUp(sum, alignment) ?? sum
        }
        insert(
            Entry(place: place, request: nil, size: size, alignment: alignment, is64Bit: is64Bit, kind: kind),
            list: list(above: place)
        )
    }

    /// Lays the root lists down and everything below them in bus order.
    mutating func place(_ host: Int) {
        let root = demand.functions.count + host
        let limits = limits(of: host)
        func sum(_ list: [Entry]) -> UInt64 { list.reduce(0) { $0.addingReportingOverflow($1.size).partialValue } }

        if !demand.hosts[host].apertures.contains(where: \.isIO) {
            for entry in lists[root][0] {
                if let r = entry.request { draft.reasons[entry.place][r] = "the host bridge decodes no I/O" }
            }
            lists[root][0] = []
        }
        let ioSum = sum(lists[root][0])
        guard let ioStart = ioStart(host, ioSum) else {
            draft.halt = "halts: out of I/O address space"
            return
        }
        var starts: [UInt64] = [ioStart, 0, 0]
        var low = lowStarts(root, limits)
        var high: [(entries: [Entry], start: UInt64)] = []
        let pads = padsHigh(host)
        if pads || (low == nil && self.high(host) != nil) {
            var moved: [[Entry]] = [[], []]
            let functions = demand.functions
            for kind in 1...2 {
                // USB controllers stay low: the firmware's own drivers reach 32 bits only.
                let stays = { (entry: Entry) in
                    !entry.is64Bit || functions[entry.place].identity.classWord == 0x0c03
                }
                moved[kind - 1] = lists[root][kind].filter { !stays($0) }
                lists[root][kind].removeAll { !stays($0) }
            }
            low = lowStarts(root, limits)
            if low == nil {
                draft.halt = "halts: out of 32-bit address space"
                return
            }
            guard let starts = highStarts(moved, host, pads: pads) else {
                draft.halt = "would need addresses above the 64-bit aperture"
                return
            }
            high = starts
        }
        guard let low else {
            draft.halt = "halts: out of 32-bit address space"
            return
        }
        starts[1] = low.memory
        starts[2] = low.prefetchable
        for part in high { lay(part.entries, from: part.start) }
        for kind in 0...2 { lay(lists[root][kind], from: starts[kind]) }
    }

    private func limits(of host: Int) -> AddressRange? {
        if let memory = policy.memory { return memory }
        let low = demand.hosts[host].apertures.filter { !$0.isIO && $0.range.last <= 0xffff_ffff }.map(\.range)
        return low.first { $0.last == 0xfebf_ffff } ?? low.max { $0.clampedSize < $1.clampedSize }
    }

    /// Ports from 0xc000, or from 0x1000 when that is too little; on a host bridge that decodes other ports, from its
    /// first one. Nil when there are too few.
    private func ioStart(_ host: Int, _ sum: UInt64) -> UInt64? {
        guard sum > 0 else { return 0xc000 }
        let isQ35 = demand.functions.contains { $0.identity.vendor == 0x8086 && $0.identity.device == 0x29c0 }
        let lowEnd: UInt64 = isQ35 ? 0x1_0000 : 0xa000
        let start: UInt64? = sum < 0x4000 ? 0xc000 : sum < lowEnd - 0x1000 ? 0x1000 : nil
        let apertures = demand.hosts[host].apertures.filter(\.isIO).map(\.range)
        if let start, let range = AddressRange(first: start, size: sum),
            apertures.isEmpty || apertures.contains(where: { $0.contains(range) })
        {
            return start
        }
        return apertures.first { alignUp(max($0.first, 0x1000), 0x1000).map { $0 + (sum - 1) } ?? .max <= $0.last }
            .flatMap { alignUp(max($0.first, 0x1000), 0x1000) }
    }

    /// The starts of the two memory lists below the end of the range, or nil when they do not fit. The list with the
    /// larger alignment goes below the other.
    private func lowStarts(_ root: Int, _ limits: AddressRange?) -> (memory: UInt64, prefetchable: UInt64)? {
        guard let limits else { return lists[root][1].isEmpty && lists[root][2].isEmpty ? (0, 0) : nil }
        let alignments = (1...2).map { lists[root][$0].first?.alignment ?? 1 }
        let sums = (1...2).map {
            lists[root][$0].reduce(UInt64(0)) { $0.addingReportingOverflow($1.size).partialValue }
        }
        let swaps = alignments[0] < alignments[1]
        let end = swaps ? 0 : 1
        let start = 1 - end
        // The firmware computes modulo 2^64 and looks at the result only: below the start or above the end is a failure.
        let endBase = alignDown((limits.last &+ 1) &- sums[end], alignments[end])
        let startBase = alignDown(endBase &- sums[start], alignments[start])
        guard startBase >= limits.first, startBase <= limits.last &+ 1 else { return nil }
        return swaps ? (endBase, startBase) : (startBase, endBase)
    }

    /// The starts of the two lists above 4 GiB, or nil when the aperture there is too small, which the firmware itself
    /// does not check.
    private func highStarts(_ moved: [[Entry]], _ host: Int, pads: Bool) -> [(entries: [Entry], start: UInt64)]? {
        guard let space = high(host) else { return [] }
        let sums = moved.map { $0.reduce(UInt64(0)) { $0.addingReportingOverflow($1.size).partialValue } }
        let alignments = moved.map { $0.first?.alignment ?? 1 }
        let gigabyte: UInt64 = 1 << 30
        var base = space.first
        if top > 0 {
            var size = (alignUp(sums[0], gigabyte) ?? 0) &+ (alignUp(sums[1], gigabyte) ?? 0)
            if pads { size = alignUp(size, top >> 3) ?? size }
            // The end of the aperture, rounded down to 1 GiB; the top itself where they agree.
            let end = space.last == .max ? space.last : alignDown(space.last + 1, gigabyte)
            if size < end, base < end - size { base = end - size }
        }
        base = alignUp(alignUp(base, alignments[0]) ?? base, gigabyte) ?? base
        // A sum of sizes that wraps cannot be placed anyway; the layout checker sees it.
        var second = base &+ sums[0]
        second = alignUp(alignUp(second, alignments[1]) ?? second, gigabyte) ?? second
        let end = sums[1] > 0 ? second.addingReportingOverflow(sums[1] - 1) : (base &+ sums[0] &- 1, false)
        guard moved.allSatisfy(\.isEmpty) || (!end.1 && end.0 <= space.last) else { return nil }
        return [(moved[0], base), (moved[1], second)]
    }

    /// Lays entries down one after the other, and the lists of the buses behind windows inside them.
    private mutating func lay(_ entries: [Entry], from start: UInt64) {
        var next = start
        for entry in entries {
            let first = next
            let (sum, overflow) = next.addingReportingOverflow(entry.size)
            next = overflow ? .max : sum
            if let r = entry.request {
                let request = demand.functions[entry.place].requests[r]
                draft.ranges[entry.place][r] = AddressRange(first: first, size: request.size)
            } else {
                draft.openWindow(of: entry.place, entry.kind, first: first, size: entry.size)
                lay(lists[entry.place][Int(entry.kind.rawValue)], from: first)
            }
        }
    }

    /// After placing, SeaBIOS writes fixed ports into two kinds of devices: ICH9's SMBus controller and IDE
    /// controllers in compatibility mode.
    mutating func fixLegacyPorts() {
        for (place, function) in demand.functions.enumerated() {
            for (r, request) in function.requests.enumerated() where request.kind == .io {
                let number = request.index.rawValue
                var port: UInt64?
                if function.identity.vendor == 0x8086, function.identity.device == 0x2930, number == 4 { port = 0x700 }
                if function.identity.classWord == 0x0101, number < 4 {
                    port = [0x1f0, 0x3f4, 0x170, 0x374][Int(number)]
                }
                if let port, draft.halt == nil {
                    draft.ranges[place][r] = AddressRange(first: port, size: request.size)
                }
            }
        }
    }
}
