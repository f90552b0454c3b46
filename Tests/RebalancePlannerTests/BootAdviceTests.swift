// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@Suite struct BootAdviceTests {
    private func topology(_ name: String) throws -> Topology {
        let directory = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/\(name)")
        let paths = ["lspci.txt", "dmesg.txt"].map { directory.appendingPathComponent($0).path }
            .filter { FileManager.default.fileExists(atPath: $0) }
        return try TopologyAssembler(RecordedInput(paths: paths).record).topology()
    }

    private func advice(_ name: String, _ goal: BootAdvice.Goal) throws -> BootAdvice {
        let topology = try topology(name)
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "6.12").behaviour
        let platform = Platform(architecture: "x86_64", commandLine: topology.kernel.commandLine)
        return try BootAdvice(topology, goal: goal, behaviour: behaviour, platform: platform)
    }

    @Test func wordsAreNoLargerThanNeeded() throws {
        let found = try advice("R9", .placeAll)
        print("R9: \(found.best?.parameter ?? "none") after \(found.attempts) boots, as it is \(found.asItIs.missing)")
        #expect(!found.asItIs.isGood)
        #expect(found.asItIs.missing.contains("0000:05:00.0 BAR 0"))
        let best = try #require(found.best)
        #expect(best.isGood)
        #expect(best.words.count <= 2)
        #expect(found.instructions.count == 6)
    }

    @Test func nothingIsAdvisedWhereNothingIsNeeded() throws {
        let found = try advice("R2", .placeAll)
        #expect(found.asItIs.isGood)
        #expect(found.best?.parameter == nil)
        #expect(found.instructions.isEmpty)
        #expect(found.attempts == 1)
    }

    @Test func aCardThatIsTooLargeForEveryApertureGetsNoAdvice() throws {
        let port = try #require(FunctionAddress(parsing: "04:01.0"))
        let identity = Function.Identity(vendor: 0x1af4, device: 1, classCode: 0x12_0000)
        let card = CardProfile(
            name: "huge",
            functions: [
                CardFunction(identity: identity, bars: [.memory(0, 1 << 45, is64Bit: true, isPrefetchable: true)])
            ]
        )
        let topology = try topology("R8")
        // Without pci=nocrs, so that the apertures bound what can be given.
        let found = try BootAdvice(
            topology,
            goal: .card(port: port, card),
            behaviour: KernelBehaviour.preset(forRelease: "6.12").behaviour,
            platform: Platform(architecture: "x86_64", commandLine: nil)
        )
        #expect(found.best == nil)
        #expect(found.attempts > 1)
        #expect(found.instructions.isEmpty)
    }

    @Test func reservesFollowThePrefetchableFlag() {
        let identity = Function.Identity(vendor: 0x10de, device: 0x1db6, classCode: 0x03_0200)
        let card = CardProfile(
            name: "v100",
            functions: [
                CardFunction(
                    identity: identity,
                    bars: [
                        .memory(0, 16 << 20), .memory(1, 32 << 30, is64Bit: true, isPrefetchable: true),
                        .memory(3, 32 << 20, is64Bit: true, isPrefetchable: true),
                    ]
                )
            ]
        )
        let reserve = GuestReserve(card)
        #expect(reserve.properties == "mem-reserve=16M,pref64-reserve=32800M")
        // A 64-bit BAR that is not prefetchable lives below 4 GiB behind a bridge.
        let plain = CardProfile(
            name: "plain",
            functions: [CardFunction(identity: identity, bars: [.memory(0, 4096, is64Bit: true)])]
        )
        #expect(GuestReserve(plain).properties == "mem-reserve=1M")
    }
}

/// The twin takes a machine that was put together from text for what the text says.
@Suite struct TwinFromTextTests {
    @Test(arguments: [
        "R1", "R2", "R3", "R4", "R5", "R6", "R8", "R9", "R10", "R10-p100", "R11", "R12", "C02", "C05", "C07", "C13",
        "C32",
    ])
    func showsTheSameState(_ name: String) throws {
        let directory = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/\(name)")
        let paths = ["lspci.txt", "dmesg.txt"].map { directory.appendingPathComponent($0).path }
            .filter { FileManager.default.fileExists(atPath: $0) }
        let topology = try TopologyAssembler(RecordedInput(paths: paths).record).topology()
        let behaviour = KernelBehaviour.preset(forRelease: topology.kernel.release ?? "6.12").behaviour
        let twin = try LinuxTwin(topology, behaviour: behaviour)
        let differences = TreeState(topology).differences(from: TreeState(try twin.topology()))
        #expect(differences.isEmpty, "\(name): \(differences.prefix(3).map(\.description))")
    }
}
