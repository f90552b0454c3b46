// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

/// Wishes of every size get an answer.
@Suite("Wishes beyond every aperture")
struct HugeReserveTests {
    private static let sizes: [UInt64] = [.max, 1 << 63, .max - 0xf_fffe, 1 << 40]

    private func topology() throws -> Topology {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let path = "\(root)/Fixtures/first-light-6.12/failed-hot-add.snapshot.json"
        return try TopologyAssembler(SnapshotFile(path: path).read()).topology()
    }

    @Test(
        "room that no aperture could hold is impossible, at once and with the aperture's size",
        .timeLimit(.minutes(1)),
        arguments: sizes
    )
    func reserve(_ bytes: UInt64) throws {
        let topology = try topology()
        let port = try #require(FunctionAddress(parsing: "02:00.0"))
        let planner = Planner(
            topology: topology,
            behaviour: KernelBehaviour.preset(forRelease: topology.kernel.release ?? "").behaviour
        )
        let size = ByteCount(bytes)
        for room in [Headroom(io: size), Headroom(memory: size), Headroom(prefetchable: size)] {
            let plan = try planner.plan(goals: [.reserve(port, room)])
            #expect(plan.verdict.answer == .impossible)
            #expect(plan.verdict.sentence.contains("fits nowhere: the largest"), "\(plan.verdict.sentence)")
        }
    }

    @Test("rounding up stops at the last multiple")
    func rounding() {
        #expect(alignUpClamped(.max, 0x10_0000) == 0xffff_ffff_fff0_0000)
        #expect(alignUpClamped(1, 0x1000) == 0x1000)
        #expect(alignUpClamped(0, 0x1000) == 0)
        #expect(UInt64.max.saturatingAdd(1) == .max)
        #expect(UInt64(1).saturatingAdd(2) == 3)
    }
}
