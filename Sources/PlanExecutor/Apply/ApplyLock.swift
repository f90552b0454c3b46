// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// The lock that only one apply or recovery on a machine can hold.
///
/// A write that hangs in the kernel keeps it: the child that writes has inherited the open file.
public final class ApplyLock {
    /// The file used when none is given.
    public static let defaultPath = "/run/pci-rebalance/lock"

    private let file: Descriptor

    /// Takes the lock.
    ///
    /// - Throws: `ApplyLockError`, at once when somebody else holds the lock.
    public init(path: String = defaultPath) throws(ApplyLockError) {
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            let directory = String(path[..<slash])
            if mkdir(directory, 0o755) != 0, errno != EEXIST { throw Self.failure("cannot create \(directory)") }
        }
        file = try Self.take(path)
    }

    private static func take(_ path: String) throws(ApplyLockError) -> Descriptor {
        let raw = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw failure("cannot open \(path)") }
        let file = Descriptor(raw)
        while flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            if errno == EWOULDBLOCK {
                throw ApplyLockError(isBusy: true, description: "another apply holds \(path)")
            }
            throw failure("cannot lock \(path)")
        }
        return file
    }

    private static func failure(_ what: String) -> ApplyLockError {
        ApplyLockError(isBusy: false, description: "\(what): \(String(cString: strerror(errno)).lowercased())")
    }
}

/// Why the lock could not be taken.
public struct ApplyLockError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Whether somebody else holds it.
    public var isBusy: Bool
    /// What happened, a lower-case sentence.
    public var description: String
}
