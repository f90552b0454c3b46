// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// How an apply ends whose plan was carried out: with all that was asked for, or with a part of it.
struct ApplyEnd {
    /// `goal-reached`, `partly`, or `devices-found` where nobody has looked yet at what has appeared.
    var reason: String
    /// One sentence for a person.
    var sentence: String

    /// The end of one plan, after which `found` have appeared.
    init(_ plan: Plan, _ found: [FunctionState]) {
        if !found.isEmpty {
            self = ApplyEnd(appeared: found, planned: true)
        } else if plan.isWhole {
            reason = "goal-reached"
            sentence = "Done: the machine is as the plan predicted."
        } else {
            reason = "partly"
            sentence = "Done: the machine is as the plan predicted, which reaches a part of what was asked for."
        }
    }

    /// The end of a plan after which `found` have appeared, with everybody else as the plan predicted (`planned`) or where
    /// other plans have led that were made on the way.
    init(appeared found: [FunctionState], planned: Bool) {
        reason = "devices-found"
        sentence =
            "Done: everything that was known is " + (planned ? "as the plan predicted" : "there and has its place")
            + ", and \(Self.count(found)) appeared. What they need was not planned: run `pci-rebalance plan` again."
    }

    /// The end of several rounds.
    init(isWhole: Bool, found: [FunctionState], rounds: Int) {
        reason = isWhole ? "goal-reached" : "partly"
        let times = rounds == 1 ? "" : ", in \(rounds) rounds"
        sentence =
            isWhole
            ? "Done\(times): \(Self.count(found)) appeared, and everything that was asked for has its place."
            : "Done\(times): \(Self.count(found)) appeared, and a part of what was asked for is reached; "
                + "`pci-rebalance plan` says what more could be done, and who would be stopped for it."
    }

    private static func count(_ found: [FunctionState]) -> String {
        found.count == 1 ? "1 function" : "\(found.count) functions"
    }
}
