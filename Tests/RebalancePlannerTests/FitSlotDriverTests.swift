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

    @Test("at a port without bus numbers the kernel finds no card: what fits fits after a plan that gives it some")
    func numberless() throws {
        func text(_ buses: String) -> String {
            """
            [    0.300000] PCI host bridge to bus 0000:40
            [    0.300001] pci_bus 0000:40: root bus resource [mem 0x90000000-0x9fffffff window]
            [    0.300002] pci_bus 0000:40: root bus resource [bus 40-\(buses)]
            [    0.310000] pci 0000:40:01.0: [8086:1234] type 01 class 0x060400 PCIe Root Port
            [    0.310001] pci 0000:40:01.0: PCI bridge to [bus 00]
            [    0.310002] pcieport 0000:40:01.0: pciehp: Slot #3 AttnBtn- PwrCtrl- MRL- AttnInd- PwrInd- HotPlug+ Surprise+
            [    0.400000] pci_bus 0000:40: resource 4 [mem 0x90000000-0x9fffffff window]

            """
        }
        let port = FunctionAddress(segment: 0, bus: BusNumber(0x40), devfn: 8)
        func answer(_ buses: String, _ size: UInt64) throws -> FitAnswer {
            let topology = try TextEvidence(text(buses)).topology()
            let question = FitQuestion(topology: topology, behaviour: .linux6_12, port: port)
            return try question.answer(for: .endpoint(prefetchable: size), measuresLargest: true)
        }
        let roomy = try answer("5f", 16 << 20)
        #expect(word(roomy) == "after a plan" && roomy.largestNow == nil)
        #expect(roomy.missing.map(\.code) == [.busMissing] && roomy.missing.map(\.address) == [port])
        #expect(roomy.largestAfterPlan.map { $0.rawValue >= 16 << 20 } == true)
        #expect(word(try answer("5f", 1 << 30)) == "never", "the aperture holds 256 MiB")
        #expect(word(try answer("40", 16 << 20)) == "never", "there is no other number")
    }
}
