// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

/// Recorded machines, replayed through the command.
@Suite("Recorded machines")
struct FixtureTests {
    static let kernels = ["6.1", "6.12", "7"]

    static func fixture(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Fixtures/\(name)").path
    }

    @Test("the failed hot-plug as tree and check", arguments: kernels)
    func golden(kernel: String) throws {
        let file = Self.fixture("first-light-\(kernel)/failed-hot-add.snapshot.json")
        let tree = try Command.run("tree", "-q", "--from", file)
        #expect(tree.status == 0)
        try expectGolden(tree.output, "first-light-\(kernel)-tree.txt")
        let check = try Command.run("check", "-q", "--json", "--from", file)
        #expect(check.status == 3)
        try expectGolden(check.output, "first-light-\(kernel)-check.json")
    }

    @Test("the boot before it is healthy", arguments: kernels)
    func healthy(kernel: String) throws {
        for machine in ["first-light", "three-root-ports"] {
            let check = try Command.run("check", "--from", Self.fixture("\(machine)-\(kernel)/boot.snapshot.json"))
            #expect(check.status == 0)
            #expect(check.output.hasPrefix("healthy: "))
        }
    }

    @Test("a root bus that the kernel made up takes one number, and its function is brought home")
    func madeUpRootBus() throws {
        let file = Self.fixture("hidden-root-bus-6.12/boot.snapshot.json")
        let tree = try Command.run("tree", "--from", file)
        #expect(tree.output.contains("host bridge 0000:00 [bus 00-ff]"))
        #expect(tree.output.contains("host bridge 0000:0a [bus 0a] 0 free"))
        let plan = try PlanDocument.decode(Array(try Command.run("plan", "--json", "--from", file).output.utf8))
        #expect(plan.verdict.line == "PLAN: act reason=missing-bus")
        let stray = try #require(FunctionAddress(parsing: "0000:0a:01.0"))
        #expect(plan.steps[0].writes.contains(.remove(stray)))
        // No bridge gets the number of that root bus.
        for function in plan.after.functions {
            #expect(function.busRange?.first != stray.bus, "\(function.address)")
        }
        // It comes back behind a bridge below its home, which has a number for it.
        let home = try #require(plan.before.functions.first { $0.address.description == "0000:05:02.0" })
        let later = try #require(plan.after.functions.first { $0.place == home.place })
        #expect(later.busRange.map { $0.count > 1 } == true)
        #expect(plan.steps.contains { $0.mayAppearBelow.contains(later.address) })
    }

    @Test("simulating the hot-plug gives, byte for byte, what that kernel then did", arguments: kernels)
    func simulation(kernel: String) throws {
        let result = try Command.run(
            "simulate",
            "-q",
            "--json",
            "--from",
            Self.fixture("first-light-\(kernel)/boot.snapshot.json"),
            "--op",
            "hotadd 02:01.0 testdev:1G"
        )
        #expect(result.status == 0)
        let document = try JSONParser.parse(Array(result.output.utf8), limits: .record)
        let failed = try SnapshotFile(path: Self.fixture("first-light-\(kernel)/failed-hot-add.snapshot.json")).read()
        guard case .array(let functions)? = document["functions"] else {
            Issue.record("expected functions in the document")
            return
        }
        #expect(functions.count == failed.functions.count)
        for (predicted, recorded) in zip(functions, failed.functions) {
            #expect(predicted["address"] == .string(recorded.address.description))
            let lines = (recorded.resource ?? []).map { JSONTree.string($0.description) }
            #expect(predicted["resource"] == .array(lines), "\(recorded.address)")
        }
    }

    @Test("the plan repairs both recorded failures", arguments: kernels, ["first-light", "three-root-ports"])
    func plan(kernel: String, machine: String) throws {
        let file = Self.fixture("\(machine)-\(kernel)/failed-hot-add.snapshot.json")
        let directory = try TemporaryDirectory()
        let text = try Command.run("plan", "-q", "-o", directory.path("plan.json"), "--from", file)
        #expect(text.status == 0)
        #expect(text.output.split(separator: "\n").last?.hasPrefix("PLAN: act reason=") == true)
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: directory.path("plan.json"))))
        let plan = try PlanDocument.decode(bytes)
        #expect(plan.verdict.answer == .act)
        let json = try Command.run("plan", "-q", "--json", "--from", file)
        #expect(Array(json.output.utf8) == bytes)
        let script = try Command.run("plan", "-q", "--script", "--from", file)
        #expect(script.status == 0)
        #expect(try run("/bin/sh", ["-n"], input: script.output).status == 0)
        for write in plan.steps.flatMap(\.writes) { #expect(script.output.contains("\n\(write)\n")) }
        let mode = try FileManager.default.attributesOfItem(atPath: directory.path("plan.json"))[.posixPermissions]
        #expect(mode as? Int == 0o600)
    }

    @Test("nothing to do is said, and safety refuses with status 4")
    func verdicts() throws {
        let boot = try Command.run("plan", "-q", "--from", Self.fixture("first-light-6.12/boot.snapshot.json"))
        #expect(boot.status == 0)
        #expect(boot.output.hasSuffix("PLAN: none reason=nothing-missing\n"))
        let failed = Self.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let refused = try Command.run("plan", "-q", "--keep", "03:00.0", "--from", failed)
        #expect(refused.status == 4)
        #expect(refused.output.split(separator: "\n").last?.hasPrefix("PLAN: refused reason=") == true)
        let script = try Command.run("plan", "-q", "--script", "--keep", "03:00.0", "--from", failed)
        #expect(script.status == 4)
        #expect(try run("/bin/sh", [], input: script.output).status == 4)
        let nobody = try Command.run("plan", "-q", "--keep", "7f:00.0", "--from", failed)
        #expect(nobody.status == 64)
    }

    @Test("a kernel is named by a release or as its behaviour is; what is neither is not taken for the usual one")
    func kernelNames() throws {
        let file = Self.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let plain = try Command.run("plan", "--json", "--kernel", "7.2.13", "--from", file)
        #expect(plain.output.contains("\"behaviour\": \"linux-7.2\""))
        let named = try Command.run("plan", "--json", "--kernel", "linux-7.2.13", "--from", file)
        #expect(named.output == plain.output && named.status == plain.status)
        for word in ["foo", "7", "linux-", "linux-9", "-1.2", "v6.12"] {
            for arguments in [
                ["plan", "--kernel=\(word)", "--from", file], ["upgrade", "--to=\(word)", "--from", file],
            ] {
                let result = try Command.run(arguments)
                #expect(result.status == 64 && result.errors.contains("expected a release such as"), "\(arguments)")
            }
        }
    }

    @Test("a slot that holds a card which the kernel does not know is not called empty")
    func unscanned() throws {
        let directory = try TemporaryDirectory()
        let untouched = try SnapshotFile(path: Self.fixture("first-light-6.12/boot.snapshot.json")).read()
        let port = try #require(untouched.functions.firstIndex { $0.address.short == "02:01.0" })
        let express = try #require(Capabilities(untouched.functions[port].config).standard.first { $0.id == 0x10 })
        let status = Int(express.offset) + 0x1a
        let control = Int(express.offset) + 0x18
        func say(present: Bool, off: Bool) throws -> (tree: String, check: String, status: Int32) {
            var record = untouched
            let before = try #require(record.functions[port].config.word(status))
            record.functions[port].config.write(UInt32(before & ~0x40) | (present ? 0x40 : 0), at: status, width: 2)
            let power = try #require(record.functions[port].config.word(control))
            record.functions[port].config.write(UInt32(power & ~0x400) | (off ? 0x400 : 0), at: control, width: 2)
            let path = directory.path("\(present)-\(off).json")
            try SnapshotFile(path: path).write(record)
            let check = try Command.run("check", "--json", "--from", path)
            return (try Command.run("tree", "--from", path).output, check.output, check.status)
        }
        let empty = try say(present: false, off: false)
        #expect(empty.tree.contains("empty") && !empty.check.contains("not-scanned"))
        let held = try say(present: true, off: false)
        #expect(held.tree.contains("card, not scanned") && !held.tree.contains("empty"))
        #expect(held.check.contains("not-scanned") && held.status == 0)
        let off = try say(present: true, off: true)
        #expect(off.tree.contains("switched off") && off.check.contains("powered-off") && off.status == 0)
    }

    @Test("the script's checksum is that of the shell over the same files")
    func checksum() throws {
        let tree = try SysfsTree()
        let record = try SysfsDirectoryReader(path: tree.path).read()
        let state = TreeState(try TopologyAssembler(record).topology())
        let shell = """
            for device in \(tree.path)/sys/bus/pci/devices/*; do
                echo "${device##*/}"
                cat "$device/vendor" "$device/device" "$device/resource"
            done | cksum
            """
        let expected = try run("/bin/sh", ["-c", shell]).output
        #expect(expected == scriptChecksum(state) + "\n")
    }

    @Test("a plan file that others may write is refused, one that is none is bad input")
    func planFiles() throws {
        let directory = try TemporaryDirectory()
        try directory.write("{}", "plan.json")
        try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: directory.path("plan.json"))
        let open = try Command.run("apply", directory.path("plan.json"))
        #expect(open.status == 4)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: directory.path("plan.json"))
        let empty = try Command.run("apply", directory.path("plan.json"))
        #expect(empty.status == 65)
        #expect(try Command.run("apply", directory.path("none.json")).status == 65)
    }

    @Test("a log is sorted, and the status says whether something is lost")
    func triage() throws {
        let snapshot = try SnapshotFile(path: Self.fixture("first-light-6.12/failed-hot-add.snapshot.json")).read()
        let log = (snapshot.kernelLog ?? []).joined(separator: "\n") + "\n"
        let bad = try Command.run("triage", "-", input: log, environment: ["COLUMNS": ""])
        #expect(bad.status == 3)
        #expect(bad.output.contains("FATAL    0000:04:00.0 BAR 2"))
        let untold = try Command.run("triage", input: "hello\n")
        #expect(untold.status == 8)
        #expect(try Command.run("triage", "/nonexistent").status == 69)
    }
}
