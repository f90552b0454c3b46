// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import Testing

@testable import pci_rebalance

/// Drives the built command, which lies beside the test bundle.
enum Command {
    static let path: String = {
        // The bundle is the running executable, or its first argument under the toolchain's helper.
        for candidate in [Bundle.main.bundleURL.path] + CommandLine.arguments {
            let command = URL(fileURLWithPath: candidate).deletingLastPathComponent()
                .appendingPathComponent("pci-rebalance").path
            if FileManager.default.isExecutableFile(atPath: command) { return command }
            let inside = URL(fileURLWithPath: candidate).appendingPathComponent("pci-rebalance").path
            if FileManager.default.isExecutableFile(atPath: inside) { return inside }
        }
        return "/nonexistent/pci-rebalance"
    }()

    /// Runs the command at 80 columns, without colour.
    static func run(
        _ arguments: String...,
        input: String = "",
        environment: [String: String] = [:]
    ) throws -> (status: Int32, output: String, errors: String) {
        try run(arguments, input: input, environment: environment)
    }

    /// The same with a list of arguments.
    static func run(
        _ arguments: [String],
        input: String = "",
        environment: [String: String] = [:]
    ) throws -> (status: Int32, output: String, errors: String) {
        var all = ["COLUMNS": "80", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"]
        all.merge(environment) { $1 }
        // Names are the machine's own; tests of names say which.
        var arguments = arguments
        if let command = arguments.first, ["tree", "check", "plan"].contains(command), !arguments.contains("-i") {
            arguments.insert(contentsOf: ["-i", "/dev/null"], at: 1)
        }
        return try CommandLineTests.run(path, arguments, input: input, environment: all)
    }
}

/// A directory that is gone with the last reference.
final class TemporaryDirectory {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("pci-rebalance-\(UUID().uuidString)")

    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }

    /// Writes a file below the directory, with the directories above it.
    func write(_ text: String, _ name: String) throws {
        let file = url.appendingPathComponent(name)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try Data(text.utf8).write(to: file)
    }

    func path(_ name: String) -> String { url.appendingPathComponent(name).path }

    deinit { try? FileManager.default.removeItem(at: url) }
}

@Suite("The command")
struct CommandTests {
    @Test("wrong usage ends with 64", arguments: [["--nonsense"], ["tree", "-s", "zz"], ["tree", "--color", "blue"]])
    func usage(arguments: [String]) throws {
        let result = try CommandLineTests.run(Command.path, arguments)
        #expect(result.status == 64)
        #expect(result.output.isEmpty)
        #expect(!result.errors.isEmpty)
    }

    @Test("help and version end with 0 on standard output", arguments: ["--help", "--version"])
    func help(flag: String) throws {
        let result = try Command.run(flag)
        #expect(result.status == 0)
        #expect(!result.output.isEmpty)
        #expect(result.errors.isEmpty)
    }

    @Test("a missing input ends with 69, one that is nothing with 65")
    func inputs() throws {
        let missing = try Command.run("tree", "--from", "/nonexistent/x")
        #expect(missing.status == 69)
        #expect(missing.errors.hasPrefix("pci-rebalance: error: cannot open /nonexistent/x"))
        let directory = try TemporaryDirectory()
        try directory.write("hello\n", "text")
        let odd = try Command.run("check", "--from", directory.path("text"))
        #expect(odd.status == 65)
        #expect(odd.output.isEmpty)
        let empty = try Command.run("check", "--from", directory.url.path)
        #expect(empty.status == 65)
    }

    @Test("a closed pipe is success")
    func closedPipe() throws {
        let result = try CommandLineTests.run("/bin/sh", ["-c", "\(Command.path) --help | :; exit 0"])
        #expect(result.status == 0)
        let tree = try SysfsTree()
        let script = "(\(Command.path) tree -q --from \(tree.path); echo $? >&2) | true"
        #expect(try CommandLineTests.run("/bin/sh", ["-c", script]).errors == "0\n")
    }

    @Test("tree and check of a sysfs directory, and the same from its snapshot", arguments: [[], ["--json"], ["-v"]])
    func snapshot(options: [String]) throws {
        let tree = try SysfsTree()
        let directory = try TemporaryDirectory()
        let file = directory.path("machine.json")
        #expect(try Command.run("snapshot", "--from", tree.path, "-o", file).status == 0)
        for command in ["tree", "check"] {
            let direct = try CommandLineTests.run(Command.path, [command, "--from", tree.path] + options)
            let replayed = try CommandLineTests.run(Command.path, [command, "--from", file] + options)
            #expect(direct.output == replayed.output)
            #expect(direct.status == replayed.status)
            #expect(direct.status == (command == "tree" ? 0 : 3))
        }
    }

    @Test("tree -s shows the way to a function and what is below it")
    func selection() throws {
        let tree = try SysfsTree()
        let result = try Command.run("tree", "-q", "-s", "01:00.0", "--from", tree.path)
        #expect(result.output.contains("00:02.0"))
        #expect(result.output.contains("01:00.0"))
        #expect(!result.output.contains("00:1f.0"))
        let path = try Command.run("tree", "-q", "-D", "-P", "--from", tree.path)
        #expect(path.output.contains("0000:00:02.0/00.0"))
    }

    @Test("no line is wider than the page", arguments: [40, 80, 120])
    func width(columns: Int) throws {
        let tree = try SysfsTree()
        for command in ["tree", "check"] {
            let result = try Command.run(
                command,
                "-q",
                "-v",
                "--from",
                tree.path,
                environment: ["COLUMNS": "\(columns)"]
            )
            let widest = result.output.split(separator: "\n").map(\.count).max() ?? 0
            // An address range is never broken; the widest here takes 44 columns behind an indent of 10.
            #expect(widest <= max(columns, 56))
        }
    }

    @Test("colour only when asked for, and nothing by colour alone")
    func color() throws {
        let tree = try SysfsTree()
        let plain = try Command.run("check", "-q", "-v", "--from", tree.path)
        let tree1 = try Command.run("tree", "-q", "--from", tree.path)
        let colored = try Command.run("tree", "-q", "--color", "always", "--from", tree.path)
        #expect(!plain.output.contains("\u{1b}"))
        #expect(!tree1.output.contains("\u{1b}"))
        #expect(colored.output.contains("\u{1b}[31m"))
        let stripped = colored.output.replacing(/\u{1b}\[[0-9]*m/, with: "")
        #expect(stripped == tree1.output)
    }

    @Test("an anonymous snapshot keeps the tree and drops the command line")
    func anonymous() throws {
        let tree = try SysfsTree()
        let result = try Command.run("snapshot", "--anonymize", "--from", tree.path)
        #expect(result.status == 0)
        #expect(!result.output.contains("root=UUID"))
        #expect(result.output.contains("pci=realloc"))
        #expect(result.output.contains("0000:01:00.0"))
    }

    @Test("a report holds the registers as lspci dumps them, and they are read back")
    func reportedRegisters() throws {
        let snapshot = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let report = try Command.run("report", "--from", snapshot)
        let parts = report.output.components(separatedBy: "\n== ")
        let dump = try #require(parts.first { $0.hasPrefix("lspci -xxxx ==\n") })
        let evidence = TextEvidence(String(dump.drop { $0 != "\n" }))
        let record = try SnapshotFile(path: snapshot).read()
        #expect(evidence.functions.map(\.address) == record.functions.map(\.address))
        for (read, known) in zip(evidence.functions, record.functions) {
            #expect(read.config.bytes == known.config.bytes, "\(known.address)")
        }
    }

    @Test("an anonymous log tells no host, no hardware address of a network and no serial number")
    func anonymousLines() {
        for (line, expected) in [
            (
                "Nov 25 10:00:00 finch kernel: pci 0000:03:00.0: BAR 0",
                "Nov 25 10:00:00 host kernel: pci 0000:03:00.0: BAR 0"
            ),
            ("2026-11-25T10:00:00+00:00 finch kernel: x", "2026-11-25T10:00:00+00:00 host kernel: x"),
            (
                "e1000e 0000:06:00.0 eth0: (PCI Express:2.5GT/s) 52:54:00:12:34:56",
                "e1000e 0000:06:00.0 eth0: (PCI Express:2.5GT/s) 00:00:00:00:00:00"
            ),
            ("eth0: 52:54:00:AB:CD:EF: up", "eth0: 00:00:00:00:00:00: up"),
            ("usb 1-1: SerialNumber: 4C5310", "usb 1-1: SerialNumber: -"),
            ("pci 0000:03:00.0: [8086:10d3] type 00", "pci 0000:03:00.0: [8086:10d3] type 00"),
            ("pcieport 10000:e0:06.0: 01:02:03:04:05:06:07", "pcieport 10000:e0:06.0: 01:02:03:04:05:06:07"),
            ("loading kernel: done", "loading kernel: done"),
        ] {
            #expect(AnonymousLine(line).text == expected)
        }
    }
}

/// A small machine as a sysfs-shaped directory: a root port with a device whose 1 GiB BAR found no room.
final class SysfsTree {
    private let directory: TemporaryDirectory
    var path: String { directory.url.path }

    init() throws {
        directory = try TemporaryDirectory()
        try function(
            "0000:00:02.0",
            vendor: 0x1b36,
            device: 0x000c,
            classCode: 0x060400,
            headerType: 1,
            lines: [
                14: (0xfe60_0000, 0xfe7f_ffff, 0x200), 15: (0xfc00_0000, 0xfc1f_ffff, 0x10_2201),
            ],
            count: 17,
            buses: (0, 1, 1)
        )
        try function("0000:00:1f.0", vendor: 0x8086, device: 0x2918, classCode: 0x060100, headerType: 0, lines: [:])
        try function(
            "0000:01:00.0",
            vendor: 0x1b36,
            device: 0x0010,
            classCode: 0x010802,
            headerType: 0,
            lines: [
                0: (0xfe60_0000, 0xfe60_3fff, 0x40200), 2: (0, 0x3fff_ffff, 0x2014_220c),
            ]
        )
        try directory.write(
            """
            000a0000-000bffff : PCI Bus 0000:00
            c0000000-febfffff : PCI Bus 0000:00
              fc000000-fc1fffff : PCI Bus 0000:01
              fe600000-fe7fffff : PCI Bus 0000:01
                fe600000-fe603fff : 0000:01:00.0
            100000000-8ffffffff : PCI Bus 0000:00

            """,
            "proc/iomem"
        )
        try directory.write("0000-ffff : PCI Bus 0000:00\n", "proc/ioports")
        try directory.write("root=UUID=0123 ro pci=realloc\n", "proc/cmdline")
        try directory.write("6.12.90+deb13-amd64\n", "proc/sys/kernel/osrelease")
        for (bus, above) in [("0000:00", "pci0000:00"), ("0000:01", "pci0000:00/0000:00:02.0")] {
            let link = directory.url.appendingPathComponent("sys/class/pci_bus/\(bus)")
            try FileManager.default.createDirectory(
                at: link.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try FileManager.default.createSymbolicLink(
                atPath: link.path,
                withDestinationPath: "../../devices/\(above)/pci_bus/\(bus)"
            )
        }
    }

    private func function(
        _ address: String,
        vendor: UInt16,
        device: UInt16,
        classCode: UInt32,
        headerType: UInt8,
        lines: [Int: (UInt64, UInt64, UInt64)],
        count: Int = 13,
        buses: (UInt8, UInt8, UInt8)? = nil
    ) throws {
        let bus = address.dropFirst(5).prefix(2)
        let folder = "sys/devices/pci0000:00/" + (bus == "00" ? "" : "0000:00:02.0/") + address
        var config = ConfigSpace([UInt8](repeating: 0, count: 64))
        config.write(UInt32(vendor) | UInt32(device) << 16, at: 0, width: 4)
        config.write(0x2, at: 4, width: 2)
        config.write(classCode << 8, at: 8, width: 4)
        config.write(UInt32(headerType), at: 0x0e, width: 1)
        if let buses {
            config.write(UInt32(buses.0) | UInt32(buses.1) << 8 | UInt32(buses.2) << 16, at: 0x18, width: 4)
            config.write(0xf0, at: 0x1c, width: 2)
            config.write(0xfe70_fe60, at: 0x20, width: 4)
            config.write(0xfc11_fc01, at: 0x24, width: 4)
        } else if address == "0000:01:00.0" {
            config.write(0xfe60_0000, at: 0x10, width: 4)
            config.write(0xc, at: 0x18, width: 4)
        }
        var text = ""
        for i in 0..<count {
            let line = lines[i] ?? (0, 0, 0)
            text += "\(hex(line.0, width: 16)) \(hex(line.1, width: 16)) \(hex(line.2, width: 16))\n"
        }
        try directory.write(text, "\(folder)/resource")
        try directory.write("\(hex(UInt64(vendor), width: 4))\n", "\(folder)/vendor")
        try directory.write("\(hex(UInt64(device), width: 4))\n", "\(folder)/device")
        try directory.write("\(hex(UInt64(classCode), width: 6))\n", "\(folder)/class")
        try Data(config.bytes).write(to: directory.url.appendingPathComponent("\(folder)/config"))
        let link = directory.url.appendingPathComponent("sys/bus/pci/devices/\(address)")
        try FileManager.default.createDirectory(at: link.deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: link.path,
            withDestinationPath: "../../../../\(folder)"
        )
    }
}
