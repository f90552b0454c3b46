// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// A hot-add that fails takes a sibling's I/O window along; what repairs it depends on the generation.
@Suite struct CollateralTests {
    /// Root port 00:02.0, a switch with two ports, a device behind the first.
    static func machine(_ behaviour: KernelBehaviour) throws -> Q35 {
        var m = try Q35(
            behaviour,
            memory: 0x2000_0000,
            cards: [
                .rootPort(2, [.upstream([.downstream(0, [.testDevice(mib(16))]), .downstream(1)])])
            ]
        )
        let io: ClosedRange<UInt64> = 0xc000...0xcfff
        m.program(
            [0x10],
            bars: [0: 0xfea1_2000],
            buses: (0, 1, 4),
            io: io,
            mem: 0xfe60_0000...0xfe9f_ffff,
            pref: 0xfce0_0000...0xfdff_ffff
        )
        m.program(
            [0x10, 0],
            buses: (1, 2, 4),
            io: io,
            mem: 0xfe60_0000...0xfe9f_ffff,
            pref: 0xfce0_0000...0xfdff_ffff
        )
        m.program(
            [0x10, 0, 0],
            buses: (2, 3, 3),
            io: io,
            mem: 0xfe80_0000...0xfe9f_ffff,
            pref: 0xfd00_0000...0xfdff_ffff
        )
        m.program(
            [0x10, 0, 8],
            buses: (2, 4, 4),
            mem: 0xfe60_0000...0xfe7f_ffff,
            pref: 0xfce0_0000...0xfcff_ffff
        )
        m.program([0x10, 0, 0, 0], bars: [0: 0xfe80_0000, 1: 0xc000, 2: 0xfd00_0000], command: 3)
        try m.boot()
        return m
    }

    static func failed(_ behaviour: KernelBehaviour) throws -> Q35 {
        var m = try machine(behaviour)
        try m.run(.hotAdd(port: try m.at("02:01.0"), card: .testDevice(mib(1024)), method: .pciehp))
        return m
    }

    @Test("the failed attempt releases the I/O window above a sibling", arguments: KernelBehaviour.presets)
    func collateral(_ behaviour: KernelBehaviour) throws {
        let before = try Self.machine(behaviour)
        #expect(try before.place("03:00.0", 1) == "c000-c0ff")
        let m = try Self.failed(behaviour)
        #expect(try m.place("04:00.0", 2) == "-")
        #expect(try m.place("03:00.0", 1) == "0-ff")
        #expect(try m.place("03:00.0", 2) == "fd000000-fdffffff")
    }

    @Test("removing the root port and a rescan repairs it everywhere", arguments: KernelBehaviour.presets)
    func removeRootPort(_ behaviour: KernelBehaviour) throws {
        var m = try Self.failed(behaviour)
        try m.run(.remove(try m.at("00:02.0")), .rescan)
        #expect(try m.place("04:00.0", 2) != "-")
        #expect(try m.place("03:00.0", 2) != "-")
        #expect(try m.place("03:00.0", 1) != "-")
    }

    @Test("removing the upstream port and an empty-bus rescan repairs it on 7.2 only")
    func emptyBus() throws {
        for behaviour in KernelBehaviour.presets {
            var m = try Self.failed(behaviour)
            try m.run(.remove(try m.at("01:00.0")), .rescanBus(segment: 0, bus: BusNumber(1)))
            let fits = try m.place("04:00.0", 2) != "-"
            #expect(fits == (behaviour == .linux7_2), "\(behaviour.name)")
            let lines = try #require(m.twin.resourceLines(of: try m.at("00:02.0")))
            if behaviour != .linux7_2 {
                #expect(lines[15].end - lines[15].start + 1 == 0x6000_0000, "\(behaviour.name)")
                let port = try #require(m.twin.resourceLines(of: try m.at("02:01.0")))
                #expect(port[15].end - port[15].start + 1 == 0x3f00_0000, "\(behaviour.name)")
            }
        }
    }

    @Test("7.2 packs windows without slack, so a later sibling may find no aligned place")
    func barePacking() throws {
        var m = try Q35(
            .linux7_2,
            cards: [
                .rootPort(
                    1,
                    isHotPlug: false,
                    [
                        .upstream([
                            .downstream(
                                0,
                                isHotPlug: false,
                                [
                                    .upstream([
                                        .downstream(0, isHotPlug: false, [.testDevice(mib(512))]),
                                        .downstream(1, isHotPlug: false, [.testDevice(mib(4))]),
                                    ])
                                ]
                            ),
                            .downstream(1, isHotPlug: false, [.testDevice(mib(16))]),
                            .downstream(2, isHotPlug: false, [.testDevice(mib(64))]),
                        ])
                    ]
                )
            ]
        )
        m.program([0x08], buses: (0, 1, 8))
        m.program([0x08, 0], buses: (1, 2, 8))
        m.program([0x08, 0, 0], buses: (2, 3, 6))
        m.program([0x08, 0, 0, 0], buses: (3, 4, 6))
        m.program([0x08, 0, 0, 0, 0], buses: (4, 5, 5))
        m.program([0x08, 0, 0, 0, 8], buses: (4, 6, 6))
        m.program([0x08, 0, 8], buses: (2, 7, 7))
        m.program([0x08, 0, 16], buses: (2, 8, 8))
        try m.boot()
        try m.run(.remove(try m.at("00:01.0")), .rescan)
        #expect(try m.place("00:01.0", 15) == "100000000-1253fffff")
        #expect(try m.place("02:00.0", 15) == "100000000-1203fffff")
        #expect(try m.place("02:02.0", 15) == "-")
    }
}
