// SPDX-License-Identifier: GPL-2.0-or-later

internal import Foundation

/// Programs that run here, beside the guests.
public enum HostCommand {
    /// Runs a program found in PATH to its end.
    ///
    /// - Parameter words: The program and its arguments.
    /// - Returns: Its exit status, and all that it wrote to standard output and standard error.
    /// - Throws: An error of Foundation when it cannot be started.
    public static func run(_ words: [String]) throws -> (status: Int32, text: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: bytes, as: UTF8.self))
    }
}
