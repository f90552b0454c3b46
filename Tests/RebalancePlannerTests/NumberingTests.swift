// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@Suite("Kernels without CONFIG_PCI_IOV")
struct NumberingTests {
    /// A recorded machine as a kernel without SR-IOV would print it: no lines 7 to 12.
    private func withoutVFs(_ name: String) throws -> Topology {
        let parts = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false)
        let root = parts.prefix { $0 != "Tests" }.joined(separator: "/")
        var record = try RecordedInput(paths: ["\(root)/Fixtures/\(name)"]).record
        for i in record.functions.indices {
            guard let lines = record.functions[i].resource, lines.count >= 13 else { continue }
            record.functions[i].resource = Array(lines[..<7] + lines[13...])
        }
        return try TopologyAssembler(record).topology()
    }

    @Test("plans keep the number of lines, and say the same as with VF BARs", arguments: ["6.1", "6.12", "7"])
    func plansKeepTheNumberOfLines(kernel: String) throws {
        let topology = try withoutVFs("first-light-\(kernel)/failed-hot-add.snapshot.json")
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        let plan = try Planner(topology: topology, behaviour: behaviour).plan(goals: [.everythingRequired])
        #expect(plan.verdict.answer == .act)
        #expect(plan.steps.isEmpty == false)
        for step in plan.steps {
            for function in step.after.functions {
                #expect(function.lines.count == (function.busRange == nil ? 7 : 11), "\(function.address)")
            }
        }
        let card = try #require(plan.after.functions.first { $0.address.description == "0000:04:00.0" })
        let bar = try #require(ResourceIndex.bar(2))
        #expect(card.lines[bar].range(of: bar)?.size == 1 << 30)
    }

    @Test func aWindowOfElevenLinesIsAWindow() throws {
        let topology = try withoutVFs("first-light-6.12/failed-hot-add.snapshot.json")
        let port = try #require(topology.functions.first { $0.address.description == "0000:00:02.0" })
        #expect(port.lines.count == 11)
        #expect(port.resource(.ioWindow)?.range != nil)
        #expect(!port.resources.contains { $0.index.isVFBAR })
        let twin = try LinuxTwin(topology, behaviour: .linux6_12)
        #expect(TreeState(try twin.topology()) == TreeState(topology))
    }
}

@Suite("Words of the command line that name a function")
struct AddressWordPlanTests {
    private func plan(_ commandLine: String, onlyBelow: String? = nil) throws -> Plan {
        let parts = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false)
        let root = parts.prefix { $0 != "Tests" }.joined(separator: "/")
        let path = "\(root)/Fixtures/three-root-ports-6.12/failed-hot-add.snapshot.json"
        var topology = try TopologyAssembler(RecordedInput(paths: [path]).record).topology()
        topology.kernel.commandLine = commandLine
        var constraints = Constraints()
        constraints.onlyBelow = onlyBelow.flatMap { FunctionAddress(parsing: $0) }
        return try Planner(topology: topology, behaviour: .linux6_12)
            .plan(goals: [.everythingRequired], constraints: constraints)
    }

    @Test("at equal cost a plan lets a named function keep its number")
    func kept() throws {
        let bridge = FunctionAddress(parsing: "0000:01:00.0")
        let free = try plan("quiet").disturbed.first { $0.address == bridge }
        #expect(free?.newAddress != bridge, "without a word numbers at the end of the root bus are simplest")
        let named = try plan("pci=disable_acs_redir=0000:01:00.0").disturbed.first { $0.address == bridge }
        #expect(named?.newAddress == bridge)
    }

    @Test("a plan that gives a named function another address says what becomes of the word")
    func said() throws {
        let plan = try plan(
            "pci=disable_acs_redir=0000:01:00.0 xen-pciback.hide=(0000:01:00.0)(00:1f.2)",
            onlyBelow: "0000:00:02.0"
        )
        let moved = try #require(plan.disturbed.first { $0.address.description == "0000:01:00.0" })
        #expect(moved.newAddress != moved.address)
        let remarks = plan.remarks.filter { $0.hasPrefix("the boot word") }
        #expect(remarks.count == 2)
        #expect(
            remarks.first?.hasPrefix(
                "the boot word pci=disable_acs_redir= names 0000:01:00.0, which will be \(moved.newAddress): the kernel "
                    + "looks for that address when it finds a function"
            ) == true,
            "\(remarks)"
        )
        #expect(remarks.last?.contains("xen-pciback.hide= names 0000:01:00.0") == true, "00:1f.2 keeps its address")
    }

    @Test("nothing is said of words whose functions keep their addresses")
    func unsaid() throws {
        #expect(try plan("pci=disable_acs_redir=00:02.0,realloc").remarks.allSatisfy { !$0.contains("boot word") })
    }
}
