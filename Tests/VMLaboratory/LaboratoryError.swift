// SPDX-License-Identifier: GPL-2.0-or-later

/// A failure of the laboratory itself, as opposed to a command that failed inside a guest.
public struct LaboratoryError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What went wrong, in kind.
    public enum Code: Sendable, Hashable {
        /// A program, kernel or file that the laboratory needs is not there.
        case missing
        /// A system call or one of the scripts failed.
        case system
        /// QEMU refused its command line or ended on its own.
        case machine
        /// QEMU answered a monitor command with an error.
        case monitor
        /// Something did not happen in time.
        case timeout
        /// The guest answered in a way that the protocol does not know.
        case `protocol`
        /// A topology that cannot be rendered.
        case topology
        /// A command in the guest that had to succeed did not.
        case command
    }

    /// The kind of failure.
    public var code: Code
    /// A lower-case sentence that says what was expected and what was found.
    public var description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
