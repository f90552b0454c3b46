// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import Glibc

/// The shell scripts that fetch and pack, run from the source tree.
enum Script {
    /// The directory `Scripts` next to this file.
    static let directory: String = {
        let source = #filePath
        let end = source.lastIndex(of: "/") ?? source.endIndex
        return String(source[..<end]) + "/Scripts"
    }()

    /// Runs a script to its end and returns what it printed, without the last newline; its complaints pass through.
    static func run(_ name: String, _ arguments: [String]) throws -> String {
        let ends = try ChildProcess.connection()
        defer { close(ends.here) }
        let process: pid_t
        do {
            defer { close(ends.there) }
            process = try ChildProcess.spawn(["\(directory)/\(name)"] + arguments, descriptors: [(1, ends.there)])
        }
        var output: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(ends.here, &block, block.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            output += block[..<count]
        }
        let status = try ChildProcess.wait(process)
        guard status == 0 else {
            throw LaboratoryError(.system, "expected \(name) to succeed, it ended with status \(status)")
        }
        return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
    }
}
