// SPDX-License-Identifier: GPL-2.0-or-later

/// Which behaviours the kernels of each release may have, and which of them were judged by their own kernel.
public enum KernelCatalogue {
    /// What is known of the kernels of one series.
    public struct Entry: Sendable, Hashable {
        /// The releases: a series, as `6.18`, or a range of them, as `6.2...6.9`.
        public var releases: String
        /// What a kernel of the series may do, likeliest first.
        public var candidates: [BehaviourSet.Candidate]
        /// The release that was held against the first candidate in the laboratory without a difference, or nil.
        public var judged: String?
        /// Where the entry is from.
        public var source: String
    }

    /// The series, oldest first.
    public static let entries: [Entry] = []

    /// All behaviours that the kernel of a release may have.
    ///
    /// - Parameter release: as `uname -r` prints it.
    /// - Returns: the candidates, likeliest first; for text that cannot be read every preset, oldest first, not judged.
    public static func behaviours(forRelease release: String) -> BehaviourSet {
        let (preset, isJudged) = KernelBehaviour.preset(forRelease: release)
        return BehaviourSet(
            .init(preset, reason: isJudged ? "judged by its own kernel" : "the nearest generation that was judged"),
            others: preset.alternatives.map { .init($0, reason: "a piece of another generation") },
            isJudged: isJudged
        )
    }
}
