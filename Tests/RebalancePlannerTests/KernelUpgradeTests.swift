// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import Testing

@testable import RebalancePlanner

/// What other kernels make of a machine. The real kernels' judgement of the same is in VMTests.
@Suite("other kernels")
struct KernelUpgradeTests {
    private static let root: String = {
        let parts = #filePath.split(separator: "/")
        return "/" + parts.dropLast(3).joined(separator: "/")
    }()

    private func upgrade(_ paths: [String], to releases: [String] = []) throws -> KernelUpgrade {
        let record = try RecordedInput(paths: paths).record
        let topology = try TopologyAssembler(record).topology()
        return try KernelUpgrade(
            topology,
            present: KernelUpgrade.Release(topology.kernel.release ?? ""),
            releases: releases.isEmpty ? KernelUpgrade.Release.known : releases.map { KernelUpgrade.Release($0) },
            firmware: record.kernelLog.flatMap { FirmwareState(kernelLog: $0) }
        )
    }

    @Test("a release names the preset of its own series")
    func releases() {
        #expect(KernelUpgrade.Release("6.18.15+deb13-amd64").behaviours.map(\.name) == ["linux-6.18"])
        #expect(KernelUpgrade.Release("6.18.15+deb13-amd64").isJudged)
        #expect(KernelUpgrade.Release("7.2").behaviours.map(\.name) == ["linux-7.2"])
        #expect(!KernelUpgrade.Release("6.14.3").isJudged)
        #expect(KernelUpgrade.Release.known.map(\.name).first == "5.10")
    }

    @Test(
        "the same kernel changes nothing",
        arguments: ["first-light-6.12/failed-hot-add", "two-host-bridges-6.12/boot"]
    )
    func same(machine: String) throws {
        let path = "\(Self.root)/Fixtures/\(machine).snapshot.json"
        guard FileManager.default.fileExists(atPath: path) else { return }
        let upgrade = try upgrade([path], to: ["6.12"])
        #expect(upgrade.changes.isEmpty)
        #expect(!upgrade.occasions.isEmpty)
    }

    /// Records of regressions that were seen on real machines, kept outside of the repository.
    @Test(
        "a kernel's rule is found to be the obstacle",
        arguments: [
            ["02-r9700-two-on-plx/in.dmesg", "02-r9700-two-on-plx/in.lspci"],
            ["03-vegaii-duo-70/in.dmesg"],
            ["30-two-4g-behind-a-switch-7.2/failed.snapshot.json"],
            ["30-two-4g-behind-a-switch-7.2/boot.snapshot.json"],
        ]
    )
    func regressions(files: [String]) throws {
        let paths = files.map { "\(Self.root)/../shared/cases/\($0)" }
        guard paths.allSatisfy({ FileManager.default.fileExists(atPath: $0) }) else {
            return print("skipped: \(files[0]) is not here")
        }
        let upgrade = try upgrade(paths)
        // What 6.12 places and 7.0 does not, or the other way round.
        let names = Set(upgrade.changes.filter { !$0.loses.isEmpty || !$0.gains.isEmpty }.map(\.release.name))
        #expect(!names.isEmpty)
        #expect(names.contains("7.0") != names.contains("6.12"))
    }
}
