// SPDX-License-Identifier: GPL-2.0-or-later

/// What a command in the guest left: its exit status and both of its outputs, byte for byte.
public struct CommandResult: Sendable, Hashable {
    /// The exit status; 128 plus the signal for a command that was killed, 137 if it took too long.
    public var status: Int
    /// The standard output.
    public var standardOutput: [UInt8]
    /// The standard error.
    public var standardError: [UInt8]
    /// The time from the request to the last byte of the answer.
    public var duration: Duration

    /// The standard output as text.
    public var output: String { String(decoding: standardOutput, as: UTF8.self) }
    /// The standard error as text.
    public var errors: String { String(decoding: standardError, as: UTF8.self) }
    /// The lines of the standard output, empty ones left out.
    public var lines: [String] { output.split(separator: "\n").map(String.init) }

    /// This result, if the command succeeded.
    ///
    /// - Throws: ``LaboratoryError`` with the status and the end of the standard error otherwise.
    @discardableResult
    public func checked() throws -> CommandResult {
        guard status == 0 else {
            throw LaboratoryError(.command, "expected status 0, found \(status): \(errors.suffix(2000))")
        }
        return self
    }
}
