// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import LibPCIBridge
internal import PCITopology
internal import RebalancePlanner
internal import Testing

/// What a boot tells of its kernel, on boots of Debian's kernels that were recorded.
@Suite("a boot against behaviours")
struct BootEvidenceTests {
    private func machine(_ name: String) throws -> (topology: Topology, firmware: FirmwareState) {
        let path = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/\(name)").path
        let record = try SnapshotFile(path: path).read()
        let log = try #require(record.kernelLog)
        return (try TopologyAssembler(record).topology(), try #require(FirmwareState(kernelLog: log)))
    }

    @Test(
        "the behaviour of the kernel that booted has no fault",
        arguments: [
            ("first-light-6.1", KernelBehaviour.linux6_1), ("first-light-6.12", .linux6_12),
            ("first-light-7", .linux7_2),
            ("three-root-ports-6.12", .linux6_12), ("three-root-ports-7", .linux7_2),
        ]
    )
    func own(name: String, behaviour: KernelBehaviour) throws {
        let (topology, firmware) = try machine("\(name)/boot.snapshot.json")
        let evidence = try #require(BootEvidence(topology, firmware: firmware))
        #expect(evidence.faults(of: [behaviour]) == [nil])
    }

    /// A machine that 6.12 booted from registers in which firmware had left nothing.
    private func bare() throws -> (topology: Topology, firmware: FirmwareState) {
        let topology = try WriteMachine(enabledVFs: 0).topology
        let functions = topology.functions.map { ($0.address, FirmwareState.Registers()) }
        return (topology, FirmwareState(Dictionary(uniqueKeysWithValues: functions)))
    }

    private static let sentence = "this boot would have left 0000:00:01.0 otherwise"

    @Test("whoever ends elsewhere is ruled out, in the order asked, and only where somebody explains the boot")
    func ruledOut() throws {
        let (topology, firmware) = try bare()
        let evidence = try #require(BootEvidence(topology, firmware: firmware))
        let all: [KernelBehaviour] = [.linux7_2, .linux6_12, .linux6_18, .linux6_1, .linux5_10]
        #expect(evidence.faults(of: all) == [Self.sentence, nil, Self.sentence, nil, nil])
        #expect(evidence.faults(of: [.linux7_2, .linux6_18]) == [nil, nil])
        #expect(evidence.faults(of: []) == [])
    }

    /// The same machine after something has closed the memory window of a port.
    private func closed(_ port: FunctionAddress) throws -> BootEvidence? {
        var (topology, firmware) = try bare()
        topology.update(port) { port in
            port.lines[14] = .zero
            for r in port.resources.indices where port.resources[r].index == .memoryWindow {
                port.resources[r].assignment = .closed
            }
        }
        return BootEvidence(topology, firmware: firmware)
    }

    @Test("what was changed since the boot rules nobody out; the trees beside it still do")
    func changedSince() throws {
        let other = try #require(try closed(WriteMachine.narrow))
        #expect(other.faults(of: [.linux6_12, .linux7_2]) == [nil, Self.sentence])
        let same = try #require(try closed(WriteMachine.root))
        #expect(same.faults(of: [.linux6_12, .linux7_2]) == [nil, nil])
    }

    @Test("a tree in which something was plugged in later is left out; without any other there is nothing to compare")
    func later() throws {
        let (topology, firmware) = try bare()
        func evidence(without addresses: [FunctionAddress]) -> BootEvidence? {
            BootEvidence(topology, firmware: FirmwareState(firmware.functions.filter { !addresses.contains($0.key) }))
        }
        let plugged = try #require(evidence(without: [WriteMachine.card, WriteMachine.sibling]))
        #expect(plugged.faults(of: [.linux6_12, .linux7_2]) == [nil, nil])
        #expect(evidence(without: topology.functions.map(\.address)) == nil)
    }
}
