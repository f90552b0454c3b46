// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Makes one run of many events: one process works, the others leave a mark and go.
///
/// Nothing is lost between them: whoever works looks for the mark after every round, and whoever leaves one tries once
/// more to become the worker.
public final class EventBurst {
    /// The directory used when none is given.
    public static let defaultDirectory = "/run/pci-rebalance"

    private let mark: String
    private let path: String
    private var lock: ApplyLock?

    /// Becomes the worker, or leaves the mark; `isWorker` tells.
    ///
    /// - Throws: `ApplyLockError` when the lock cannot be opened at all.
    public init(directory: String = defaultDirectory) throws(ApplyLockError) {
        mark = directory + "/event.pending"
        path = directory + "/event.lock"
        lock = try Self.take(path)
        guard lock == nil else { return }
        let raw = open(mark, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        if raw >= 0 { _ = close(raw) }
        // The worker may have looked for the mark just before it was there.
        lock = try Self.take(path)
    }

    private static func take(_ path: String) throws(ApplyLockError) -> ApplyLock? {
        do {
            return try ApplyLock(path: path)
        } catch {
            guard error.isBusy else { throw error }
            return nil
        }
    }

    /// Whether this process is the one that works.
    public var isWorker: Bool { lock != nil }

    /// Lets go of the work, and takes it up again when somebody has left a mark since it was last looked for; true then.
    ///
    /// Who leaves a mark while the worker is about to end would otherwise be heard by nobody.
    ///
    /// - Throws: `ApplyLockError` when the lock cannot be opened.
    public func isWantedAgain() throws(ApplyLockError) -> Bool {
        guard isWorker else { return false }
        lock = nil
        guard access(mark, F_OK) == 0 else { return false }
        lock = try Self.take(path)
        return lock != nil
    }

    /// Takes the mark away; true when there was one.
    public func takeMark() -> Bool { unlink(mark) == 0 }
}
