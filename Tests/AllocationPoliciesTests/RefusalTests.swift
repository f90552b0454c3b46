// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// What the kernel refuses, with its words, and what it leaves alone.
@Suite("Refusals, and functions that are left alone")
struct RefusalTests {
    // MARK: resourceN_resize

    private func resize(_ behaviour: KernelBehaviour, exponent: Int, _ change: (inout Q35) throws -> Void = { _ in })
        throws
        -> (first: TwinEvent?, size: UInt64, machine: Q35)
    {
        var m = try ResizeTests.machine(behaviour)
        try change(&m)
        let card = try m.at("01:00.0")
        let events = try m.run(.resizeBAR(card, bar: 0, exponent: exponent))
        let line = try #require(m.twin.resourceLines(of: card))[0]
        return (events.first, line.end - line.start + 1, m)
    }

    @Test("sizes that the capability does not offer, at both ends of it and of the register")
    func sizes() throws {
        for behaviour in [KernelBehaviour.linux6_1, .linux6_16, .linux7_2] {
            // 256 MiB to 8 GiB: exponents 8 to 13.
            for exponent in [-1, 0, 7, 14, 43, 44, 64] {
                let (first, size, m) = try resize(behaviour, exponent: exponent)
                let card = try m.at("01:00.0")
                #expect(first == .refused(card, .invalid, "size exponent \(exponent) is not offered"), "\(exponent)")
                #expect(size == 256 << 20)
                #expect(try m.place("01:00.0", 0) == "d0000000-dfffffff")
            }
            for exponent in [8, 9, 13] {
                #expect(try resize(behaviour, exponent: exponent).size == 1 << UInt64(20 + exponent), "\(exponent)")
            }
        }
    }

    @Test("a kernel without the file, and firmware's configuration that is to be preserved")
    func noFile() throws {
        let old = try resize(.linux5_10, exponent: 9)
        #expect(
            old.first == .refused(try old.machine.at("01:00.0"), .unsupported, "this kernel has no resourceN_resize")
        )
        let kept = try resize(.linux6_12, exponent: 9) { $0.twin.state.platform.preservesConfiguration = true }
        #expect(
            kept.first
                == .refused(
                    try kept.machine.at("01:00.0"),
                    .unsupported,
                    "firmware's configuration is to be preserved"
                )
        )
        #expect(old.size == 256 << 20 && kept.size == 256 << 20)
    }

    @Test("decoding is on again after a resize, as it was before", arguments: ResizeTests.behaviours())
    func command(_ behaviour: KernelBehaviour) throws {
        for exponent in [9, 20] {
            let (_, _, m) = try resize(behaviour, exponent: exponent) {
                try $0.run(.setCommand(try $0.at("01:00.0"), Command(rawValue: 6)))
            }
            #expect(m.twin.register(of: try m.at("01:00.0"), at: 4, width: 2) == 6, "\(exponent)")
        }
    }

    // MARK: sriov_numvfs

    private func controller(driver: String?) throws -> Q35 {
        let card = CardFunction(
            identity: Function.Identity(vendor: 0x1b36, device: 0x0010, classCode: 0x01_0802),
            bars: [.memory(0, 0x4000, is64Bit: true)],
            sriov: CardSRIOV(
                total: 8,
                offset: 1,
                stride: 2,
                device: 0x0011,
                bars: [.memory(0, 0x4000, is64Bit: true)]
            ),
            driver: driver
        )
        var m = try Q35(.linux6_12, cards: [.rootPort(1, [card])])
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1), mem: 0xfe80_0000...0xfe9f_ffff)
        m.program([0x08, 0], bars: [0: 0xfe80_0000])
        try m.boot()
        return m
    }

    @Test("a number of VFs: at most all, with a driver, from none; the same number again is nothing")
    func virtualFunctions() throws {
        var m = try controller(driver: "mlx5_core")
        let card = try m.at("01:00.0")
        let range = "expected at most 8 VFs, found"
        #expect(try m.run(.setVFs(card, 9)) == [.refused(card, .range, "\(range) 9")])
        #expect(try m.run(.setVFs(card, -1)) == [.refused(card, .range, "\(range) -1")])
        #expect(try m.run(.setVFs(card, 0)) == [])
        // VF n answers at 1 + 2n: functions 1, 3, 5 of device 0, then device 1.
        let found = try m.run(.setVFs(card, 5))
        #expect(
            try found == ["01:00.1", "01:00.3", "01:00.5", "01:00.7", "01:01.1"].map { .found(try m.at($0)) }
        )
        #expect(try m.run(.setVFs(card, 5)) == [])
        #expect(
            try m.run(.setVFs(card, 8)) == [
                .refused(card, .busy, "5 VFs are enabled; 0 must be written first")
            ]
        )
        let capability = try #require(try m.twin.topology()[card]?.capabilities.sriov)
        #expect(capability.numVFs == 5 && capability.isEnabled)
        // Each VF has its part of the block, in the order of the numbers.
        let block = try #require(m.twin.resourceLines(of: card))[7].start
        for (n, address) in ["01:00.1", "01:00.3", "01:00.5", "01:00.7", "01:01.1"].enumerated() {
            let line = try #require(m.twin.resourceLines(of: try m.at(address)))[0]
            #expect(line.start == block + UInt64(n) * 0x4000 && line.end == line.start + 0x3fff)
        }
        try m.run(.setVFs(card, 8))
        try m.run(.setVFs(card, 0))
        let after = try #require(try m.twin.topology()[card]?.capabilities.sriov)
        #expect(after.numVFs == 0 && !after.isEnabled && m.twin.addresses.count(where: { $0.bus == BusNumber(1) }) == 1)
    }

    @Test("without a driver, and without the capability")
    func noDriver() throws {
        var m = try controller(driver: nil)
        let card = try m.at("01:00.0")
        #expect(try m.run(.setVFs(card, 1)) == [.refused(card, .missing, "no driver is bound")])
        let error = #expect(throws: TwinError.self) { try m.run(.setVFs(try m.at("00:01.0"), 1)) }
        #expect(error?.code == .badArgument)
    }

    // MARK: Hot-plug

    @Test("a slot in which device 0 is not there, or which is full")
    func slots() throws {
        var m = try Q35(.linux6_12, cards: [.rootPort(1)])
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1))
        try m.boot()
        let port = try m.at("00:01.0")
        let card = CardProfile(name: "odd", functions: [.testDevice(mib(1), device: 1)])
        #expect(
            try m.run(.hotAdd(port: port, card: card, method: .pciehp)) == [
                .refused(port, .noDevice, "no device found")
            ]
        )
        let error = #expect(throws: TwinError.self) {
            try m.run(.hotAdd(port: port, card: .testDevice(mib(1)), method: .pciehp))
        }
        #expect(error?.code == .occupied)
    }

    // MARK: Classes

    private func left(_ behaviour: KernelBehaviour, _ classCode: UInt32, command: UInt16) throws -> [String] {
        let card = CardFunction(
            identity: Function.Identity(vendor: 0x1234, device: 1, classCode: classCode),
            bars: [.memory(0, mib(1))]
        )
        var m = try Q35(behaviour, cards: [.rootPort(1, isHotPlug: false, [card])])
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1))
        m.program([0x08, 0], command: command)
        try m.boot()
        return [try m.place("00:01.0", 14), try m.place("01:00.0", 0)]
    }

    @Test("functions without a class, host bridges, and interrupt controllers in use get no address")
    func classes() throws {
        let placed = ["40000000-400fffff", "40000000-400fffff"]
        for (classCode, command, isLeft) in [
            (0x00_0000, 0, true), (0x06_0000, 0, true), (0x08_0000, 0, false), (0x08_0000, 2, true),
            (0x08_0000, 1, true),
            (0x08_0000, 4, false), (0x00_0100, 0, false), (0x06_8000, 0, false), (0x08_8000, 2, false),
        ] as [(UInt32, UInt16, Bool)] {
            // Up to 6.17 the window is sized for it all the same.
            #expect(
                try left(.linux6_12, classCode, command: command) == (isLeft ? [placed[0], "0-fffff"] : placed),
                "\(classCode) \(command)"
            )
            #expect(
                try left(.linux6_18, classCode, command: command) == (isLeft ? ["-", "0-fffff"] : placed),
                "\(classCode) \(command)"
            )
        }
    }
}
