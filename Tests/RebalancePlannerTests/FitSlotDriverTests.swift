// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import LibPCIBridge
import PCITopology
import Testing

@testable import RebalancePlanner

/// What `fit` says depends on who notices the card.
@Suite("fit under each slot driver")
struct FitSlotDriverTests {
    private static let port = FunctionAddress(segment: 0, bus: BusNumber(2), devfn: 8)

    /// A port whose windows hold 1 MiB, below windows that could grow: the fixture's, with another driver.
    private func answer(_ driver: SlotDriver, _ size: UInt64) throws -> FitAnswer {
        let parts = #filePath.split(separator: "/")
        let path = "/" + parts.dropLast(3).joined(separator: "/") + "/Fixtures/first-light-6.12/boot.snapshot.json"
        var topology = try TopologyAssembler(try SnapshotFile(path: path).read()).topology()
        #expect(topology.update(Self.port) { $0.use.slotDriver = driver })
        let question = FitQuestion(topology: topology, behaviour: .linux6_12, port: Self.port)
        return try question.answer(for: .endpoint(prefetchable: size), measuresLargest: false)
    }

    private func word(_ answer: FitAnswer) -> String {
        switch answer.verdict {
        case .now: "now"
        case .afterPlan: "after a plan"
        case .refused, .never: "never"
        case .cannotTell: "cannot tell"
        }
    }

    @Test("what fits into the windows as they are fits whoever drives the slot")
    func small() throws {
        for driver in SlotDriver.allCases {
            let answer = try answer(driver, 1 << 20)
            #expect(word(answer) == "now", "\(driver)")
            #expect(answer.slotDriver == driver)
            #expect(answer.needsRescan == (driver == .nobody), "\(driver)")
        }
    }

    @Test("where drivers differ, an unknown one is no answer")
    func unknown() throws {
        var sizes: [UInt64] = []
        for exponent in UInt64(21)...33 {
            let size = UInt64(1) << exponent
            let native = try answer(.pciehp, size)
            let acpi = try answer(.acpiphp, size)
            let unknown = try answer(.unknown, size)
            if word(native) == word(acpi) {
                #expect(word(unknown) == word(native), "\(size)")
            } else {
                sizes.append(size)
                #expect(word(unknown) == "cannot tell", "\(size)")
                #expect(unknown.unknowns.map(\.code) == [.slotDriverNotTold], "\(size)")
            }
        }
        // Not vacuous: there are sizes about which the two drivers say different things.
        #expect(!sizes.isEmpty)
    }
}
