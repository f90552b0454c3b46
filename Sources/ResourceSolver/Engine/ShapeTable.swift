// SPDX-License-Identifier: GPL-2.0-or-later

/// The shapes of everything that may move as one: what length it needs as a function of where it starts.
///
/// The shape of a leaf is its size after rounding up to its alignment. The shape of a window is the least end over all
/// orders of its children, rounded up to its granule. Structurally equal subtrees share one class, so that a switch with
/// sixteen equal cards costs as much as one card. Ends are nondecreasing in the start and periodic with the largest
/// alignment inside, so one remembered length per class and residue suffices.
///
/// All numbers are units of the line, with half-open ranges: this is the engine's private arithmetic. Mirrored lines run
/// through negative numbers; rounding is two's complement and right for both signs.
struct ShapeTable {
    /// How the children of a class are counted: `count` children of class `shape`.
    struct Part: Hashable {
        var shape: Int
        var count: Int
    }

    private struct Key: Hashable {
        var granule: Int
        var size: Int
        var parts: [Part]
    }

    /// Highest level (log2 of a size in units) that is counted.
    static let levels = 61

    private(set) var size: [Int] = []
    /// The largest alignment inside.
    private(set) var alignment: [Int] = []
    /// A lower bound of the length, whatever the start.
    private(set) var volume: [Int] = []
    private(set) var granule: [Int] = []
    private(set) var parts: [[Part]] = []
    /// The levels at which a size inside lies: only there can a level count bind.
    private(set) var levelMask: [UInt64] = []
    /// Per class and level k: how many aligned slots of 2^k units the class fills at least.
    private(set) var slots: [Int] = []
    private(set) var isSimpleLeaf: [Bool] = []
    private var known: [Key: Int] = [:]
    private var remembered: [[Int: Int]] = []
    private var inexactResidues: [Set<Int>] = []

    /// Work done so far, in search nodes.
    var steps = 0
    /// The most search nodes that one length query inside a window may take.
    var innerBudget = 2_000

    /// Whether class `shape` is a leaf.
    @inline(__always)
    func isLeaf(_ shape: Int) -> Bool { granule[shape] == 0 }

    /// The class of a leaf of `size` units, aligned to `alignment`.
    mutating func leaf(size: Int, alignment: Int) -> Int {
        let key = Key(granule: 0, size: size, parts: [Part(shape: -1, count: alignment)])
        if let shape = known[key] { return shape }
        let shape = add(key, size: size, alignment: alignment, volume: size, granule: 0, parts: [])
        let log = alignment.trailingZeroBitCount
        levelMask[shape] = 1 << UInt64(log)
        for k in 0...min(log, Self.levels - 1) {
            slots[shape * Self.levels + k] = size >> k
        }
        isSimpleLeaf[shape] = size == alignment
        return shape
    }

    /// The class of a window with `granule` and children of the given classes, or nil when it holds nothing.
    mutating func window(granule: Int, children: [Int]) -> Int? {
        guard !children.isEmpty else { return nil }
        var grouped: [Part] = []
        for child in children.sorted() {
            if let last = grouped.last, last.shape == child {
                grouped[grouped.count - 1].count += 1
            } else {
                grouped.append(Part(shape: child, count: 1))
            }
        }
        let key = Key(granule: granule, size: 0, parts: grouped)
        if let shape = known[key] { return shape }
        var alignmentInside = granule
        var volumeInside = 0
        for part in grouped {
            alignmentInside = max(alignmentInside, alignment[part.shape])
            volumeInside += volume[part.shape] * part.count
        }
        let shape = add(
            key,
            size: 0,
            alignment: alignmentInside,
            volume: roundUp(volumeInside, granule),
            granule: granule,
            parts: grouped
        )
        let log = granule.trailingZeroBitCount
        var mask: UInt64 = 1 << UInt64(log)
        for part in grouped { mask |= levelMask[part.shape] }
        // Below the granule the window is one block of whole granules.
        mask &= ~((1 << UInt64(log)) - 1)
        levelMask[shape] = mask
        for k in 0..<Self.levels {
            if k <= log {
                slots[shape * Self.levels + k] = volume[shape] >> k
            } else {
                var sum = 0
                for part in grouped { sum += slots[part.shape * Self.levels + k] * part.count }
                slots[shape * Self.levels + k] = sum
            }
        }
        return shape
    }

    private mutating func add(_ key: Key, size: Int, alignment: Int, volume: Int, granule: Int, parts: [Part]) -> Int {
        let shape = self.size.count
        known[key] = shape
        self.size.append(size)
        self.alignment.append(alignment)
        self.volume.append(volume)
        self.granule.append(granule)
        self.parts.append(parts)
        levelMask.append(0)
        slots.append(contentsOf: repeatElement(0, count: Self.levels))
        isSimpleLeaf.append(false)
        remembered.append([:])
        inexactResidues.append([])
        return shape
    }

    /// The first start at or after `position` that class `shape` can take.
    @inline(__always)
    func firstStart(_ shape: Int, from position: Int) -> Int {
        let g = granule[shape]
        return g == 0 ? roundUp(position, alignment[shape]) : roundUp(position, g)
    }

    /// The end of class `shape` when it starts exactly at `start`, a value of `firstStart`; the least that was found.
    ///
    /// `exact` is set to false when the search for the best order was cut short.
    @inline(__always)
    mutating func end(_ shape: Int, startingAt start: Int, exact: inout Bool) -> Int {
        granule[shape] == 0 ? start + size[shape] : start + length(shape, startingAt: start, exact: &exact)
    }

    /// A lower bound of the end of class `shape` when it starts at or after `position`: level counts, without search.
    func boundedEnd(_ shape: Int, from position: Int) -> Int {
        let g = granule[shape]
        guard g > 0 else { return roundUp(position, alignment[shape]) + size[shape] }
        let start = roundUp(position, g)
        var bound = start + volume[shape]
        var mask = levelMask[shape]
        while mask != 0 {
            let k = mask.trailingZeroBitCount
            mask &= mask - 1
            let count = slots[shape * Self.levels + k]
            guard count > 0 else { continue }
            let first = (start + ((1 << k) - 1)) >> k
            bound = max(bound, (first + count) << k)
        }
        return roundUp(bound, g)
    }

    private mutating func length(_ shape: Int, startingAt start: Int, exact: inout Bool) -> Int {
        let residue = start & (alignment[shape] - 1)
        if let length = remembered[shape][residue] {
            if inexactResidues[shape].contains(residue) { exact = false }
            return length
        }
        let entries = parts[shape].map { OrderSearch.Entry(shape: $0.shape, count: $0.count) }
        let found = OrderSearch.leastEnd(entries, from: residue, in: &self, budget: innerBudget)
        let length = roundUp(found.end, granule[shape]) - residue
        remembered[shape][residue] = length
        if !found.isExact {
            // The rounding to the granule may still prove the length: no order ends below the level bound.
            if roundUp(OrderSearch.levelBound(entries, from: residue, in: self), granule[shape]) < residue + length {
                inexactResidues[shape].insert(residue)
                exact = false
            }
        }
        return length
    }
}

/// `value` rounded up to a multiple of `alignment`, a power of two; right for negative values too.
@inline(__always)
func roundUp(_ value: Int, _ alignment: Int) -> Int { (value + (alignment - 1)) & ~(alignment - 1) }

/// `value` rounded down to a multiple of `alignment`, a power of two; right for negative values too.
@inline(__always)
func roundDown(_ value: Int, _ alignment: Int) -> Int { value & ~(alignment - 1) }
