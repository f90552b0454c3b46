// SPDX-License-Identifier: GPL-2.0-or-later

/// All behaviours that a kernel may have, likeliest first; never empty.
///
/// Evidence narrows it: whoever sees a kernel act drops those that would have acted otherwise (`filter`).
public struct BehaviourSet: Sendable, Hashable {
    /// One behaviour that the kernel may have.
    public struct Candidate: Sendable, Hashable {
        /// What the kernel would do.
        public var behaviour: KernelBehaviour
        /// Why it may be so, as the end of a sentence: `read from 6.18.30's source`.
        public var reason: String

        /// A behaviour and why it may be the kernel's.
        public init(_ behaviour: KernelBehaviour, reason: String) {
            self.behaviour = behaviour
            self.reason = reason
        }
    }

    /// Whether a kernel was held against the candidates in the laboratory, without a difference.
    public enum Judgement: String, Sendable, Hashable {
        /// This very release was.
        case itself
        /// Another release of the series was, and all that the allocator changed between the two is known.
        case carried
        /// None that would tell of this one.
        case none
    }

    /// The candidates, likeliest first; at least one, no two that act the same.
    public let candidates: [Candidate]
    /// Whether a kernel was held against them.
    public let judgement: Judgement
    /// Which release was judged and how far that carries, as a clause; empty where nobody told.
    public let explanation: String

    /// The first candidate and others; those that act like an earlier one are left out.
    public init(_ first: Candidate, others: [Candidate] = [], judgement: Judgement, explanation: String = "") {
        var kept = [first]
        for other in others where !kept.contains(where: { $0.behaviour.switches == other.behaviour.switches }) {
            kept.append(other)
        }
        candidates = kept
        self.judgement = judgement
        self.explanation = explanation
    }

    /// Whether this release was judged, by itself or by one near enough to it.
    public var isJudged: Bool { judgement != .none }

    /// The likeliest behaviour.
    public var first: KernelBehaviour { candidates[0].behaviour }

    /// The behaviours alone, likeliest first.
    public var behaviours: [KernelBehaviour] { candidates.map(\.behaviour) }

    /// The candidates that fulfil a condition, in order, or nil when none does.
    public func filter(_ isLeft: (KernelBehaviour) throws -> Bool) rethrows -> BehaviourSet? {
        let left = try candidates.filter { try isLeft($0.behaviour) }
        guard let head = left.first else { return nil }
        return BehaviourSet(
            head,
            others: Array(left.dropFirst()),
            judgement: judgement,
            explanation: explanation
        )
    }
}
