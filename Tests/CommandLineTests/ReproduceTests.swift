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

    @Test("nothing of a hostile log or of a name reaches the script or the terminal")
    func hostile() throws {
        let directory = Self.fresh() + "'$(id)\u{1b}[2J"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let function = "pci 0000:00:05.0:"
        let log = """
            [    0.0] Linux version 6.12.1-$(id)`id`'\u{1b}[2J;rm (x)
            [    0.0] Command line: pci=realloc,hpmmiosize=4M'$(id) pci=hpbussize=8 END
            [    0.1] pci_bus 0000:00: root bus resource [mem 0xc0000000-0xfebfffff window]
            [    0.1] pci_bus 0000:00: root bus resource [bus 00-ff]
            [    0.2] \(function) [8086:1234] type 00 class 0x020000 conventional PCI endpoint
            [    0.2] \(function) BAR 0 [mem 0x00000000-0x00000fff]
            [    0.3] \(function) BAR 0 [mem size 0x00001000]: can't assign; no space
            [    0.3] \(function) BAR 0 [mem size 0x00001000]: failed to assign

            """
        let result = try Command.run("reproduce", "-q", "-o", directory, "--from", "-", input: log)
        #expect(result.status == 0, "\(result.output) \(result.errors)")
        #expect(!result.output.contains("\u{1b}"))
        let script = try String(contentsOfFile: "\(directory)/run.sh", encoding: .utf8)
        #expect(!script.contains("$(id)") && !script.contains("`id`") && !script.contains("\u{1b}"))
        #expect(script.contains(" pci=realloc,hpbussize=8 "), "\(script)")
        for name in ["README", "expect.json"] {
            #expect(try !String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8).contains("\u{1b}"))
        }
        #expect(try run("/bin/sh", ["-n", "\(directory)/run.sh"]).status == 0)
    }

    @Test("a card that lspci does not show is rebuilt from the log")
    func gone() throws {
        let port = "pci 0000:00:1c.0:"
        let card = "pci 0000:01:00.0:"
        let log = """
            [    0.0] Linux version 6.12.1
            [    0.1] pci_bus 0000:00: root bus resource [mem 0xc0000000-0xfebfffff window]
            [    0.1] pci_bus 0000:00: root bus resource [bus 00-ff]
            [    0.2] \(port) [8086:a110] type 01 class 0x060400 PCIe Root Port
            [    0.2] \(port) PCI bridge to [bus 01]
            [    0.2] \(port)   bridge window [mem 0xfe800000-0xfe9fffff]
            [  952.2] pcieport 0000:00:1c.0: pciehp: Slot(1): Card present
            [  953.3] \(card) [10ee:7011] type 00 class 0x118000 PCIe Endpoint
            [  953.3] \(card) BAR 0 [mem 0x00000000-0x00ffffff]
            [  953.4] \(card) BAR 0 [mem size 0x01000000]: can't assign; no space
            [  953.4] \(card) BAR 0 [mem size 0x01000000]: failed to assign

            """
        let listing = """
            00:1c.0 PCI bridge: Intel Corporation Device a110 (prog-if 00 [Normal decode])
            \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
            \tMemory behind bridge: fe800000-fe9fffff [size=2M] [32-bit]

            """
        let result = try Command.run("reproduce", "-q", "--json", "--from", "-", input: listing + "\n" + log)
        #expect(result.status == 0, "\(result.output) \(result.errors)")
        #expect(result.output.contains(#""report": "0000:01:00.0 BAR 0 [mem size 0x01000000]""#), "\(result.output)")
        #expect(result.output.contains(#""kind": "plug""#), "\(result.output)")
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
