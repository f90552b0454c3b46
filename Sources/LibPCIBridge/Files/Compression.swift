// SPDX-License-Identifier: GPL-2.0-or-later

internal import Glibc

/// A way of compressing, told by the first bytes, with the program that undoes it.
enum Compression: String, CaseIterable {
    case gzip
    case xz
    case zstd
    case bzip2

    /// The way that `bytes` are compressed; nil when they are not.
    init?(_ bytes: some Collection<UInt8>) {
        let marks: [(Compression, [UInt8])] = [
            (.gzip, [0x1f, 0x8b]), (.xz, [0xfd, 0x37, 0x7a, 0x58, 0x5a]), (.zstd, [0x28, 0xb5, 0x2f, 0xfd]),
            (.bzip2, [0x42, 0x5a, 0x68]),
        ]
        guard let found = marks.first(where: { bytes.starts(with: $0.1) }) else { return nil }
        self = found.0
    }

    /// The most bytes that come out.
    static let limit = RecordedInput.maximumArchiveSize

    /// `bytes` without the compression, by the program of that name in the system's directories.
    ///
    /// - Throws: `ReadError` when the program is not there, says that the data are damaged, or more than `limit` comes out.
    func expanded(_ bytes: [UInt8], path: String, limit: Int = Compression.limit) throws(ReadError) -> [UInt8] {
        guard
            let program = ["/usr/bin/", "/bin/", "/usr/local/bin/"].map({ $0 + rawValue })
                .first(where: { access($0, X_OK) == 0 })
        else {
            throw ReadError(
                .unavailable,
                path: path,
                "\(path) is compressed: expected the program \(rawValue) to unpack it, found none"
            )
        }
        guard var filter = Filter(program) else { throw .system(errno, path: path, doing: "unpack") }
        let output = filter.run(bytes, limit: limit)
        let isWell = filter.end()
        guard let output else {
            throw ReadError(.badInput, path: path, "\(path) is too large: expected at most \(limit >> 20) MiB unpacked")
        }
        guard isWell else {
            throw ReadError(.badInput, path: path, "\(path) is damaged: \(rawValue) could not unpack it")
        }
        return output
    }
}

/// A program that is fed at one end and read at the other.
private struct Filter {
    private let process: pid_t
    private var input: Int32
    private let output: Int32

    /// Starts `program -dc`; nil, with errno set, when that fails.
    init?(_ program: String) {
        // A socket takes bytes without the signal that a pipe raises when its reader has gone.
        var feed: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &feed) == 0 else { return nil }
        var take: [Int32] = [-1, -1]
        guard pipe(&take) == 0 else {
            for end in feed { close(end) }
            return nil
        }
        for end in feed + take { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        for end in [feed[0], take[0]] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        let started = Self.spawn(program, input: feed[1], output: take[1])
        close(feed[1])
        close(take[1])
        guard let started else {
            close(feed[0])
            close(take[0])
            return nil
        }
        process = started
        input = feed[0]
        output = take[0]
    }

    /// Feeds `bytes` and gives what comes out; nil when that is more than `limit`.
    mutating func run(_ bytes: [UInt8], limit: Int) -> [UInt8]? {
        var result: [UInt8] = []
        var fed = 0
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
        defer { chunk.deallocate() }
        while true {
            var waits = [pollfd(fd: output, events: Int16(POLLIN), revents: 0)]
            if input >= 0 { waits.append(pollfd(fd: input, events: Int16(POLLOUT), revents: 0)) }
            if poll(&waits, nfds_t(waits.count), -1) < 0, errno != EINTR { return result }
            if waits.count > 1, waits[1].revents != 0 {
                let count = bytes.withUnsafeBytes { buffer in
                    buffer.baseAddress.map { send(input, $0 + fed, bytes.count - fed, Int32(MSG_NOSIGNAL)) } ?? 0
                }
                if count > 0 { fed += count }
                // The program may end before it has taken everything.
                if count < 0 && errno != EAGAIN && errno != EINTR || fed == bytes.count {
                    close(input)
                    input = -1
                }
            }
            guard waits[0].revents != 0 else { continue }
            let count = read(output, chunk.baseAddress, chunk.count)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { return result }
            guard result.count + count <= limit else { return nil }
            result.append(contentsOf: UnsafeRawBufferPointer(rebasing: chunk[..<count]))
        }
    }

    /// Ends the program, and says whether it had come to a good end.
    mutating func end() -> Bool {
        if input >= 0 { close(input) }
        close(output)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        return status == 0
    }

    private static func spawn(_ program: String, input: Int32, output: Int32) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        guard posix_spawn_file_actions_init(&actions) == 0 else { return nil }
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup("-dc"), nil]
        defer { for argument in arguments { free(argument) } }
        var process: pid_t = 0
        let result = posix_spawn(&process, program, &actions, nil, &arguments, environ)
        guard result == 0 else {
            errno = result
            return nil
        }
        return process
    }
}
