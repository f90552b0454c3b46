// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

/// Machines that people reported, as folders of `Fixtures`: what they pasted, a note on what is odd, and what the reading
/// commands answer.
@Suite("Reported machines")
struct FieldCaseGoldenTests {
    static let directory = URL(fileURLWithPath: FixtureTests.fixture(""))

    /// The folders with a text of lspci.
    static let names: [String] = {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
        return all.filter {
            FileManager.default.fileExists(atPath: directory.appendingPathComponent("\($0)/lspci.txt").path)
        }
        .sorted()
    }()

    @Test("tree, check and triage answer as reviewed", arguments: names)
    func answers(name: String) throws {
        let folder = Self.directory.appendingPathComponent(name)
        var from: [String] = []
        for file in ["lspci.txt", "dmesg.txt"] {
            let path = folder.appendingPathComponent(file).path
            if FileManager.default.fileExists(atPath: path) { from += ["--from", path] }
        }
        for command in ["tree", "check"] {
            let result = try Command.run([command, "-v"] + from)
            #expect(command == "tree" ? result.status == 0 : [0, 3, 8].contains(result.status))
            try expectGolden(result.output, "\(command).txt", in: folder)
        }
        let log = folder.appendingPathComponent("dmesg.txt").path
        guard FileManager.default.fileExists(atPath: log) else { return }
        let triage = try Command.run("triage", log, environment: ["COLUMNS": ""])
        #expect([0, 3, 8].contains(triage.status))
        try expectGolden(triage.output, "triage.txt", in: folder)
    }

    @Test("every case of the twelve is there, and says what is inferred")
    func complete() throws {
        for number in 1...12 { #expect(Self.names.contains("R\(number)")) }
        #expect(Self.names.count >= 35)
        for name in Self.names {
            let note = try String(
                contentsOf: Self.directory.appendingPathComponent("\(name)/NOTE.md"),
                encoding: .utf8
            )
            #expect(note.contains("Source:") && note.contains("Inferred:") && note.contains("Expected:"), "\(name)")
        }
    }
}
