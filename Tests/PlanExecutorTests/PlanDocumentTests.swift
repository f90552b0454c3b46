// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import Testing

@Suite struct PlanDocumentTests {
    /// A plan that uses every word of the vocabulary.
    static var fullPlan: Plan {
        let state = Fake.machine()
        var plan = Fake.renumber(state)
        let endpoint = Fake.at(Fake.endpoint, state)
        plan.goals = [
            .everythingRequired, .place(endpoint), .resize(endpoint, bar: 0, size: ByteCount(1 << 34)),
            .resize(endpoint, bar: 2, size: nil),
            .reserve(
                endpoint,
                Headroom(io: ByteCount(4096), memory: ByteCount(1 << 20), prefetchable: .zero, buses: 3)
            ),
            .virtualFunctions(endpoint, count: 63), .compact, .located(endpoint, bar: 5, address: .max),
        ]
        plan.conditions = [
            ConditionOutcome(condition: .keepGroup(endpoint), text: "alone"),
            ConditionOutcome(condition: .keepRoute(endpoint, endpoint), text: "direct"),
            ConditionOutcome(condition: .sameSwitch(endpoint, endpoint), text: "one switch"),
        ]
        plan.disturbed = [
            Disturbance(
                address: endpoint,
                newAddress: endpoint,
                effect: .renumbered,
                what: "a \"disk\"",
                weight: 7,
                uses: ["read"]
            )
        ]
        plan.steps[0].preconditions += [
            .present(endpoint, ids: 0x1b36_0005), .busIsEmpty(segment: 0, bus: BusNumber(4)),
            .busIsAbsent(segment: 0x1_0000, bus: BusNumber(0x20)), .notInUse(endpoint),
        ]
        plan.steps[0].registersAfter = [
            RegisterExpectation(address: endpoint, offset: 0x04, width: 2, mask: 0x7, value: 0x6)
        ]
        plan.steps[1].wayBack = [
            .resizeBAR(endpoint, bar: 5, exponent: 43), .resourceAlignment("20@0000:01:00.0/00.0;pci:8086:10d3"),
            .sriovNumVFs(endpoint, count: 8), .unbindDriver(endpoint), .probeDriver(endpoint),
            .slotPower(slot: "0-1 rear", on: true), .rescanAll, .rescanDevice(endpoint),
            .config(endpoint, offset: 0x108, width: 4, mask: 0x3f00, value: 0x0a00),
        ]
        plan.otherWays = [
            .reboot, .parameter("pci=realloc,noaer"), .parameter(nil), .kexec(functions: 12), .firmware(.above4G),
            .firmware(.largerAperture), .firmware(.deviceTree), .kernel(placedBy: ["6.1", "6.12"]),
            .kernel(placedBy: ["6.12"], rules: ["relaxedTail", "a window may be smaller"]),
        ]
        return plan
    }

    private func text(_ plan: Plan = fullPlan) -> String { String(decoding: PlanDocument.encode(plan), as: UTF8.self) }

    private func decode(_ text: String) throws(PlanDocumentError) -> Plan { try PlanDocument.decode(Array(text.utf8)) }

    @Test func aPlanIsReadBackAsItWasWritten() throws {
        for plan in [Self.fullPlan] + Fake.plans.map({ $0.make(Fake.machine()) }) {
            #expect(try PlanDocument.decode(PlanDocument.encode(plan)) == plan)
        }
        var plan = Fake.plan(Fake.machine(), [])
        for (answer, proof) in [
            (Plan.Verdict.Answer.none, ProofOfLeastDisturbance.notApplicable), (.refused, .optimal),
            (.impossible, .optimal),
        ] {
            plan.verdict.answer = answer
            plan.proof = proof
            #expect(try PlanDocument.decode(PlanDocument.encode(plan)) == plan)
        }
    }

    @Test func theDocumentIsStableAndItsKeysAreSorted() throws {
        #expect(text() == text())
        func check(_ tree: JSONTree) {
            switch tree {
            case .object(let members):
                #expect(members.map(\.key) == members.map(\.key).sorted())
                for member in members { check(member.value) }
            case .array(let elements): for element in elements { check(element) }
            default: break
            }
        }
        check(try JSONParser.parse(Array(text().utf8)))
    }

    @Test(arguments: [
        ("\"schema\": \"pci-rebalance.plan/1\"", "\"schema\": \"pci-rebalance.plan/2\""),
        ("\"schema\": \"pci-rebalance.plan/1\"", "\"schema\": \"pci-rebalance.snapshot/1\""),
        ("\"behaviour\": \"fake\"", "\"behaviour\": \"fake\", \"surprise\": 1"),
        ("\"behaviour\": \"fake\"", "\"behaviour\": 3"),
        ("\"behaviour\": \"fake\",", ""),
        ("\"operation\": \"remove\"", "\"operation\": \"exec\""),
        ("\"operation\": \"remove\"", "\"operation\": \"remove\", \"path\": \"/etc/passwd\""),
        ("\"address\": \"0000:03:00.0\"", "\"address\": \"../../etc\""),
        ("\"address\": \"0000:03:00.0\"", "\"address\": \"03:00.0\""),
        ("\"address\": \"0000:03:00.0\"", "\"address\": \"0000:03:00.8\""),
        ("\"slot\": \"0-1 rear\"", "\"slot\": \"../x\""),
        ("\"slot\": \"0-1 rear\"", "\"slot\": \".\""),
        ("\"slot\": \"0-1 rear\"", "\"slot\": \"\""),
        ("20@0000:01:00.0/00.0;pci:8086:10d3", "20@0000:01:00.0\\n;x"),
        ("20@0000:01:00.0/00.0;pci:8086:10d3", "99@0000:01:00.0"),
        ("20@0000:01:00.0/00.0;pci:8086:10d3", "pci:8086"),
        ("\"exponent\": 43", "\"exponent\": 44"),
        ("\"bar\": 5", "\"bar\": 6"),
        ("\"count\": 8", "\"count\": -1"),
        ("\"offset\": \"0x108\"", "\"offset\": \"0x3c\""),
        ("\"offset\": \"0x108\"", "\"offset\": \"0x1000\""),
        ("\"offset\": \"0x108\"", "\"offset\": \"0x10a\""),
        ("\"mask\": \"0x00003f00\"", "\"mask\": \"0x00000000\""),
        ("\"value\": \"0x00000a00\"", "\"value\": \"0x0000aa00\""),
        ("\"weight\": 7", "\"weight\": -7"),
        ("\"weight\": 7", "\"weight\": 7.0"),
        ("\"weight\": 7", "\"weight\": 7, \"weight\": 8"),
        ("\"effect\": \"renumbered\"", "\"effect\": \"eaten\""),
        ("\"answer\": \"act\"", "\"answer\": \"none\""),
        ("\"reason\": \"unassigned-bars\"", "\"reason\": \"Two words\""),
        ("\"resourceLines\": 17", "\"resourceLines\": 19"),
        ("\"resourceLines\": 13", "\"resourceLines\": 0"),
        ("\"buses\": \"01-05\"", "\"buses\": \"05-01\""),
        ("\"path\": \"0000:00:02.0/00.0\"", "\"path\": \"0000:00:02.0/01.0\""),
        ("\"setting\": \"above-4g\"", "\"setting\": \"overclock\""),
        ("\"kind\": \"kexec\"", "\"kind\": \"kexec\", \"text\": \"now\""),
        ("\"functions\": 12", "\"functions\": -12"),
        ("\"functions\": 12", "\"functions\": 16385"),
        ("\"parameter\": null", "\"parameter\": 1"),
        ("\"kind\": \"reboot\"", "\"kind\": \"halt\""),
        ("\"kind\": \"not-in-use\"", "\"kind\": \"always\""),
        ("\"ids\": \"0x1b360005\"", "\"ids\": \"0x1b3600050\""),
    ])
    func whatEncodeDoesNotWriteIsRefused(_ good: String, _ bad: String) throws {
        let document = text()
        #expect(throws: Never.self) { try decode(document) }
        try #require(document.contains(good), "\(good)")
        #expect(throws: PlanDocumentError.self) { try decode(document.replacing(good, with: bad, maxReplacements: 1)) }
    }

    @Test func aFingerprintThatIsNotOfTheTreeIsRefused() throws {
        var plan = Self.fullPlan
        plan.fingerprint ^= 1
        #expect(throws: PlanDocumentError.self) { try decode(text(plan)) }
    }

    @Test func hugeDocumentsAreRefusedAtOnce() {
        #expect(throws: PlanDocumentError.self) {
            try PlanDocument.decode(Array(repeating: 0x20, count: PlanDocument.largestFile + 1))
        }
        let deep = String(repeating: "{\"schema\":", count: 100_000)
        #expect(throws: PlanDocumentError.self) { try decode(deep) }
    }

    @Test func errorsNameThePlace() throws {
        let document = text().replacing("\"exponent\": 43", with: "\"exponent\": 99")
        do {
            _ = try decode(document)
            Issue.record("an exponent of 99 was accepted")
        } catch {
            #expect(error.description == "steps[1].wayBack[0].exponent: expected 0 to 43, found 99")
        }
    }
}

@Suite struct PlanFileTests {
    private func withFile(_ content: [UInt8], _ mode: mode_t, _ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "pci-rebalance-plan-\(UUID().uuidString).json"
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        try #require(file >= 0)
        content.withUnsafeBytes { _ = write(file, $0.baseAddress, $0.count) }
        fchmod(file, mode)
        close(file)
        defer { unlink(path) }
        try body(path)
    }

    @Test func aFileOfOurOwnIsRead() throws {
        let plan = PlanDocumentTests.fullPlan
        try withFile(PlanDocument.encode(plan), 0o644) { path in
            let found = try PlanFile.read(path)
            #expect(found == plan)
        }
    }

    @Test(arguments: [mode_t(0o664), 0o646, 0o666, 0o777])
    func aFileThatOthersMayWriteIsRefused(_ mode: mode_t) throws {
        try withFile(PlanDocument.encode(PlanDocumentTests.fullPlan), mode) { path in
            let error = #expect(throws: PlanFileError.self) { try PlanFile.read(path) }
            #expect(error?.code == .unsafe)
            #expect(error?.exitStatus == 4)
        }
    }

    @Test func linksDirectoriesPipesAndNothingAreRefused() throws {
        try withFile(PlanDocument.encode(PlanDocumentTests.fullPlan), 0o600) { path in
            let other = path + ".link"
            symlink(path, other)
            #expect(#expect(throws: PlanFileError.self) { try PlanFile.read(other) }?.code == .unsafe)
            unlink(other)
            mkfifo(other, 0o600)
            #expect(#expect(throws: PlanFileError.self) { try PlanFile.read(other) }?.code == .unsafe)
            unlink(other)
            #expect(#expect(throws: PlanFileError.self) { try PlanFile.read(other) }?.code == .unreadable)
        }
        #expect(#expect(throws: PlanFileError.self) { try PlanFile.read("/proc") }?.code == .unsafe)
    }

    @Test func badContentIsBadInput() throws {
        try withFile(Array("{}".utf8), 0o600) { path in
            let error = #expect(throws: PlanFileError.self) { try PlanFile.read(path) }
            #expect(error?.code == .malformed)
            #expect(error?.exitStatus == 65)
        }
    }
}
