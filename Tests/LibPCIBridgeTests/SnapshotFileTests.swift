// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import LibPCIBridge
import PCITopology
import TestSupport
import Testing

@Suite("Snapshot files")
struct SnapshotFileTests {
    @Test("a record survives being written and read, and always gives the same bytes")
    func roundTrip() throws {
        var record = try Fixtures.record("first-light-6.12/failed-hot-add")
        record.privileges = PrivilegeRecord(effectiveUser: 0, hasSysAdmin: true, lockdown: "[none] integrity")
        record.resourceAlignment = "28@0000:01:00.0"
        record.slots.append(SlotRecord(name: "x \"1\"\n", address: "0000:05", isPowered: nil, isOccupied: false))
        record.functions[0].probed = [ProbedSize(index: .rom, size: ByteCount(1 << 40), flags: .memory)]
        record.functions[0].use = [UseEvidence(code: "mounted", detail: "ü", isProtected: true, weight: 1000)]
        record.functions[1].numaNode = 3
        record.functions[1].isUntrusted = false
        record.functions[2].physicalFunction = at("00:02.0")
        let bytes = SnapshotFile.encode(record)
        #expect(try SnapshotFile.decode(bytes) == record)
        #expect(try SnapshotFile.encode(SnapshotFile.decode(bytes)) == bytes)
    }

    @Test("a snapshot file gives the topology that its record gives")
    func file() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        let record = try Fixtures.record("first-light-7/boot")
        let file = SnapshotFile(path: directory + "/a.json")
        try file.write(record)
        #expect(try file.read() == record)
        #expect(try Evidence(path: file.path).kind == .snapshot)
        #expect(try TopologyAssembler(file.read()).topology() == TopologyAssembler(record).topology())
    }

    @Test("a symbolic link and a pipe are written to, not replaced; a failure leaves nothing behind")
    func writingElsewhere() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        let record = MachineRecord(origin: .live)
        symlink("real.json", directory + "/link.json")
        close(open(directory + "/real.json", O_WRONLY | O_CREAT, 0o644))
        try SnapshotFile(path: directory + "/link.json").write(record)
        #expect(try SnapshotFile(path: directory + "/real.json").read() == record)
        var status = stat()
        #expect(lstat(directory + "/link.json", &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        try SnapshotFile(path: "/dev/null").write(record)
        #expect(stat("/dev/null", &status) == 0 && status.st_mode & S_IFMT == S_IFCHR)
        let error = #expect(throws: ReadError.self) { try SnapshotFile(path: directory + "/none/x").write(record) }
        #expect(error?.code == .unavailable)
    }

    @Test("a field of a later version is passed over, null counts as absent, white space does not matter")
    func tolerance() throws {
        let text = """
            {"later": {"a": [1]}, "schema" : "pci-rebalance.snapshot/1", "origin": "text", "kernel": {"release" : "6.1"},
             "functions" : [ { "address" : "00:00.0", "driver": null, "vendor": "0x8086", "parent": "root" } ]}
            """
        let record = try SnapshotFile.decode(Array(text.utf8))
        #expect(record.kernel.release == "6.1")
        #expect(record.functions.map(\.vendor) == [0x8086] && record.functions[0].placement == .rootBus)
        #expect(record.functions[0].driver == nil && record.kernelLog == nil)
        let error = #expect(throws: ReadError.self) {
            try SnapshotFile.decode(Array(text.replacing("0x8086", with: "0x18086").utf8))
        }
        #expect(error?.description == "snapshot: functions[0].vendor: expected at most 0xffff, found 0x18086")
    }

    @Test(
        "hostile input gives a sentence with a place",
        arguments: [
            ("", "not a JSON document: line 1, column 1: expected a value, found the end"),
            ("{", "not a JSON document: line 1, column 2: expected a key, found the end"),
            ("[]", "snapshot: expected an object, found an array"),
            ("{}", "snapshot: expected a field schema, found none"),
            ("{\"schema\": 1}", "snapshot: schema: expected a string, found an integer"),
            (
                "{\"schema\": \"pci-rebalance.snapshot/2\"}",
                "snapshot: schema: expected pci-rebalance.snapshot/1, found pci-rebalance.snapshot/2"
            ),
            (
                "{\"schema\":\"pci-rebalance.snapshot/1\",\"origin\":\"live\"}",
                "snapshot: functions: expected an array, found none"
            ),
            (
                "{\"schema\":\"pci-rebalance.snapshot/1\",\"origin\":\"moon\",\"functions\":[]}",
                "snapshot: origin: expected live, directory or text, found moon"
            ),
            (
                "{\"schema\":\"pci-rebalance.snapshot/1\",\"origin\":\"live\",\"functions\":[{\"address\":\"0:0\"}]}",
                "snapshot: functions[0].address: expected an address like 0000:00:1f.2, found 0:0"
            ),
            (
                "{\"schema\":\"pci-rebalance.snapshot/1\",\"origin\":\"live\",\"functions\":[{\"address\":\"00:00.0\","
                    + "\"config\":\"8\"}]}",
                "snapshot: functions[0].config: expected pairs of hexadecimal digits"
            ),
            (
                "{\"schema\":\"pci-rebalance.snapshot/1\",\"origin\":\"live\",\"functions\":[{\"address\":\"00:00.0\","
                    + "\"config\":\"86\",\"configSize\":999999}]}",
                "snapshot: functions[0].configSize: expected 1 to 4096 bytes, found 999999"
            ),
            (
                "{\"schema\":\"pci-rebalance.snapshot/1\",\"origin\":\"live\",\"functions\":[{\"address\":\"00:00.0\","
                    + "\"resource\":[\"0x0 0x0\"]}]}",
                "snapshot: functions[0].resource: expected three hexadecimal numbers, found 0x0 0x0"
            ),
            (
                "{\"schema\":\"pci-rebalance.snapshot/1\",\"origin\":\"live\",\"functions\":[{\"address\":\"00:00.0\"},"
                    + "{\"address\":\"00:00.0\"}]}",
                "snapshot: functions: function 0000:00:00.0 appears twice"
            ),
            ("{\n  \"schema\": tru }", "not a JSON document: line 2, column 16: expected true, found byte 0x20"),
        ]
    )
    func hostile(text: String, sentence: String) throws {
        let error = #expect(throws: ReadError.self) { try SnapshotFile.decode(Array(text.utf8)) }
        #expect(error?.code == .badInput)
        #expect(error?.exitStatus == 65)
        #expect(error?.description == sentence)
    }

    @Test("every truncation of a document is an error, none a trap")
    func truncations() throws {
        let bytes = try SnapshotFile.encode(Fixtures.record("three-root-ports-6.1/boot"))
        for length in stride(from: 0, to: bytes.count - 2, by: 997) {
            #expect(throws: ReadError.self) { try SnapshotFile.decode(Array(bytes[..<length])) }
        }
    }

    @Test("a missing file is unavailable, a directory of another shape and an empty file are bad input")
    func recogniser() throws {
        let directory = temporaryDirectory()
        defer { removeTree(directory) }
        #expect(#expect(throws: ReadError.self) { try Evidence(path: directory + "/none") }?.code == .unavailable)
        #expect(#expect(throws: ReadError.self) { try Evidence(path: directory) }?.code == .badInput)
        let shape = SysfsShape(path: directory + "/s")
        shape.file("empty", "")
        shape.file("log", "[    0.1] pci 0000:00:00.0: hello\n")
        #expect(try Evidence(path: directory + "/s").kind == .sysfsDirectory)
        let empty = #expect(throws: ReadError.self) { try Evidence(path: directory + "/s/empty") }
        #expect(empty?.description.hasSuffix("it is empty") == true)
        let log = Evidence.Recogniser(name: "dmesg") { $0.first == 0x5b }
        #expect(try Evidence(path: directory + "/s/log", recognisers: [log]).kind == .text("dmesg"))
    }
}
