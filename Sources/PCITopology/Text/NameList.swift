// SPDX-License-Identifier: GPL-2.0-or-later

extension Collection where Element: CustomStringConvertible {
    /// The first `most` in a sentence, and how many more there are: `a, b and 3 more`.
    package func listed(_ most: Int) -> String {
        let shown = prefix(most).map(\.description).joined(separator: ", ")
        return count > most ? "\(shown) and \(count - most) more" : shown
    }
}
