// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// What every function has at one moment: the measure of "nothing worse than before".
struct Baseline {
    let context: SearchContext
    let summary: TwinSummary
    /// Optional things whose loss is no harm, and things that are optional by default whose loss is.
    var tiers = OptionalTiers()

    /// One thing that is worse than before.
    struct Loss: Hashable, Comparable {
        /// How much it matters.
        enum Grade: Int, Comparable {
            /// Reserve or convenience: an empty port's room, a ROM.
            case remark
            /// A function, a required address or a bus is gone.
            case harm

            static func < (a: Grade, b: Grade) -> Bool { a.rawValue < b.rawValue }
        }

        var grade: Grade
        var address: FunctionAddress
        var text: String

        static func < (a: Loss, b: Loss) -> Bool { (a.address, a.text) < (b.address, b.text) }
    }

    /// Whether anything in `later` is worse than in this baseline by more than a remark.
    ///
    /// Harm: a function is gone and not on its way home; a BAR or VF BAR block that had an address has none, or a smaller
    /// one, or one that no bridge forwards; a bridge that had a bus has none; VFs are no longer enabled. Remarks: a ROM lost
    /// its address; an empty hot-plug port lost room, a hot-plug port bus numbers. Other windows matter for what they hold,
    /// which is judged by itself.
    ///
    /// A resource whose size the user asked to change is no loss when it has that size.
    func isHarmed(in later: TwinSummary, asked: [Demand]) -> Bool { harmCount(in: later, asked: asked, atMost: 1) > 0 }

    /// The number of things that are worse in `later` by more than a remark; counting ends at `limit`.
    func harmCount(in later: TwinSummary, asked: [Demand], atMost limit: Int = .max) -> Int {
        var count = 0
        for i in candidates(in: later) where summary.isKnown[i] && !summary.isVirtual[i] {
            guard count < limit else { return count }
            guard later.isKnown[i] else {
                if !isOnItsWay(i, later) { count += 8 }
                continue
            }
            if summary.buses[i] != nil, later.buses[i] == nil { count += 1 }
            if isMisnumbered(i, later), !isMisnumbered(i, summary) { count += 1 }
            if later.enabledVFs[i] < summary.enabledVFs[i] { count += 1 }
            if later.unreachable[i] & ~summary.unreachable[i] != 0 { count += 1 }
            for index in 0..<TwinSummary.width {
                let had = summary.sizes[i * TwinSummary.width + index]
                let has = later.sizes[i * TwinSummary.width + index]
                guard has < had, let name = ResourceIndex(index), grade(i, name) == .harm else { continue }
                if has > 0, asked.contains(.size(i, name, has)) { continue }
                count += 1
            }
        }
        return count
    }

    /// Whether a function that is not there stood on a root bus that the kernel made up, and its home has numbers for the
    /// bridge that nobody could see and for what is behind that.
    private func isOnItsWay(_ i: Int, _ later: TwinSummary) -> Bool {
        guard let home = context.homeOfAdrift[i], let range = later.buses[home] else { return false }
        return range.count > context.subtree[i].count { context.isBridge($0) } + 1
    }

    /// The functions that may be worse in `later`, ascending: those that a manoeuvre touched, and all where it gave out other
    /// bus numbers, which are judged by their neighbours'.
    private func candidates(in later: TwinSummary) -> [Int] {
        guard let touched = later.touched, !touched.contains(where: { later.buses[$0] != summary.buses[$0] }) else {
            return Array(0..<context.count)
        }
        return touched
    }

    /// Whether a bridge's bus range leaves the range above it, or meets a neighbour's; above and beside by the wires, since
    /// a function that answered behind another bridge than its own comes back behind its own.
    private func isMisnumbered(_ i: Int, _ summary: TwinSummary) -> Bool {
        guard let range = summary.buses[i] else { return false }
        let above = context.wiredParent[i]
        if above >= 0, let outer = summary.buses[above], !outer.contains(range) || outer.first == range.first {
            return true
        }
        let siblings = above >= 0 ? context.wired[above] : context.topology.roots(of: context.host[i])
        return siblings.contains { $0 != i && summary.buses[$0]?.overlaps(range) == true }
    }

    /// What is worse in `later` by more than a remark, as demands to put it right.
    func repairs(in later: TwinSummary, asked: [Demand]) -> [Demand] {
        var result: [Demand] = []
        for i in candidates(in: later) where summary.isKnown[i] && !summary.isVirtual[i] {
            if !later.isKnown[i], isOnItsWay(i, later) { continue }
            if summary.buses[i] != nil, !later.isKnown[i] || later.buses[i] == nil { result.append(.bus(i)) }
            if isMisnumbered(i, later), !isMisnumbered(i, summary) {
                result.append(.cleared(i, .busOutsideParent, nil))
            }
            for index in 0..<TwinSummary.width {
                let had = summary.sizes[i * TwinSummary.width + index]
                let has = later.sizes[i * TwinSummary.width + index]
                guard let name = ResourceIndex(index), grade(i, name) == .harm else { continue }
                let isLost = isCutOff(i, index, in: later)
                guard has < had || isLost, has == 0 || !asked.contains(.size(i, name, has)) else { continue }
                result.append(name.isWindow ? .window(i, name, had) : .address(i, name))
            }
        }
        return result
    }

    /// Whether a BAR that every bridge above forwarded is forwarded no longer.
    private func isCutOff(_ i: Int, _ index: Int, in later: TwinSummary) -> Bool {
        (later.unreachable[i] & ~summary.unreachable[i]) >> UInt32(index) & 1 == 1
    }

    /// How bad it is when a resource loses its address or part of its size.
    private func grade(_ i: Int, _ name: ResourceIndex) -> Loss.Grade {
        if name.isBAR {
            let isIO = context.kind(i, name) == .io
            return isIO && tiers.dropped.contains(.io) ? .remark : .harm
        }
        if name.isVFBAR { return tiers.dropped.contains(.virtualFunctions) ? .remark : .harm }
        if name.isROM { return tiers.required.contains(.rom) ? .harm : .remark }
        return isReserve(i) && tiers.required.contains(.reserve) ? .harm : .remark
    }

    /// Whether the windows of function `i` are room for cards to come.
    private func isReserve(_ i: Int) -> Bool { context.isHotPlugBridge(i) && context.children[i].isEmpty }

    /// Whether the loss of a resource is worth a word at all.
    private func counts(_ i: Int, _ name: ResourceIndex) -> Bool { !name.isWindow || isReserve(i) }

    /// What is worse in `later`, in address order; addresses and names are those of the beginning.
    func losses(in later: TwinSummary, asked: [Demand]) -> [Loss] {
        var result: [Loss] = []
        for i in 0..<context.count where summary.isKnown[i] && !summary.isVirtual[i] {
            let address = context.address(i)
            func note(_ grade: Loss.Grade, _ text: String) {
                result.append(Loss(grade: grade, address: address, text: "\(address) \(text)"))
            }
            guard later.isKnown[i] else {
                if isOnItsWay(i, later) {
                    note(.remark, "is found again behind a bridge that nobody could see yet, or the plan is undone")
                } else {
                    note(.harm, "is gone")
                }
                continue
            }
            if let before = summary.buses[i] {
                if let after = later.buses[i] {
                    if after.count < before.count, context.isHotPlugBridge(i) {
                        note(.remark, "keeps \(after.count) of \(before.count) bus numbers")
                    }
                } else {
                    note(.harm, "loses its bus")
                }
            }
            if later.enabledVFs[i] < summary.enabledVFs[i] {
                note(.harm, "had \(summary.enabledVFs[i]) VFs enabled, keeps \(later.enabledVFs[i])")
            }
            for index in 0..<TwinSummary.width {
                guard let name = ResourceIndex(index) else { continue }
                let had = summary.size(i, name)
                let has = later.size(i, name)
                if isCutOff(i, index, in: later) {
                    note(.harm, "\(name) becomes unreachable")
                }
                guard has < had, counts(i, name), has == 0 || !asked.contains(.size(i, name, has)) else { continue }
                note(
                    grade(i, name),
                    "\(name) had \(ByteCount(had)), keeps \(has == 0 ? "none" : ByteCount(has).description)"
                )
            }
        }
        return result.sorted()
    }

    /// The number of optional things that are worse in `later`: the tie-breaker among plans that cost the same.
    func remarkCount(in later: TwinSummary) -> Int {
        var count = 0
        for i in candidates(in: later) where summary.isKnown[i] && !summary.isVirtual[i] {
            for index in 6..<TwinSummary.width {
                let at = i * TwinSummary.width + index
                guard later.sizes[at] < summary.sizes[at], let name = ResourceIndex(index), counts(i, name) else {
                    continue
                }
                count += 1
            }
            guard context.isHotPlugBridge(i) else { continue }
            if later.buses[i]?.count ?? 0 < summary.buses[i]?.count ?? 0 { count += 1 }
        }
        return count
    }
}
