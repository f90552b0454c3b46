// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
public import RebalancePlanner

/// Reads plans from files that somebody may have prepared.
public enum PlanFile {
    /// The plan in the file at `path`.
    ///
    /// The file must be a regular file, not a link, of at most 16 MiB, owned by root or by this user, and writable by
    /// its owner only: whoever can write a plan can have it done.
    ///
    /// - Throws: `PlanFileError`.
    public static func read(_ path: String) throws(PlanFileError) -> Plan {
        // O_NONBLOCK: a pipe without writer must not hang the tool.
        let raw = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard raw >= 0 else {
            let code = errno
            throw PlanFileError(
                code == ELOOP ? .unsafe : .unreadable,
                path,
                code == ELOOP
                    ? "expected a file, found a link" : "cannot open: \(String(cString: strerror(code)).lowercased())"
            )
        }
        let file = Descriptor(raw)
        var status = stat()
        guard fstat(file.raw, &status) == 0 else { throw PlanFileError(.unreadable, path, "cannot look at it") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw PlanFileError(.unsafe, path, "expected a regular file, found another kind")
        }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw PlanFileError(
                .unsafe,
                path,
                "expected a plan of user \(geteuid() == 0 ? "0" : "0 or \(geteuid())"), found one of user "
                    + "\(status.st_uid), who could still change it: read it and take it over (chown), or plan again as this user"
            )
        }
        guard status.st_mode & 0o022 == 0 else {
            throw PlanFileError(
                .unsafe,
                path,
                "expected a file that only its owner may write, found mode 0\(String(status.st_mode & 0o7777, radix: 8))"
            )
        }
        let content = try contents(file, path)
        do {
            return try PlanDocument.decode(content)
        } catch {
            throw PlanFileError(.malformed, path, error.description)
        }
    }

    private static func contents(_ file: borrowing Descriptor, _ path: String) throws(PlanFileError) -> [UInt8] {
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = buffer.withUnsafeMutableBytes { Glibc.read(file.raw, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw PlanFileError(.unreadable, path, "cannot read: \(String(cString: strerror(errno)).lowercased())")
            }
            if count == 0 { return content }
            content.append(contentsOf: buffer[..<count])
            guard content.count <= PlanDocument.largestFile else {
                throw PlanFileError(.malformed, path, "expected at most \(PlanDocument.largestFile) bytes, found more")
            }
        }
    }
}

/// Why a plan file was not read.
public struct PlanFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong.
    public enum Code: Hashable, Sendable {
        /// The file cannot be opened or read.
        case unreadable
        /// The file could have been changed by somebody else, or is no regular file.
        case unsafe
        /// The content is not a plan.
        case malformed
    }

    /// What went wrong.
    public var code: Code
    /// The path as given.
    public var path: String
    /// What was expected and found, a lower-case sentence.
    public var reason: String

    /// Creates an error.
    public init(_ code: Code, _ path: String, _ reason: String) {
        self.code = code
        self.path = path
        self.reason = reason
    }

    /// The exit status: 65 for a file that cannot be read or understood, 4 for one that is refused for safety.
    public var exitStatus: Int32 { code == .unsafe ? 4 : 65 }

    /// The path and the reason.
    public var description: String { "\(path): \(reason)" }
}
