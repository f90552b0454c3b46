// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc

/// An open directory; names are looked up relative to it, so that a reading follows one tree even if it is moved.
///
/// It lies on disk or in an archive that is held in memory.
struct Directory: ~Copyable {
    /// The descriptor; -1 for a directory in an archive.
    private let descriptor: Int32
    /// The archive and the directory's path in it; nil on disk.
    private let member: (archive: Archive, path: String)?

    /// Opens `path`.
    /// - Throws: `ReadError` when it is missing, no directory, or not readable.
    init(path: String) throws(ReadError) {
        let fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard fd >= 0 else { throw .system(errno, path: path, doing: "open directory") }
        descriptor = fd
        member = nil
    }

    /// Opens the directory at `path` in an archive, or gives nil.
    init?(in archive: Archive, path: String) {
        guard let found = archive.directory(path) else { return nil }
        descriptor = -1
        member = (archive, found)
    }

    /// Opens the directory `name` inside `parent`, or gives nil.
    init?(in parent: borrowing Directory, name: String) {
        if let (archive, base) = parent.member {
            guard let found = archive.directory(name, from: base) else { return nil }
            descriptor = -1
            member = (archive, found)
            return
        }
        let fd = openat(parent.descriptor, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard fd >= 0 else { return nil }
        descriptor = fd
        member = nil
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The names inside, without those that begin with a dot, sorted.
    func names() -> [String] {
        if let member { return member.archive.names(in: member.path) }
        var result: [String] = []
        forEachEntry { name in
            let name = String(cString: name)
            if !name.hasPrefix(".") { result.append(name) }
        }
        return result.sorted()
    }

    /// Tells every name inside, in no order.
    private func forEachEntry(_ body: (UnsafePointer<CChar>) -> Void) {
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { return }
        guard let stream = fdopendir(copy) else {
            close(copy)
            return
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256, body)
            }
        }
    }

    /// Where the symbolic link `name` points to, or nil when it is none.
    func link(_ name: String) -> String? {
        if let member { return member.archive.link(name, in: member.path) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.longestLink) { buffer in
            target(of: name, buffer).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    private static let longestLink = 1024

    /// The bytes of where a symbolic link points to, in `buffer`; nil for what is none, or a longer one.
    private func target(
        of name: UnsafePointer<CChar>,
        _ buffer: UnsafeMutableBufferPointer<UInt8>
    ) -> UnsafeBufferPointer<UInt8>? {
        let count = buffer.withMemoryRebound(to: CChar.self) { text in
            text.baseAddress.map { readlinkat(descriptor, name, $0, text.count) } ?? -1
        }
        return count > 0 && count < buffer.count ? UnsafeBufferPointer(rebasing: buffer[..<count]) : nil
    }

    /// Where the symbolic links inside point to, in no order, as far as `matters` holds for the bytes: of a directory of many
    /// links few are of interest, and no text is made of the others.
    func links(where matters: (UnsafeBufferPointer<UInt8>) -> Bool) -> [String] {
        if let member {
            let all = member.archive.names(in: member.path).compactMap { member.archive.link($0, in: member.path) }
            return all.filter { Array($0.utf8).withUnsafeBufferPointer(matters) }
        }
        var result: [String] = []
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.longestLink) { buffer in
            forEachEntry { name in
                guard let target = target(of: name, buffer), matters(target) else { return }
                result.append(String(decoding: target, as: UTF8.self))
            }
        }
        return result
    }

    /// The last component of what the symbolic link `name` points to, or nil.
    func linkName(_ name: String) -> String? {
        link(name)?.split(separator: "/").last.map(String.init)
    }

    /// Whether `name` exists.
    func has(_ name: String) -> Bool {
        if let member { return member.archive.find(name, from: member.path) != nil }
        return faccessat(descriptor, name, F_OK, 0) == 0
    }

    /// Reads the file `name` into `scratch`; the file's bytes up to the scratch's size, or nil with `scratch.failure`
    /// set.
    func read(_ name: StaticString, _ scratch: Scratch) -> UnsafeBufferPointer<UInt8>? {
        if let member { return scratch.take(member.archive.contents(name.description, from: member.path)) }
        return name.withUTF8Buffer { utf8 in
            utf8.withMemoryRebound(to: CChar.self) { text -> UnsafeBufferPointer<UInt8>? in
                guard let pointer = text.baseAddress else { return nil }
                return scratch.read(openFile(pointer, in: descriptor))
            }
        }
    }

    /// Reads the file `name` into `scratch`, as `read(_:_:)` with a name that is not known beforehand.
    func read(named name: String, _ scratch: Scratch) -> UnsafeBufferPointer<UInt8>? {
        if let member { return scratch.take(member.archive.contents(name, from: member.path)) }
        return scratch.read(openFile(name, in: descriptor))
    }

    /// The whole file `name`, up to `limit` bytes, or nil.
    func contents(_ name: String, limit: Int = 16 << 20) -> [UInt8]? {
        if let member {
            let bytes = member.archive.contents(name, from: member.path)
            return bytes?.count ?? 0 <= limit ? bytes : nil
        }
        let fd = openFile(name, in: descriptor)
        guard fd >= 0 else { return nil }
        defer { close(fd) }
        return readAll(fd, limit: limit)
    }

    /// The text of the file `name` without blanks and line ends around it, or nil.
    func text(_ name: StaticString, _ scratch: Scratch) -> String? {
        guard let bytes = read(name, scratch) else { return nil }
        return trimmedText(bytes)
    }

    /// The decimal number in the file `name`, with sign, or nil.
    func number(_ name: StaticString, _ scratch: Scratch) -> Int? {
        guard let bytes = read(name, scratch) else { return nil }
        return decimal(bytes)
    }

    /// The number in the file `name`, hexadecimal with the prefix `0x`, or nil.
    func hexNumber(_ name: StaticString, _ scratch: Scratch) -> UInt64? {
        guard let bytes = read(name, scratch) else { return nil }
        var cursor = ByteCursor(bytes)
        return cursor.prefixedHex()
    }
}

/// A buffer that one reading uses for every small file.
final class Scratch {
    private let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 65_536)
    /// The error number of the last read that gave nil.
    private(set) var failure: Int32 = 0

    deinit { memory.deallocate() }

    /// Takes the bytes of a file that is in memory, as far as the buffer holds them; nil says that there is none.
    func take(_ bytes: [UInt8]?) -> UnsafeBufferPointer<UInt8>? {
        guard let bytes else {
            failure = ENOENT
            return nil
        }
        let count = min(bytes.count, memory.count)
        for i in 0..<count { memory[i] = bytes[i] }
        return UnsafeBufferPointer(rebasing: memory[..<count])
    }

    /// Reads `descriptor` to its end or the size of the buffer and closes it; a negative one gives nil.
    func read(_ descriptor: Int32) -> UnsafeBufferPointer<UInt8>? {
        guard descriptor >= 0 else {
            failure = errno
            return nil
        }
        defer { close(descriptor) }
        var count = 0
        while count < memory.count {
            let n = Glibc.read(descriptor, memory.baseAddress.map { $0 + count }, memory.count - count)
            if n < 0 {
                if errno == EINTR { continue }
                failure = errno
                return nil
            }
            if n == 0 { break }
            count += n
            // A sysfs attribute is at most a page and comes in one piece; spare the second call.
            if count < 4096 { break }
        }
        return UnsafeBufferPointer(rebasing: memory[..<count])
    }
}

/// Opens the regular file `name` in a directory; -1 with errno set for anything else.
///
/// A tree that somebody hands over may hold pipes, which would be waited for, and devices, which would be read.
private func openFile(_ name: UnsafePointer<CChar>, in directory: Int32) -> Int32 {
    let descriptor = openat(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
    guard descriptor >= 0 else { return -1 }
    var status = stat()
    if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG { return descriptor }
    close(descriptor)
    errno = EINVAL
    return -1
}

/// Opens what a user named as an input: a file, a device, or a pipe. A pipe to which nobody writes ends at once.
/// - Returns: a descriptor for `readInput`, or -1 with errno set.
func openInput(_ path: String) -> Int32 {
    open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
}

/// Reads into `memory` and waits where somebody may still write: at a pipe, a socket, a terminal. Another file ends where
/// it has no more for now, as the kernel's log does, which has no other end.
/// - Returns: the number of bytes, 0 at the end, -1 with errno set on an error.
func readInput(_ descriptor: Int32, _ memory: UnsafeMutableRawBufferPointer) -> Int {
    while true {
        let n = Glibc.read(descriptor, memory.baseAddress, memory.count)
        if n >= 0 { return n }
        if errno == EINTR { continue }
        guard errno == EAGAIN else { return -1 }
        var status = stat()
        let kind = fstat(descriptor, &status) == 0 ? status.st_mode & S_IFMT : 0
        guard kind == S_IFIFO || kind == S_IFSOCK || isatty(descriptor) == 1 else { return 0 }
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&waiting, 1, -1)
    }
}

/// Reads `descriptor` to its end, or nil on an error or beyond `limit` bytes.
func readAll(_ descriptor: Int32, limit: Int) -> [UInt8]? {
    var bytes: [UInt8] = []
    var status = stat()
    if fstat(descriptor, &status) == 0, status.st_size > 0 {
        bytes.reserveCapacity(min(Int(status.st_size), limit) + 1)
    }
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
    defer { chunk.deallocate() }
    while true {
        let n = readInput(descriptor, chunk)
        guard n >= 0 else { return nil }
        if n == 0 { return bytes }
        guard bytes.count + n <= limit else {
            errno = EFBIG
            return nil
        }
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: chunk[..<n]))
    }
}

/// The bytes of the file at `path`.
/// - Throws: `ReadError` when it cannot be read, or is longer than `limit` bytes.
func fileBytes(_ path: String, limit: Int) throws(ReadError) -> [UInt8] {
    let fd = openInput(path)
    guard fd >= 0 else { throw .system(errno, path: path, doing: "open") }
    defer { close(fd) }
    guard let bytes = readAll(fd, limit: limit) else {
        if errno == EFBIG {
            throw ReadError(
                .badInput,
                path: path,
                errno: EFBIG,
                "\(path) is too large: expected at most \(limit) bytes"
            )
        }
        throw .system(errno, path: path, doing: "read")
    }
    return bytes
}

/// What the path leads to.
enum FileKind {
    case file, directory, other, missing

    init(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            self = .missing
            return
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: self = .file
        case S_IFDIR: self = .directory
        default: self = .other
        }
    }
}
