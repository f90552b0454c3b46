// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Standard output as bytes. A reader that goes away is success.
enum StandardOutput {
    /// Lets writes to a closed pipe fail instead of killing the process.
    static func ignoreClosedPipe() { signal(SIGPIPE, SIG_IGN) }

    /// Writes all of `bytes`.
    static func write(_ bytes: [UInt8]) throws {
        try writeAll(bytes, to: STDOUT_FILENO)
    }

    /// Writes `text`.
    static func write(_ text: String) throws { try write(Array(text.utf8)) }

    /// Writes `bytes` as far as they are taken; failures, a closed pipe among them, are ignored.
    static func offer(_ bytes: [UInt8]) {
        var done = 0
        while done < bytes.count {
            let written = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(STDOUT_FILENO, $0 + done, buffer.count - done) } ?? 0
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return }
            done += written
        }
    }

    /// Ends the process.
    static func exit(_ status: ExitStatus) -> Never { Glibc.exit(status.rawValue) }

    /// Whether standard output is a terminal.
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// The width to write for: `COLUMNS`, else the terminal's, else 80; 40 to 120.
    static var columns: Int {
        var width = environment("COLUMNS").flatMap { Int($0) } ?? 0
        if width <= 0, isTerminal {
            var size = winsize()
            if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 { width = Int(size.ws_col) }
        }
        return width <= 0 ? 80 : min(max(width, 40), 120)
    }

    /// The value of an environment variable, or nil.
    static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    static func writeAll(_ bytes: [UInt8], to descriptor: Int32) throws {
        var done = 0
        while done < bytes.count {
            let written = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(descriptor, $0 + done, buffer.count - done) } ?? 0
            }
            if written < 0 {
                switch errno {
                case EINTR: continue
                case EPIPE: Glibc.exit(ExitStatus.success.rawValue)
                default:
                    throw CommandEnd(.failure, "standard output: \(String(cString: strerror(errno)))")
                }
            }
            done += written
        }
    }
}

/// What is said on standard error: lower-case sentences after the name of the command.
enum Diagnostics {
    /// An error.
    static func error(_ message: String) { say("error: \(message)") }

    /// Something that the user should know about the input.
    static func warning(_ message: String) { say("warning: \(message)") }

    /// A remark.
    static func remark(_ message: String) { say(message) }

    private static func say(_ message: String) {
        // Nobody can be told that standard error is gone.
        try? StandardOutput.writeAll(Array("pci-rebalance: \(message)\n".utf8), to: STDERR_FILENO)
    }
}
