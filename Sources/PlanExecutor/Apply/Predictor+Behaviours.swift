// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// Where one of the behaviours that a kernel may have leads.
public struct ForeseenState: Hashable, Sendable {
    /// The name of the behaviour.
    public var behaviour: String
    /// The tree that the kernel would show.
    public var tree: TreeState
    /// What the registers of its bridges would hold.
    public var registers: [RegisterExpectation]

    /// Creates a record.
    public init(behaviour: String, tree: TreeState, registers: [RegisterExpectation] = []) {
        self.behaviour = behaviour
        self.tree = tree
        self.registers = registers
    }
}

/// Whether every step of a plan can be gone back from, whichever of its possible behaviours the kernel has.
public struct WayBackAnswer: Hashable, Sendable {
    /// A step from which the way back was seen, in thought, to leave something lost.
    public struct Gap: Hashable, Sendable {
        /// The behaviour under which it does.
        public var behaviour: String
        /// The number of the last step before going back, from 1.
        public var step: Int
        /// What would be lost, a sentence each; never empty.
        public var losses: [String]

        /// Creates a record.
        public init(behaviour: String, step: Int, losses: [String]) {
            self.behaviour = behaviour
            self.step = step
            self.losses = losses
        }
    }

    /// The behaviours that were tried, likeliest first.
    public var behaviours: [String]
    /// The first step that cannot be gone back from under each behaviour under which there is one; empty when the way back
    /// is shown.
    public var gaps: [Gap]
    /// Whether the kernel itself was held against its behaviour in the laboratory, so that there is no other.
    public var isJudged: Bool

    /// Creates a record.
    public init(behaviours: [String], gaps: [Gap], isJudged: Bool) {
        self.behaviours = behaviours
        self.gaps = gaps
        self.isJudged = isJudged
    }

    /// Whether every step can be gone back from under every behaviour.
    public var isShown: Bool { gaps.isEmpty }
}

extension Predictor {
    /// None: this predictor knows one behaviour only.
    public func foresee(_ writes: [SystemWrite], after seen: [Observation]) -> [ForeseenState] { [] }

    /// Nil: nobody can tell.
    public func wayBack(of plan: Plan) -> WayBackAnswer? { nil }
}
