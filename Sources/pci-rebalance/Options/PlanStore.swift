// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PlanExecutor
import RebalancePlanner

/// Plans on disk, as commands read and write them.
enum PlanStore {
    /// Writes `plan` for its owner only, replacing the file in one step.
    static func write(_ plan: Plan, to path: String) throws(CommandEnd) {
        try FileOutput.write(PlanDocument.encode(plan), to: path, privacy: .owner)
    }

    /// Reads a plan; a file that somebody else could have changed is refused.
    static func read(_ path: String) throws(CommandEnd) -> Plan {
        do {
            return try PlanFile.read(path)
        } catch {
            throw CommandEnd(ExitStatus(rawValue: error.exitStatus) ?? .badInput, error.description)
        }
    }
}
