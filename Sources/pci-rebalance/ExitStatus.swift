// SPDX-License-Identifier: GPL-2.0-or-later

/// The exit statuses: the contract with scripts, quoted by the manual page.
enum ExitStatus: Int32, CaseIterable {
    /// Done, or nothing to do.
    case success = 0
    /// A failure that no other status names.
    case failure = 1
    /// No way exists to what was asked for.
    case impossible = 2
    /// Problems were found, or it fits only after a plan.
    case problems = 3
    /// A way exists and safety forbids it.
    case refused = 4
    /// A plan failed and everything was rolled back.
    case rolledBack = 5
    /// A plan failed and the roll-back is incomplete.
    case rollbackIncomplete = 6
    /// The tree is not the one that the plan was made for.
    case stale = 7
    /// What was read does not suffice to say.
    case cannotTell = 8
    /// The command line is wrong (`EX_USAGE`).
    case usage = 64
    /// An input is not what it should be (`EX_DATAERR`).
    case badInput = 65
    /// libpci or sysfs is not available (`EX_UNAVAILABLE`).
    case unavailable = 69
    /// Another apply holds the lock (`EX_TEMPFAIL`).
    case busy = 75
    /// Not permitted (`EX_NOPERM`).
    case notPermitted = 77

    /// The condition in words, as the manual page prints it.
    var meaning: String {
        switch self {
        case .success: "done, or nothing to do"
        case .failure: "failure"
        case .impossible: "impossible"
        case .problems: "problems found, or it fits only after a plan"
        case .refused: "refused for safety"
        case .rolledBack: "failed and rolled back"
        case .rollbackIncomplete: "failed, roll-back incomplete"
        case .stale: "the plan is stale"
        case .cannotTell: "cannot tell from this input"
        case .usage: "usage"
        case .badInput: "bad input"
        case .unavailable: "libpci or sysfs unavailable"
        case .busy: "busy, the lock is held"
        case .notPermitted: "not permitted"
        }
    }
}

/// Ends a command with a status and, where there is something to say, a sentence on standard error.
struct CommandEnd: Error {
    /// The exit status.
    var status: ExitStatus
    /// A lower-case sentence, or nil.
    var message: String?

    init(_ status: ExitStatus, _ message: String? = nil) {
        self.status = status
        self.message = message
    }
}
