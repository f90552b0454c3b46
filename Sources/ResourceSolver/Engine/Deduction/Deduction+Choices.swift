// SPDX-License-Identifier: GPL-2.0-or-later

// Which variable to decide next: the one that took part in the most contradictions lately.
extension Deduction {
    @inline(__always)
    mutating func bump(_ v: Int) {
        activity[v] += activityIncrement
        if heapIndex[v] >= 0 { siftUp(Int(heapIndex[v])) }
    }

    /// Lets older contradictions count less.
    mutating func decay() {
        activityIncrement *= 1 / 0.95
        clauseIncrement *= 1 / 0.999
        if activityIncrement > 1e100 {
            for v in activity.indices { activity[v] *= 1e-100 }
            activityIncrement *= 1e-100
        }
        if clauseIncrement > 1e20 {
            for c in clauses.indices { clauses[c].activity *= 1e-20 }
            clauseIncrement *= 1e-20
        }
    }

    /// The most active open variable, or nil when all are decided.
    mutating func nextChoice() -> Int? {
        while let v = heapPop() {
            if isOpen(v) { return v }
        }
        return nil
    }

    @inline(__always)
    private func isBefore(_ a: Int32, _ b: Int32) -> Bool {
        let x = activity[Int(a)]
        let y = activity[Int(b)]
        return x != y ? x > y : a < b
    }

    mutating func heapInsert(_ v: Int) {
        guard heapIndex[v] < 0 else { return }
        heapIndex[v] = Int32(truncatingIfNeeded: heap.count)
        heap.append(Int32(truncatingIfNeeded: v))
        siftUp(heap.count - 1)
    }

    private mutating func siftUp(_ from: Int) {
        var i = from
        let v = heap[i]
        while i > 0 {
            let p = (i - 1) >> 1
            guard isBefore(v, heap[p]) else { break }
            heap[i] = heap[p]
            heapIndex[Int(heap[i])] = Int32(truncatingIfNeeded: i)
            i = p
        }
        heap[i] = v
        heapIndex[Int(v)] = Int32(truncatingIfNeeded: i)
    }

    private mutating func heapPop() -> Int? {
        guard let first = heap.first else { return nil }
        heapIndex[Int(first)] = -1
        let moved = heap.removeLast()
        if heap.isEmpty { return Int(first) }
        var i = 0
        let n = heap.count
        while true {
            var child = 2 * i + 1
            guard child < n else { break }
            if child + 1 < n, isBefore(heap[child + 1], heap[child]) { child += 1 }
            guard isBefore(heap[child], moved) else { break }
            heap[i] = heap[child]
            heapIndex[Int(heap[i])] = Int32(truncatingIfNeeded: i)
            i = child
        }
        heap[i] = moved
        heapIndex[Int(moved)] = Int32(truncatingIfNeeded: i)
        return Int(first)
    }
}
