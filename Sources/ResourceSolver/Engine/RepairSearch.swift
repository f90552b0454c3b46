// SPDX-License-Identifier: GPL-2.0-or-later

internal import HeapModule

/// The search for the cheapest set of devices whose eviction lets everything fit.
///
/// Best first over sets: a set that does not suffice is extended by every minimal way to make room for its most
/// expensive stuck item. Between these steps come dives (always the cheapest extension), which find good answers
/// early, each followed by putting devices back one by one. The answer is optimal once no open set is cheaper; where
/// the search had to guess, the cost of the guess is kept as the bound that was proved.
struct RepairSearch {
    /// What the search found.
    struct Answer {
        /// The evicted devices (forest indices), ascending; nil when none was found.
        var evicted: [Int]?
        var cost = Int.max
        /// No set that suffices costs less; `Int.max` when none exists.
        var bound = 0
    }

    private struct Node: Comparable {
        var cost: Int
        var sequence: Int
        var devices: [Int]

        static func < (a: Node, b: Node) -> Bool { (a.cost, a.sequence) < (b.cost, b.sequence) }
        static func == (a: Node, b: Node) -> Bool { (a.cost, a.sequence) == (b.cost, b.sequence) }
    }

    let placer: Placer
    let stepLimit: Int
    private var best: [Int]?
    private var bestCost = Int.max
    /// The cost from which on the search guessed.
    private var floor = Int.max
    private var queue = Heap<Node>()
    private var sequence = 0
    private var seen: Set<[Int]> = []

    init(_ placer: Placer, effort: Effort) {
        self.placer = placer
        stepLimit = placer.table.steps + effort.steps
    }

    private var isExhausted: Bool { placer.table.steps >= stepLimit }

    /// Runs the search to its end or to the end of its effort.
    mutating func run() -> Answer {
        push([], cost: 0)
        var pops = 0
        while let node = queue.popMin() {
            if node.cost >= bestCost {
                queue.insert(node)
                break
            }
            if isExhausted {
                queue.insert(node)
                break
            }
            pops += 1
            expand(node, divesToo: pops == 1 || pops % 4 == 0)
            if pops == 1, bestCost > 0 { widen() }
        }
        let open = queue.min?.cost ?? Int.max
        return Answer(evicted: best, cost: bestCost, bound: min(floor, open, bestCost))
    }

    private mutating func push(_ devices: [Int], cost: Int) {
        guard seen.insert(devices).inserted else { return }
        sequence += 1
        queue.insert(Node(cost: cost, sequence: sequence, devices: devices))
    }

    private mutating func record() {
        guard placer.cost < bestCost else { return }
        bestCost = placer.cost
        best = placer.evicted
    }

    // MARK: - Best first

    private mutating func expand(_ node: Node, divesToo: Bool) {
        placer.setEvicted(node.devices)
        switch placer.place(budget: 2_000) {
        case .fits:
            record()
            return
        case .fails(let isProof):
            if !isProof { floor = min(floor, node.cost) }
        }
        let limit = bestCost == .max ? Int.max : bestCost - node.cost
        let hopeless = placer.hopeless
        if hopeless.isEmpty {
            expandJointly(node, limit: limit)
        } else {
            var chosen: EvictionSearch.Result?
            for item in hopeless.prefix(4) {
                let found = EvictionSearch.options(for: item, in: placer, costLimit: limit, keep: 400)
                let cheapest = found.options.first?.cost ?? found.missingCost
                let chosenCheapest = chosen.map { $0.options.first?.cost ?? $0.missingCost } ?? -1
                if chosen == nil || cheapest > chosenCheapest { chosen = found }
                if found.options.isEmpty { break }
            }
            if let chosen {
                if !chosen.isComplete { floor = min(floor, node.cost + chosen.missingCost) }
                for option in chosen.options {
                    push(merge(node.devices, option.devices), cost: node.cost + option.cost)
                }
            }
        }
        if divesToo { dive(from: node.devices) }
    }

    /// No item is stuck alone, but together they are: one more device has to go, whichever.
    private mutating func expandJointly(_ node: Node, limit: Int) {
        let line = placer.failedLine
        var pins = placer.activePins
        if line >= Forest.rootCount { pins.append(line) }
        let forest = placer.forest
        var lightest = Int.max
        var options: [(cost: Int, devices: [Int])] = []
        for pin in pins where !forest.isLocked[pin] {
            let devices = forest.holders[pin].filter { !placer.isEvicted[$0] }
            let cost = devices.reduce(0) { $0 + forest.weight[$1] }
            guard cost > 0 else { continue }
            lightest = min(lightest, cost)
            if cost < limit { options.append((cost, devices)) }
        }
        guard lightest < limit else { return }
        if options.count > 600 {
            floor = min(floor, node.cost + lightest)
            options.removeAll()
        }
        for option in options { push(merge(node.devices, option.devices), cost: node.cost + option.cost) }
    }

    private func merge(_ a: [Int], _ b: [Int]) -> [Int] { (a + b).sorted() }

    // MARK: - Dives

    /// Follows the cheapest extension until everything fits, then puts devices back.
    private mutating func dive(from devices: [Int]) {
        placer.setEvicted(devices)
        while !isExhausted {
            switch placer.place(budget: 100) {
            case .fits:
                putBack()
                record()
                return
            case .fails:
                break
            }
            let limit = bestCost == .max ? Int.max : bestCost - placer.cost
            var chosen: EvictionSearch.Option?
            let stuck = placer.hopeless.isEmpty ? [max(placer.firstStuck, 0)] : Array(placer.hopeless.prefix(4))
            for item in stuck {
                let found = EvictionSearch.options(for: item, in: placer, costLimit: limit, keep: 1)
                guard let option = found.options.first else {
                    chosen = nil
                    break
                }
                if let other = chosen, other.cost >= option.cost { continue }
                chosen = option
            }
            guard let chosen else { return }
            for d in chosen.devices { placer.evict(d) }
        }
    }

    /// Takes back every eviction that is not needed, dearest device first.
    private mutating func putBack() {
        var devices = placer.evicted
        if devices.count > 24 { putBackInBulk(devices[...]) }
        devices = placer.evicted
        let weight = placer.forest.weight
        devices.sort { (-weight[$0], $0) < (-weight[$1], $1) }
        for d in devices {
            if isExhausted, placer.cost >= bestCost { return }
            placer.restore(d)
            if case .fits = placer.place(budget: 60) { continue }
            placer.evict(d)
        }
        // Leave the placement of the final set behind.
        if case .fails = placer.place(budget: 2_000) { return }
    }

    private mutating func putBackInBulk(_ devices: ArraySlice<Int>) {
        guard devices.count >= 4, !isExhausted else { return }
        for d in devices { placer.restore(d) }
        if case .fits = placer.place(budget: 60) { return }
        for d in devices { placer.evict(d) }
        let middle = devices.startIndex + devices.count / 2
        putBackInBulk(devices[devices.startIndex..<middle])
        putBackInBulk(devices[middle..<devices.endIndex])
    }

    // MARK: - Wide moves

    /// Frees whole subtrees and regions at once: finds answers where one item at a time does not.
    private mutating func widen() {
        grow()
    }

    /// Frees everything movable and puts back what may stay.
    private mutating func grow() {
        guard bestCost == .max else { return }
        let forest = placer.forest
        placer.setEvicted([])
        for d in forest.deviceOf.indices { placer.evict(d) }
        if case .fails(let isProof) = placer.place(budget: 2_000) {
            if isProof, floor == .max { queue = Heap<Node>() }
            return
        }
        putBack()
        record()
    }
}
