// SPDX-License-Identifier: GPL-2.0-or-later

/// What somebody meant who made a mistake in writing.
public enum Spelling {
    /// The word of `known` that is nearest to `word`, or nil when none is near: one edit for every three letters.
    /// - Complexity: O(number of words x length^2).
    public static func nearest(to word: String, among known: [String]) -> String? {
        let typed = Array(word.lowercased().utf8)
        var best: (word: String, distance: Int)?
        for candidate in known {
            let letters = Array(candidate.lowercased().utf8)
            let limit = min((best?.distance ?? .max) - 1, max(1, max(typed.count, letters.count) / 3))
            guard limit >= 0, let distance = editDistance(typed, letters, limit: limit) else { continue }
            best = (candidate, distance)
        }
        return best?.word
    }

    /// The end of a sentence that says what was found: `; did you mean optimal?`, or nothing where no word is near.
    public static func question(_ word: String, among known: [String]) -> String {
        nearest(to: word, among: known).map { "; did you mean \($0)?" } ?? ""
    }
}
