// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import Testing

@testable import LibPCIBridge

@Suite("What is read ends, or is waited for where somebody writes")
struct InputFileTests {
    @Test("A file that has no more for now ends there, as the kernel's log does")
    func noMoreForNow() {
        let log = inotify_init1(O_NONBLOCK)
        defer { close(log) }
        #expect(readAll(log, limit: 16) == [])
    }

    @Test("A pipe is waited for, to the end that its writer makes")
    func slowWriter() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let (from, to) = (ends[0], ends[1])
        defer { close(from) }
        _ = fcntl(from, F_SETFL, O_NONBLOCK)
        let writer = Thread {
            for piece in ["00:1f.0 ", "ISA bridge"] {
                usleep(20_000)
                _ = Array(piece.utf8).withUnsafeBytes { write(to, $0.baseAddress, $0.count) }
            }
            close(to)
        }
        writer.start()
        #expect(readAll(from, limit: 64).map { String(decoding: $0, as: UTF8.self) } == "00:1f.0 ISA bridge")
    }

    @Test("A pipe to which nobody writes ends at once")
    func nobodyWrites() throws {
        let path = NSTemporaryDirectory() + "pci-rebalance-\(UUID().uuidString)"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        #expect(try fileBytes(path, limit: 16) == [])
    }
}
