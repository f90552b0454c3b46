// SPDX-License-Identifier: GPL-2.0-or-later

/// The connection that the operator came by. sudo and su clear the environment; the shell above them still has it.
enum OperatorSession {
    /// `SSH_CONNECTION` of the nearest process above that has one: client's address and port, server's address and port.
    ///
    /// - Complexity: one file per process on the way to init, at most 64.
    static func connection(_ proc: borrowing Directory) -> String? {
        var process = "self"
        for _ in 0..<64 {
            if let environment = proc.contents(process + "/environ"), let found = connection(in: environment) {
                return found
            }
            guard let parent = parent(of: process, proc), parent > 1 else { return nil }
            process = "\(parent)"
        }
        return nil
    }

    private static func connection(in environment: [UInt8]) -> String? {
        let name = Array("SSH_CONNECTION=".utf8)
        for variable in environment.split(separator: 0) where variable.starts(with: name) {
            return String(decoding: variable.dropFirst(name.count), as: UTF8.self)
        }
        return nil
    }

    private static func parent(of process: String, _ proc: borrowing Directory) -> Int? {
        guard let status = proc.contents(process + "/status") else { return nil }
        for line in TextLines(status) {
            if let value = line.after("PPid:") { return value.trimmed.decimalValue.map { Int(clamping: $0) } }
        }
        return nil
    }
}
