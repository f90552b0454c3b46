// SPDX-License-Identifier: GPL-2.0-or-later

/// How well the cost of a layout is known to be the least.
public enum ProofStatus: Hashable, Sendable {
    /// No layout disturbs less.
    case optimal
    /// The search ended before its proof; every layout costs at least `bound`.
    case within(bound: Int)
}

extension ProofStatus: CustomStringConvertible {
    /// `optimal`, or `at least 7`.
    public var description: String {
        switch self {
        case .optimal: "optimal"
        case .within(let bound): "at least \(bound)"
        }
    }
}

/// How much work a search may do.
///
/// Work is counted in steps, not seconds: the same problem with the same effort gives the same answer on every machine.
public struct Effort: Hashable, Sendable {
    /// The number of steps; one step is one bound, clause or order that is looked at (some 0.03 microseconds). Only what
    /// is hard takes them.
    public var steps: Int

    /// Creates an effort.
    public init(steps: Int) { self.steps = max(0, steps) }

    /// What each of `hosts` host bridges may take: all, up to sixteen of them, then a share of what sixteen may.
    func shared(amongHosts hosts: Int) -> Effort { hosts <= 16 ? self : Effort(steps: steps / hosts * 16) }

    /// Enough for a proof on almost everything up to 128 functions: at most half a second.
    public static let standard = Effort(steps: 12_000_000)
    /// For proofs that may take several seconds.
    public static let long = Effort(steps: 200_000_000)
}
