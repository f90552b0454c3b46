// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import Foundation
import LibPCIBridge
import PCITopology
import RebalancePlanner
import Testing

@Suite struct BootAdviceTests {
    private static func url(_ name: String) -> URL {
        URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/\(name)")
    }

    private func record(_ name: String) throws -> MachineRecord {
        if name.hasSuffix(".json") { return try SnapshotFile(path: Self.url(name).path).read() }
        let paths = ["lspci.txt", "dmesg.txt"].map { Self.url(name).appendingPathComponent($0).path }
            .filter { FileManager.default.fileExists(atPath: $0) }
        return try RecordedInput(paths: paths).record
    }

    private func advice(_ name: String, _ goals: [BootGoal], _ commandLine: String? = nil) throws -> BootAdvice {
        let record = try record(name)
        let topology = try TopologyAssembler(record).topology()
        return try BootAdvice(
            topology,
            goals: goals,
            behaviour: KernelBehaviour.preset(forRelease: topology.kernel.release ?? "6.12").behaviour,
            commandLine: commandLine ?? topology.kernel.commandLine,
            firmware: record.kernelLog.flatMap { FirmwareState(kernelLog: $0) }
        )
    }

    private func address(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }

    @Test func wordsAreNoLargerThanNeeded() throws {
        let found = try advice("R9", [.plan(.everythingRequired)])
        #expect(!found.asItIs.isGood)
        #expect(found.asItIs.missing.contains("0000:05:00.0 BAR 0 (32G) has no address"))
        let best = try #require(found.best)
        #expect(best.isGood)
        #expect(best.words == ["realloc"])
        #expect(found.parameter == "pci=realloc")
        #expect(found.smaller.map(\.words) == [[]])
        #expect(found.instructions.contains { $0.text == "rpm-ostree kargs --append-if-missing=\"pci=realloc\"" })
    }

    @Test func nothingIsAdvisedWhereNothingIsNeeded() throws {
        let found = try advice("R2", [.plan(.everythingRequired)])
        #expect(found.asItIs.isGood)
        #expect(found.best?.words == [])
        #expect(!found.isChange && found.parameter == found.presentParameter)
        #expect(found.instructions.isEmpty)
        #expect(found.attempts == 2)
    }

    /// The same words as those that a guest was booted with (`BootWordsTests` in VMTests).
    @Test(arguments: [("6.1", "1009M"), ("6.12", "1009M"), ("7", "1G")])
    func everyPartOfTheAnswerIsNeeded(kernel: String, size: String) throws {
        let card = try CardProfile(word: "testdev:1G")
        let found = try advice(
            "first-light-\(kernel)/boot.snapshot.json",
            [.card(port: try address("02:01.0"), card)]
        )
        #expect(found.start == .firmware)
        #expect(found.best?.words == ["realloc", "resource_alignment=0000:02:01.0", "hpmmioprefsize=\(size)"])
        #expect(found.smaller.count == 4)
        for outcome in found.smaller { #expect(!outcome.isGood, "\(outcome.words)") }
    }

    @Test func aCardThatFirmwareDidNotSeeIsALatecomer() throws {
        let found = try advice("first-light-6.12/failed-hot-add.snapshot.json", [.plan(.everythingRequired)])
        #expect(found.latecomers.map(\.description) == ["0000:04:00.0"])
        #expect(found.best?.words == ["realloc"])
    }

    @Test func wordsThatAreThereAndDoNothingAreNamed() throws {
        let line = "quiet pci=noaer,hpmmioprefsize=64G,realloc=off pci=hpbussize=8"
        let found = try advice("first-light-6.12/boot.snapshot.json", [.plan(.everythingRequired)], line)
        #expect(found.presentParameter == "pci=noaer,hpmmioprefsize=64G,realloc=off,hpbussize=8")
        #expect(found.parameter == "pci=noaer")
        #expect(found.needless == ["hpmmioprefsize=64G", "realloc=off", "hpbussize=8"])
        // What is there does, so that nothing has to be changed.
        #expect(found.asItIs.isGood && found.edit == nil && found.instructions.isEmpty)
        let other = try advice("first-light-6.12/failed-hot-add.snapshot.json", [.plan(.everythingRequired)], line)
        #expect(
            other.edit
                == "write pci=noaer,realloc in place of pci=noaer,hpmmioprefsize=64G,realloc=off,hpbussize=8"
        )
    }

    @Test func withoutTheBootsLogWordsThatAreThereStay() throws {
        let record = try record("first-light-6.12/failed-hot-add.snapshot.json")
        let topology = try TopologyAssembler(record).topology()
        let found = try BootAdvice(
            topology,
            goals: [.plan(.everythingRequired)],
            behaviour: KernelBehaviour.preset(forRelease: "6.12").behaviour,
            commandLine: "pci=hpmmiosize=4M"
        )
        #expect(found.start == .registers)
        #expect(found.parameter == "pci=hpmmiosize=4M,realloc")
        #expect(found.needless.isEmpty)
    }

    @Test func aCardThatIsTooLargeForEveryApertureGetsNoAdvice() throws {
        let identity = Function.Identity(vendor: 0x1af4, device: 1, classCode: 0x12_0000)
        let card = CardProfile(
            name: "huge",
            functions: [
                CardFunction(identity: identity, bars: [.memory(0, 1 << 45, is64Bit: true, isPrefetchable: true)])
            ]
        )
        // Without pci=nocrs, so that the apertures bound what can be given.
        let found = try advice("R8", [.card(port: try address("04:01.0"), card)], "quiet")
        #expect(found.best == nil)
        #expect(found.attempts > 1)
        #expect(found.instructions.isEmpty)
    }

    @Test func goalsAtTheWrongPlaceAreRefused() throws {
        let card = try CardProfile(word: "nvme")
        for place in ["7f:00.0", "00:1f.2"] {
            #expect(throws: TwinError.self) {
                try advice("first-light-6.12/boot.snapshot.json", [.card(port: address(place), card)])
            }
        }
        #expect(throws: TwinError.self) {
            try advice(
                "first-light-6.12/boot.snapshot.json",
                [.plan(.resize(address("03:00.0"), bar: 2, size: ByteCount(1 << 30)))]
            )
        }
    }

    @Test func busNumbersAreFoundByNumberingAnew() throws {
        let found = try advice(
            "three-root-ports-6.12/boot.snapshot.json",
            [.card(port: try address("00:02.0"), try CardProfile(word: "pci-bridge"))]
        )
        #expect(found.best?.words == ["assign-busses", "hpbussize=2"])
    }

    @Test func aFunctionOfTheTreeIsACardForAGuest() throws {
        let topology = try TopologyAssembler(record("first-light-6.12/boot.snapshot.json")).topology()
        let card = try #require(CardProfile(of: address("03:00.0"), in: topology))
        let reserve = GuestReserve(card)
        #expect(reserve.properties == "io-reserve=4K,mem-reserve=1M,pref64-reserve=16M")
        #expect(
            reserve.libvirtLines(alias: "ua-port").contains {
                $0.contains("name='pref64-reserve' type='unsigned' value='16777216'")
            }
        )
        #expect(CardProfile(of: try address("02:00.0"), in: topology) == nil)
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
