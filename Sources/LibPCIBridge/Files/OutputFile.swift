// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc

/// Files as results: the one way in which the program writes to a path that a user named.
///
/// A regular file is replaced in one step, so that a reader sees the old or the new one and never a part. What is no
/// regular file (a device, a pipe, a terminal) is written to and stays what it is.
public enum OutputFile {
    /// Who may read a new file.
    public enum Privacy: Sendable {
        /// Whoever the umask lets; a file that is replaced keeps its mode.
        case usual
        /// Its owner only: plans, records and reports name devices and their use.
        case owner
    }

    /// Writes `bytes` to `path`.
    ///
    /// A link is followed when it was made by this user or by root, and stays; one that somebody else made is refused, for
    /// it leads where he wants. The file that a link leads to is replaced like any other. A path that names this process's
    /// own standard output or error writes there.
    /// - Throws: `ReadError`: the path cannot be written, or is refused.
    public static func write(
        _ bytes: [UInt8],
        to path: String,
        privacy: Privacy = .usual
    ) throws(ReadError) {
        guard !path.isEmpty else {
            throw ReadError(.badInput, path: path, "expected the name of a file to write, found an empty one")
        }
        var status = stat()
        guard lstat(path, &status) == 0 else {
            guard errno == ENOENT else { throw .system(errno, path: path, doing: "write") }
            return try replace(path, bytes, mode: newMode(privacy))
        }
        var target = path
        if status.st_mode & S_IFMT == S_IFLNK {
            guard status.st_uid == 0 || status.st_uid == geteuid() else {
                throw ReadError(
                    .badInput,
                    path: path,
                    "\(path): expected a file, or a link that you or root made, found a link that user \(status.st_uid) made"
                )
            }
            guard stat(path, &status) == 0 else {
                throw ReadError(.badInput, path: path, errno: errno, "\(path): expected a file, found a dead link")
            }
            if let own = ownDescriptor(status) { return try writeAll(bytes, to: own, path) }
            if status.st_mode & S_IFMT == S_IFREG {
                guard let whole = realpath(path, nil) else { throw .system(errno, path: path, doing: "follow") }
                target = String(cString: whole)
                free(whole)
            }
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return try writeThrough(path, bytes) }
        let kept = status.st_mode & 0o777
        let mode = privacy == .owner ? kept & 0o700 | 0o600 : kept
        return try replace(target, bytes, mode: mode)
    }

    /// Standard output or error when `status` is that of one of them.
    private static func ownDescriptor(_ status: stat) -> Int32? {
        [STDOUT_FILENO, STDERR_FILENO].first { descriptor in
            var own = stat()
            return fstat(descriptor, &own) == 0 && own.st_dev == status.st_dev && own.st_ino == status.st_ino
        }
    }

    private static func newMode(_ privacy: Privacy) -> mode_t {
        guard privacy == .usual else { return 0o600 }
        let mask = umask(0o077)
        umask(mask)
        return 0o666 & ~mask
    }

    /// Writes to a device or pipe as it is. A pipe that nobody reads is an error and no wait.
    private static func writeThrough(_ path: String, _ bytes: [UInt8]) throws(ReadError) {
        let descriptor = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENXIO {
                throw ReadError(.badInput, path: path, errno: ENXIO, "\(path): expected a reader, found none")
            }
            throw .system(errno, path: path, doing: "open")
        }
        defer { close(descriptor) }
        // A slow reader is waited for.
        let flags = fcntl(descriptor, F_GETFL)
        if flags >= 0 { _ = fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) }
        try writeAll(bytes, to: descriptor, path)
    }

    /// Writes a file of its own beside `path` and puts it in the place of what is there.
    private static func replace(_ path: String, _ bytes: [UInt8], mode: mode_t) throws(ReadError) {
        let (directory, name) = parts(path)
        guard !name.isEmpty else { throw .system(EISDIR, path: path, doing: "write") }
        var temporary = ""
        var descriptor: Int32 = -1
        for _ in 0..<16 where descriptor < 0 {
            // A name that nobody can have made before; the name of the file may be as long as a name can be.
            temporary = "\(directory).pci-rebalance-\(String(UInt64.random(in: .min ... .max), radix: 36))"
            descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            if descriptor < 0, errno != EEXIST { break }
        }
        guard descriptor >= 0 else { throw .system(errno, path: path, doing: "create a file beside") }
        do throws(ReadError) {
            defer { close(descriptor) }
            try writeAll(bytes, to: descriptor, path)
            guard fchmod(descriptor, mode) == 0 else { throw .system(errno, path: path, doing: "set the mode of") }
            guard fsync(descriptor) == 0 || errno == EINVAL else { throw .system(errno, path: path, doing: "write") }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            let number = errno
            unlink(temporary)
            throw .system(number, path: path, doing: "replace")
        }
    }

    private static func parts(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return ("", path) }
        return (String(path[...slash]), String(path[path.index(after: slash)...]))
    }

    /// Writes all of `bytes`; a reader that has gone is no failure.
    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws(ReadError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(descriptor, $0 + done, bytes.count - done) } ?? -1
            }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EPIPE { return }
            guard count > 0 else { throw .system(errno, path: path, doing: "write") }
            done += count
        }
    }
}
