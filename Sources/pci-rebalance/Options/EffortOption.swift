// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import RebalancePlanner

/// How long a search may take.
struct EffortOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Search for about this many seconds of work at most; the best plan so far is the answer. By default 2, and 10 "
                + "for more than 64 functions.",
            valueName: "seconds"
        )
    )
    var effort: Int?

    func validate() throws {
        if let effort, !(1...3600 ~= effort) {
            throw ValidationError("expected --effort 1 to 3600, found \(effort)")
        }
    }

    /// The same in the planner's units; nil for what the planner takes by itself.
    var workLimit: Int? { effort.map { $0 * Constraints.workPerSecond } }
}
