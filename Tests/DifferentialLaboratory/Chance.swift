// SPDX-License-Identifier: GPL-2.0-or-later

/// Random choices that a seed repeats (SplitMix64).
struct Chance: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    // The generator is defined modulo 2^64; wrapping is its arithmetic.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// True `percent` times in a hundred.
    mutating func happens(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

    /// One of the elements, or nil of none.
    mutating func one<Choice>(of choices: [Choice]) -> Choice? { choices.randomElement(using: &self) }

    /// A power of two between two exponents, both included.
    mutating func power(_ exponents: ClosedRange<UInt64>) -> UInt64 { 1 << UInt64.random(in: exponents, using: &self) }
}
