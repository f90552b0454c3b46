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

    var placer: Placer
    let stepLimit: Int
    private var best: [Int]?
    private var bestCost = Int.max
    /// The cost from which on the search guessed.
    private var floor = Int.max
    private var queue = Heap<Node>()
    private var sequence = 0
    private var seen: Set<[Int]> = []
    private var pops = 0
    private let forced: [Int]
    private var isForced: [Bool]
    private var generator = SplitMix(state: 0x5eed)

    init(_ placer: Placer, effort: Effort) {
        self.placer = placer
        forced = placer.forest.mustGo
        isForced = Array(repeating: false, count: placer.isEvicted.count)
        for d in forced { isForced[d] = true }
        stepLimit = placer.table.steps + effort.steps
    }

    private var isExhausted: Bool { placer.table.steps >= stepLimit }

    /// Runs the search to its end or to the end of its effort.
    ///
    /// The effort is spent in turns: proving by best-first search, improving by local search, with a growing share for
    /// both.
    mutating func run() -> Answer {
        let weight = placer.forest.weight
        guard !forced.contains(where: { weight[$0] < 0 }) else {
            return Answer(evicted: nil, cost: .max, bound: .max)
        }
        push(forced, cost: forced.reduce(0) { $0 + weight[$1] })
        let total = stepLimit - placer.table.steps
        var share = max(total / 16, 1_000)
        bestFirst(until: placer.table.steps + share)
        while !isProved, !isExhausted, best != nil {
            improve(until: placer.table.steps + share * 2)
            bestFirst(until: placer.table.steps + share)
            share *= 2
        }
        let open = queue.min?.cost ?? Int.max
        return Answer(evicted: best, cost: bestCost, bound: min(floor, open, bestCost))
    }

    private var isProved: Bool { min(floor, queue.min?.cost ?? Int.max) >= bestCost }

    private mutating func bestFirst(until limit: Int) {
        let limit = min(limit, stepLimit)
        while let node = queue.popMin() {
            if node.cost >= bestCost || placer.table.steps >= limit && pops > 0 {
                queue.insert(node)
                return
            }
            pops += 1
            expand(node, divesToo: pops == 1 || pops % 8 == 0)
            if pops == 1, bestCost == .max { grow() }
        }
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
            putBack()
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
                let found = EvictionSearch.options(for: item, in: &placer, costLimit: limit, keep: 400)
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
            guard !devices.isEmpty else { continue }
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
                let found = EvictionSearch.options(for: item, in: &placer, costLimit: limit, keep: 1)
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
        placer.stopsAtFirstStuck = true
        defer { placer.stopsAtFirstStuck = false }
        var devices = placer.evicted.filter { !isForced[$0] }
        if devices.count > 24 { putBackInBulk(devices[...]) }
        devices = placer.evicted.filter { !isForced[$0] }
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

    /// Frees everything movable and puts back what may stay.
    private mutating func grow() {
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

    /// Local search: frees a neighbourhood on top of the best set, puts back in a shaken order, keeps what is no worse.
    private mutating func improve(until limit: Int) {
        guard var current = best, current.contains(where: { !isForced[$0] }) else { return }
        let limit = min(limit, stepLimit)
        let forest = placer.forest
        var currentCost = bestCost
        let pins = (0..<forest.count).filter { !forest.pins[$0].isEmpty }
        guard !pins.isEmpty else { return }
        var size = 4
        while placer.table.steps < limit, !isProved {
            placer.setEvicted(current)
            switch generator.next(below: 4) {
            case 0, 1:
                freeNeighbours(of: current, count: size, forest)
            case 2:
                freeRun(in: pins[generator.next(below: pins.count)], count: size, forest)
            default:
                // Eject: what had to go stays, whoever is in its way goes.
                let d = current[generator.next(below: current.count)]
                guard !isForced[d] else { continue }
                placer.restore(d)
                followCheapest(limit: currentCost + 2, keeping: d)
            }
            shakenPutBack()
            guard case .fits = placer.place(budget: 200) else { continue }
            if placer.cost <= currentCost {
                if placer.cost < currentCost { size = 4 }
                current = placer.evicted
                currentCost = placer.cost
                record()
                if current.isEmpty { return }
            } else {
                size = size >= 24 ? 4 : size + 1
            }
        }
    }

    /// Evicts devices whose pins are next to a pin of one of `devices`.
    private mutating func freeNeighbours(of devices: [Int], count: Int, _ forest: Forest) {
        let d = devices[generator.next(below: devices.count)]
        guard let pin = forest.pinsOf[d].first else { return }
        let line = forest.pins[forest.line[pin]]
        guard let at = line.firstIndex(of: pin) else { return }
        var from = at
        var to = at
        var left = count
        while left > 0, from > 0 || to < line.count - 1 {
            if from > 0, to == line.count - 1 || generator.next(below: 2) == 0 { from -= 1 } else { to += 1 }
            left -= 1
        }
        for i in from...to { evictHolders(line[i], forest) }
    }

    private mutating func freeRun(in line: Int, count: Int, _ forest: Forest) {
        let pins = forest.pins[line]
        let from = generator.next(below: pins.count)
        for i in from..<min(pins.count, from + count) { evictHolders(pins[i], forest) }
    }

    private mutating func evictHolders(_ pin: Int, _ forest: Forest) {
        guard !forest.isLocked[pin] else { return }
        for d in forest.holders[pin] { placer.evict(d) }
    }

    /// Evicts the cheapest way to make room for what is stuck, again and again, sparing device `kept`.
    private mutating func followCheapest(limit: Int, keeping kept: Int) {
        for _ in 0..<8 {
            guard case .fails = placer.place(budget: 50), placer.cost < limit else { return }
            let item = placer.hopeless.first ?? max(placer.firstStuck, 0)
            let found = EvictionSearch.options(for: item, in: &placer, costLimit: limit - placer.cost + 1, keep: 3)
            let usable = found.options.filter { !$0.devices.contains(kept) }
            guard !usable.isEmpty else { return }
            for d in usable[generator.next(below: usable.count)].devices { placer.evict(d) }
        }
    }

    private mutating func shakenPutBack() {
        placer.stopsAtFirstStuck = true
        defer { placer.stopsAtFirstStuck = false }
        let weight = placer.forest.weight
        var order: [(key: Int, device: Int)] = placer.evicted.filter { !isForced[$0] }.map { d in
            ((weight[d] + 1) * (4 + generator.next(below: 8)), d)
        }
        order.sort { ($0.key, $0.device) > ($1.key, $1.device) }
        for (_, d) in order {
            placer.restore(d)
            if case .fits = placer.place(budget: 30) { continue }
            placer.evict(d)
        }
    }
}

/// A fixed sequence of numbers that looks shuffled: the same on every run (SplitMix64).
struct SplitMix {
    var state: UInt64

    /// The next number, 0 to `bound` - 1; `bound` is at least 1.
    mutating func next(below bound: Int) -> Int {
        // Arithmetic modulo 2^64 is the definition of the generator.
        state = state &+ 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return Int((z ^ (z >> 31)) % UInt64(max(bound, 1)))
    }
}
