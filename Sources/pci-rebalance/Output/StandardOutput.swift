// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import PCITopology

/// Standard output as bytes. A reader that goes away is success.
///
/// Here text leaves the program, and here everything in it that a terminal would obey is replaced: names, logs and
/// registers come from machines and files that others made.
enum StandardOutput {
    /// Lets writes to a closed pipe and beyond the limit of file sizes fail instead of killing the process.
    static func ignoreFailedWrites() {
        for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
    }

    /// Writes all of `bytes`.
    static func write(_ bytes: [UInt8]) throws {
        try writeAll(shown(bytes), to: STDOUT_FILENO)
    }

    /// The bytes as a terminal may have them.
    static func shown(_ bytes: [UInt8]) -> [UInt8] { printableBytes(bytes, passing: Style.sealBytes) }

    /// Writes `text`.
    static func write(_ text: String) throws { try write(Array(text.utf8)) }

    /// Writes `bytes` as far as they are taken; failures, a closed pipe among them, are ignored.
    static func offer(_ bytes: [UInt8]) {
        let bytes = shown(bytes)
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

    /// Text as it is, such as a help page.
    static func text(_ text: String) {
        // Nobody can be told that standard error is gone.
        try? StandardOutput.writeAll(StandardOutput.shown(Array(text.utf8)), to: STDERR_FILENO)
    }

    private static func say(_ message: String) { text("pci-rebalance: \(message)\n") }
}
