// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import Testing

/// The groups that kernels made on machines of other people, against the rule.
@Suite("IOMMU groups of recorded machines")
struct IsolationCorpusTests {
    /// Machines of which a listing names the groups.
    static let machines = SurveyMachine.everyReading.filter { $0.topology.hasGroups }

    @Test("every group that can be told is as it was", .enabled(if: !machines.isEmpty))
    func recorded() {
        var certain = 0
        var untold = 0
        for machine in Self.machines {
            let groups = IsolationGroups(machine.topology)
            let functions = machine.topology.functions
            let wrong = groups.contradicted(by: machine.topology).map { functions[$0].address.description }
            let grouped = functions.indices.filter { functions[$0].use.iommuGroup != nil }
            let sure = grouped.count { groups.isCertain[$0] }
            certain += sure
            untold += grouped.count - sure
            print("\(machine.name): \(grouped.count) in groups, \(sure) foretold, \(wrong.count) otherwise \(wrong)")
            #expect(wrong.isEmpty, "\(machine.name)")
        }
        print("\(Self.machines.count) machines, \(certain) functions foretold, \(untold) untold")
        #expect(certain > 100)
    }
}
