// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Files as results.
enum FileOutput {
    /// Writes `bytes` to `path`, replacing the file in one step.
    static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws(CommandEnd) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw failure("create", temporary, errno) }
        do {
            try StandardOutput.writeAll(bytes, to: descriptor)
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

    private static func failure(_ action: String, _ path: String, _ number: Int32) -> CommandEnd {
        let status = number == EACCES || number == EPERM ? ExitStatus.notPermitted : .failure
        return CommandEnd(status, "cannot \(action) \(path): \(String(cString: strerror(number)))")
    }
}
