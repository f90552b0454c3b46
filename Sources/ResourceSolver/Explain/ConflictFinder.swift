// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// Shrinks an impossible problem to an irreducible core.
///
/// Members are requests that must be placed and ranges that may not move; whatever may move counts as moved. Deduction
/// with every member as an assumption names those that a contradiction came from. Then members are dropped one by one as
/// long as the rest stays provably impossible; what remains is irreducible when dropping any member was seen to make the
/// rest fit.
struct ConflictFinder {
    typealias Element = OrderSolver.Element

    let problem: Problem
    let host: Int
    let index: ProblemIndex
    let selection: Selection
    /// The work that may be spent on making the core small.
    let steps: Int

    init(_ problem: Problem, host: Int, index: ProblemIndex, selection: Selection, steps: Int) {
        self.problem = problem
        self.host = host
        self.index = index
        self.selection = selection
        self.steps = steps
    }

    func find() -> Conflict {
        let forest = Forest(problem, host: host, selection: selection, index: index)
        if let r = forest.homeless.first { return homelessConflict(r) }
        var placer = Placer(forest)
        let options = OrderSolver.Options(triesBothWindows: true, explains: true)
        var solver = OrderSolver(&placer, options: options)
        let stop = solver.core.steps + steps
        /// The literals of a subset that cannot hold together; nil: they can; empty: not decided.
        func refute(_ literals: [Literal]) -> [Literal]? {
            switch solver.search(&placer, assumptions: literals, steps: max(0, stop - solver.core.steps)) {
            case .refuted(let blamed): return blamed
            case .solved: return nil
            case .exhausted: return []
            }
        }
        let holders = solver.elements.filter { !isRequest($0.element) }.map(\.holds)
        let requests = solver.elements.filter { isRequest($0.element) }
        var core: [Literal] = []
        // One request that cannot be placed at all says most.
        for (element, l) in requests where isNew(element) {
            if let blamed = refute(holders + [l]), !blamed.isEmpty {
                core = blamed
                break
            }
        }
        if core.isEmpty { core = refute(holders + requests.map(\.holds)) ?? [] }
        let isDecided = !core.isEmpty
        if core.isEmpty { core = holders + requests.map(\.holds) }
        var isIrreducible = true
        var needed: Set<Literal> = []
        // Requests go first: holders that are in nobody's way then go by themselves.
        let order = requests.map(\.holds) + holders
        while let l = order.first(where: { core.contains($0) && !needed.contains($0) }) {
            let rest = core.filter { $0 != l }
            if let blamed = refute(rest) {
                if blamed.isEmpty {
                    isIrreducible = false
                    needed.insert(l)
                } else {
                    core = blamed
                }
            } else {
                needed.insert(l)
            }
        }
        let members = solver.elements.filter { core.contains($0.holds) }.map(\.element)
        return describe(sorted(members), isIrreducible: isIrreducible, isDecided: isDecided)
    }

    private func isRequest(_ element: Element) -> Bool {
        if case .request = element { return true }
        return false
    }

    /// Whether a request has no place yet, or needs another size.
    private func isNew(_ element: Element) -> Bool {
        guard case .request(let r) = element else { return false }
        let request = problem.requests[r]
        return request.current == nil || (request.currentSize ?? request.size) != selection.size[r]
    }

    /// Requests in key order, then what holds ranges.
    private func sorted(_ members: [Element]) -> [Element] {
        func rank(_ element: Element) -> (Int, UInt64, Int) {
            switch element {
            case .request(let r): (0, problem.requests[r].key, 0)
            case .holder(let r): (1, problem.requests[r].key, 0)
            case .window(let b, let w): (2, problem.bridges[b].key, w)
            case .obstacle(let o): (3, 0, o)
            }
        }
        return members.sorted { rank($0) < rank($1) }
    }

    // MARK: - Words

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

    /// The conflict between the members of `core`; that they are in conflict was proved by the search, and `isDecided` says
    /// whether it is known between which: what is short is told only then.
    private func describe(_ core: [Element], isIrreducible: Bool, isDecided: Bool) -> Conflict {
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
        let shortage = isDecided ? missing(wanted, room, space, need: need, total: total) : 0
        let names = members.filter { if case .request = $0.role { true } else { false } }.map(\.label)
        let holders = members.filter { if case .request = $0.role { false } else { true } }.map(\.label)
        var summary = "\(list(names)) \(names.count > 1 ? "do" : "does") not fit"
        if !isDecided {
            summary += " beside each other"
        } else if shortage > 0 {
            summary += ": \(amount(shortage, space)) short"
        } else {
            summary += ": \(amount(total, space)) are free, not in the shape that is needed"
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
        // What none of the members can reach is no room for them.
        let reaches = core.compactMap { if case .request(let r) = $0 { reach(of: r) } else { nil } }
        var limits =
            reaches.map(\.first).min().flatMap { first in
                reaches.map(\.last).max().flatMap { AddressRange(first: first, last: $0) }
            } ?? .all
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

    /// The addresses that a request can have, by itself and through every bridge above it.
    private func reach(of r: Int) -> AddressRange {
        let request = problem.requests[r]
        var range = request.limits
        var above = request.bridge
        while let b = above {
            let carriers = problem.bridges[b].windows.filter { window in
                switch request.kind {
                case .io: window.kind == .io
                case .memory: window.kind == .memory
                case .prefetchable: window.kind == .memory || window.kind == .prefetchable
                default: false
                }
            }
            if let first = carriers.map(\.limits.first).min(), let last = carriers.map(\.limits.last).max(),
                let hull = AddressRange(first: first, last: last)
            {
                range = range.intersection(hull) ?? range
            }
            above = problem.bridges[b].parent
        }
        return range
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
        let pieces = room.lazy.map { range in
            space == .bus
                ? "\(range.first)-\(range.last)"
                : "\(range) (\(ByteCount(range.clampedSize)), largest aligned block \(ByteCount(range.largestAlignedBlock)))"
        }
        return "free between them: \(pieces.listed(4))"
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
