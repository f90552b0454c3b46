// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Shrinks an impossible problem to an irreducible core and says what it means.
///
/// Members are requests that must be placed and ranges that may not move. Members are dropped in halves, then one by
/// one, as long as the rest stays provably impossible; what remains is irreducible when dropping any member was seen to
/// make the rest fit.
struct ConflictFinder {
    private enum Element: Hashable {
        case request(Int)
        case holder(Int)
        case window(Int, Int)
        case obstacle(Int)
    }

    private let problem: Problem
    private let host: Int
    private let index: ProblemIndex
    private let selection: Selection

    init(_ problem: Problem, host: Int, index: ProblemIndex, selection: Selection) {
        self.problem = problem
        self.host = host
        self.index = index
        self.selection = selection
    }

    func find() -> Conflict {
        if let r = homeless() { return homelessConflict(r) }
        let all = elements()
        var core = all
        guard fits(core) == false else {
            return describe(core, isIrreducible: false)
        }
        shrink(&core)
        var isIrreducible = true
        var i = 0
        while i < core.count {
            var rest = core
            rest.remove(at: i)
            switch fits(rest) {
            case .some(false): core = rest
            case .some(true): i += 1
            case .none:
                isIrreducible = false
                i += 1
            }
        }
        return describe(core, isIrreducible: isIrreducible)
    }

    // MARK: - The core

    private func isImmovable(_ r: Int) -> Bool {
        let request = problem.requests[r]
        guard request.current != nil, selection.keepsPresent || request.isFixed else { return false }
        return request.isFixed || request.holders.contains { problem.devices[$0].weight == nil }
    }

    /// Requests in key order, then what holds ranges.
    private func elements() -> [Element] {
        var list: [Element] = []
        var holders: [Element] = []
        for r in index.requests[host] where selection.isIncluded[r] {
            if isImmovable(r) { holders.append(.holder(r)) } else { list.append(.request(r)) }
        }
        for b in index.bridges[host] {
            for (w, window) in problem.bridges[b].windows.enumerated() where window.isFrozen && window.current != nil {
                holders.append(.window(b, w))
            }
        }
        for o in problem.hosts[host].obstacles.indices { holders.append(.obstacle(o)) }
        return list + holders
    }

    /// Whether the elements can be placed together with everything movable moved; nil when not decided.
    private func fits(_ elements: [Element]) -> Bool? {
        var trial = selection
        var reduced = problem
        for r in index.requests[host] { trial.isIncluded[r] = false }
        for b in index.bridges[host] {
            for w in reduced.bridges[b].windows.indices { reduced.bridges[b].windows[w].isFrozen = false }
        }
        var kept: Set<Int> = []
        for element in elements {
            switch element {
            case .request(let r), .holder(let r): trial.isIncluded[r] = true
            case .window(let b, let w): reduced.bridges[b].windows[w].isFrozen = true
            case .obstacle(let o): kept.insert(o)
            }
        }
        let obstacles = problem.hosts[host].obstacles
        reduced.hosts[host].obstacles = obstacles.indices.filter { kept.contains($0) }.map { obstacles[$0] }
        let forest = Forest(reduced, host: host, selection: trial, index: index)
        if forest.mustGo.contains(where: { forest.weight[$0] < 0 }) { return false }
        var placer = Placer(forest)
        for d in forest.deviceOf.indices { placer.evict(d) }
        switch placer.place(budget: 20_000) {
        case .fits: return true
        case .fails(let isProof): return isProof ? false : nil
        }
    }

    private func shrink(_ core: inout [Element]) {
        var chunk = core.count / 2
        while chunk > 1 {
            var i = 0
            while i < core.count {
                let end = min(core.count, i + chunk)
                var rest = core
                rest.removeSubrange(i..<end)
                if !rest.isEmpty, fits(rest) == false { core = rest } else { i = end }
            }
            chunk /= 2
        }
    }

    // MARK: - Words

    private func homeless() -> Int? {
        Forest(problem, host: host, selection: selection, index: index).homeless.first
    }

    private func homelessConflict(_ r: Int) -> Conflict {
        let request = problem.requests[r]
        let place = request.bridge.map { problem.bridges[$0].label } ?? "the root bus"
        return Conflict(
            host: host,
            members: [Conflict.Member(role: .request(r), label: request.label)],
            isIrreducible: true,
            shortage: request.size,
            summary: "\(request.label) cannot be placed: \(place) has no window that takes it",
            derivation: ["1. \(request.label) needs \(amount(request.size, request.kind.space)) behind \(place)"],
            hints: []
        )
    }

    private func amount(_ size: UInt64, _ space: Problem.Space) -> String {
        space == .bus ? (size == 1 ? "1 bus number" : "\(size) bus numbers") : ByteCount(size).description
    }

    private func describe(_ core: [Element], isIrreducible: Bool) -> Conflict {
        var members: [Conflict.Member] = []
        var derivation: [String] = []
        var wanted: [Int] = []
        func say(_ sentence: String) { derivation.append("\(derivation.count + 1). \(sentence)") }
        for element in core {
            switch element {
            case .request(let r):
                let request = problem.requests[r]
                wanted.append(r)
                members.append(Conflict.Member(role: .request(r), label: request.label))
                say(
                    "\(request.label) needs \(amount(selection.size[r], request.kind.space))"
                        + (selection.size[r] > 1 && request.kind.space != .bus && request.alignment > 1
                            ? " aligned to \(ByteCount(alignment(r)).description)" : "")
                        + limitText(request)
                )
            case .holder(let r):
                let request = problem.requests[r]
                members.append(Conflict.Member(role: .holder(r), label: request.label))
                let range = request.currentRange.map(\.description) ?? "its range"
                say("\(request.label) holds \(range) and must not move")
            case .window(let b, let w):
                let window = problem.bridges[b].windows[w]
                let label = "\(problem.bridges[b].label) \(window.kind.word)"
                members.append(Conflict.Member(role: .frozenWindow(bridge: b, window: w), label: label))
                say("\(label) must stay \(window.current.map(\.description) ?? "closed")")
            case .obstacle(let o):
                let obstacle = problem.hosts[host].obstacles[o]
                members.append(Conflict.Member(role: .obstacle(host: host, index: o), label: obstacle.label))
                say("\(obstacle.label) holds \(obstacle.range)")
            }
        }
        let space = wanted.first.map { problem.requests[$0].kind.space } ?? .memory
        let room = availableRoom(space, core)
        say(roomText(space, room))
        let need = wanted.reduce(UInt64(0)) { $0.addingReportingOverflow(selection.size[$1]).partialValue }
        let total = room.reduce(UInt64(0)) { $0.addingReportingOverflow($1.clampedSize).partialValue }
        let shortage = missing(wanted, room, space, need: need, total: total)
        let names = members.filter { if case .request = $0.role { true } else { false } }.map(\.label)
        let holders = members.filter { if case .request = $0.role { false } else { true } }.map(\.label)
        var summary = "\(list(names)) \(names.count > 1 ? "do" : "does") not fit: "
        if shortage > 0 {
            summary += "\(amount(shortage, space)) short"
        } else {
            summary += "\(amount(total, space)) are free, not in the shape that is needed"
        }
        if !holders.isEmpty { summary += "; in the way: \(list(holders))" }
        if !isIrreducible { say("this set was not proved to be minimal") }
        return Conflict(
            host: host,
            members: members,
            isIrreducible: isIrreducible,
            shortage: shortage,
            summary: summary,
            derivation: derivation,
            hints: hints(core)
        )
    }

    private func alignment(_ r: Int) -> UInt64 {
        let request = problem.requests[r]
        return selection.size[r] == request.size ? request.alignment : selection.size[r]
    }

    private func limitText(_ request: Problem.Request) -> String {
        guard request.limits != .all, request.kind.space != .bus else { return "" }
        return request.limits.last == 0xffff_ffff ? " below 4 GiB" : " within \(request.limits)"
    }

    private func list(_ names: [String]) -> String {
        guard names.count > 4 else { return names.joined(separator: ", ") }
        return names.prefix(3).joined(separator: ", ") + " and \(names.count - 3) more"
    }

    /// What the members that do not move leave free of the space they compete for.
    private func availableRoom(_ space: Problem.Space, _ core: [Element]) -> [AddressRange] {
        var outer: [AddressRange] = []
        switch space {
        case .bus: outer = problem.hosts[host].busNumbers.map { [$0] } ?? []
        case .io: outer = problem.hosts[host].apertures.filter { $0.kind == .io }.map(\.range)
        case .memory:
            let takesPrefetchable = core.allSatisfy {
                if case .request(let r) = $0 { problem.requests[r].kind == .prefetchable } else { true }
            }
            outer = problem.hosts[host].apertures.filter {
                $0.kind == .memory || ($0.kind == .prefetchable && takesPrefetchable)
            }
            .map(\.range)
        }
        var taken: [AddressRange] = []
        var limits = AddressRange.all
        for element in core {
            switch element {
            case .request(let r):
                limits = limits.intersection(problem.requests[r].limits) ?? limits
                if let b = problem.requests[r].bridge, core.count == 1 {
                    for window in problem.bridges[b].windows where window.kind.space == space {
                        limits = limits.intersection(window.limits) ?? limits
                    }
                }
            case .holder(let r):
                if let range = problem.requests[r].currentRange { taken.append(range) }
            case .window(let b, let w):
                let window = problem.bridges[b].windows[w]
                guard window.kind.space == space, let range = window.current else { continue }
                if isAbove(b, core) { limits = limits.intersection(range) ?? limits } else { taken.append(range) }
            case .obstacle(let o):
                let obstacle = problem.hosts[host].obstacles[o]
                if obstacle.space == space { taken.append(obstacle.range) }
            }
        }
        return outer.compactMap { $0.intersection(limits) }.flatMap { $0.subtracting(taken) }.sorted()
    }

    /// Whether all requests of the core lie below bridge `b`.
    private func isAbove(_ b: Int, _ core: [Element]) -> Bool {
        core.allSatisfy { element in
            guard case .request(let r) = element else { return true }
            var above = problem.requests[r].bridge
            while let p = above {
                if p == b { return true }
                above = problem.bridges[p].parent
            }
            return false
        }
    }

    private func roomText(_ space: Problem.Space, _ room: [AddressRange]) -> String {
        guard !room.isEmpty else { return "nothing is free" }
        let pieces = room.prefix(4).map { range in
            space == .bus
                ? "\(range.first)-\(range.last)"
                : "\(range) (\(ByteCount(range.clampedSize)), largest aligned block \(ByteCount(range.largestAlignedBlock)))"
        }
        let more = room.count > 4 ? " and \(room.count - 4) more" : ""
        return "free between them: \(pieces.joined(separator: ", "))\(more)"
    }

    /// Bytes that are missing: in sum, or in slots of the size at which counting fails.
    private func missing(
        _ wanted: [Int],
        _ room: [AddressRange],
        _ space: Problem.Space,
        need: UInt64,
        total: UInt64
    ) -> UInt64 {
        var worst = need > total ? need - total : 0
        guard space != .bus else { return worst }
        for level in Set(wanted.map { alignment($0) }).sorted() {
            var slots: UInt64 = 0
            for r in wanted where alignment(r) >= level {
                slots = slots.addingReportingOverflow(selection.size[r] / level).partialValue
            }
            for range in room {
                guard let first = alignUp(range.first, level), first <= range.last else { continue }
                let whole = (range.last - first).addingReportingOverflow(1)
                let count = whole.overflow ? UInt64.max / level : whole.partialValue / level
                slots = slots > count ? slots - count : 0
            }
            worst = max(worst, slots.multipliedReportingOverflow(by: level).partialValue)
        }
        return worst
    }

    /// What would make the core fit, a sentence per holder.
    private func hints(_ core: [Element]) -> [String] {
        core.compactMap { element in
            switch element {
            case .holder(let r) where !problem.requests[r].isFixed:
                let names = problem.requests[r].holders.filter { problem.devices[$0].weight == nil }
                    .map { problem.devices[$0].label }
                return "allow \(names.joined(separator: ", ")) to be disturbed"
            case .request(let r) where !problem.requests[r].alternatives.isEmpty:
                return "give \(problem.requests[r].label) a smaller size"
            default: return nil
            }
        }
    }
}

extension Conflict: CustomStringConvertible {
    /// The sentence, the numbered derivation, and what could be done.
    public var description: String {
        ([summary] + derivation.map { "  \($0)" } + hints.map { "  hint: \($0)" }).joined(separator: "\n")
    }
}
