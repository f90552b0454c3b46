// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge

/// Files as results.
enum FileOutput {
    /// Writes `bytes` to `path`, as `OutputFile` does.
    static func write(_ bytes: [UInt8], to path: String, privacy: OutputFile.Privacy = .usual) throws(CommandEnd) {
        do {
            try OutputFile.write(bytes, to: path, privacy: privacy)
        } catch {
            throw CommandEnd(error.code == .notPermitted ? .notPermitted : .failure, error.description)
        }
    }
}
