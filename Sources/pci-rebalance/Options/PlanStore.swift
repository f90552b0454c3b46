// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import PlanExecutor
import RebalancePlanner

/// Plans on disk, as commands read and write them.
enum PlanStore {
    /// Writes `plan` for its owner only, replacing the file in one step.
    static func write(_ plan: Plan, to path: String) throws(CommandEnd) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("create", temporary, errno) }
        do {
            try StandardOutput.writeAll(PlanDocument.encode(plan), to: descriptor)
        } catch {
            close(descriptor)
            unlink(temporary)
            throw CommandEnd(.failure, "cannot write \(path)")
        }
        guard close(descriptor) == 0, rename(temporary, path) == 0 else {
            let number = errno
            unlink(temporary)
            throw failure("write", path, number)
        }
    }

    /// Reads a plan; a file that somebody else could have changed is refused.
    static func read(_ path: String) throws(CommandEnd) -> Plan {
        do {
            return try PlanFile.read(path)
        } catch {
            let status: ExitStatus =
                switch error.code {
                case .unreadable, .malformed: .badInput
                case .unsafe: .refused
                }
            throw CommandEnd(status, error.description)
        }
    }

    private static func failure(_ action: String, _ path: String, _ number: Int32) -> CommandEnd {
        let status = number == EACCES || number == EPERM ? ExitStatus.notPermitted : .badInput
        return CommandEnd(status, "cannot \(action) \(path): \(String(cString: strerror(number)))")
    }
}
