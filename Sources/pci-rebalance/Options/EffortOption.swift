// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import RebalancePlanner

/// How long a search may take.
struct EffortOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Search for about this many seconds of work at most, 10 by default; the best plan so far is the answer.",
            valueName: "seconds"
        )
    )
    var effort = 10

    func validate() throws {
        guard 1...3600 ~= effort else { throw ValidationError("expected --effort 1 to 3600, found \(effort)") }
    }

    /// The same in the planner's units.
    var workLimit: Int { effort * Constraints.workPerSecond }
}
