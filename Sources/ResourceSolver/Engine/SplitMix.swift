// SPDX-License-Identifier: GPL-2.0-or-later

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
