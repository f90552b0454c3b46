// SPDX-License-Identifier: GPL-2.0-or-later

/// Where the steps of a plan lead under one of the behaviours that the kernel may have.
public struct BehaviourOutlook: Hashable, Sendable {
    /// What comes of the steps.
    public enum Outcome: String, CaseIterable, Hashable, Sendable {
        /// Every step ends as planned.
        case asPlanned = "as-planned"
        /// The goal is reached and nothing is lost, at other addresses than planned.
        case otherAddresses = "other-addresses"
        /// Nothing is lost, and the goal is not reached.
        case missesGoal = "misses-goal"
        /// Something that works now would have no place at the end.
        case losesSomething = "loses-something"
        /// The kernel would refuse one of the writes, or be in doubt after it.
        case refused
    }

    /// The name of the behaviour.
    public var behaviour: String
    /// What comes of the steps.
    public var outcome: Outcome
    /// The number of the first step, from 1, after which the machine shows something else than planned; nil when it never
    /// does.
    public var differsAfterStep: Int?

    /// Creates a record.
    public init(behaviour: String, outcome: Outcome, differsAfterStep: Int? = nil) {
        self.behaviour = behaviour
        self.outcome = outcome
        self.differsAfterStep = differsAfterStep
    }
}

/// A behaviour that the kernel cannot have, and what showed it.
public struct RuledOutBehaviour: Hashable, Sendable {
    /// The name of the behaviour.
    public var behaviour: String
    /// What showed it, a lower-case clause.
    public var reason: String

    /// Creates a record.
    public init(behaviour: String, reason: String) {
        self.behaviour = behaviour
        self.reason = reason
    }
}
