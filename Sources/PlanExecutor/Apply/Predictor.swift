// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// What the twin of the kernel says when the machine does not do as a plan says, and on the way back.
public protocol Predictor: AnyObject {
    /// Looks for a behaviour under which the writes that were done lead to what was seen after each of them, and keeps to
    /// it from then on.
    ///
    /// - Parameter seen: the writes of each step that was checked, and the tree after it, from the first write on.
    /// - Returns: the name of the behaviour, or nil when none explains all that was seen.
    func explain(_ seen: [Observation]) -> String?

    /// The tree that `writes` lead to from the tree that was seen last; nil when that cannot be told or the kernel would
    /// refuse one of them.
    func outcome(of writes: [SystemWrite]) -> TreeState?

    /// A plan from where the machine stands after which something that was lost is there again.
    ///
    /// - Parameters:
    ///   - now: the tree where the machine stands; the plan must begin there.
    ///   - goals: for each function that misses something what it had: all that it requires, or the size of a BAR.
    /// - Returns: the plan, or nil when there is none.
    func planBack(from now: TreeState, for goals: [Goal]) -> Plan?

    /// Another plan for the same goals under the behaviour that explains what was seen, for a machine that has been
    /// brought back; nil when there is none, or when whoever agreed to the first plan did not agree to another one.
    func planAnew() -> Plan?

    /// Where each behaviour that agrees with all that was seen leads by further writes, likeliest first.
    ///
    /// - Parameters:
    ///   - writes: what would be done next.
    ///   - seen: the writes of each step that was checked, and the tree after it, from the first write on.
    /// - Returns: one state for each behaviour that is left; one that would refuse a write is left out.
    func foresee(_ writes: [SystemWrite], after seen: [Observation]) -> [ForeseenState]

    /// Whether every step of `plan` can be gone back from under every behaviour that the kernel may have; nil when that
    /// cannot be told.
    func wayBack(of plan: Plan) -> WayBackAnswer?

    /// A plan for the same goals from where the machine stands, after `plan` was carried out and functions appeared that
    /// nobody could see before; it stops nobody whom whoever agreed to `plan` did not agree to.
    ///
    /// - Parameters:
    ///   - plan: the plan that was agreed to.
    ///   - now: the tree where the machine stands; the plan must begin there.
    /// - Returns: the plan, whose answer may be that there is nothing to do or no way; nil when none could be made.
    func planOn(after plan: Plan, from now: TreeState) -> Plan?

    /// What names functions by the addresses that they had before the first write; empty where that is not known.
    var addressWords: [AddressWord] { get }
}

extension Predictor {
    /// Nil: nothing is planned for what has appeared.
    public func planOn(after plan: Plan, from now: TreeState) -> Plan? { nil }

    /// None.
    public var addressWords: [AddressWord] { [] }
}

/// Writes that were done together and the tree that was seen after them.
public struct Observation: Hashable, Sendable {
    /// The writes, in order.
    public var writes: [SystemWrite]
    /// The tree after the last of them.
    public var tree: TreeState

    /// Creates a record.
    public init(writes: [SystemWrite], tree: TreeState) {
        self.writes = writes
        self.tree = tree
    }
}
