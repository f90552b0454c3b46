// SPDX-License-Identifier: GPL-2.0-or-later

import CPlanExecutor
import Glibc

/// Where journals are kept; the seam for tests that crash in the middle of a write.
public protocol JournalDisk: AnyObject {
    /// The content of the file `name`, or nil when there is none.
    func read(_ name: String) throws -> [UInt8]?

    /// Creates the file `name` durably, or leaves no file of that name at all.
    ///
    /// The content is followed by zeros up to `size` bytes, so that later writes need no new space.
    func create(_ name: String, content: [UInt8], size: Int) throws

    /// Overwrites bytes of the file `name` durably: they are on the disk when the call returns.
    func write(_ name: String, _ bytes: [UInt8], at offset: Int) throws

    /// Renames a file durably, replacing another of the new name.
    func rename(_ name: String, to newName: String) throws

    /// Whether what is written here is gone after a power cut.
    var isVolatile: Bool { get }
}

/// Why a journal could not be kept or read.
public struct JournalError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong.
    public enum Code: String, Hashable, Sendable {
        /// No space is left.
        case full
        /// The directory or file cannot be used by this user.
        case notPermitted = "not-permitted"
        /// The disk reports an error.
        case unusable
        /// The content is not a journal that this version can read.
        case damaged
    }

    /// What went wrong.
    public var code: Code
    /// What was expected and found, a lower-case sentence.
    public var description: String

    /// Creates an error.
    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}

/// Keeps journals in a directory of a file system that survives a power cut.
public final class DirectoryJournalDisk: JournalDisk {
    /// The directory used when none is given.
    public static let defaultDirectory = "/var/lib/pci-rebalance"
    private static let largestFile = 256 << 20

    private let path: String
    private var directory: Int32 = -1

    /// Creates a disk on a directory, which is made (mode 0700) when it is first needed.
    public init(directory: String = defaultDirectory) { path = directory }

    deinit { if directory >= 0 { _ = close(directory) } }

    /// The content of a file, or nil.
    public func read(_ name: String) throws -> [UInt8]? {
        guard try openDirectory(create: false) else { return nil }
        let raw = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard raw >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("cannot open \(path)/\(name)")
        }
        let file = Descriptor(raw)
        var status = stat()
        guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size >= 0,
            status.st_size <= Self.largestFile
        else { throw JournalError(.damaged, "expected \(path)/\(name) to be a file of at most 256 MiB") }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let total = bytes.count
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file.raw, buffer.baseAddress.map { $0 + filled }, total - filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("cannot read \(path)/\(name)") }
            if count == 0 { break }
            filled += count
        }
        bytes.removeLast(bytes.count - filled)
        return bytes
    }

    /// Writes a temporary file, brings it to the disk, renames it, brings the directory to the disk.
    public func create(_ name: String, content: [UInt8], size: Int) throws {
        _ = try openDirectory(create: true)
        let temporary = ".\(name).new"
        _ = unlinkat(directory, temporary, 0)
        let raw = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw failure("cannot create \(path)/\(temporary)") }
        let file = Descriptor(raw)
        do {
            try put(content, at: 0, in: file)
            let zeros = [UInt8](repeating: 0, count: 64 << 10)
            var offset = content.count
            while offset < size {
                let part = Array(zeros[..<min(zeros.count, size - offset)])
                try put(part, at: offset, in: file)
                offset += part.count
            }
            guard fsync(file.raw) == 0 else { throw failure("cannot bring \(path)/\(temporary) to the disk") }
            try rename(temporary, to: name)
        } catch {
            _ = unlinkat(directory, temporary, 0)
            throw error
        }
    }

    /// Overwrites bytes and brings them to the disk.
    public func write(_ name: String, _ bytes: [UInt8], at offset: Int) throws {
        _ = try openDirectory(create: false)
        let raw = openat(directory, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC)
        guard raw >= 0 else { throw failure("cannot open \(path)/\(name)") }
        let file = Descriptor(raw)
        try put(bytes, at: offset, in: file)
        guard fdatasync(file.raw) == 0 else { throw failure("cannot bring \(path)/\(name) to the disk") }
    }

    /// Renames and brings the directory to the disk.
    public func rename(_ name: String, to newName: String) throws {
        _ = try openDirectory(create: false)
        guard renameat(directory, name, directory, newName) == 0 else {
            throw failure("cannot rename \(path)/\(name) to \(newName)")
        }
        guard fsync(directory) == 0 else { throw failure("cannot bring \(path) to the disk") }
    }

    /// Whether the directory lives in memory.
    public var isVolatile: Bool {
        guard (try? openDirectory(create: true)) == true else { return false }
        return is_in_memory(directory) == 1
    }

    /// Opens the directory, which must belong to this user and be writable by nobody else.
    private func openDirectory(create: Bool) throws -> Bool {
        guard directory < 0 else { return true }
        if create { try makeDirectories() }
        let raw = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard raw >= 0 else {
            if errno == ENOENT, !create { return false }
            throw failure("cannot open \(path)")
        }
        var status = stat()
        guard fstat(raw, &status) == 0, status.st_uid == geteuid() || status.st_uid == 0,
            status.st_mode & 0o022 == 0
        else {
            _ = close(raw)
            throw JournalError(.notPermitted, "expected \(path) to belong to this user and to be writable by no other")
        }
        directory = raw
        return true
    }

    private func makeDirectories() throws {
        var partial = path.hasPrefix("/") ? "" : "."
        let parts = path.split(separator: "/")
        for (i, part) in parts.enumerated() {
            partial += "/\(part)"
            guard mkdir(partial, i == parts.count - 1 ? 0o700 : 0o755) != 0, errno != EEXIST else { continue }
            throw failure("cannot create \(partial)")
        }
    }

    private func put(_ bytes: [UInt8], at offset: Int, in file: borrowing Descriptor) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                pwrite(file.raw, buffer.baseAddress.map { $0 + done }, bytes.count - done, offset + done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("cannot write a journal in \(path)") }
            done += count
        }
    }

    private func failure(_ what: String) -> JournalError {
        let code = errno
        let kind: JournalError.Code =
            switch code {
            case ENOSPC, EDQUOT: .full
            case EACCES, EPERM, EROFS: .notPermitted
            default: .unusable
            }
        return JournalError(kind, "\(what): \(String(cString: strerror(code)).lowercased())")
    }
}
