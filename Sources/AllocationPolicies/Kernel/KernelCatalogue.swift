// SPDX-License-Identifier: GPL-2.0-or-later

/// Which behaviours the kernels of each release may have, and which of them were judged by their own kernel.
///
/// `Docs/kernels.md` is written from it. How far a judgement carries: to the point releases of the same series between which
/// and the judged one every change of the allocator is known, from changelogs or sources, and to no other tree than the
/// stable one and Debian's. Later point releases count only in series whose tree has ended, and in long-term ones whose
/// allocator had settled when they were judged: 6.18 changed its sizing twice in half a year.
public enum KernelCatalogue {
    /// A kernel in the laboratory that was held against the first candidate of an entry without a line that differed.
    public struct Judgement: Sendable, Hashable {
        /// The point release that ran.
        public var point: Int
        /// Its name, as `uname -r` prints it.
        public var release: String
        /// Why it tells of all points of the entry, as a clause.
        public var carries: String
    }

    /// Series that were judged, and on whose kernels failed hot-adds have not been repaired in the laboratory, so that
    /// nothing is written there unasked: 6.18 once lost three cards to a plan made for another kernel. What takes a series
    /// out is in `repairs`.
    public static let unprovenSeries: Set<KernelRelease.Series> = []

    /// Why a plan must not be carried out unasked on the kernel of a release.
    ///
    /// - Parameter release: as `uname -r` prints it.
    /// - Returns: a clause after the subject "how it assigns addresses", or nil where it may.
    public static func obstacle(toWritingOn release: String) -> String? {
        let set = behaviours(forRelease: release)
        if !set.isJudged { return "was not judged (\(set.explanation))" }
        guard let known = KernelRelease(release), unprovenSeries.contains(known.series) else { return nil }
        return "is predicted (\(set.explanation)), but repairs on \(known.series) have not been proven yet"
    }

    /// What is known of the kernels of one series, of a part of it, or of several series that are alike.
    public struct Entry: Sendable, Hashable {
        /// The first series.
        public var first: KernelRelease.Series
        /// The last series, inclusive.
        public var last: KernelRelease.Series
        /// The point releases, inclusive.
        public var points: ClosedRange<Int>
        /// What such a kernel may do, likeliest first; at least one.
        public var candidates: [BehaviourSet.Candidate]
        /// The kernel that judged it, or nil.
        public var judgement: Judgement?
        /// Where the entry is from.
        public var source: String

        /// The releases in words: `6.18.14 to 6.18.16`, `6.2 to 6.9`, `6.12.112 and later`.
        public var releases: String {
            if first != last { return "\(first) to \(last)" }
            if points == 0...Int.max { return "\(first)" }
            if points.upperBound == .max { return "\(first).\(points.lowerBound) and later" }
            if points.count == 1 { return "\(first).\(points.lowerBound)" }
            return "\(first).\(points.lowerBound) to \(first).\(points.upperBound)"
        }
    }

    /// All behaviours that the kernel of a release may have.
    ///
    /// - Parameter release: as `uname -r` prints it.
    /// - Returns: the candidates, likeliest first; for text that cannot be read every preset, oldest first after that of 6.1,
    ///   for a series that is newer than all entries every preset, newest first; not judged, both.
    public static func behaviours(forRelease release: String) -> BehaviourSet {
        #if LEAVE_ONE_OUT
            if let leftOut, let set = behaviours(forRelease: release, without: leftOut) { return set }
        #endif
        guard let known = KernelRelease(release) else {
            return every(.linux6_1, KernelBehaviour.everyPreset, "the release cannot be read")
        }
        let found = entries(for: known)
        guard let likeliest = found.last else {
            let newest = Array(KernelBehaviour.everyPreset.reversed())
            return every(newest[0], newest, "newer than every kernel that was judged")
        }
        var candidates: [BehaviourSet.Candidate] = []
        for entry in found.reversed() { candidates += entry.candidates }
        let judgement = judgement(of: known, found)
        if judgement == .none {
            let own = likeliest.candidates[0].behaviour
            if known.tree != .stable, known.tree != .debian {
                candidates += newer(than: known.series).map {
                    .init($0, reason: "\(known.tree.rawValue) may carry changes of newer releases")
                }
            }
            candidates += own.alternatives.map { .init($0, reason: "stable trees carry single changes back") }
        }
        return BehaviourSet(
            candidates[0],
            others: Array(candidates.dropFirst()),
            judgement: judgement,
            explanation: explanation(judgement, known, found)
        )
    }

    #if LEAVE_ONE_OUT
        /// The series of which nothing is known in this process. For builds of the laboratory, which hold a real kernel
        /// against what is said of one that nobody has read; set before anything else is asked.
        nonisolated(unsafe) public static var leftOut: KernelRelease.Series?
    #endif

    /// What would be said of a kernel if nobody had ever read or run one of its series: what the series before and after
    /// it may do, and single changes of these.
    ///
    /// - Parameters:
    ///   - release: as `uname -r` prints it.
    ///   - series: the series that counts as unknown.
    /// - Returns: the candidates, those of the series before first; not judged. Nil where the release is not of `series`,
    ///   or nothing else is known.
    package static func behaviours(
        forRelease release: String,
        without series: KernelRelease.Series
    ) -> BehaviourSet? {
        guard KernelRelease(release)?.series == series else { return nil }
        let own = entries.filter { $0.first <= series && series <= $0.last }
        // What another series was judged by is known without this one.
        let known = entries.filter { $0.judgement != nil && $0.first != series }.map { $0.candidates[0].behaviour.name }
        let names = Set(own.flatMap(\.candidates).map(\.behaviour.name)).subtracting(known)
        func others(_ candidates: [BehaviourSet.Candidate]) -> [BehaviourSet.Candidate] {
            candidates.filter { !names.contains($0.behaviour.name) }
        }
        let neighbours = [entries.last { $0.last < series }, entries.first { $0.first > series }]
            .map { others($0?.candidates ?? []) }
        let variations = neighbours.compactMap(\.first).flatMap(\.behaviour.alternatives)
            .map { BehaviourSet.Candidate($0, reason: "stable trees carry single changes back") }
        let candidates = neighbours.flatMap { $0 } + others(variations)
        guard let first = candidates.first else { return nil }
        return BehaviourSet(
            first,
            others: Array(candidates.dropFirst()),
            judgement: .none,
            explanation: "no kernel of \(series) was judged"
        )
    }

    /// The entries of a release, oldest first; several where its name does not tell its point release, none for a series that
    /// is newer than all.
    public static func entries(for release: KernelRelease) -> [Entry] {
        entries.filter {
            $0.first <= release.series && release.series <= $0.last && $0.points.overlaps(release.points)
        }
    }

    private static func every(_ first: KernelBehaviour, _ all: [KernelBehaviour], _ reason: String) -> BehaviourSet {
        BehaviourSet(
            .init(first, reason: reason),
            others: all.map { .init($0, reason: reason) },
            judgement: .none,
            explanation: reason
        )
    }

    private static func judgement(of release: KernelRelease, _ found: [Entry]) -> BehaviourSet.Judgement {
        guard release.tree == .stable || release.tree == .debian, found.allSatisfy({ $0.judgement != nil }) else {
            return .none
        }
        let isSame = found.count == 1 && found[0].judgement?.point == release.points.lowerBound
        return isSame && release.points.count == 1 && release.tree == .debian ? .itself : .carried
    }

    private static func explanation(
        _ judgement: BehaviourSet.Judgement,
        _ release: KernelRelease,
        _ found: [Entry]
    ) -> String {
        guard judgement == .none, let last = found.last else {
            let judged = found.reversed().lazy.compactMap { $0.judgement }.first
            guard let judged else { return "" }
            if judgement == .itself { return "judged on \(judged.release) itself" }
            return "judged on \(judged.release), which carries to it: \(judged.carries)"
        }
        let near = entries.last { $0.judgement != nil && $0.first == release.series }?.judgement
        guard let near else { return "no kernel of \(last.releases) was judged" }
        if release.tree == .stable || release.tree == .debian {
            return "\(near.release) was judged, which does not carry as far as \(last.releases)"
        }
        return "\(near.release) was judged, which does not tell of a kernel from \(release.tree.rawValue)"
    }

    /// The behaviours of the next entries, whose changes a distributor may have taken.
    private static func newer(than series: KernelRelease.Series) -> [KernelBehaviour] {
        entries.filter { $0.first > series }.prefix(4).map { $0.candidates[0].behaviour }
    }
}
