// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import Foundation
internal import PCITopology
internal import RebalancePlanner
internal import Testing
internal import VMLaboratory

/// The words that `cmdline` computes, on the command line of the real kernel: with them the goal is reached, with every
/// set that is one word or one step smaller it is not.
///
/// With `PCI_REBALANCE_BOOT_WORDS=all` every case runs on every kernel; without it each on 6.12, the first on another kernel
/// and the second on the others.
@Suite("kernel words are enough, and one less is not")
struct BootWordsTests {
    /// A goal on a machine, and how to see whether it is reached.
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var topology: MachineTopology
        /// What the tool is asked.
        var question: String
        /// The `pci=` parameter of the first boot.
        var present: String?
        var machineArguments: [String] = []
        var late: [VirtualMachine.LateCard] = []
        /// What is done after the boot.
        var afterBoot: @Sendable (VirtualMachine) throws -> Void = { _ in }
        /// What is wrong, empty when the goal is reached and nothing is lost.
        var judge: @Sendable (VirtualMachine) throws -> [String]
        var testDescription: String { name }
    }

    static let card = Device.testDevice("card", memory: .gib(1))

    /// BARs 0 and 2 of the card have addresses and the sibling has all three of its BARs.
    @Sendable static func cardAndSibling(_ guest: VirtualMachine) throws -> [String] {
        let resources = try guest.resources()
        var wrong: [String] = []
        for index in [0, 2] where resources["0000:04:00.0"]?[index].isAssigned != true {
            wrong.append("card BAR \(index)")
        }
        for index in 0...2 where resources["0000:03:00.0"]?[index].isAssigned != true {
            wrong.append("sibling BAR \(index)")
        }
        return wrong
    }

    static let cases: [Case] = [
        Case(
            name: "a card of 1 GiB, plugged after the boot beside a sibling",
            topology: .firstLight,
            question: "--card 02:01.0=testdev:1G",
            afterBoot: { try $0.hotPlug(card, behind: "d2") },
            judge: cardAndSibling
        ),
        Case(
            name: "a card of 1 GiB that firmware has not seen",
            topology: .firstLight,
            question: "--place all",
            machineArguments: VirtualMachine.withoutPowerControl,
            late: [VirtualMachine.LateCard(card, behind: "d2")],
            judge: cardAndSibling
        ),
        Case(
            name: "a bridge, plugged after the boot into a port with one bus",
            topology: .threeRootPorts,
            question: "--card 00:02.0=pci-bridge",
            afterBoot: { try $0.hotPlug(.pcieToPCIBridge("bridge"), behind: "rp1") },
            judge: { guest in
                let buses = try guest.busNumbers(of: "0000:01:00.0")
                return buses.count == 3 && buses[1] > buses[0] ? [] : ["the bridge has the buses \(buses)"]
            }
        ),
        Case(
            name: "room kept behind a port",
            topology: .threeRootPorts,
            question: "--reserve 00:02.0=mem:32M,pref:512M",
            judge: { guest in
                let port = try guest.resources(of: "0000:00:02.0")
                var wrong: [String] = []
                for (index, size) in [(14, UInt64(32) << 20), (15, UInt64(512) << 20)] {
                    let window = port[index]
                    if !window.isAssigned || window.end - window.start + 1 < size { wrong.append("window \(window)") }
                }
                return wrong
            }
        ),
        Case(
            name: "words that are there and do not do are replaced",
            topology: .firstLight,
            question: "--place all",
            present: "pci=noaer,hpmmioprefsize=64M",
            machineArguments: VirtualMachine.withoutPowerControl,
            late: [VirtualMachine.LateCard(card, behind: "d2")],
            judge: cardAndSibling
        ),
    ]

    static let matrix = Kernel.allCases.flatMap { kernel in
        let isAll = ProcessInfo.processInfo.environment["PCI_REBALANCE_BOOT_WORDS"] == "all"
        let some = isAll || kernel == .linux6_12 ? cases : kernel == .linux6_1 ? [cases[0]] : [cases[1]]
        return some.map { (kernel, $0) }
    }

    private func boot(_ one: Case, _ kernel: Kernel, _ parameter: String?) throws -> VirtualMachine {
        let options = VirtualMachine.Options(
            kernelArguments: parameter.map { [$0] } ?? [],
            machineArguments: one.machineArguments,
            lateCards: one.late
        )
        let guest = try VirtualMachine(one.topology, kernel: kernel, options: options)
        // The port driver may see the card come a second time.
        if !one.late.isEmpty { try guest.waitUntilQuiet(settle: .seconds(2)) }
        return guest
    }

    private func judged(_ one: Case, _ kernel: Kernel, _ parameter: String?) throws -> [String] {
        let guest = try boot(one, kernel, parameter)
        defer { guest.stop() }
        try one.afterBoot(guest)
        return try one.judge(guest)
    }

    /// The `pci=` parameter with the words of an outcome, behind those that are no business of the search.
    private func parameter(_ outcome: JSONTree, _ one: Case) throws -> String? {
        guard case .array(let words)? = outcome["words"] else {
            Issue.record("expected words, found \(outcome)")
            return nil
        }
        let kept = one.present?.contains("noaer") == true ? ["noaer"] : []
        let texts = kept + words.compactMap { if case .string(let text) = $0 { text } else { nil } }
        return texts.isEmpty ? nil : "pci=\(texts.joined(separator: ","))"
    }

    @Test("as computed", arguments: matrix)
    func words(kernel: Kernel, one: Case) throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let first = try boot(one, kernel, one.present)
        let result = try first.run("pci-rebalance cmdline -q --json \(one.question)")
        try #require(result.status == 3, "\(result.status) \(result.output)\(result.errors)")
        let document = try JSONParser.parse(Array(result.output.utf8), limits: .record)
        // The first boot goes the way that was foreseen for it.
        try one.afterBoot(first)
        #expect(try !one.judge(first).isEmpty, "the words that are there do not do")
        first.stop()

        let advice = try #require(document["advice"])
        #expect(advice["start"] == .string("firmware"))
        guard case .string(let best)? = advice["parameter"] else {
            Issue.record("expected a parameter, found \(advice)")
            return
        }
        #expect(try judged(one, kernel, best) == [], "\(best)")
        guard case .array(let smaller)? = advice["smaller"] else {
            Issue.record("expected the smaller sets")
            return
        }
        var tried: [String] = []
        for outcome in smaller {
            let words = try parameter(outcome, one)
            tried.append(words ?? "no words")
            #expect(try !judged(one, kernel, words).isEmpty, "\(words ?? "no words") is enough too")
        }
        print("\(kernel) \(one.name): \(best) reaches it; not \(tried.joined(separator: ", not "))")
    }

    /// SeaBIOS opens windows of these sizes at multiples of 2 MiB.
    @Test("what a guest's port must reserve for a card: the kernel moves the tight window, the one with slack stays")
    func guestReserve() throws {
        let kernel = Kernel.linux6_12
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let tight = GuestReserve(try CardProfile(word: "testdev:256M"))
        #expect(tight.prefetchable == 256 << 20 && tight.memory == 1 << 20)
        #expect(tight.withSlack.prefetchable == 510 << 20)
        for (reserve, stays) in [(tight, false), (tight.withSlack, true)] {
            let port = Device.rootPort("rp1", at: "2")
                .with("mem-reserve", .number(reserve.memory)).with("io-reserve", .number(reserve.io))
                .with("pref64-reserve", .number(reserve.prefetchable))
            let guest = try VirtualMachine(MachineTopology("reserve", devices: [port]), kernel: kernel)
            defer { guest.stop() }
            let before = try guest.resources(of: "0000:00:02.0")
            #expect(before[15].isAssigned && before[15].end - before[15].start + 1 >= reserve.prefetchable)
            try guest.hotPlug(.testDevice("card", memory: .mib(256)), behind: "rp1")
            let after = try guest.resources()
            #expect(barsAreAssigned(after["0000:01:00.0"]))
            #expect((after["0000:00:02.0"]?[15] == before[15]) == stays, "\(reserve.properties)")
        }
    }
}
