// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Glibc

/// A running QEMU and the streams to it.
///
/// Everything is single-threaded: whoever waits for one stream drains all.
/// QEMU inherits connected sockets, so there are no paths to collide or to clean up. It hangs on a leash: a
/// connection whose other end only this process holds. When this process ends, however it ends, the shell at the leash's end
/// kills QEMU.
final class QemuProcess {
    /// The streams, each with the descriptor number that QEMU knows it by.
    enum Stream: Int, CaseIterable {
        case console = 3
        case agent = 4
        case monitor = 5
        case answers = 6
        case errors = 2
    }

    private static let wrapper = """
        exec 9<&0 </dev/null
        "$@" 9<&- &
        qemu=$!
        exec 3<&- 4<&- 5<&- 6<&- 2>/dev/null
        { read -r _ <&9; kill -9 $qemu; } &
        leash=$!
        wait $qemu
        status=$?
        kill $leash
        exit $status
        """

    private let process: pid_t
    private var leash: CInt
    private var descriptors: [Stream: CInt] = [:]
    private var received: [Stream: [UInt8]] = [:]
    private(set) var exitStatus: CInt?

    /// Starts QEMU with the given arguments; the streams are the descriptors 3 to 6 in it.
    init(program: String, arguments: [String]) throws {
        var opened: [CInt] = []
        var kept: [CInt] = []
        var keepsAll = false
        defer {
            for descriptor in opened { close(descriptor) }
            if !keepsAll { for descriptor in kept { close(descriptor) } }
        }
        var pairs: [(child: CInt, here: CInt)] = []
        for stream in Stream.allCases {
            let ends = try ChildProcess.connection()
            kept.append(ends.here)
            opened.append(ends.there)
            _ = fcntl(ends.here, F_SETFL, O_NONBLOCK)
            descriptors[stream] = ends.here
            received[stream] = []
            pairs.append((CInt(stream.rawValue), ends.there))
        }
        let ends = try ChildProcess.connection()
        opened.append(ends.there)
        kept.append(ends.here)
        pairs.append((0, ends.there))
        leash = ends.here
        process = try ChildProcess.spawn(
            ["sh", "-c", QemuProcess.wrapper, "qemu", program] + arguments,
            descriptors: pairs
        )
        keepsAll = true
    }

    deinit {
        end()
    }

    /// Ends QEMU if it still runs and waits until it is gone.
    func end() {
        if leash >= 0 {
            close(leash)
            leash = -1
        }
        if exitStatus == nil { exitStatus = (try? ChildProcess.wait(process)) ?? 255 }
        for descriptor in descriptors.values { close(descriptor) }
        descriptors = [:]
    }

    /// True while QEMU runs.
    var isRunning: Bool {
        if exitStatus == nil { exitStatus = ChildProcess.poll(process) }
        return exitStatus == nil
    }

    /// What has arrived on a stream and was not taken yet.
    func pending(_ stream: Stream) -> [UInt8] { received[stream] ?? [] }

    /// The number of bytes that have arrived on a stream and were not taken yet.
    func pendingCount(_ stream: Stream) -> Int { received[stream]?.count ?? 0 }

    /// Takes everything that has arrived on a stream.
    func takeAll(_ stream: Stream) -> [UInt8] {
        let bytes = received[stream] ?? []
        received[stream] = []
        return bytes
    }

    /// Takes `count` bytes, or nil if fewer have arrived.
    func take(_ count: Int, from stream: Stream) -> [UInt8]? {
        guard let bytes = received[stream], bytes.count >= count else { return nil }
        received[stream]?.removeFirst(count)
        return Array(bytes[..<count])
    }

    /// Takes one line without its end, or nil if no whole line has arrived.
    func takeLine(from stream: Stream) -> [UInt8]? {
        guard let bytes = received[stream], let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        received[stream]?.removeFirst(end + 1)
        return Array(bytes[..<end])
    }

    /// Waits until something arrives on any stream, or the deadline passes; with a past deadline it only looks.
    ///
    /// - Returns: False if nothing has arrived by the deadline.
    /// - Throws: ``LaboratoryError`` if QEMU has ended and nothing is left to read.
    @discardableResult
    func pump(until deadline: ContinuousClock.Instant) throws -> Bool {
        let streams = Stream.allCases.filter { descriptors[$0] != nil }
        guard descriptors[.monitor] != nil else { throw ended() }
        var polled = streams.map { pollfd(fd: descriptors[$0] ?? -1, events: Int16(POLLIN), revents: 0) }
        let left = ContinuousClock.now.duration(to: deadline)
        let wait = left > .zero ? CInt(min(left / .milliseconds(1), 60_000)) + 1 : 0
        let count = Glibc.poll(&polled, nfds_t(polled.count), wait)
        if count < 0, errno != EINTR { throw ChildProcess.failure("poll") }
        guard count > 0 else { return ContinuousClock.now < deadline }
        for (stream, entry) in zip(streams, polled) where entry.revents != 0 { drain(stream) }
        return true
    }

    private func drain(_ stream: Stream) {
        guard let descriptor = descriptors[stream] else { return }
        var block = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &block, block.count)
            if count > 0 {
                received[stream]? += block[..<count]
            } else if count < 0, errno == EINTR {
                continue
            } else if count < 0, errno == EAGAIN {
                return
            } else {
                close(descriptor)
                descriptors[stream] = nil
                return
            }
        }
    }

    /// Writes all bytes to a stream.
    func send(_ bytes: [UInt8], to stream: Stream, deadline: ContinuousClock.Instant) throws {
        var sent = 0
        while sent < bytes.count {
            guard let descriptor = descriptors[stream] else { throw ended() }
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if count < 0, errno == EINTR {
                continue
            } else if count < 0, errno == EAGAIN {
                guard ContinuousClock.now < deadline else {
                    throw LaboratoryError(.timeout, "the machine did not take \(bytes.count - sent) bytes in time")
                }
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = Glibc.poll(&entry, 1, 20)
                _ = try pump(until: .now)
            } else {
                throw ended()
            }
        }
    }

    private func ended() -> LaboratoryError {
        let text = String(decoding: pending(.errors), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        return LaboratoryError(.machine, "the machine has ended\(text.isEmpty ? "" : ": \(text)")")
    }
}
