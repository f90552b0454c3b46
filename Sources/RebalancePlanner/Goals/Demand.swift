// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// One thing that must hold after a plan; functions are named by number (`SearchContext`).
enum Demand: Hashable {
    /// The BAR, ROM or VF BAR block has an address, and a BAR's is forwarded by every bridge above.
    case address(Int, ResourceIndex)
    /// The bridge has a bus.
    case bus(Int)
    /// The resource has an address and exactly this many bytes.
    case size(Int, ResourceIndex, UInt64)
    /// The resource begins at this CPU address.
    case located(Int, ResourceIndex, UInt64)
    /// The host bridge above has a free stretch of at least this many bytes or bus numbers.
    case stretch(Int, FreeStretch, UInt64)
    /// The bridge has at least this many bus numbers.
    case buses(Int, Int)
    /// The bridge's window has at least this many bytes.
    case window(Int, ResourceIndex, UInt64)
    /// The bridge has this many bytes of the kind free below it, and a BAR of the largest power of two in them fits.
    case room(Int, ResourceKind, UInt64)
    /// The bridge has this many bus numbers that nobody below it uses.
    case freeBuses(Int, Int)
    /// The tree's findings no longer hold this problem.
    case cleared(Int, Finding.Code, ResourceIndex?)

    /// The function that the demand is about.
    var function: Int {
        switch self {
        case .address(let i, _), .bus(let i), .size(let i, _, _), .located(let i, _, _), .stretch(let i, _, _),
            .buses(let i, _), .window(let i, _, _),
            .room(let i, _, _), .freeBuses(let i, _), .cleared(let i, _, _):
            i
        }
    }

    /// The same demand of a function that has another number.
    func of(_ i: Int) -> Demand {
        switch self {
        case .address(_, let index): .address(i, index)
        case .bus: .bus(i)
        case .size(_, let index, let size): .size(i, index, size)
        case .located(_, let index, let start): .located(i, index, start)
        case .stretch(_, let stretch, let size): .stretch(i, stretch, size)
        case .buses(_, let count): .buses(i, count)
        case .window(_, let index, let size): .window(i, index, size)
        case .room(_, let kind, let size): .room(i, kind, size)
        case .freeBuses(_, let count): .freeBuses(i, count)
        case .cleared(_, let code, let resource): .cleared(i, code, resource)
        }
    }

    /// Whether numbers have to be found, not only addresses.
    var wantsBuses: Bool {
        switch self {
        case .bus, .buses, .freeBuses: true
        case .cleared(_, let code, _): code == .busOutsideParent || code == .busOverlap || code == .busMismatch
        case .stretch(_, let stretch, _): stretch == .buses
        case .address, .size, .located, .window, .room: false
        }
    }

    /// Whether the demand is about numbers that are missing or wrong now, not about room for later.
    var isOfNumbersAsTheyAre: Bool {
        switch self {
        case .bus, .cleared: wantsBuses
        case .address, .size, .located, .stretch, .buses, .window, .room, .freeBuses: false
        }
    }

    /// Whether only the tree's findings can tell if it is met.
    var needsFindings: Bool { if case .cleared = self { true } else { false } }

    /// Whether the demand is met; what only findings tell counts as met.
    func isMet(in summary: TwinSummary, _ context: SearchContext) -> Bool {
        let i = function
        guard i < summary.count, summary.isKnown[i] else { return false }
        switch self {
        case .address(_, let index):
            return summary.size(i, index) > 0 && summary.unreachable[i] >> UInt32(index.rawValue) & 1 == 0
        case .bus: return summary.buses[i] != nil
        case .size(_, let index, let size):
            return summary.size(i, index) == size && summary.unreachable[i] >> UInt32(index.rawValue) & 1 == 0
        case .located(_, let index, let start):
            return summary.range(i, Int(index.rawValue))?.first == start
                && summary.unreachable[i] >> UInt32(index.rawValue) & 1 == 0
        case .stretch(let i, let stretch, let size): return stretch.size(context.host[i], summary, context) >= size
        case .buses(_, let count): return summary.buses[i].map { $0.count >= count } ?? false
        case .window(_, let index, let size): return summary.size(i, index) >= size
        case .room(_, let kind, let size): return FreeRoom(below: i, kind, summary, context).holds(size)
        case .freeBuses(_, let count): return FreeRoom.busNumbers(below: i, summary, context) >= count
        case .cleared: return true
        }
    }
}

extension TwinSummary {
    /// The bytes that the kernel holds for a resource, 0 without an address.
    func size(_ i: Int, _ index: ResourceIndex) -> UInt64 { sizes[i * Self.width + Int(index.rawValue)] }

    /// The range that the kernel holds for a resource, or nil.
    func range(_ i: Int, _ index: Int) -> AddressRange? {
        let size = sizes[i * Self.width + index]
        return size == 0 ? nil : AddressRange(first: starts[i * Self.width + index], size: size)
    }
}

extension FreeRoom {
    /// What is free in the window of bridge `i` for a kind, as a summary shows it.
    init(below i: Int, _ kind: ResourceKind, _ summary: TwinSummary, _ context: SearchContext) {
        var index = kind == .io ? 13 : kind == .memory ? 14 : 15
        if kind == .prefetchable, context.function(i).resource(.prefetchableWindow) == nil { index = 14 }
        guard let window = summary.range(i, index) else {
            self.init(in: nil, taken: [])
            return
        }
        var taken: [AddressRange] = []
        for child in context.children[i]
        where child < summary.count && summary.isKnown[child] && !summary.isVirtual[child] {
            for resource in 0..<TwinSummary.width {
                if let range = summary.range(child, resource), window.contains(range),
                    (resource == 13) == (index == 13) || resource < 13
                {
                    taken.append(range)
                }
            }
        }
        self.init(in: window, taken: taken)
    }

    /// The bus numbers of bridge `i` that neither its own bus nor anything below takes, as a summary shows it.
    static func busNumbers(below i: Int, _ summary: TwinSummary, _ context: SearchContext) -> Int {
        let below = context.children[i].filter { $0 < summary.count && summary.isKnown[$0] }
        return busNumbers(in: summary.buses[i], below: below.compactMap { summary.buses[$0] })
    }
}
