// SPDX-License-Identifier: GPL-2.0-or-later

internal import TestSupport

extension SplitMix64 {
    /// True `percent` times in a hundred.
    mutating func happens(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

    /// One of the elements, or nil of none.
    mutating func one<Choice>(of choices: [Choice]) -> Choice? { choices.randomElement(using: &self) }
}
