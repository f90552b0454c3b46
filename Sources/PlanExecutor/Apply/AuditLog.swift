// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Where every deed is told to the log of the system.
public protocol AuditLog: AnyObject {
    /// Marks the begin or the end of an apply; also for the kernel's log, so that its messages can be told apart.
    func mark(_ line: String)

    /// Notes one write, after it was done or refused.
    func note(_ line: String)
}

/// Tells nobody.
public final class SilentAuditLog: AuditLog {
    /// Creates a log.
    public init() {}

    /// Does nothing.
    public func mark(_ line: String) {}

    /// Does nothing.
    public func note(_ line: String) {}
}

/// Writes to the system's log (`syslog`, facility daemon) and the marks also to `/dev/kmsg`.
public final class SystemAuditLog: AuditLog {
    /// Creates a log.
    public init() {}

    /// Marks the begin or the end.
    public func mark(_ line: String) {
        send(LOG_NOTICE, line)
        let raw = open("/dev/kmsg", O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard raw >= 0 else { return }
        let file = Descriptor(raw)
        // Priority 5 is KERN_NOTICE; with the user facility (1 << 3) as the kernel asks of user space.
        let bytes = Array("<13>pci-rebalance: \(line)\n".utf8)
        _ = bytes.withUnsafeBytes { write(file.raw, $0.baseAddress, $0.count) }
    }

    /// Notes one write.
    public func note(_ line: String) { send(LOG_INFO, line) }

    private func send(_ priority: Int32, _ line: String) {
        "pci-rebalance: \(line)".withCString { text in
            withVaList([text]) { vsyslog(LOG_DAEMON | priority, "%s", $0) }
        }
    }
}
