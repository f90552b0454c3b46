// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// Looks for the smallest set of words: fewest words first, then the smallest values.
///
/// For every choice of words, fewest first and without `assign-busses` first, the values climb from what the goals need
/// by sum until a boot is good; then each value is lowered as far as boots stay good, and the next smaller sets are
/// tried once more, so that the answer comes with what each of them would lack.
struct BootSearch {
    let trial: BootTrial
    /// The platform without the words that the search decides about.
    let platform: Platform
    let need: BootNeed
    /// The largest value of each size word that can make sense: the largest aperture, 255 buses.
    let most: [BootWordSet.Size: UInt64]
    /// How many boots may be tried.
    let budget: Int

    private(set) var attempts = 0
    private var known: [BootWordSet: BootAdvice.Outcome] = [:]

    init(
        trial: BootTrial,
        platform: Platform,
        need: BootNeed,
        most: [BootWordSet.Size: UInt64],
        budget: Int
    ) {
        self.trial = trial
        self.platform = platform
        self.need = need
        self.most = most
        self.budget = budget
    }

    /// The smallest set found and the next smaller ones, each with its outcome; nil when no set that was tried is good.
    mutating func smallest() throws(TwinError) -> (best: BootWordSet, smaller: [BootWordSet])? {
        let sizes = BootWordSet.Size.allCases.filter { lowest($0) != nil }
        let choices = BootWordSet.choices(of: sizes, releasing: Array(trial.bridges().prefix(8)), on: platform)
        for (set, sized) in choices {
            guard let found = try firstGood(set, sized) else { continue }
            let best = try lowered(found)
            return (best, smaller(than: best))
        }
        return nil
    }

    /// The outcome of a set that was tried.
    mutating func outcome(_ set: BootWordSet) throws(TwinError) -> BootAdvice.Outcome {
        if let outcome = known[set] { return outcome }
        attempts += 1
        let outcome = try trial.outcome(set.applied(to: platform), words: set.words)
        known[set] = outcome
        return outcome
    }

    private mutating func isGood(_ set: BootWordSet) throws(TwinError) -> Bool {
        if known[set] == nil, attempts >= budget { return false }
        return try outcome(set).isGood
    }

    /// The sum that the goals need of a size, in steps; nil when they need none.
    private func lowest(_ size: BootWordSet.Size) -> UInt64? {
        let need: UInt64 =
            switch size {
            case .prefetchable: self.need.bytes[.prefetchable] ?? 0
            case .memory: self.need.bytes[.memory] ?? 0
            case .io: self.need.bytes[.io] ?? 0
            case .buses: UInt64(clamping: self.need.buses)
            }
        guard need > 0 else { return nil }
        let value = max(need, size.initial(platform) + 1)
        let (sum, overflow) = value.addingReportingOverflow(size.step - 1)
        let rounded = overflow ? value : sum / size.step * size.step
        return min(rounded, most[size] ?? rounded)
    }

    // MARK: Climbing

    private mutating func firstGood(_ set: BootWordSet, _ sized: [BootWordSet.Size]) throws(TwinError) -> BootWordSet? {
        guard !sized.isEmpty else { return try isGood(set) ? set : nil }
        for factors in Self.factors(sized.count) {
            var candidate = set
            for (size, factor) in zip(sized, factors) {
                let (value, overflow) = (lowest(size) ?? 0).multipliedReportingOverflow(by: factor)
                candidate.sizes[size] = min(overflow ? .max : value, most[size] ?? .max)
            }
            if try isGood(candidate) { return candidate }
        }
        return nil
    }

    /// Multiples to try: every one of 1, 2, 4 for each size by itself, then all sizes alike up to 1024.
    private static func factors(_ count: Int) -> [[UInt64]] {
        var grid: [[UInt64]] = [[]]
        for _ in 0..<count { grid = grid.flatMap { head in [1, 2, 4].map { head + [$0] } } }
        // The sum in front, so that the smallest come first.
        let ranked = grid.map { [$0.reduce(0, +)] + $0 }.sorted { $0.lexicographicallyPrecedes($1) }
        return ranked.map { Array($0.dropFirst()) }
            + (3...10).map { [UInt64](repeating: 1 << UInt64($0), count: count) }
    }

    // MARK: Lowering

    /// `set` with words left out and values lowered as far as boots stay good.
    private mutating func lowered(_ set: BootWordSet) throws(TwinError) -> BootWordSet {
        var best = set
        var changed = true
        while changed {
            changed = false
            for size in BootWordSet.Size.allCases {
                guard let value = best.sizes[size] else { continue }
                var without = best
                without.sizes[size] = nil
                if try isGood(without) {
                    best = without
                    changed = true
                    continue
                }
                // In steps: `low` is not good (it may be the value without the word), `high` is.
                var low = size.initial(platform) / size.step
                var high = value / size.step
                while high > low + 1 {
                    let middle = low + (high - low) / 2
                    var candidate = best
                    candidate.sizes[size] = middle * size.step
                    if try isGood(candidate) { high = middle } else { low = middle }
                }
                if high * size.step < value {
                    best.sizes[size] = high * size.step
                    changed = true
                }
            }
        }
        return best
    }

    /// The sets that are one word or one step smaller; all of them have been tried, or are tried now.
    private func smaller(than best: BootWordSet) -> [BootWordSet] {
        var result: [BootWordSet] = []
        if best.reallocates {
            var one = best
            one.reallocates = false
            result.append(one)
        }
        if best.renumbers {
            var one = best
            one.renumbers = false
            result.append(one)
        }
        if best.released != nil {
            var one = best
            one.released = nil
            result.append(one)
        }
        for size in BootWordSet.Size.allCases {
            guard let value = best.sizes[size] else { continue }
            var one = best
            one.sizes[size] = nil
            result.append(one)
            if value > size.step, value - size.step > size.initial(platform) {
                one.sizes[size] = value - size.step
                result.append(one)
            }
        }
        return result
    }
}
