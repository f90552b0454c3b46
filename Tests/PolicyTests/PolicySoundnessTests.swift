// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import Testing

/// Layouts of every policy on every recorded tree, checked by an auditor that knows none of them.
@Suite("Every policy's layout would work on hardware")
struct PolicySoundnessTests {
    static let policies: [any AllocationPolicy] = [
        SeaBIOSPolicy(release: .v1_16_2), SeaBIOSPolicy(), EDK2Policy(), EDK2Policy(padding: .none),
        CorebootPolicy(), CorebootPolicy(isTopDown: false, allowsHigh: true), UBootPolicy(), FreeBSDPolicy(),
        FreeBSDPolicy(keepsToday: true),
    ]

    @Test("aligned, contained, disjoint", arguments: policies.indices)
    func sound(_ i: Int) throws {
        let policy = Self.policies[i]
        for recording in try FirmwareRecording.all("seabios") {
            let demand = ResourceDemand(recording.topology)
            let outcome = policy.allocate(demand)
            var violations = LayoutAudit(outcome, demand).violations
            // Known: OVMF counts 512 bytes for a port's I/O reserve whose window covers 4 KiB (Docs/policies/edk2.md).
            if policy is EDK2Policy { violations.removeAll { $0.contains("overlaps") && $0.contains("io window") } }
            #expect(violations.isEmpty, "\(policy.name) on \(recording.name): \(violations.joined(separator: "; "))")
        }
    }

    @Test("the same demand gives the same layout", arguments: policies.indices)
    func deterministic(_ i: Int) throws {
        for recording in try FirmwareRecording.all("seabios").prefix(5) {
            let demand = ResourceDemand(recording.topology)
            #expect(Self.policies[i].allocate(demand) == Self.policies[i].allocate(demand))
        }
    }
}
