// SPDX-License-Identifier: GPL-2.0-or-later

/// The search for the cheapest set of devices whose leaving lets everything selected fit on one host bridge.
///
/// First as if everything stayed; then, of a large tree, with nothing but what is below the same bridges of the root bus;
/// then by deduction with every request in the window that forwards it now (or the
/// prefetchable one); and where that costs anything and there are other windows to lie in, by deduction over both.
struct ChangeSearch {
    let problem: Problem
    let host: Int
    let index: ProblemIndex
    var steps: Int

    /// The nodes from which on a layout is looked for before it is deduced.
    static let largeForest = 2_000

    /// A placement of everything selected.
    struct Found {
        var placer: Placer
        var selection: Selection
        /// Devices that leave (forest indices), ascending.
        var evicted: [Int]
        var cost: Int
        /// No placement costs less.
        var bound: Int
        /// Per forest node the start of leaves, where the placer does not know the places.
        var starts: [Int]?

        /// Devices that leave and that somebody minds.
        var disturbed: [Int] { evicted.filter { placer.forest.weight[$0] != 0 } }
    }

    enum Result {
        case found(Found)
        /// It is proved that nothing fits.
        case impossible
        case unknown
    }

    /// The cheapest placement of `selection`.
    func cheapest(_ selection: Selection) -> Result {
        let forest = Forest(problem, host: host, selection: selection, index: index)
        guard forest.homeless.isEmpty, !forest.mustGo.contains(where: { forest.weight[$0] < 0 }) else {
            return .impossible
        }
        var placer = Placer(forest)
        placer.setEvicted(forest.mustGo)
        let least = placer.cost
        if !forest.isTorn, forest.misfits == forest.mustGo {
            if case .fits = placer.place(budget: 500) {
                return .found(
                    Found(placer: placer, selection: selection, evicted: forest.mustGo, cost: least, bound: least)
                )
            }
            placer.setEvicted(forest.mustGo)
            if let result = cheapestNearby(placer, selection) { return result }
        }
        let once = deduce(&placer, selection, below: nil, triesBothWindows: false)
        guard hasChoice(forest) else { return once }
        switch once {
        case .found(let found) where found.cost == least:
            return once
        case .found(var found):
            let other = deduce(&placer, selection, below: found.cost, triesBothWindows: true)
            switch other {
            case .found(let better): return .found(better)
            case .impossible: found.bound = found.cost
            case .unknown: found.bound = least
            }
            return .found(found)
        case .impossible, .unknown:
            return deduce(&placer, selection, below: nil, triesBothWindows: true)
        }
    }

    /// The nodes from which on what is far from everything without a place is looked at only where it matters.
    static let leastForNearby = 128

    /// The answer where what is below other bridges of the root bus decides nothing: as if it were not there nobody could
    /// leave for less, and with all of it staying the same is enough.
    ///
    /// - Parameters:
    ///   - placer: a placer of `selection`, those who must go evicted.
    ///   - selection: what is to be placed.
    /// - Returns: the cheapest placement; that nothing fits; or nil, where the rest decides or too little is left out.
    private func cheapestNearby(_ placer: Placer, _ selection: Selection) -> Result? {
        let forest = placer.forest
        guard problem.rule == .stock, forest.count >= Self.leastForNearby, forest.adrift.isEmpty,
            selection.keepsPresent, selection.isHeld == nil, selection.takesBridge == nil
        else { return nil }
        var isNear = [Bool](repeating: false, count: problem.bridges.count)
        /// The bridge on the root bus above a node, nil for what is on the root bus itself.
        func top(_ node: Int) -> Int? {
            var bridge = forest.bridge[node] >= 0 ? forest.bridge[node] : -1
            if forest.request[node] >= 0 { bridge = problem.requests[forest.request[node]].bridge ?? -1 }
            while bridge >= 0, let above = problem.bridges[bridge].parent { bridge = above }
            return bridge >= 0 ? bridge : nil
        }
        let nodes = Forest.rootCount..<forest.count
        for node in nodes where forest.request[node] >= 0 && !placer.isPinned(node) {
            if let top = top(node) { isNear[top] = true }
        }
        var near = selection
        var mayLeave = [Bool](repeating: false, count: forest.deviceOf.count)
        var isIncluded = [Bool](repeating: false, count: selection.isIncluded.count)
        var count = 0
        for node in nodes {
            let isTaken = top(node).map { isNear[$0] } ?? !placer.isPinned(node)
            guard isTaken else { continue }
            count += 1
            if forest.request[node] >= 0 { isIncluded[forest.request[node]] = true }
            for d in forest.holders[node] { mayLeave[d] = true }
        }
        guard count * 2 <= forest.count else { return nil }
        near.isIncluded = isIncluded
        near.takesBridge = problem.bridges.indices.map { b in
            var bridge = b
            while let above = problem.bridges[bridge].parent { bridge = above }
            return isNear[bridge]
        }
        let least: Int
        switch cheapest(near) {
        case .impossible: return .impossible
        case .unknown: return nil
        case .found(let found): least = found.bound
        }
        var held = selection
        var isHeld = [Bool](repeating: true, count: problem.devices.count)
        for (d, device) in forest.deviceOf.enumerated() where mayLeave[d] && device >= 0 { isHeld[device] = false }
        held.isHeld = isHeld
        guard case .found(var found) = cheapest(held), found.cost <= least else { return nil }
        found.bound = found.cost
        found.selection.isHeld = nil
        return .found(found)
    }

    /// Whether somewhere both a prefetchable and a memory window would do.
    private func hasChoice(_ forest: Forest) -> Bool {
        (0..<forest.count).contains { forest.alternative[$0] >= 0 && forest.request[$0] >= 0 }
            || (0..<forest.count).contains { forest.alternative[$0] >= 0 && !forest.children[$0].isEmpty }
    }

    private func deduce(_ placer: inout Placer, _ selection: Selection, below: Int?, triesBothWindows: Bool) -> Result {
        var options = OrderSolver.Options()
        options.triesBothWindows = triesBothWindows
        var solver = OrderSolver(&placer, options: options)
        solver.target.isUsed = true
        if let below {
            solver.limitCost(below - 1)
            solver.target.hasLayout = true
        }
        var allowed = steps
        var best: OrderSolver.Answer?
        var repaired: Placer?
        if below == nil, placer.forest.count > Self.largeForest {
            let (placed, spent) = SubtreeRepair.layout(placer, steps: steps / 3)
            // Every step takes longer where there is more to touch.
            allowed = max(steps / 12, steps / 3 - spent)
            if let placed {
                // Small costs are tried first as if there were no layout: they give the bound.
                repaired = placed
                solver.limitCost(placed.cost - 1)
            }
        }
        let stop = solver.core.steps + allowed
        while true {
            switch solver.search(&placer, steps: max(0, stop - solver.core.steps)) {
            case .solved:
                guard let answer = solver.answer else { return .unknown }
                best = answer
                solver.target.hasLayout = true
                if solver.target.share == 256 { solver.target.share = 192 }
                solver.limitCost(answer.cost - 1)
            case .refuted:
                guard let best else { return repaired.map { found($0, bound: $0.cost, selection) } ?? .impossible }
                return found(best, bound: best.cost, placer, selection)
            case .exhausted:
                guard let best else {
                    if below == nil, repaired == nil {
                        repaired = SubtreeRepair.layout(placer, steps: steps / 3).placer
                    }
                    return repaired.map { found($0, bound: min($0.cost, solver.leastCost), selection) } ?? .unknown
                }
                return found(best, bound: min(best.cost, solver.leastCost), placer, selection)
            }
        }
    }

    /// The layout that `placer` has.
    private func found(_ placer: Placer, bound: Int, _ selection: Selection) -> Result {
        .found(
            Found(placer: placer, selection: selection, evicted: placer.evicted, cost: placer.cost, bound: bound)
        )
    }

    /// What `answer` means, with a placer that has it.
    func found(_ answer: OrderSolver.Answer, bound: Int, _ placer: Placer, _ selection: Selection) -> Result {
        var selection = selection
        var placer = placer
        if let windows = answer.windows, windows != placer.forest.parent {
            let forest = placer.forest
            for node in Forest.rootCount..<forest.count
            where windows[node] >= Forest.rootCount && forest.alternative[node] >= 0 {
                let kind: Problem.WindowKind = forest.isPrefetchable[windows[node]] ? .prefetchable : .memory
                if forest.request[node] >= 0 {
                    selection.window[forest.request[node]] = kind
                } else if forest.bridge[node] >= 0 {
                    selection.nesting[forest.bridge[node]] = kind
                }
            }
            placer = Placer(Forest(problem, host: host, selection: selection, index: index))
        }
        placer.setEvicted(answer.evicted)
        var starts: [Int]?
        if case .fails = placer.place(budget: SubtreeRepair.budget) {
            guard let known = answer.starts else { return .unknown }
            starts = known
        }
        return .found(
            Found(
                placer: placer,
                selection: selection,
                evicted: answer.evicted,
                cost: answer.cost,
                bound: bound,
                starts: starts
            )
        )
    }

    /// A placement of `selection` for which nobody else leaves than for `found`; nil when there is none, or none was found.
    func place(_ selection: Selection, like found: Found) -> Found? {
        let forest = Forest(problem, host: host, selection: selection, index: index)
        guard forest.homeless.isEmpty else { return nil }
        // Indices of real devices are the same in every forest of a host bridge; those of stand-ins are not.
        let real = found.evicted.filter { found.placer.forest.deviceOf[$0] >= 0 }
        let known = Set(real)
        guard forest.misfits.allSatisfy({ known.contains($0) || forest.weight[$0] == 0 }) else { return nil }
        var placer = Placer(forest)
        var result = found
        result.selection = selection
        result.starts = nil
        placer.setEvicted(real)
        for isLenient in forest.isTorn ? [] : [false, true] {
            if isLenient {
                for d in forest.deviceOf.indices where forest.weight[d] == 0 { placer.evict(d) }
            }
            if case .fits = placer.place(budget: 500) {
                result.placer = placer
                result.evicted = placer.evicted
                return result
            }
        }
        for triesBothWindows in hasChoice(forest) ? [false, true] : [false] {
            var solver = OrderSolver(&placer, options: OrderSolver.Options(triesBothWindows: triesBothWindows))
            solver.settleDevices { known.contains($0) }
            switch solver.search(&placer, steps: steps / 8) {
            case .solved:
                guard let answer = solver.answer,
                    case .found(var other) = self.found(answer, bound: found.bound, placer, selection)
                else { return nil }
                other.cost = found.cost
                return other
            case .refuted, .exhausted: continue
            }
        }
        return nil
    }
}
