// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology
import Testing

@testable import pci_rebalance

@Suite("Golden text")
struct GoldenTests {
    @Test("the tree of the failed hot-plug", arguments: [60, 80])
    func tree(columns: Int) throws {
        let topology = try TestTree.failedHotPlug.topology()
        var text = TreeText(
            topology,
            findings: topology.findings(),
            addresses: AddressStyle(for: topology),
            columns: columns
        )
        try expectGolden(text.render(), "tree-failed-hot-plug-\(columns).txt")
    }

    @Test("the check of the failed hot-plug", arguments: [0, 2])
    func check(verbosity: Int) throws {
        let topology = try TestTree.failedHotPlug.topology()
        let text = CheckText(
            topology: topology,
            assessment: Assessment(topology),
            verbosity: verbosity,
            style: .plain,
            columns: 80
        )
        try expectGolden(text.render(), "check-failed-hot-plug-v\(verbosity).txt")
    }

    @Test("the same bytes twice")
    func deterministic() throws {
        let a = try TestTree.failedHotPlug.topology()
        var b = TestTree.failedHotPlug
        b.functions.reverse()
        #expect(
            try treeJSON(a, findings: a.findings(), selection: nil)
                == {
                    let other = try b.topology()
                    return treeJSON(other, findings: other.findings(), selection: nil)
                }()
        )
    }
}
