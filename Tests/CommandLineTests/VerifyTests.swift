// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

/// `plan --proof` and `verify`, as a user meets them.
@Suite("Proofs")
struct VerifyTests {
    private let record = FixtureTests.fixture("first-light-6.12/failed-hot-add.snapshot.json")

    private func proof(_ wishes: String...) throws -> (plan: String, proof: String) {
        let result = try Command.run(["plan", "--proof", "/dev/stderr", "--from", record] + wishes)
        return (result.output, result.errors)
    }

    @Test("the least disruptive plan is proved, and a changed proof does not hold")
    func least() throws {
        let (plan, proof) = try proof()
        #expect(plan.contains("PLAN: act"))
        let check = try Command.run("verify", "-", "--from", record, input: proof)
        #expect(check.status == 0)
        #expect(check.output.hasSuffix("VERIFY: holds claim=least\n"))
        let greater = proof.replacing(/"cost": (\d+)/) { "\"cost\": 9\($0.1)" }
        let other = try Command.run("verify", "-", "--from", record, input: greater)
        #expect(other.status == 3)
        #expect(other.output.hasSuffix("VERIFY: does not hold claim=least\n"))
    }

    @Test("what is impossible is proved; of another machine the proof does not hold")
    func impossible() throws {
        let (plan, proof) = try proof("--reserve", "00:02.0=pref:4T")
        #expect(plan.contains("PLAN: impossible"))
        let alone = try Command.run("verify", "-", input: proof)
        #expect(alone.status == 0)
        #expect(alone.output.contains("Not compared with a machine"))
        #expect(alone.output.contains("4T"))
        let other = FixtureTests.fixture("three-root-ports-6.12/failed-hot-add.snapshot.json")
        #expect(try Command.run("verify", "-", "--from", other, input: proof).status == 3)
    }

    @Test("a plan that claims nothing writes no proof and says so")
    func nothing() throws {
        let healthy = FixtureTests.fixture("first-light-6.12/boot.snapshot.json")
        let result = try Command.run("plan", "--proof", "/dev/null", "--from", healthy)
        #expect(result.status == 0)
        #expect(result.errors.contains("no proof was written"))
    }

    @Test("what is no proof is bad input", arguments: ["", "{}", "[1]", "\u{1b}[2J", "{\"schema\": \"x\"}"])
    func damaged(text: String) throws {
        let result = try Command.run("verify", "-", input: text)
        #expect(result.status == 65)
        #expect(!result.errors.contains("\u{1b}"))
    }
}
