// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import Testing

/// Every document against its schema in Docs/schema, and the promises that schemas cannot state.
@Suite("Schemas")
struct SchemaTests {
    static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Docs/schema").path

    /// Whether python3 with jsonschema is here; the check is skipped without.
    static let canValidate = (try? run("/usr/bin/python3", ["-c", "import jsonschema"]).status) == 0

    static let commands: [(kind: String, arguments: [String])] = [
        ("tree", ["tree", "-q", "--json"]),
        ("check", ["check", "-q", "--json"]),
        ("plan", ["plan", "-q", "--json"]),
        ("simulation", ["simulate", "-q", "--json", "--op", "rescan"]),
        ("snapshot", ["snapshot", "-q"]),
        ("fit", ["fit", "00:02.0", "-q", "--json", "--profile", "nvme"]),
        ("comparison", ["compare", "-q", "--json", "--policies", "today,seabios"]),
        ("cmdline", ["cmdline", "-q", "--json", "pci=realloc,hpmemprefsize=1G"]),
    ]

    static let machines = [
        "first-light-6.1/boot", "first-light-6.12/failed-hot-add", "first-light-7/failed-hot-add",
        "three-root-ports-6.12/failed-hot-add",
    ]

    @Test("documents keep to their schema", .enabled(if: canValidate), arguments: commands.indices, machines)
    func valid(command: Int, machine: String) throws {
        let (kind, arguments) = Self.commands[command]
        let file = FixtureTests.fixture("\(machine).snapshot.json")
        let document = try run(Command.path, arguments + ["--from", file]).output
        try validate(document, kind)
    }

    @Test("a triage keeps to its schema", .enabled(if: canValidate))
    func triage() throws {
        let log = "[    1.0] pci 0000:04:00.0: BAR 2 [mem size 0x40000000 64bit pref]: can't assign; no space\n"
        try validate(try Command.run("triage", "--json", input: log).output, "triage")
    }

    @Test("the schemas themselves are valid and refuse what is not said in them", .enabled(if: canValidate))
    func schemas() throws {
        for (kind, _) in Self.commands {
            let odd = #"{"schema": "pci-rebalance.\#(kind)/1", "surprise": 1}"#
            #expect(try validation(odd, kind).status != 0)
        }
    }

    @Test("keys stand in sorted order and no number is beyond what a double holds", arguments: commands.indices)
    func sorted(command: Int) throws {
        let file = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let document = try run(Command.path, Self.commands[command].arguments + ["--from", file]).output
        check(try JSONParser.parse(Array(document.utf8), limits: .record))
    }

    private func check(_ tree: JSONTree) {
        switch tree {
        case .object(let members):
            #expect(members.map(\.key) == members.map(\.key).sorted())
            for member in members { check(member.value) }
        case .array(let elements): for element in elements { check(element) }
        case .integer(let number): #expect(number.magnitude < 1 << 53)
        default: break
        }
    }

    private func validate(_ document: String, _ kind: String) throws {
        let result = try validation(document, kind)
        #expect(result.status == 0, "\(result.errors)")
    }

    private func validation(_ document: String, _ kind: String) throws -> (status: Int32, errors: String) {
        let script = """
            import json, sys, jsonschema
            schema = json.load(open(sys.argv[1]))
            jsonschema.Draft202012Validator.check_schema(schema)
            errors = list(jsonschema.Draft202012Validator(schema).iter_errors(json.load(sys.stdin)))
            for error in errors[:5]: print(error.json_path, error.message[:200], file=sys.stderr)
            sys.exit(1 if errors else 0)
            """
        let result = try run(
            "/usr/bin/python3",
            ["-W", "ignore", "-c", script, "\(Self.directory)/\(kind).schema.json"],
            input: document
        )
        return (result.status, result.errors)
    }
}
