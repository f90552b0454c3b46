// SPDX-License-Identifier: GPL-2.0-or-later

import PlanExecutor

/// A disk in memory that can die in the middle of a write, leaving part of it; and that can be full.
final class CrashingDisk: JournalDisk {
    private(set) var files: [String: [UInt8]] = [:]
    private let clock: CrashClock
    /// The number of bytes after which the disk is full; nil for a disk without end.
    var capacity: Int?
    /// The number of writes after which every write fails with an error of the device.
    var failsAfterWrites: Int?
    private var writes = 0

    init(clock: CrashClock = CrashClock()) { self.clock = clock }

    var isVolatile: Bool { false }

    func read(_ name: String) throws -> [UInt8]? { files[name] }

    func create(_ name: String, content: [UInt8], size: Int) throws {
        try clock.tick()
        if let capacity, max(content.count, size) > capacity {
            throw JournalError(.full, "cannot write a journal: no space left on device")
        }
        files[name] = content + Array(repeating: 0, count: max(0, size - content.count))
        try clock.tick()
    }

    func write(_ name: String, _ bytes: [UInt8], at offset: Int) throws {
        writes += 1
        if let limit = failsAfterWrites, writes > limit { throw JournalError(.unusable, "input/output error") }
        guard var file = files[name] else { throw JournalError(.unusable, "no such file") }
        if file.count < offset + bytes.count {
            file += Array(repeating: 0, count: offset + bytes.count - file.count)
        }
        // Three moments: nothing on the disk yet, half of the record, all of it.
        try clock.tick()
        file.replaceSubrange(offset..<offset + bytes.count / 2, with: bytes[..<(bytes.count / 2)])
        files[name] = file
        try clock.tick()
        file.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        files[name] = file
        try clock.tick()
    }

    func rename(_ name: String, to newName: String) throws {
        try clock.tick()
        files[newName] = files.removeValue(forKey: name)
        try clock.tick()
    }

    func put(_ name: String, _ bytes: [UInt8]?) { files[name] = bytes }
}
