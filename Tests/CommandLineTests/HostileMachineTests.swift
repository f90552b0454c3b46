// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import Testing

@testable import pci_rebalance

/// The command against records of machines that lie: ../shared/cases, where they are present.
@Suite("Hostile machines")
struct HostileMachineTests {
    private static let cases = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("shared/cases").path

    private func path(_ name: String) -> String? {
        let path = "\(Self.cases)/\(name)"
        if FileManager.default.fileExists(atPath: path) { return path }
        print("\(name) is not present: skipped")
        return nil
    }

    static let commands: [[String]] = [
        ["check"], ["check", "--prometheus"], ["tree", "-v"], ["plan"], ["plan", "--script"], ["cmdline"], ["report"],
        ["map", "--after"], ["simulate", "--op", "boot"], ["compare", "--policies", "today,linux-6.12"],
        ["fit", "02:00.0", "--profile", "nvme"],
    ]

    @Test("a card whose SR-IOV capability is all ones blocks nobody's rescue", arguments: commands)
    func allOnes(_ command: [String]) throws {
        guard let file = path("33-damaged-records/sriov-65535.json") else { return }
        let result = try Command.run(command + ["--from", file])
        #expect([0, 2, 3, 4].contains(result.status), "\(command): \(result.status)")
        if command == ["plan"] { #expect(result.output.contains("PLAN: act")) }
    }

    @Test("no byte that a terminal obeys comes out", arguments: commands + [["check", "--json"], ["snapshot"]])
    func controls(_ command: [String]) throws {
        guard let file = path("33-damaged-records/escape-sequences.json") else { return }
        let result = try Command.run(command + ["--from", file])
        for text in [result.output, result.errors] {
            let found = text.unicodeScalars.filter { $0.isControl && $0 != "\n" && $0 != "\t" }
            #expect(found.isEmpty, "\(command): \(found.count)")
        }
    }

    @Test("a colour of a name is not one of the program's")
    func colours() throws {
        guard let file = path("33-damaged-records/escape-sequences.json") else { return }
        let result = try Command.run("tree", "-v", "--color", "always", "--from", file)
        let own = result.output.replacing(/\u{1b}\[(0|1|2|31|32|33)m/, with: "")
        #expect(own != result.output)
        #expect(!own.contains("\u{1b}"))
    }

    @Test("CXL memory that is System RAM is protected, with the reason")
    func memoryInUse() throws {
        guard let file = path("31-cxl-memory-in-use/cxl.json") else { return }
        let result = try Command.run("plan", "--from", file, environment: ["COLUMNS": "120"])
        #expect(result.status == 4)
        #expect(result.output.contains("of CXL memory is in use as System RAM"))
        #expect(result.output.contains("PLAN: refused reason=protected"))
    }

    @Test("an untrusted port that claims the number of a trusted slot is not trusted")
    func slotNumber() throws {
        guard let file = path("34-slot-number-spoofed/slot.json"),
            let policy = path("34-slot-number-spoofed/slotpol.json")
        else { return }
        let result = try Command.run("check", "--policy", policy, "--from", file)
        #expect(result.output.contains("missing below the untrusted port 0000:02:01.0: 0000:04:00.0"))
        #expect(result.output.contains("what the rule allows is not heeded"))
    }

    @Test("two thousand words are judged in the time of two thousand words", .timeLimit(.minutes(5)))
    func manyWords() throws {
        let words = "pci=" + Array(repeating: "a", count: 2000).joined(separator: ",")
        let fixture = FixtureTests.fixture("first-light-6.12/boot.snapshot.json")
        let result = try Command.run("cmdline", words, "--from", fixture)
        #expect(result.status == 3)
        #expect(result.output.utf8.count < 10_000)
    }

    @Test("without a command, and with one that does not exist, the status is that of usage")
    func usage() throws {
        #expect(try Command.run([]).status == 64)
        let typo = try Command.run("chekc")
        #expect(typo.status == 64)
        #expect(typo.errors.contains("Did you mean 'check'?"))
        #expect(try Command.run("compare", "--policies", "linux-6.13").errors.contains("did you mean linux-6.1"))
    }

    @Test(
        "whoever mistypes a name is told which one is near",
        arguments: [
            (["simulate", "--op", "hotad 02:01.0 nvme"], "did you mean hotadd?"),
            (["simulate", "--op", "unbnd 02:01.0"], "did you mean unbind?"),
            (["plan", "--reserve", "02:01.0=perf:1G"], "found perf; did you mean pref?"),
            (["cmdline", "--reserve", "02:01.0=bus:4"], "expected one of mem, pref, io, buses, found bus"),
            (["plan", "--reserve", "02:01.0=buses:256"], "expected 1 to 255 bus numbers, found 256"),
            (["compare", "--policies", "linux-6.12@arm-acpi"], "did you mean linux-6.12@arm64-acpi?"),
            (["map", "--policies", "optmal"], "did you mean optimal?"),
            (["fit", "02:01.0", "--profile", "nvem"], "did you mean nvme?"),
        ]
    )
    func nearNames(_ command: [String], _ answer: String) throws {
        let fixture = FixtureTests.fixture("first-light-6.12/boot.snapshot.json")
        let result = try Command.run(command + ["--from", fixture])
        #expect(result.status == 64)
        let errors = result.errors.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        #expect(errors.contains(answer), "\(errors)")
    }

    @Test("arguments come from the C library, not from /proc")
    func arguments() {
        #expect(!ProcessArguments.given.isEmpty || CommandLine.arguments.count == 1)
    }

    /// Runs the command from a shell, after other words.
    private func shell(_ words: String, _ arguments: String) throws -> (status: Int32, output: String, errors: String) {
        try run(
            "/bin/sh",
            ["-c", "\(words) && exec '\(Command.path)' \(arguments)"],
            input: "",
            environment: ["COLUMNS": "80", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"]
        )
    }

    @Test("without /proc commands do what they are asked for", .enabled(if: geteuid() == 0))
    func withoutProc() throws {
        let fixture = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        func hidden(_ arguments: String) throws -> (status: Int32, output: String, errors: String) {
            try run(
                "/usr/bin/unshare",
                ["-m", "/bin/sh", "-c", "umount -l /proc && exec '\(Command.path)' \(arguments)"],
                input: "",
                environment: ["COLUMNS": "80", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"]
            )
        }
        let check = try hidden("check --from '\(fixture)'")
        #expect(check.status == 3)
        #expect(check.output.contains("not healthy:"))
        let typo = try hidden("chekc")
        #expect(typo.status == 64)
        #expect(typo.errors.contains("Did you mean 'check'?"))
        #expect(try hidden("").status == 64)
    }

    @Test("a page of any width is written for", arguments: ["1", "0", "-5", "20", "26", "9223372036854775807", "x"])
    func pageWidth(columns: String) throws {
        for (arguments, status) in [(["--help"], Int32(0)), (["plan", "--help"], 0), (["plan", "--nonsense"], 64)] {
            let result = try Command.run(arguments, environment: ["COLUMNS": columns])
            #expect(result.status == status, "\(arguments): \(result.errors.prefix(200))")
        }
    }

    @Test("help and versions that cannot be written are a failure", arguments: ["--help", "--version", "plan --help"])
    func helpToAFullDisk(arguments: String) throws {
        for ending in [">/dev/full", ">&-"] {
            let result = try shell("true", "\(arguments) \(ending)")
            #expect(result.status == 1, "\(ending)")
            #expect(result.errors.contains("error: standard output: "), "\(ending): \(result.errors)")
        }
    }

    @Test("an empty name of a file to write is refused by what is wrong with it")
    func emptyOutputName() throws {
        let fixture = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        for command in ["snapshot", "plan", "report", "reproduce"] {
            let result = try Command.run([command, "-q", "--from", fixture, "-o", ""])
            #expect(result.status == 1, "\(command)")
            #expect(result.errors.contains("to write, found an empty one"), "\(command): \(result.errors)")
        }
    }

    @Test("a limit on the size of files ends a command with an error, and leaves nothing behind")
    func fileSizes() throws {
        let fixture = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let directory = try TemporaryDirectory()
        for command in ["snapshot -q", "plan -q", "report -q"] {
            let result = try shell("ulimit -f 4", "\(command) --from '\(fixture)' -o '\(directory.path("out"))'")
            #expect(result.status == 1, "\(command): \(result.errors)")
            #expect(result.errors.contains("error: "), "\(command): \(result.errors)")
            let left = try FileManager.default.contentsOfDirectory(atPath: directory.url.path)
            #expect(left == [], "\(command)")
        }
    }
}
