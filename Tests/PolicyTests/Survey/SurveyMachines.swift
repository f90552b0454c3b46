// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology

/// A machine that policies are surveyed on.
struct SurveyMachine: Sendable {
    var name: String
    var topology: Topology
    /// Whether its present layout is one: a machine that ran, not a tree after a reset.
    var hasToday: Bool

    /// Enough is known to lay the tree out anew: memory apertures, and sizes of at least three BARs.
    var isUsable: Bool {
        let demand = ResourceDemand(topology)
        let bars = demand.functions.reduce(0) { $0 + $1.requests.filter(\.isRequired).count }
        return bars >= 3 && demand.hosts.allSatisfy { host in host.apertures.contains { !$0.isIO } }
    }
}

extension SurveyMachine {
    /// Recordings of other people's machines; empty where `../shared/corpus` is absent.
    static let corpus: [SurveyMachine] = everyReading.filter(\.isUsable)

    /// The same, whether or not a tree can be laid out anew from it.
    static let everyReading: [SurveyMachine] = {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
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
                let topology = try? TextEvidence(bytes: [UInt8](bytes)).topology()
            else { return nil }
            return SurveyMachine(name: name, topology: topology, hasToday: true)
        }
    }()

    /// Every tree that was recorded under a firmware or a kernel of another architecture, as after a reset.
    static func recorded() throws -> [SurveyMachine] {
        var result: [SurveyMachine] = []
        for firmware in ["seabios", "ovmf", "u-boot"] {
            result += try FirmwareRecording.all(firmware).map {
                SurveyMachine(name: $0.name, topology: $0.topology, hasToday: false)
            }
        }
        result += try ArchitectureRecording.all.get().map {
            SurveyMachine(name: $0.name, topology: $0.topology, hasToday: false)
        }
        return result.filter(\.isUsable)
    }

    /// Trees drawn from numbers: the same seed gives the same tree.
    static func generated(_ seeds: Range<UInt64>) throws -> [SurveyMachine] {
        try seeds.compactMap { seed in
            var tree = SurveyTree(seed: seed)
            let machine = SurveyMachine(name: "generated-\(seed)", topology: try tree.topology(), hasToday: false)
            return machine.isUsable ? machine : nil
        }
    }
}
