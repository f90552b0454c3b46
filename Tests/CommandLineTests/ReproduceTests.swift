// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

@testable import pci_rebalance

@Suite("reproduce")
struct ReproduceTests {
    private static func fresh() -> String {
        FileManager.default.temporaryDirectory.appendingPathComponent("reproduce-\(UUID().uuidString)").path
    }

    @Test("writes a script, what has to fail, and a README; the verdict is the first line")
    func writes() throws {
        let directory = Self.fresh()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let file = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let result = try Command.run("reproduce", "-q", "-o", directory, "--from", file)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.hasPrefix("REPRODUCE: whole reason=predicted\n"), "\(result.output)")
        let script = try String(contentsOfFile: "\(directory)/run.sh", encoding: .utf8)
        #expect(script.hasPrefix("#!/bin/sh\n"))
        #expect(script.contains("0000:04:00.0 BAR 2 [mem size 0x40000000 64bit pref]\n"))
        #expect(try run("/bin/sh", ["-n", "\(directory)/run.sh"]).status == 0)
        let document = try String(contentsOfFile: "\(directory)/expect.json", encoding: .utf8)
        let printed = try Command.run("reproduce", "-q", "--json", "--from", file)
        #expect(document == printed.output)
        let readme = try String(contentsOfFile: "\(directory)/README", encoding: .utf8)
        #expect(readme.contains("sh run.sh KERNEL"))
        // A second time into the same directory.
        #expect(try Command.run("reproduce", "-q", "-o", directory, "--from", file).status == 0)
    }

    static let hasShellcheck = FileManager.default.fileExists(atPath: "/usr/bin/shellcheck")

    @Test("shellcheck finds nothing in the script", .enabled(if: hasShellcheck))
    func shellcheck() throws {
        let directory = Self.fresh()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let files = ["dmesg.txt", "lspci.txt"].map { FixtureTests.fixture("C07/\($0)") }
        _ = try Command.run("reproduce", "-q", "-o", directory, "--from", files[0], "--from", files[1])
        let result = try run("/usr/bin/shellcheck", ["\(directory)/run.sh"])
        #expect(result.status == 0, "\(result.output)")
    }

    @Test("a healthy machine has nothing to show")
    func healthy() throws {
        let directory = Self.fresh()
        let file = FixtureTests.fixture("first-light-6.12/boot.snapshot.json")
        let result = try Command.run("reproduce", "-q", "-o", directory, "--from", file)
        #expect(result.status == 0)
        #expect(result.output.hasPrefix("REPRODUCE: nothing reason=nothing-fails\n"), "\(result.output)")
        #expect(!FileManager.default.fileExists(atPath: directory))
    }

    @Test("a text that tells nothing is no healthy machine")
    func unknown() throws {
        let listing = "00:1f.0 ISA bridge: Intel Device 2918\n00:02.0 VGA compatible controller: Device 1111\n"
        let result = try Command.run("reproduce", "-q", "--from", "-", input: listing)
        #expect(result.status == 8, "\(result.output) \(result.errors)")
        #expect(result.output.hasPrefix("REPRODUCE: unknown reason="), "\(result.output)")
    }

    @Test("a directory that cannot be made is an error that names it")
    func unwritable() throws {
        let file = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let result = try Command.run("reproduce", "-q", "-o", "/dev/null/x", "--from", file)
        #expect(result.status == 1)
        #expect(result.errors.contains("/dev/null/x"), "\(result.errors)")
    }
}
