// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import Testing

/// Every policy on every recorded machine of the corpus that tells sizes and apertures; skipped where it is absent.
///
/// With POLICY_SURVEY set it prints the table of Docs/policies/findings.md.
@Suite("Policies over the corpus")
struct CorpusSurveyTests {
    struct Machine: Sendable {
        var name: String
        var topology: Topology
    }

    static let machines: [Machine] = {
        let root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let folders = ["../shared/corpus", "../../shared/corpus"].map {
            root.appendingPathComponent($0).standardizedFileURL
        }
        guard let folder = folders.first(where: { FileManager.default.fileExists(atPath: $0.path) }),
            let walk = FileManager.default.enumerator(atPath: folder.path)
        else {
            print("skipped: ../shared/corpus is absent")
            return []
        }
        let names = walk.compactMap { $0 as? String }.filter { !$0.hasSuffix(".gz") && !$0.hasSuffix(".tsv") }.sorted()
        return names.compactMap { name in
            guard let bytes = FileManager.default.contents(atPath: folder.appendingPathComponent(name).path),
                let topology = try? TextEvidence(bytes: [UInt8](bytes)).topology(), isUsable(topology)
            else { return nil }
            return Machine(name: name, topology: topology)
        }
    }()

    /// Enough is known to lay the tree out anew: memory apertures, and sizes of at least three BARs.
    static func isUsable(_ topology: Topology) -> Bool {
        let demand = ResourceDemand(topology)
        let bars = demand.functions.reduce(0) { $0 + $1.requests.filter(\.isRequired).count }
        return bars >= 3 && demand.hosts.allSatisfy { host in host.apertures.contains { !$0.isIO } }
    }

    static func policies(_ topology: Topology) -> [any AllocationPolicy] {
        var result: [any AllocationPolicy] = [
            SeaBIOSPolicy(release: .v1_16_2), SeaBIOSPolicy(), EDK2Policy(), EDK2Policy(padding: .none),
            CorebootPolicy(), CorebootPolicy(allowsHigh: true), UBootPolicy(), FreeBSDPolicy(),
            FreeBSDPolicy(keepsToday: true),
        ]
        for behaviour in KernelBehaviour.presets {
            var platform = Platform()
            platform.boot = .rootBus
            platform.readsBridgeWindows = false
            platform.hasISARules = false
            platform.avoidsISAAliases = false
            result.append(
                LinuxBootPolicy(topology, behaviour: behaviour, platform: platform, platformName: "assigns all")
            )
        }
        return result
    }

    struct Tally {
        var machines = 0
        var complete = 0
        var halts = 0
        /// Halts on machines with several memory apertures below 4 GiB behind one host bridge.
        var splitHalts = 0
        var violations = 0
        var failed: [Int] = []
        var waste: [Double] = []
        var moved: [Double] = []
        var unsound: [String] = []
        var ports = 0
        /// Hot-plug ports with room for one card, by profile.
        var roomy: [String: Int] = [:]
    }

    static let profiles: [CardProfile] = [.nvme, .gpu256M, .gpu16G]

    @Test("no policy traps, and what a policy places works on hardware")
    func survey() throws {
        var tallies: [String: Tally] = [:]
        var order: [String] = []
        var feasible = 0
        for machine in Self.machines {
            let demand = ResourceDemand(machine.topology)
            let today = PolicyOutcome(asIn: machine.topology, policy: "today", sizes: demand)
            var outcomes = [today]
            outcomes += Self.policies(machine.topology).map { $0.allocate(demand) }
            var someone = false
            for outcome in outcomes {
                if tallies[outcome.policy] == nil { order.append(outcome.policy) }
                let metrics = PolicyMetrics(outcome, demand, today: today, profiles: Self.profiles)
                var tally = tallies[outcome.policy] ?? Tally()
                tally.machines += 1
                if let halt = outcome.halt {
                    tally.halts += 1
                    let isSplit = demand.hosts.contains { host in
                        host.apertures.filter { !$0.isIO && $0.range.first > 0xf_ffff && $0.range.last <= 0xffff_ffff }
                            .count > 1
                    }
                    if isSplit { tally.splitHalts += 1 }
                    tally.unsound.append("\(machine.name): \(halt)")
                }
                if metrics.requiredFailed == 0, outcome.halt == nil { tally.complete += 1 }
                tally.failed.append(metrics.requiredFailed)
                if metrics.requiredFailed == 0, outcome.halt == nil { someone = true }
                tally.ports += metrics.ports.count
                for card in metrics.ports.flatMap(\.cards) where card.count > 0 {
                    tally.roomy[card.profile, default: 0] += 1
                }
                if metrics.memoryTaken > 0 { tally.waste.append(Double(metrics.waste) / Double(metrics.memoryTaken)) }
                let movable = today.functions.filter { $0.resources.contains { $0.range != nil } }.count
                if movable > 0, outcome.halt == nil {
                    tally.moved.append(Double(metrics.functionsMoved) / Double(movable))
                }
                if !metrics.violations.isEmpty {
                    tally.violations += 1
                    tally.unsound.append("\(machine.name): \(metrics.violations[0])")
                }
                tallies[outcome.policy] = tally
            }
            if someone { feasible += 1 }
        }
        guard ProcessInfo.processInfo.environment["POLICY_SURVEY"] != nil else { return }
        print("\(Self.machines.count) recordings, \(feasible) of which some policy lays out completely")
        let cards = Self.profiles.map(\.name)
        print(
            "| policy | complete | halts | left out, worst | waste median | waste worst | moved median | unsound | ports "
                + cards.map { "| \($0) " }.joined() + "|"
        )
        print(String(repeating: "| --- ", count: 9 + cards.count) + "|")
        for name in order {
            guard let tally = tallies[name] else { continue }
            print(
                "| \(name) | \(tally.complete) | \(tally.halts) (\(tally.splitHalts) split) | \(tally.failed.max() ?? 0) "
                    + "| \(percent(median(tally.waste))) | \(percent(tally.waste.max() ?? 0)) "
                    + "| \(percent(median(tally.moved))) | \(tally.violations) | \(tally.ports) "
                    + cards.map {
                        "| \(percent(tally.ports == 0 ? 0 : Double(tally.roomy[$0] ?? 0) / Double(tally.ports))) "
                    }.joined() + "|"
            )
        }
        for name in order { for line in (tallies[name]?.unsound ?? []).prefix(40) { print("\(name): \(line)") } }
    }

    private func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }

    private func percent(_ value: Double) -> String { "\(Int((value * 100).rounded())) %" }
}
