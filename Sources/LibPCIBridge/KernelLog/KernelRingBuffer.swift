// SPDX-License-Identifier: GPL-2.0-or-later

internal import CLibPCIGuard
internal import Glibc

/// Reads the running kernel's log without waiting for more.
enum KernelRingBuffer {
    /// The relevant lines, or the error number of the last way that was tried.
    static func read(device: String) -> Result<[String], LogFailure> {
        switch readDevice(device) {
        case .success(let lines): return .success(lines)
        case .failure(let failure):
            guard device == "/dev/kmsg" else { return .failure(failure) }
            return readBuffer().map(Result.success) ?? .failure(failure)
        }
    }

    /// Why the log could not be read.
    struct LogFailure: Error {
        var errno: Int32
    }

    /// One record for each read call: `6,339,5140900,-;message`, continuation lines begin with a blank.
    private static func readDevice(_ path: String) -> Result<[String], LogFailure> {
        let fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard fd >= 0 else { return .failure(LogFailure(errno: errno)) }
        defer { close(fd) }
        var bytes: [UInt8] = []
        let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 8192)
        defer { buffer.deallocate() }
        while true {
            let n = Glibc.read(fd, buffer.baseAddress, buffer.count)
            if n < 0 {
                // EPIPE: the record was overwritten before we came to it; the next read gives the next one.
                if errno == EINTR || errno == EPIPE { continue }
                if errno == EAGAIN { break }
                return .failure(LogFailure(errno: errno))
            }
            if n == 0 { break }
            append(UnsafeBufferPointer(rebasing: buffer[..<n]), to: &bytes)
        }
        return .success(relevantLines(bytes))
    }

    private static func append(_ record: UnsafeBufferPointer<UInt8>, to bytes: inout [UInt8]) {
        var cursor = ByteCursor(record)
        _ = cursor.take(upTo: UInt8(ascii: ","))
        _ = cursor.take(upTo: UInt8(ascii: ","))
        guard let micros = decimal(cursor.take(upTo: UInt8(ascii: ","))), micros >= 0 else { return }
        _ = cursor.take(upTo: UInt8(ascii: ";"))
        let seconds = String(micros / 1_000_000)
        let fraction = String(micros % 1_000_000)
        let stamp =
            "[" + String(repeating: " ", count: max(0, 5 - seconds.utf8.count)) + seconds + "."
            + String(repeating: "0", count: 6 - fraction.utf8.count) + fraction + "] "
        bytes += Array(stamp.utf8)
        bytes += Array(cursor.take(upTo: 0x0a))
        bytes.append(0x0a)
    }

    /// The ring buffer through syslog(2), for kernels and containers without /dev/kmsg.
    private static func readBuffer() -> [String]? {
        let readAll: Int32 = 3
        let sizeOfBuffer: Int32 = 10
        let size = pci_guard_kernel_log(sizeOfBuffer, nil, 0)
        guard size > 0 else { return nil }
        let buffer = UnsafeMutableBufferPointer<CChar>.allocate(capacity: Int(size))
        defer { buffer.deallocate() }
        let n = pci_guard_kernel_log(readAll, buffer.baseAddress, size)
        guard n >= 0 else { return nil }
        return relevantLines(buffer[..<Int(n)].map { UInt8(bitPattern: $0) })
    }
}
