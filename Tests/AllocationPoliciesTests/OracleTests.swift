// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// What was observed on Debian's 6.1 in QEMU, step by step.
@Suite struct OracleTests {
    /// Two root ports with a test device each, as SeaBIOS leaves them.
    static func topologyA(_ behaviour: KernelBehaviour = .linux6_1) throws -> Q35 {
        var machine = try Q35(
            behaviour,
            cards: [.rootPort(1, [.testDevice(mib(16))]), .rootPort(2, [.testDevice(mib(1))])]
        )
        machine.program(
            [0x08],
            bars: [0: 0xfea1_2000],
            buses: (0, 1, 1),
            io: 0xd000...0xdfff,
            mem: 0xfe80_0000...0xfe9f_ffff,
            pref: 0xfd00_0000...0xfdff_ffff
        )
        machine.program([0x08, 0], bars: [0: 0xfe80_0000, 1: 0xd000, 2: 0xfd00_0000], command: 3)
        machine.program(
            [0x10],
            bars: [0: 0xfea1_3000],
            buses: (0, 2, 2),
            io: 0xc000...0xcfff,
            mem: 0xfe60_0000...0xfe7f_ffff,
            pref: 0xfe00_0000...0xfe1f_ffff
        )
        machine.program([0x10, 0], bars: [0: 0xfe60_0000, 1: 0xc000, 2: 0xfe00_0000], command: 3)
        try machine.boot()
        return machine
    }

    @Test("boot keeps what firmware assigned", arguments: KernelBehaviour.presets)
    func boot(_ behaviour: KernelBehaviour) throws {
        let m = try Self.topologyA(behaviour)
        #expect(try m.windows("00:01.0") == ["d000-dfff", "fe800000-fe9fffff", "fd000000-fdffffff"])
        #expect(try m.windows("00:02.0") == ["c000-cfff", "fe600000-fe7fffff", "fe000000-fe1fffff"])
        #expect(try m.place("01:00.0", 2) == "fd000000-fdffffff")
        #expect(m.twin.enableCount(of: try m.at("00:01.0")) == 1)
        #expect(try m.place("00:1f.2", 4) == "e0c0-e0df")
    }

    @Test("O1: an endpoint removed and found again takes its old place", arguments: KernelBehaviour.presets)
    func o1(_ behaviour: KernelBehaviour) throws {
        var m = try Self.topologyA(behaviour)
        try m.run(.remove(try m.at("01:00.0")))
        #expect(try !m.exists("01:00.0"))
        #expect(m.twin.unknownFunctionCount == 1)
        try m.run(.rescanDevice(try m.at("00:01.0")))
        #expect(try m.place("01:00.0", 0) == "fe800000-fe800fff")
        #expect(try m.place("01:00.0", 1) == "d000-d0ff")
        #expect(try m.place("01:00.0", 2) == "fd000000-fdffffff")
        #expect(try m.windows("00:01.0") == ["d000-dfff", "fe800000-fe9fffff", "fd000000-fdffffff"])
    }

    @Test("O2: a removed port moves to the lowest room of the apertures", arguments: KernelBehaviour.presets)
    func o2(_ behaviour: KernelBehaviour) throws {
        var m = try Self.topologyA(behaviour)
        try m.run(.remove(try m.at("00:01.0")))
        let events = try m.run(.rescan)
        // 7.2 doubles an I/O window that something needs: seen on 7.2.13.
        let io = behaviour.ioExtraCountsRequired ? "1000-2fff" : "1000-1fff"
        #expect(try m.windows("00:01.0") == [io, "40000000-401fffff", "100000000-100ffffff"])
        #expect(try m.place("00:01.0", 0) == "40200000-40200fff")
        #expect(try m.buses("00:01.0") == "01-01")
        let port = try m.at("00:01.0")
        let order = events.compactMap { event -> Int? in
            if case .assigned(port, let index, _) = event { return Int(index.rawValue) }
            return nil
        }
        #expect(order == [15, 14, 0, 13])
        #expect(try m.registers("00:01.0") == [io, "40000000-401fffff", "100000000-100ffffff"])
    }

    /// O3: bus numbers written and windows closed before the port is removed.
    func o3(_ behaviour: KernelBehaviour) throws -> Q35 {
        var m = try Self.topologyA(behaviour)
        let port = try m.at("00:01.0")
        try m.run(
            .remove(try m.at("01:00.0")),
            .setBusNumbers(port, primary: BusNumber(0), secondary: BusNumber(0x20), subordinate: BusNumber(0x2f)),
            .writeWindow(port, .io, nil),
            .writeWindow(port, .memory, nil),
            .writeWindow(port, .prefetchable, nil),
            .remove(port),
            .rescan
        )
        return m
    }

    @Test("O3: bus numbers and closed windows are honoured", arguments: KernelBehaviour.presets)
    func closedWindows(_ behaviour: KernelBehaviour) throws {
        let m = try o3(behaviour)
        #expect(try m.buses("00:01.0") == "20-2f")
        #expect(try m.exists("20:00.0"))
        #expect(try m.place("00:01.0", 14) == "40000000-401fffff")
        #expect(try m.place("00:01.0", 15) == "100000000-100ffffff")
    }

    @Test("O4: sizes in the registers are lower bounds on 6.x, addresses are not honoured")
    func o4() throws {
        for behaviour in KernelBehaviour.presets {
            var m = try o3(behaviour)
            let port = try m.at("00:01.0")
            try m.run(
                .remove(try m.at("20:00.0")),
                .writeWindow(port, .memory, AddressRange(first: 0xe000_0000, last: 0xe1ff_ffff)),
                .writeWindow(port, .prefetchable, AddressRange(first: 0x2_0000_0000, last: 0x2_03ff_ffff)),
                .remove(port),
                .rescan
            )
            let bound = behaviour.oldWindowSizeIsLowerBound
            #expect(try m.place("00:01.0", 14) == (bound ? "40000000-41ffffff" : "40000000-401fffff"))
            #expect(try m.place("00:01.0", 15) == (bound ? "100000000-103ffffff" : "100000000-100ffffff"))
            if bound { #expect(try m.place("00:01.0", 0) == "42000000-42000fff") }
        }
    }

    @Test(
        "O5, O6, O7: the empty-bus rescan grows and never shrinks; a plain one wipes",
        arguments: [KernelBehaviour.linux6_1]
    )
    func o5to7(_ behaviour: KernelBehaviour) throws {
        var m = try Self.topologyA(behaviour)
        let endpoint = try m.at("01:00.0")
        let bus = TwinOperation.rescanBus(segment: 0, bus: BusNumber(1))
        let events = try m.run(.remove(endpoint), .resourceAlignment("28@0000:01:00.0"), bus)
        #expect(try m.place("00:01.0", 14) == "40000000-4fffffff")
        #expect(try m.place("00:01.0", 15) == "100000000-10fffffff")
        #expect(try m.place("00:01.0", 13) == "d000-dfff")
        #expect(m.twin.enableCount(of: try m.at("00:01.0")) == 1)
        let released = events.compactMap { event -> Int? in
            if case .released(_, let index, _) = event { return Int(index.rawValue) }
            return nil
        }
        #expect(released == [15, 14])
        #expect(try m.registers("00:01.0")[1...] == ["40000000-4fffffff", "100000000-10fffffff"])

        try m.run(.resourceAlignment(""), .remove(endpoint), bus)
        #expect(try m.place("01:00.0", 0) == "40000000-40000fff")
        #expect(try m.place("01:00.0", 2) == "100000000-100ffffff")
        #expect(try m.place("00:01.0", 14) == "40000000-4fffffff")

        try m.run(.resourceAlignment("30@0000:01:00.0"), .remove(endpoint), .rescan)
        #expect(try m.place("01:00.0", 0) == "-")
        #expect(try m.place("01:00.0", 2) == "-")
        #expect(try m.place("01:00.0", 1) == "d000-d0ff")
        try m.run(.resourceAlignment(""), .rescan)
        #expect(try m.place("01:00.0", 0) == "-")
        #expect(try m.twin.topology()[endpoint]?.resource(.bar(0) ?? .rom)?.assignment == .wiped)
    }

    /// O8's topology: port, upstream port, downstream port, endpoint.
    static func chain(_ behaviour: KernelBehaviour = .linux6_1) throws -> Q35 {
        var m = try Q35(behaviour, cards: [.rootPort(1, [.upstream([.downstream(0, [.testDevice(mib(16))])])])])
        let io: ClosedRange<UInt64> = 0xc000...0xcfff
        let mem: ClosedRange<UInt64> = 0xfe80_0000...0xfe9f_ffff
        let pref: ClosedRange<UInt64> = 0xfd00_0000...0xfdff_ffff
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 3), io: io, mem: mem, pref: pref)
        m.program([0x08, 0], buses: (1, 2, 3), io: io, mem: mem, pref: pref)
        m.program([0x08, 0, 0], buses: (2, 3, 3), io: io, mem: mem, pref: pref)
        m.program([0x08, 0, 0, 0], bars: [0: 0xfe80_0000, 1: 0xc000, 2: 0xfd00_0000], command: 3)
        try m.boot()
        return m
    }

    @Test("O8, O9: a failed growth loses the window; growth from further up reaches all three levels")
    func o8and9() throws {
        var m = try Self.chain()
        try m.run(
            .remove(try m.at("03:00.0")),
            .resourceAlignment("28@0000:03:00.0"),
            .rescanBus(segment: 0, bus: BusNumber(3))
        )
        #expect(try m.place("02:00.0", 14) == "-")
        #expect(try m.place("02:00.0", 15) == "-")
        #expect(try m.registers("02:00.0")[1...] == ["-", "-"])
        #expect(try m.place("03:00.0", 0) == "-")
        #expect(try m.place("03:00.0", 1) != "-")
        #expect(try m.place("03:00.0", 2) == "-")
        #expect(try m.windows("01:00.0")[1...] == ["fe800000-fe9fffff", "fd000000-fdffffff"])
        #expect(try m.windows("00:01.0")[1...] == ["fe800000-fe9fffff", "fd000000-fdffffff"])

        try m.run(.remove(try m.at("01:00.0")))
        let events = try m.run(.rescanBus(segment: 0, bus: BusNumber(1)))
        for bridge in ["00:01.0", "01:00.0", "02:00.0"] {
            #expect(try m.windows(bridge)[1...] == ["40000000-4fffffff", "100000000-10fffffff"])
        }
        #expect(events.contains(.retry(2)))
        #expect(try m.place("03:00.0", 0) == "40000000-4fffffff")
        #expect(try m.place("03:00.0", 2) == "100000000-10fffffff")
    }

    @Test("O10, O11: left-over space is shared among hot-plug ports by the kernel's odd arithmetic")
    func o10and11() throws {
        var m = try Q35(
            cards: [.rootPort(1, [.upstream([.downstream(0, [.testDevice(mib(16))]), .downstream(1)])])]
        )
        let pref: ClosedRange<UInt64> = 0x1_0000_0000...0x1_3fff_ffff
        let mem: ClosedRange<UInt64> = 0xfaa0_0000...0xfe9f_ffff
        let io: ClosedRange<UInt64> = 0xc000...0xcfff
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 4), io: io, mem: mem, pref: pref)
        m.program([0x08, 0], buses: (1, 2, 4), io: io, mem: 0xfaa0_0000...0xfadf_ffff, pref: pref)
        m.program(
            [0x08, 0, 0],
            buses: (2, 3, 3),
            io: io,
            mem: 0xfac0_0000...0xfadf_ffff,
            pref: 0x1_0000_0000...0x1_00ff_ffff
        )
        m.program([0x08, 0, 8], buses: (2, 4, 4), mem: 0xfaa0_0000...0xfabf_ffff)
        m.program([0x08, 0, 0, 0], bars: [0: 0xfac0_0000, 1: 0xc000, 2: 0x1_0000_0000], command: 3)
        try m.boot()
        try m.run(.remove(try m.at("01:00.0")), .rescanBus(segment: 0, bus: BusNumber(1)))
        #expect(try m.place("01:00.0", 15) == "100000000-13fffffff")
        #expect(try m.place("02:00.0", 15) == "100000000-11f1fffff")
        #expect(try m.place("02:01.0", 15) == "11f200000-13eafffff")
        #expect(try m.place("02:00.0", 14) == "faa00000-fc9fffff")
        #expect(try m.place("02:01.0", 14) == "fca00000-fe9fffff")
        #expect(try m.place("02:00.0", 13) == "c000-cfff")
        #expect(try m.place("02:01.0", 13) == "-")

        try m.run(.remove(try m.at("00:01.0")), .rescan)
        #expect(try m.place("02:00.0", 15) == "100000000-11fffffff")
        #expect(try m.place("02:01.0", 15) == "120000000-13f8fffff")
        #expect(try m.place("01:00.0", 15) == "100000000-13fffffff")
        #expect(try m.place("00:01.0", 15) == "100000000-13fffffff")
        #expect(try m.place("00:01.0", 14) == "40000000-43ffffff")
        #expect(try m.place("02:00.0", 14) == "40000000-41ffffff")
        #expect(try m.place("02:01.0", 14) == "42000000-43ffffff")
        #expect(try m.place("00:01.0", 13) == "1000-2fff")
    }

    @Test(
        "O12: everything is placed in descending alignment, equal ones in bus order",
        arguments: KernelBehaviour.presets
    )
    func o12(_ behaviour: KernelBehaviour) throws {
        var m = try Q35(
            behaviour,
            cards: [
                .rootPort(1, [.testDevice(mib(4))]), .rootPort(2, [.testDevice(mib(256))]),
                .rootPort(3, [.testDevice(mib(64))]),
            ]
        )
        for (port, number) in [(UInt8(0x08), UInt8(1)), (0x10, 2), (0x18, 3)] {
            m.program([port], buses: (0, number, number), command: 0)
            m.program([port, 0], command: 0)
        }
        try m.boot()
        let ports = [try m.at("00:01.0"), try m.at("00:02.0"), try m.at("00:03.0")]
        for port in ports {
            try m.run(
                .writeWindow(port, .memory, nil),
                .writeWindow(port, .prefetchable, nil),
                .writeWindow(port, .io, nil)
            )
        }
        for port in ports { try m.run(.remove(port)) }
        try m.run(.rescan)
        #expect(try m.place("00:02.0", 15) == "100000000-10fffffff")
        #expect(try m.place("00:03.0", 15) == "110000000-113ffffff")
        #expect(try m.place("00:01.0", 15) == "114000000-1143fffff")
        #expect(try m.place("00:01.0", 14) == "40000000-401fffff")
        #expect(try m.place("00:02.0", 14) == "40200000-403fffff")
        #expect(try m.place("00:03.0", 14) == "40400000-405fffff")
        #expect(try m.place("00:01.0", 0) == "40600000-40600fff")
        #expect(try m.place("00:02.0", 0) == "40601000-40601fff")
        #expect(try m.place("00:03.0", 0) == "40602000-40602fff")
        let isDoubled = behaviour.ioExtraCountsRequired
        #expect(try m.place("00:01.0", 13) == (isDoubled ? "1000-2fff" : "1000-1fff"))
        #expect(try m.place("00:02.0", 13) == (isDoubled ? "3000-4fff" : "2000-2fff"))
        #expect(try m.place("00:03.0", 13) == (isDoubled ? "5000-6fff" : "3000-3fff"))
        try m.run(.remove(ports[0]), .rescan)
        #expect(try m.place("00:01.0", 15) == "114000000-1143fffff")
        #expect(try m.place("00:01.0", 14) == "40000000-401fffff")
    }
}
