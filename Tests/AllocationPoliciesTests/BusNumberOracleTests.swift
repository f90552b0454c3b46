// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// Bus numbers written into registers, as observed on Debian's 6.1 in QEMU; later kernels do the same.
@Suite struct BusNumberOracleTests {
    private func numbers(_ m: Q35, _ address: String, _ a: UInt8, _ b: UInt8, _ c: UInt8) throws -> TwinOperation {
        .setBusNumbers(
            try m.at(address),
            primary: BusNumber(a),
            secondary: BusNumber(b),
            subordinate: BusNumber(c)
        )
    }

    @Test("O13: a range too small for what is below makes it unusable", arguments: KernelBehaviour.presets)
    func o13(_ behaviour: KernelBehaviour) throws {
        var m = try OracleTests.chain(behaviour)
        let port = try m.at("00:01.0")
        try m.run(.remove(try m.at("01:00.0")), try numbers(m, "00:01.0", 0, 1, 1), .remove(port))
        let events = try m.run(.rescan)
        #expect(try m.exists("01:00.0"))
        #expect(try !m.exists("02:00.0"))
        #expect(
            events.contains { event in
                if case .busConflict = event { return true }
                return false
            }
        )
        #expect(
            events.contains { event in
                if case .unusable = event { return true }
                return false
            }
        )
        if behaviour == .linux6_1 {
            #expect(try m.place("00:01.0", 15) == "100000000-100ffffff")
        }
    }

    @Test(
        "O14: a bridge with cleared numbers is numbered anew, those below keep theirs",
        arguments: KernelBehaviour.presets
    )
    func o14(_ behaviour: KernelBehaviour) throws {
        var m = try OracleTests.chain(behaviour)
        try m.run(
            .remove(try m.at("03:00.0")),
            .remove(try m.at("02:00.0")),
            .remove(try m.at("01:00.0")),
            try numbers(m, "00:01.0", 0, 0, 0),
            .remove(try m.at("00:01.0")),
            .rescan
        )
        #expect(try m.buses("00:01.0") == "01-03")
        #expect(try m.buses("01:00.0") == "02-03")
        #expect(try m.buses("02:00.0") == "03-03")
    }

    @Test(
        "O26, O27: a whole numbering is dictated by registers; a wrong primary is numbered anew",
        arguments: KernelBehaviour.presets
    )
    func o26(_ behaviour: KernelBehaviour) throws {
        var m = try OracleTests.chain(behaviour)
        try m.run(
            .remove(try m.at("03:00.0")),
            try numbers(m, "02:00.0", 0x11, 0x12, 0x14),
            .remove(try m.at("02:00.0")),
            try numbers(m, "01:00.0", 0x10, 0x11, 0x1e),
            .remove(try m.at("01:00.0")),
            try numbers(m, "00:01.0", 0, 0x10, 0x1f),
            .remove(try m.at("00:01.0")),
            .rescan
        )
        #expect(try m.buses("00:01.0") == "10-1f")
        #expect(try m.buses("10:00.0") == "11-1e")
        #expect(try m.buses("11:00.0") == "12-14")
        #expect(try m.exists("12:00.0"))

        try m.run(try numbers(m, "00:01.0", 0, 0x30, 0x3f), .remove(try m.at("00:01.0")))
        let events = try m.run(.rescan)
        #expect(try m.buses("00:01.0") == "30-3f")
        #expect(try m.buses("30:00.0") == "31-3f")
        #expect(try m.buses("31:00.0") == "32-3f")
        #expect(try m.exists("32:00.0"))
        #expect(events.contains(.renumbered(try m.at("30:00.0"))))
    }

    @Test(
        "O19: a switch plugged into a port with sixteen buses, all windows handed down",
        arguments: KernelBehaviour.presets
    )
    func o19(_ behaviour: KernelBehaviour) throws {
        var m = try Q35(behaviour, cards: [.rootPort(1)])
        m.program(
            [0x08],
            bars: [0: 0xfea1_2000],
            buses: (0, 1, 0x11),
            io: 0xc000...0xcfff,
            mem: 0xfd80_0000...0xfe7f_ffff,
            pref: 0x1_0000_0000...0x1_0fff_ffff
        )
        try m.boot()
        try m.run(
            .hotAdd(
                port: try m.at("00:01.0"),
                card: CardProfile(name: "x3130", functions: [.upstream([])]),
                method: .pciehp
            )
        )
        #expect(try m.buses("01:00.0") == "02-02")
        if behaviour != .linux7_2 {
            #expect(try m.windows("01:00.0") == m.windows("00:01.0"))
        }
    }

    @Test("a bridge plugged in where one bus is left stays without a bus", arguments: KernelBehaviour.presets)
    func noBusNumber(_ behaviour: KernelBehaviour) throws {
        var m = try OracleTests.topologyA(behaviour)
        let port = try m.at("00:02.0")
        try m.run(.unplug(port: port))
        let card = CardProfile(
            name: "pcie-pci-bridge",
            functions: [
                CardFunction(
                    identity: Function.Identity(vendor: 0x1b36, device: 0x000e, classCode: 0x060400),
                    bars: [.memory(0, 256, is64Bit: true)],
                    portType: .bridgeToPCI,
                    bridge: CardBridge()
                )
            ]
        )
        let events = try m.run(.hotAdd(port: port, card: card, method: .pciehp))
        #expect(events.contains(.noBusNumber(try m.at("02:00.0"))))
        #expect(try m.buses("02:00.0") == "-")
        // Numbers written before the port is removed cure it.
        try m.run(
            .remove(try m.at("02:00.0")),
            .setBusNumbers(port, primary: BusNumber(0), secondary: BusNumber(0x10), subordinate: BusNumber(0x20)),
            .remove(port),
            .rescan
        )
        #expect(try m.buses("00:02.0") == "10-20")
        #expect(try m.buses("10:00.0").hasPrefix("11-"))
    }

    /// A port with buses 01 to 11 and a switch with `ports` hot-plug ports, found by a rescan.
    private func switchFound(_ behaviour: KernelBehaviour, ports: UInt8) throws -> Q35 {
        var m = try Q35(behaviour, cards: [.rootPort(1)])
        m.program([0x08], buses: (0, 1, 0x11), mem: 0xfd80_0000...0xfe7f_ffff)
        try m.boot()
        let card = CardProfile(name: "switch", functions: [.upstream((0..<ports).map { .downstream($0) })])
        try m.run(.hotAdd(port: try m.at("00:01.0"), card: card, method: .unnoticed), .rescan)
        return m
    }

    @Test(
        "what is left of a configured port's sixteen numbers is shared among the ports below, before 6.1 it is not",
        arguments: [
            (KernelBehaviour.linux5_10, ["02-04", "03-03", "04-04"]), (.linux6_1, ["02-10", "03-09", "0a-10"]),
            (.linux6_12, ["02-10", "03-09", "0a-10"]),
        ]
    )
    func configuredPortShares(behaviour: KernelBehaviour, expected: [String]) throws {
        let m = try switchFound(behaviour, ports: 2)
        #expect(try ["01:00.0", "02:00.0", "02:01.0"].map { try m.buses($0) } == expected)
    }

    @Test("numbers of a configured port count as used; taken the wrong way round, the next port takes too many")
    func configuredNumbersAreUsed() throws {
        for isRight in [true, false] {
            var m = try switchFound(.linux6_1.changed("test") { $0.configuredBusesAreUsed = isRight }, ports: 3)
            try m.run(
                try numbers(m, "02:00.0", 2, 3, 0x0d),
                try numbers(m, "02:01.0", 0, 0, 0),
                try numbers(m, "02:02.0", 0, 0, 0),
                try numbers(m, "01:00.0", 0, 0, 0),
                .remove(try m.at("01:00.0")),
                .rescan
            )
            #expect(try m.buses("02:00.0") == "03-0d")
            // Fifteen numbers behind the switch's own: eleven are taken, three are the rest beside one for the last port.
            #expect(try m.buses("02:01.0") == (isRight ? "0e-10" : "0e-11"))
            if isRight { #expect(try m.buses("02:02.0") == "11-11") }
        }
    }
}
