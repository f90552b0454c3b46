// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation
internal import VMLaboratory

extension VirtualMachine {
    /// The output of a command that has to succeed, sent compressed.
    ///
    /// The guest's answers leave it one byte at a time, and each costs the host a system call; packing them costs the guest
    /// far less.
    func packedOutput(_ command: String) throws -> Data {
        let packed = try run("\(command) | gzip -1").checked().standardOutput
        let tool = Process()
        let into = Pipe()
        let out = Pipe()
        tool.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tool.arguments = ["gzip", "-dc"]
        tool.standardInput = into
        tool.standardOutput = out
        try tool.run()
        // What is written fits the pipe's buffer or is taken while the reader below drains the other end.
        let writer = Thread {
            try? into.fileHandleForWriting.write(contentsOf: Data(packed))
            try? into.fileHandleForWriting.close()
        }
        writer.start()
        let result = try out.fileHandleForReading.readToEnd() ?? Data()
        tool.waitUntilExit()
        guard tool.terminationStatus == 0 else {
            throw DifferentialError("the answer to '\(command)' cannot be unpacked")
        }
        return result
    }
}
