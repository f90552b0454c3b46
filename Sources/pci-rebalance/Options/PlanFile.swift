// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import PlanExecutor
import RebalancePlanner

/// Plans on disk.
enum PlanFile {
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

    /// Reads a plan.
    ///
    /// Whoever can write a plan decides what root does to the machine: a file that others may write, or that belongs
    /// to somebody else than root or the caller, is refused.
    static func read(_ path: String) throws(CommandEnd) -> Plan {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("read", path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw CommandEnd(.badInput, "\(path) is not a regular file") }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw CommandEnd(.refused, "\(path) belongs to user \(status.st_uid), expected root or the caller")
        }
        guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
            throw CommandEnd(.refused, "\(path) may be written by others, expected only its owner to (chmod go-w)")
        }
        guard status.st_size <= PlanDocument.largestFile else {
            throw CommandEnd(
                .badInput,
                "\(path): expected at most \(PlanDocument.largestFile) bytes, found \(status.st_size)"
            )
        }
        do {
            return try PlanDocument.decode(try StandardInput.contents(ofDescriptor: descriptor, name: path))
        } catch let error as PlanDocumentError {
            throw CommandEnd(.badInput, "\(path) is no plan: \(error)")
        } catch let error as CommandEnd {
            throw error
        } catch {
            throw CommandEnd(.failure, "\(error)")
        }
    }

    private static func failure(_ action: String, _ path: String, _ number: Int32) -> CommandEnd {
        let status = number == EACCES || number == EPERM ? ExitStatus.notPermitted : .badInput
        return CommandEnd(status, "cannot \(action) \(path): \(String(cString: strerror(number)))")
    }
}
