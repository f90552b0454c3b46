// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc

/// Why the world could not be read.
public struct ReadError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of failure; each maps to one exit status.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// libpci, sysfs or a file is not there.
        case unavailable
        /// A file does not hold what its kind must hold.
        case badInput
        /// The caller may not read it.
        case notPermitted
    }

    /// The kind of failure.
    public var code: Code
    /// The file or directory, or nil when none is to blame.
    public var path: String?
    /// The system's error number, or nil when the system raised none.
    public var errno: Int32?
    /// A lower-case sentence with what was expected and found.
    public var description: String

    /// Creates an error.
    public init(_ code: Code, path: String? = nil, errno: Int32? = nil, _ description: String) {
        self.code = code
        self.path = path
        self.errno = errno
        self.description = description
    }

    /// The exit status that a command ends with: 69, 65 or 77.
    public var exitStatus: Int32 {
        switch code {
        case .unavailable: 69
        case .badInput: 65
        case .notPermitted: 77
        }
    }

    /// The error of a failed system call on `path`.
    static func system(_ number: Int32, path: String, doing action: String) -> ReadError {
        let reason = String(cString: strerror(number))
        return ReadError(
            number == EACCES || number == EPERM ? .notPermitted : .unavailable,
            path: path,
            errno: number,
            "cannot \(action) \(path): \(reason)"
        )
    }
}
