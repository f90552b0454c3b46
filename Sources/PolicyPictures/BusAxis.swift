// SPDX-License-Identifier: GPL-2.0-or-later

/// Where bus numbers lie on an axis on which long runs that nobody uses are short.
///
/// A number that any of the maps uses or reserves has a width of its own; a run that is free or outside in all of them
/// grows with the logarithm of its length.
struct BusAxis {
    /// Runs of numbers that are drawn as one, ascending, covering 0 to 255.
    private(set) var runs: [Range<Int>] = []
    private var edges: [Int] = []

    /// Lays out the axis of one host bridge in all maps.
    init(_ maps: [BusMap], width: Int) {
        var weights: [Double] = []
        var start = 0
        while start < 256 {
            let uses = maps.map { $0.numbers[start] }
            let isEmpty = uses.allSatisfy { $0 == .free || $0 == .outside }
            var end = start + 1
            while isEmpty, end < 256, maps.map({ $0.numbers[end] }) == uses { end += 1 }
            runs.append(start..<end)
            weights.append(isEmpty ? 1.5 + 0.8 * Double(64 - UInt64(end - start).leadingZeroBitCount) : 1)
            start = end
        }
        let sum = weights.reduce(0, +)
        // No number wider than its label needs.
        let unit = min(Double(width) / max(sum, 1), 22)
        edges = Array(repeating: 0, count: 257)
        var position = 0.0
        for (run, weight) in zip(runs, weights) {
            for number in run {
                edges[number] = Int(position + weight * unit * Double(number - run.lowerBound) / Double(run.count))
            }
            position += weight * unit
        }
        edges[256] = Int(position)
    }

    /// The left edge of a number, 0 to 256.
    subscript(_ number: Int) -> Int { edges[min(max(number, 0), 256)] }
}
