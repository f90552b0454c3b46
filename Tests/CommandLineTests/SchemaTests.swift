// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

@testable import pci_rebalance

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
        (
            "plan",
            [
                "plan", "-q", "--json", "--compact", "--at", "00:1f.2:5=0xfea01000", "--same-switch", "00:1f.2",
                "00:1f.0",
                "--keep-group", "00:1f.2",
            ]
        ),
        ("simulation", ["simulate", "-q", "--json", "--op", "rescan"]),
        ("snapshot", ["snapshot", "-q"]),
        ("fit", ["fit", "00:02.0", "-q", "--json", "--profile", "nvme"]),
        ("comparison", ["compare", "-q", "--json", "--policies", "today,seabios"]),
        ("reproduction", ["reproduce", "-q", "--json"]),
        ("parting", ["compare", "-q", "--json", "--explain", "seabios", "ovmf"]),
        ("upgrade", ["upgrade", "-q", "--json"]),
        ("cmdline", ["cmdline", "-q", "--json", "pci=realloc,hpmemprefsize=1G"]),
        (
            "cmdline",
            [
                "cmdline", "-q", "--json", "pci=noaer", "--card", "00:02.0=gpu:1G", "--guest", "gpu-16g", "--place",
                "all",
            ]
        ),
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

    @Test("a proof and its check keep to their schemas", .enabled(if: canValidate))
    func proof() throws {
        let file = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        for wishes in [["--place", "all"], ["--reserve", "00:02.0=pref:4T"]] {
            let certificate = try run(Command.path, ["plan", "-q", "--proof", "/dev/stderr", "--from", file] + wishes)
                .errors
            try validate(certificate, "certificate")
            let check = try Command.run(["verify", "-", "--json", "--from", file], input: certificate)
            #expect(check.status == 0)
            try validate(check.output, "verification")
        }
    }

    @Test("a triage keeps to its schema", .enabled(if: canValidate))
    func triage() throws {
        let log = "[    1.0] pci 0000:04:00.0: BAR 2 [mem size 0x40000000 64bit pref]: can't assign; no space\n"
        try validate(try Command.run("triage", "--json", input: log).output, "triage")
    }

    @Test("what apply, recover and event tell keeps to its schema", .enabled(if: canValidate))
    func streams() throws {
        let address = try #require(FunctionAddress(parsing: "0000:03:00.0"))
        let position = WritePosition(step: 0, index: 1, direction: .repair)
        let write = SystemWrite.config(address, offset: 4, width: 2, mask: 7, value: 3)
        let report = ApplyReport(.rolledBack, reason: "prediction-differs", sentence: "Stopped.", exitStatus: 5)
        let notice = HookNotice(
            phase: .before,
            apply: "x-1",
            address: address,
            oldAddress: address,
            path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [0x10, 0])
        )
        let events: [ApplyEvent] = [
            .begins(id: "x-1", steps: 2, writes: 3), .stepBegins(0, of: 2, purpose: "stop it"),
            .writeBegins(position, write), .writeDone(position, .remove(address), took: .milliseconds(3)),
            .writeFailed(position, .driverOverride(address, driver: "vfio-pci"), code: "refused", detail: "busy"),
            .stepReached(0, settledAfter: .zero), .differs(["a", "b"]), .goesBack(reason: "interrupted"),
            .remark("a \"remark\""), .hook("10-storage", notice, HookEnd(.refused, detail: "busy"), took: .zero),
            .renamed(Renaming(old: address, new: address, path: notice.path, serial: 1)),
            .renamed(Renaming(old: address, new: address, path: notice.path, namedBy: ["x in /y"])), .ends(report),
        ]
        for event in events { try validate(String(decoding: event.json, as: UTF8.self), "apply") }

        let file = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")
        let topology = try TopologyAssembler(SnapshotFile(path: file).read()).topology()
        let one = try #require(EventJudgement(topology, EventPolicy(mode: .apply)).cases().first)
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        let plan = try Planner(topology: topology, behaviour: behaviour).plan(goals: [.everythingRequired])
        var wide = plan
        wide.otherWays = [
            .reboot, .parameter("pci=realloc"), .parameter(nil), .kexec(functions: 3), .kernel(placedBy: ["6.12"]),
        ]
        wide.otherWays += OtherWay.Setting.allCases.map { .firmware($0) }
        try validate(String(decoding: PlanDocument.encode(wide), as: UTF8.self), "plan")
        let quiet = QuietWatch.Result(tree: plan.before, waited: .seconds(1), isQuiet: false, busySlots: [address])
        let notes: [EventNote] = [
            .settled(quiet), .looked(missing: 2, cases: 1, took: .zero), .planned(one, plan, took: .milliseconds(4)),
            .held(reason: "outside-hours", "Not now."), .remark("text"),
            .spent(total: .seconds(2), waiting: .seconds(1), kernel: .milliseconds(900)),
        ]
        for note in notes { try validate(String(decoding: EventText.document(note), as: UTF8.self), "event") }
        let end = EventReport(line: plan.verdict.line, sentence: "Told.", exitStatus: 3)
        try validate(String(decoding: EventText.document(end), as: UTF8.self), "event")
        #expect(EventText.document(.applying(.ends(report))) == ApplyEvent.ends(report).json)

        try validate(String(decoding: RecoverCommand.document(nil), as: UTF8.self), "recovery")
        let unfinished = UnfinishedApply(
            id: "x-1",
            time: 1_790_000_000,
            steps: 2,
            reachedSteps: 1,
            lastWrite: write,
            isLastWriteDone: false,
            isGoingBack: true,
            hasRebooted: false
        )
        try validate(String(decoding: RecoverCommand.document(unfinished), as: UTF8.self), "recovery")
        var ledger = EventLedger()
        ledger.begin("0000:00:02.0=0x1b360005", at: 1_790_000_000)
        try validate(String(decoding: ledger.document, as: UTF8.self), "events")
        try validate(#"{"schema": "pci-rebalance.policy/1", "mode": "apply"}"#, "policy")
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

    func validate(_ document: String, _ kind: String) throws {
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
