// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import PCITopology
import PlanExecutor
import RebalancePlanner
import RescueFamily
import Testing

/// Plans for random machines with VFs, 64-bit BARs, I/O and drivers, refused at each of their writes: what was there is there
/// again, and what was written says again what it said.
@Suite("every write refused")
struct EveryRefusalTests {
    /// A function whatever its number is: by its place, a VF by its physical function's and its number among the VFs.
    private struct Place: Hashable {
        var path: TopologyPath
        var virtual: Int?
    }

    private static func functions(_ topology: Topology) -> [Place: Function] {
        Dictionary(
            topology.functions.indices.map { i in
                let function = topology.functions[i]
                guard let physical = function.physicalFunction, let p = topology.position(of: physical) else {
                    return (Place(path: topology.path(of: i)), function)
                }
                let virtual = topology.functions.filter { $0.physicalFunction == physical }.map(\.address).sorted()
                return (Place(path: topology.path(of: p), virtual: virtual.firstIndex(of: function.address)), function)
            }
        ) { first, _ in first }
    }

    /// What is worse than before, a sentence each; `isUntouched` where nothing was removed or looked for.
    private static func losses(_ before: Topology, _ after: Topology, _ trace: [SystemWrite]) -> [String] {
        var found: [String] = []
        let now = functions(after)
        let isUntouched = trace.allSatisfy {
            switch $0 {
            case .remove, .rescanAll, .rescanBus, .rescanDevice, .sriovNumVFs, .resizeBAR: false
            default: true
            }
        }
        for (place, was) in functions(before) {
            guard let function = now[place] else {
                found.append("\(was.address) is gone")
                continue
            }
            if function.use.driver != was.use.driver, !was.isVirtual {
                found.append("\(was.address) had driver \(was.use.driver as Any), has \(function.use.driver as Any)")
            }
            if function.use.enabledVFs ?? 0 != was.use.enabledVFs ?? 0 {
                found.append(
                    "\(was.address) had \(was.use.enabledVFs as Any) VFs, has \(function.use.enabledVFs as Any)"
                )
            }
            if (was.config.word(4) ?? 0) & ~(function.config.word(4) ?? 0) & 3 != 0, !was.isVirtual {
                found.append("\(was.address) does not decode")
            }
            for (index, line) in was.lines.byIndex where index.isBAR || index.isVFBAR {
                guard let old = line.range(of: index) else { continue }
                let later = function.lines.byIndex.first { $0.0 == index }?.1.range(of: index)
                if later.map({ $0.last - $0.first < old.last - old.first }) ?? true {
                    found.append("\(was.address) \(index) had \(line), has \(later as Any)")
                }
            }
            if isUntouched, function.config.bytes != was.config.bytes {
                let places = zip(function.config.bytes, was.config.bytes).enumerated().filter { $1.0 != $1.1 }.map(
                    \.offset
                )
                found.append("\(was.address) has other registers at \(places)")
            }
        }
        return found.sorted()
    }

    private static func release(_ behaviour: KernelBehaviour) -> String {
        let entry = KernelCatalogue.entries.last { $0.judgement != nil && $0.candidates[0].behaviour == behaviour }
        return entry?.judgement?.release ?? "none was judged"
    }

    private static func apply(_ plan: Plan, _ topology: Topology, _ behaviour: KernelBehaviour, _ machine: TwinMachine)
        throws -> ApplyReport
    {
        let applier = Applier(
            machine: Machine(writer: machine, observer: machine),
            disk: CrashingDisk(),
            lockPath: NSTemporaryDirectory() + "pci-rebalance-lock-\(UUID().uuidString)",
            audit: SilentAuditLog(),
            clock: fakeClock()
        )
        defer { unlink(applier.lockPath) }
        let predictor = TwinPredictor(
            initial: topology,
            behaviour: behaviour,
            readTopology: { try machine.topology() }
        )
        return try applier.apply(plan, predictor: predictor)
    }

    @Test("nothing is lost", arguments: PlanningCase.Question.allCases)
    func family(question: PlanningCase.Question) throws {
        var cases = 0
        for seed in 0..<200 as Range<UInt64> where cases < (question == .hotAdd || question == .reserve ? 2 : 1) {
            let behaviour = KernelBehaviour.presets[Int(seed % 3)]
            guard var one = try PlanningCase(seed: seed, question, behaviour: behaviour) else { continue }
            one.topology.kernel.release = Self.release(behaviour)
            let plan = try one.plan()
            guard plan.verdict.answer == .act else { continue }
            cases += 1
            let twin = try LinuxTwin(one.topology, behaviour: behaviour)
            let release = Self.release(behaviour)
            let count = plan.steps.reduce(0) { $0 + $1.writes.count }
            // All of a short plan, some of a long one; and none.
            for place in Set(stride(from: 0, to: count, by: max(1, count / 6))).union([count]).sorted() {
                let machine = TwinMachine(twin, release: release)
                if place < count { machine.refused = [place] }
                let report = try Self.apply(plan, one.topology, behaviour, machine)
                let name = "\(question) \(seed), write \(place) of \(count), then \(machine.trace.dropFirst(place + 1))"
                if place == count {
                    #expect(report.verdict == .done, "\(name) \(report.sentence) \(report.differences)")
                    #expect(try TreeState(machine.topology()) == plan.after, "\(name)")
                } else {
                    let losses = Self.losses(one.topology, try machine.topology(), machine.trace)
                    // What is said is so.
                    #expect(
                        report.line == "APPLY: \(losses.isEmpty ? "rolled-back" : "failed") reason=write-refused",
                        "\(name) \(losses) \(report.differences)"
                    )
                    // From a state to which no search leads, or to numbers that nobody wrote down, there may be no way back.
                    if question != .rescan && question != .virtualFunctions { #expect(losses == [], "\(name)") }
                }
            }
        }
        #expect(cases > 0)
    }

    @Test("the way back is tried on a machine whose ports show a present card and an active link, and ends")
    func activePorts() throws {
        for seed in 0..<20 as Range<UInt64> {
            guard var one = try PlanningCase(seed: seed, .hotAdd, behaviour: .linux6_12) else { continue }
            for function in one.topology.functions {
                guard let express = function.capabilities.express, express.isSlotImplemented else { continue }
                one.topology.update(function.address) {
                    $0.config.write(0x2000, at: Int(express.offset) + 0x12, width: 2)
                    $0.config.write(0x40, at: Int(express.offset) + 0x1a, width: 2)
                    $0.capabilities = Capabilities($0.config)
                }
            }
            let plan = try one.plan()
            guard plan.verdict.answer == .act else { continue }
            let predictor = TwinPredictor(
                initial: one.topology,
                behaviour: .linux6_12,
                readTopology: { throw ObservationError("nobody reads") }
            )
            predictor.triesWaysBack = true
            let answer = try #require(predictor.wayBack(of: plan))
            #expect(answer.gaps.map(\.losses) == [])
            return
        }
        Issue.record("no case to try")
    }
}
