// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Glibc

/// Starting and reaping processes with exactly the descriptors that they shall have.
enum ChildProcess {
    /// The failure of a system call, with the reason in `errno`.
    static func failure(_ call: String, _ number: CInt = errno) -> LaboratoryError {
        LaboratoryError(.system, "\(call) failed: \(String(cString: strerror(number)))")
    }

    /// Two connected descriptors that no other child inherits by accident.
    static func connection() throws -> (here: CInt, there: CInt) {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw failure("socketpair")
        }
        return (ends[0], ends[1])
    }

    /// Starts a program found in PATH, in its own process group, with no signal blocked.
    ///
    /// - Parameters:
    ///   - command: The program and its arguments.
    ///   - descriptors: Pairs of the number in the child and the descriptor here; 0, 1 and 2 are inherited
    ///     unless they are named, all others are closed if they were opened close-on-exec.
    /// - Returns: The process id.
    /// - Throws: ``LaboratoryError`` if the program cannot be started.
    static func spawn(_ command: [String], descriptors: [(child: CInt, here: CInt)]) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // Descriptors are moved out of the way first, so that none is overwritten before it is copied.
        var moved: [CInt] = []
        defer { for descriptor in moved { close(descriptor) } }
        for pair in descriptors {
            let copy = fcntl(pair.here, F_DUPFD_CLOEXEC, 32)
            guard copy >= 0 else { throw failure("fcntl") }
            moved.append(copy)
            posix_spawn_file_actions_adddup2(&actions, copy, pair.child)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

        let environment = ProcessInfo.processInfo.environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for pointer in arguments + variables { free(pointer) } }
        var process: pid_t = 0
        let result = posix_spawnp(&process, command[0], &actions, &attributes, &arguments, &variables)
        guard result == 0 else { throw failure("starting \(command[0])", result) }
        return process
    }

    /// Waits for a process and returns its exit status, or 128 plus the signal that ended it.
    static func wait(_ process: pid_t) throws -> CInt {
        var status: CInt = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw failure("waitpid") }
        }
        return exitStatus(status)
    }

    /// The exit status of a process that has ended, nil while it runs.
    static func poll(_ process: pid_t) -> CInt? {
        var status: CInt = 0
        return waitpid(process, &status, WNOHANG) == process ? exitStatus(status) : nil
    }

    private static func exitStatus(_ status: CInt) -> CInt {
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }
}
