// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// How an apply or a recovery ended.
public struct ApplyReport: Hashable, Sendable {
    /// The answer in one word.
    public enum Verdict: String, Hashable, Sendable {
        /// The machine is as the plan says, or there was nothing to do.
        case done
        /// The plan was not carried out to its end, and nothing is worse than before.
        case rolledBack = "rolled-back"
        /// The plan was not carried out; when writes were done, something is worse than before.
        case failed
    }

    /// The answer.
    public var verdict: Verdict
    /// A stable slug: `goal-reached`, `prediction-differs`, `write-refused`, `stale`, `busy`, …
    public var reason: String
    /// One sentence for a person.
    public var sentence: String
    /// The exit status: 0, 1, 2, 4, 5, 6, 7, 75 or 77.
    public var exitStatus: Int32
    /// What differs from the prediction, or from the tree before, a sentence each.
    public var differences: [String]
    /// Other things worth knowing, a sentence each.
    public var remarks: [String]
    /// The number of writes that were asked of the machine.
    public var writes: Int
    /// How long writes took in the kernel.
    public var timeInKernel: Duration = .zero
    /// How long was waited for the tree to come to rest.
    public var timeSettling: Duration = .zero
    /// The functions that nobody could see before and that have appeared, by their addresses after; in address order.
    public var found: [FunctionState] = []
    /// The tree before, when it was read.
    public var before: TreeState?
    /// The tree after, when it was read.
    public var after: TreeState?

    /// Creates a report.
    public init(
        _ verdict: Verdict,
        reason: String,
        sentence: String,
        exitStatus: Int32,
        differences: [String] = [],
        remarks: [String] = [],
        writes: Int = 0,
        before: TreeState? = nil,
        after: TreeState? = nil
    ) {
        self.verdict = verdict
        self.reason = reason
        self.sentence = sentence
        self.exitStatus = exitStatus
        self.differences = differences
        self.remarks = remarks
        self.writes = writes
        self.before = before
        self.after = after
    }

    /// The last line of text output: `APPLY: rolled-back reason=prediction-differs`.
    public var line: String { "APPLY: \(verdict.rawValue) reason=\(reason)" }
}
