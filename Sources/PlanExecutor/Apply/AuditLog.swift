// SPDX-License-Identifier: GPL-2.0-or-later

import CPlanExecutor
import Glibc
import PCITopology
public import RebalancePlanner

/// Where every journaled write is told to the log of the system.
public protocol AuditLog: AnyObject {
    /// Marks the begin or the end of an apply; also for the kernel's log, so that its messages can be told apart.
    func mark(_ line: String)

    /// Notes one write, after it was done or refused.
    func note(_ record: AuditRecord)

    /// Tells of functions that have another address than before; to whoever may have kept the old one.
    func renamed(_ renamings: [Renaming])
}

/// One write, as the log of the system keeps it.
public struct AuditRecord: Hashable, Sendable {
    /// The name of the apply.
    public var apply: String
    /// Where in the apply the write stands.
    public var position: WritePosition
    /// The write.
    public var write: SystemWrite
    /// What it replaced, or nil.
    public var saved: SavedValue?
    /// `done`, or the code of the error.
    public var result: String
    /// How long it took.
    public var took: Duration

    /// One line; steps and writes count from 1.
    public var line: String {
        let old = savedText.map { " saved=\"\($0)\"" } ?? ""
        return "apply=\(apply) step=\(position.step + 1) write=\(position.index + 1) "
            + "direction=\(position.direction.rawValue) op=\"\(write)\"\(old) result=\(result) "
            + "ms=\(took.wholeMilliseconds)"
    }

    /// The fields of a record of systemd's journal beside `MESSAGE`.
    var fields: [(name: String, value: String)] {
        var fields = [
            ("APPLY", apply), ("STEP", "\(position.step + 1)"), ("WRITE", "\(position.index + 1)"),
            ("DIRECTION", position.direction.rawValue), ("OPERATION", "\(write)"), ("RESULT", result),
            ("MILLISECONDS", "\(took.wholeMilliseconds)"),
        ]
        if let savedText { fields.append(("SAVED", savedText)) }
        return fields.map { ("PCI_REBALANCE_\($0.0)", $0.1) }
    }

    private var savedText: String? {
        switch saved {
        case .number(let number): "0x\(String(number, radix: 16))"
        case .text(let text): text
        case nil: nil
        }
    }
}

/// Tells nobody.
public final class SilentAuditLog: AuditLog {
    /// Creates a log.
    public init() {}

    /// Does nothing.
    public func mark(_ line: String) {}

    /// Does nothing.
    public func note(_ record: AuditRecord) {}

    /// Does nothing.
    public func renamed(_ renamings: [Renaming]) {}
}

/// Writes to systemd's journal, or where there is none to syslog (facility daemon), and the marks also to `/dev/kmsg`.
///
/// Nothing waits for a log that does not take what it is told: an apply is not to stop in its middle for that.
public final class SystemAuditLog: AuditLog {
    /// The socket of systemd's journal.
    public static let journalSocket = "/run/systemd/journal/socket"

    /// Where the files about renamed functions are.
    public static let renamingDirectory = RenamingFiles.defaultPath

    private let socket: String
    private let renamingDirectory: String

    /// Creates a log.
    public init(journalSocket: String = journalSocket, renamingDirectory: String = renamingDirectory) {
        socket = journalSocket
        self.renamingDirectory = renamingDirectory
    }

    /// Marks the begin or the end.
    public func mark(_ line: String) {
        send(LOG_NOTICE, line)
        let raw = open("/dev/kmsg", O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard raw >= 0 else { return }
        let file = Descriptor(raw)
        // Priority 5 is KERN_NOTICE; with the user facility (1 << 3) as the kernel asks of user space.
        let bytes = Array("<13>pci-rebalance: \(line.printable)\n".utf8)
        _ = bytes.withUnsafeBytes { write(file.raw, $0.baseAddress, $0.count) }
    }

    /// Notes one write.
    public func note(_ record: AuditRecord) { send(LOG_INFO, record.line, record.fields) }

    /// Tells of renamings: a record of the journal for each, with fields, and a file for udev.
    public func renamed(_ renamings: [Renaming]) {
        for renaming in renamings { send(LOG_NOTICE, renaming.line, renaming.fields) }
        RenamingFiles(path: renamingDirectory).write(renamings)
    }

    private func send(_ priority: Int32, _ line: String, _ fields: [(name: String, value: String)] = []) {
        var text = ""
        for (name, value) in [
            ("MESSAGE", line), ("PRIORITY", "\(priority)"), ("SYSLOG_FACILITY", "\(LOG_DAEMON >> 3)"),
            ("SYSLOG_IDENTIFIER", "pci-rebalance"),
        ] + fields {
            // A line break would begin another field.
            text += "\(name)=\(value.printable)\n"
        }
        let bytes = Array(text.utf8)
        guard send_datagram(socket, bytes, bytes.count) != 0 else { return }
        "pci-rebalance: \(line.printable)".withCString { text in
            withVaList([text]) { vsyslog(LOG_DAEMON | priority, "%s", $0) }
        }
    }
}
