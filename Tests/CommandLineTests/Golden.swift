// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

/// Compares `text` with the file `name` in `directory`, `Golden` beside the tests; `RECORD_SNAPSHOTS=1` writes it instead.
func expectGolden(
    _ text: String,
    _ name: String,
    in directory: URL = goldenDirectory,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let file = directory.appendingPathComponent(name)
    if ProcessInfo.processInfo.environment["RECORD_SNAPSHOTS"] == "1" {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
        return
    }
    let expected = try String(contentsOf: file, encoding: .utf8)
    guard text != expected else { return }
    let old = expected.split(separator: "\n", omittingEmptySubsequences: false)
    let new = text.split(separator: "\n", omittingEmptySubsequences: false)
    let row = zip(old, new).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(old.count, new.count)
    Issue.record(
        """
        \(name) differs at line \(row + 1):
        expected: \(row < old.count ? old[row] : "(end)")
        found:    \(row < new.count ? new[row] : "(end)")
        """,
        sourceLocation: sourceLocation
    )
}

/// Where golden files lie.
let goldenDirectory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden")
