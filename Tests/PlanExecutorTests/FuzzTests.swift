// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import PCITopology
import RebalancePlanner
import TestSupport
import Testing

@testable import PlanExecutor

/// Hostile documents made from good ones: bytes and tokens changed, dropped, doubled, moved, spliced.
struct Mutator {
    var numbers: SplitMix64
    private static let tokens = [
        "{", "}", "[", "]", ",", ":", "\"", "null", "true", "-1", "0", "1e9", "9223372036854775807",
        "9223372036854775808", "\"0x\"", "\"0xffffffffffffffff\"", "\"0x10000000000000000\"", "\"\"", "\"..\"",
        "\"/\"", "\"0000:00:00.0\"", "\"ffffffff:ff:1f.7\"", "\\u0000", "\\ud800", "\u{feff}", "\n", "\"act\"",
        "\"remove\"", "\"config\"", "\"rescan-all\"", "\"slot-power\"", "\"width\": 3", "\"offset\": \"0xfff\"", "256",
        "65536", "4294967296",
    ].map { Array($0.utf8) }

    mutating func mutate(_ document: [UInt8]) -> [UInt8] {
        var bytes = document
        for _ in 0..<Int.random(in: 1...4, using: &numbers) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &numbers)
            let length = min(bytes.count - at, Int.random(in: 1...24, using: &numbers))
            switch Int.random(in: 0..<8, using: &numbers) {
            case 0: bytes[at] = UInt8.random(in: 0...255, using: &numbers)
            case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &numbers)
            case 2: bytes.removeSubrange(at..<at + length)
            case 3: bytes.insert(contentsOf: Array(bytes[at..<at + length]), at: at)
            case 4: bytes.removeSubrange(at...)
            case 5: replaceToken(&bytes, at)
            case 6: swapLines(&bytes)
            default:
                let token = Self.tokens[Int.random(in: 0..<Self.tokens.count, using: &numbers)]
                bytes.insert(contentsOf: token, at: at)
            }
        }
        return bytes
    }

    /// Replaces the value after the next colon: the document stays well formed, its meaning does not.
    private mutating func replaceToken(_ bytes: inout [UInt8], _ at: Int) {
        guard let colon = bytes[at...].firstIndex(of: UInt8(ascii: ":")) else { return }
        let end = bytes[colon...].firstIndex { $0 == UInt8(ascii: ",") || $0 == 0x0a } ?? bytes.endIndex
        let token = Self.tokens[Int.random(in: 0..<Self.tokens.count, using: &numbers)]
        bytes.replaceSubrange((colon + 1)..<end, with: token)
    }

    private mutating func swapLines(_ bytes: inout [UInt8]) {
        var lines = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
        guard lines.count > 1 else { return }
        lines.swapAt(
            Int.random(in: 0..<lines.count, using: &numbers),
            Int.random(in: 0..<lines.count, using: &numbers)
        )
        bytes = Array(lines.joined(separator: [0x0a]))
    }
}

/// With `PCI_REBALANCE_FUZZ=1000000` in the environment that many documents of each kind are tried.
@Suite struct FuzzTests {
    private let rounds = ProcessInfo.processInfo.environment["PCI_REBALANCE_FUZZ"].flatMap { Int($0) } ?? 2000

    /// A small plan: the fewer bytes, the more of them are looked at per second.
    private var smallPlan: Plan {
        var state = FakeMachineState()
        state.add(Fake.rootPort, ids: 0x1b36_000c, bridge: true, driver: nil)
        state.add([0x10, 0], ids: 0x1b36_0005, bars: [0: 4096], driver: nil)
        _ = state.perform(.rescanAll)
        let port = Fake.at(Fake.rootPort, state)
        return Fake.plan(
            state,
            [
                (
                    [.config(port, offset: 4, width: 2, mask: 7, value: 0), .remove(port)],
                    [.slotPower(slot: "1", on: true)]
                ), ([.rescanBus(segment: 0, bus: BusNumber(0))], [.resourceAlignment("20@0000:01:00.0")]),
            ],
            disturbed: [port]
        )
    }

    @Test func plansAreRefusedOrReadButNeverTrusted() throws {
        let document = PlanDocument.encode(smallPlan)
        var mutator = Mutator(numbers: SplitMix64(state: 1))
        var accepted = 0
        for _ in 0..<rounds {
            let hostile = mutator.mutate(document)
            do {
                let plan = try PlanDocument.decode(hostile)
                accepted += 1
                // What is accepted can be written again and means the same.
                #expect(try PlanDocument.decode(PlanDocument.encode(plan)) == plan)
            } catch {
                #expect(!error.reason.isEmpty)
            }
        }
        print("plans: \(rounds) mutated documents, \(accepted) still plans")
        #expect(accepted < rounds / 2)
    }

    @Test func whateverIsAcceptedWritesOnlyToTheMachineItWasMadeFor() throws {
        let document = PlanDocument.encode(smallPlan)
        var mutator = Mutator(numbers: SplitMix64(state: 2))
        var applied = 0
        for _ in 0..<rounds / 2 {
            guard let plan = try? PlanDocument.decode(mutator.mutate(document)) else { continue }
            let bench = Bench()
            let report = try bench.applier.apply(plan)
            #expect(report.exitStatus != 0 || plan.verdict.answer != .act || plan.steps.isEmpty)
            #expect(bench.machine.trace.isEmpty)
            applied += 1
        }
        print("plans: \(applied) accepted documents offered to another machine, no write")
    }

    @Test func journalsAreRefusedOrReadUpToTheFault() throws {
        let (file, entries, plan) = try JournalTests.fullJournal()
        let end = try #require(file.lastIndex { $0 != 0 }) + 1
        var mutator = Mutator(numbers: SplitMix64(state: 3))
        var read = 0
        for _ in 0..<rounds / 4 {
            let disk = CrashingDisk()
            disk.put(Journal.unfinishedName, mutator.mutate(Array(file[..<end])))
            do {
                guard let (_, record) = try Journal.unfinished(on: disk) else { continue }
                read += 1
                #expect(record.plan == plan)
                #expect(entries.starts(with: record.entries))
            } catch let error as JournalError {
                #expect(error.code == .damaged)
            }
        }
        print("journals: \(rounds / 4) mutated files, \(read) readable up to the fault")
    }

    /// A journal whose checksums are right and whose content is hostile.
    @Test func hostileRecordsWithRightChecksumsAreRefusedOrHarmless() throws {
        let state = Fake.machine()
        let source = CrashingDisk()
        let journal = try Journal(on: source, JournalTests.beginning(state), Fake.renumber(state))
        try journal.record(
            .about(WritePosition(step: 0, index: 0, direction: .forward), .rescanAll, saved: .number(1))
        )
        let file = try #require(source.files[Journal.unfinishedName])
        let payloads = try #require(JournalFrame.decode(file)).payloads
        var mutator = Mutator(numbers: SplitMix64(state: 4))
        for round in 0..<rounds / 4 {
            var chain = JournalFrame.Chain()
            var hostile = JournalFrame.version
            for (i, payload) in payloads.enumerated() {
                hostile += JournalFrame.encode(i == round % payloads.count ? mutator.mutate(payload) : payload, &chain)
            }
            let bench = Bench()
            bench.disk.put(Journal.unfinishedName, hostile)
            let report = try Recovery(bench.applier).run()
            #expect(bench.broken.isEmpty, "\(report)")
        }
    }

    @Test func anyBytesAreNoPlan() throws {
        var numbers = SplitMix64(state: 5)
        for _ in 0..<rounds {
            let bytes = (0..<Int.random(in: 0...200, using: &numbers)).map { _ in
                UInt8.random(in: 0...255, using: &numbers)
            }
            #expect(throws: PlanDocumentError.self) { try PlanDocument.decode(bytes) }
        }
    }
}
