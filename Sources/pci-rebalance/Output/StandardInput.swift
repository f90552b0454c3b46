// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import PCITopology

/// Files and standard input as bytes.
enum StandardInput {
    /// The most that is read, in bytes.
    static let limit = 256 << 20

    /// The bytes of the file at `path`; `-` is standard input.
    static func contents(of path: String) throws(CommandEnd) -> [UInt8] {
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path, "open") }
        defer { if path != "-" { close(descriptor) } }
        return try contents(ofDescriptor: descriptor, name: path)
    }

    /// The bytes that are left in `descriptor`; `name` stands in messages.
    static func contents(ofDescriptor descriptor: Int32, name path: String) throws(CommandEnd) -> [UInt8] {
        var bytes: [UInt8] = []
        let size = 1 << 16
        while true {
            let before = bytes.count
            bytes.append(contentsOf: repeatElement(0, count: size))
            let count = bytes.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map { Glibc.read(descriptor, $0 + before, size) } ?? 0
            }
            let number = errno
            bytes.removeLast(size - max(count, 0))
            if count < 0, number == EINTR { continue }
            if count < 0 {
                errno = number
                throw failure(path, "read")
            }
            if count == 0 { return bytes }
            guard bytes.count <= limit else {
                throw CommandEnd(.badInput, "\(path): expected at most \(ByteCount(UInt64(limit))), found more")
            }
        }
    }

    private static func failure(_ path: String, _ action: String) -> CommandEnd {
        let number = errno
        let status = number == EACCES || number == EPERM ? ExitStatus.notPermitted : .unavailable
        return CommandEnd(status, "cannot \(action) \(path): \(String(cString: strerror(number)))")
    }
}

/// The beginnings of files.
enum FileInput {
    /// The first `count` bytes of a regular file, fewer when it is shorter; nil when it cannot be read.
    static func head(of path: String, count: Int) -> [UInt8]? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: count)
        let read = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, count) }
        return read < 0 ? nil : Array(bytes[..<read])
    }
}
