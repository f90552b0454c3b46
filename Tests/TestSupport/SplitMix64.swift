// SPDX-License-Identifier: GPL-2.0-or-later

/// Numbers that look random and depend on nothing but where they start (SplitMix64: Steele, Lea, Flood 2014).
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// The sequence that begins at a state; neighbouring states give related sequences.
    public init(state: UInt64) { self.state = state }

    /// The sequence of a seed; neighbouring seeds share nothing.
    public init(seed: UInt64) {
        state = seed
        state = next() ^ seed
    }

    // The generator is defined modulo 2^64; wrapping is its arithmetic.
    /// The next 64 bits of the sequence.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// 0 up to, not including, `limit`, which is 1 or more.
    public mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

    /// A power of two between two exponents, both included.
    public mutating func power(_ exponents: ClosedRange<UInt64>) -> UInt64 {
        1 << UInt64.random(in: exponents, using: &self)
    }
}
