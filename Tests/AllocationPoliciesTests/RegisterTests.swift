// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// The hardware of the twin: what a write leaves in a register, by offset, width and what the function implements.
@Suite("Registers by offset")
struct RegisterTests {
    private func machine(_ bridge: CardBridge = CardBridge(hasIO32: true)) throws -> Q35 {
        let card = CardFunction(
            identity: Function.Identity(
                vendor: 0x1234,
                device: 0x5678,
                subsystemVendor: 0x9abc,
                subsystemDevice: 0xdef0,
                classCode: 0x02_0001,
                revision: 0x17
            ),
            bars: [
                .io(0, 0x20), .memory(1, 0x1000), .memory(2, 0x100_0000, is64Bit: true, isPrefetchable: true),
                .memory(4, 0x1_0000, isPrefetchable: true),
            ],
            romSize: 0x1_0000
        )
        var bridge = bridge
        bridge.children = [card]
        var m = try Q35(
            cards: [
                CardProfile(
                    name: "port",
                    functions: [
                        CardFunction(
                            devfn: 8,
                            identity: Function.Identity(vendor: 0x1b36, device: 0xc, classCode: 0x06_0400),
                            portType: .rootPort,
                            bridge: bridge
                        )
                    ]
                )
            ]
        )
        m.program([8], buses: (0, 1, 1))
        try m.boot()
        return m
    }

    private func written(
        _ m: Q35,
        _ address: String,
        _ offset: Int,
        _ width: Int,
        _ value: UInt32,
        reads at: Int? = nil
    )
        throws -> UInt32?
    {
        var m = m
        let function = try m.at(address)
        try m.run(.writeConfig(function, offset: offset, width: width, value: value))
        return m.twin.register(of: function, at: at ?? offset & ~3, width: 4)
    }

    @Test("BARs keep the address bits above their size and the type bits of their kind")
    func bars() throws {
        let m = try machine()
        for (offset, value, expected) in [
            (0x10, 0xffff_ffff, 0xffff_ffe1), (0x10, 0x0000_e3ff, 0x0000_e3e1), (0x14, 0xffff_ffff, 0xffff_f000),
            (0x14, 0xfe12_3fff, 0xfe12_3000), (0x18, 0xffff_ffff, 0xff00_000c), (0x18, 0, 0xc),
            (0x1c, 0xffff_ffff, 0xffff_ffff), (0x20, 0xffff_ffff, 0xffff_0008), (0x24, 0xffff_ffff, 0),
            (0x30, 0xffff_ffff, 0xffff_0001), (0x30, 0xfffe, 0), (0x30, 0x0001_0000, 0x0001_0000),
        ] as [(Int, UInt32, UInt32)] {
            #expect(try written(m, "01:00.0", offset, 4, value) == expected, "\(bareHex(UInt64(offset))) \(value)")
        }
        // The halves of a 64-bit BAR do not touch one another.
        var both = m
        let card = try m.at("01:00.0")
        try both.run(
            .writeConfig(card, offset: 0x18, width: 4, value: 0x1200_0000),
            .writeConfig(card, offset: 0x1c, width: 4, value: 0x34)
        )
        #expect(both.twin.register(of: card, at: 0x18, width: 4) == 0x1200_000c)
        try both.run(.writeConfig(card, offset: 0x18, width: 4, value: 0x5600_0000))
        #expect(both.twin.register(of: card, at: 0x1c, width: 4) == 0x34)
    }

    @Test("narrow writes change their own bytes only")
    func widths() throws {
        let m = try machine()
        var narrow = m
        let card = try m.at("01:00.0")
        try narrow.run(.writeConfig(card, offset: 0x14, width: 4, value: 0x1122_3000))
        for (offset, width, value, expected) in [
            (0x15, 1, 0x40, 0x1122_4000), (0x16, 1, 0x55, 0x1155_3000), (0x17, 1, 0x66, 0x6622_3000),
            (0x16, 2, 0x7788, 0x7788_3000), (0x14, 2, 0x9000, 0x1122_9000), (0x17, 1, 0x1ff, 0xff22_3000),
        ] as [(Int, Int, UInt32, UInt32)] {
            #expect(try written(narrow, "01:00.0", offset, width, value) == expected, "\(offset)")
        }
        for (offset, width) in [(3, 2), (1, 4), (2, 4), (4096, 1), (4094, 4), (-1, 1), (0x10, 3), (0x10, 0)] {
            var m = m
            #expect(throws: TwinError.self, "\(offset) \(width)") {
                try m.run(.writeConfig(card, offset: offset, width: width, value: 0))
            }
        }
        #expect(try written(m, "01:00.0", 4, 2, 0xffff) == 0x7ff)
    }

    @Test("a bridge's registers: granularity, type bits, upper halves by width")
    func bridge() throws {
        let m = try machine()
        for (offset, value, expected) in [
            (0x18, 0xff02_0100, 0x0002_0100), (0x1c, 0xffff_ffff, 0xf1f1), (0x1c, 0x0000_3a2a, 0x3121),
            (0x20, 0xffff_ffff, 0xfff0_fff0), (0x20, 0x1235_6789, 0x1230_6780), (0x24, 0xffff_ffff, 0xfff1_fff1),
            (0x24, 0, 0x0001_0001), (0x28, 0x1234_5678, 0x1234_5678), (0x2c, 0x9abc_def0, 0x9abc_def0),
            (0x30, 0x1234_5678, 0x1234_5678), (0x3c, 0x0043_00ff, 0x0043_0000),
        ] as [(Int, UInt32, UInt32)] {
            #expect(try written(m, "00:01.0", offset, 4, value) == expected, "\(bareHex(UInt64(offset))) \(value)")
        }
        // Fields that share a dword.
        #expect(try written(m, "00:01.0", 0x19, 1, 7).map { $0 >> 8 & 0xff } == 7)
        #expect(try written(m, "00:01.0", 0x3e, 2, 0x40) == 0x0040_0000)
        let narrow = try machine(CardBridge(hasPrefetchable64: false))
        for (offset, expected) in [(0x1c, 0xf0f0), (0x24, 0xfff0_fff0), (0x28, 0), (0x2c, 0), (0x30, 0)]
            as [(Int, UInt32)]
        {
            #expect(try written(narrow, "00:01.0", offset, 4, .max) == expected, "\(offset)")
        }
        let none = try machine(CardBridge(hasIO: false, hasPrefetchable: false, hasPrefetchable64: false))
        for offset in [0x1c, 0x24, 0x28, 0x2c, 0x30] {
            let before = none.twin.register(of: try none.at("00:01.0"), at: offset, width: 4)
            #expect(try written(none, "00:01.0", offset, 4, 0x1230_4560) == before, "\(offset)")
        }
    }

    @Test("a window written as a range, and closed")
    func windows() throws {
        let m = try machine()
        let port = try m.at("00:01.0")
        func after(_ kind: ResourceKind, _ range: AddressRange?) throws -> [String] {
            var m = m
            try m.run(.writeWindow(port, kind, range))
            return try m.registers("00:01.0")
        }
        let before = try m.registers("00:01.0")
        #expect(
            try after(.io, AddressRange(first: 0x1_2000, last: 0x3_4fff)) == ["12000-34fff", before[1], before[2]]
        )
        #expect(
            try after(.memory, AddressRange(first: 0xc010_0000, last: 0xc03f_ffff))
                == [before[0], "c0100000-c03fffff", before[2]]
        )
        #expect(
            try after(.prefetchable, AddressRange(first: 0x12_3450_0000, last: 0x15_678f_ffff))
                == [before[0], before[1], "1234500000-15678fffff"]
        )
        #expect(try after(.io, nil)[0] == "-" && after(.memory, nil)[1] == "-" && after(.prefetchable, nil)[2] == "-")
    }

    @Test("bus numbers and the command register as they were written; what does not answer refuses")
    func numbers() throws {
        var m = try machine()
        let port = try m.at("00:01.0")
        try m.run(
            .setBusNumbers(port, primary: BusNumber(3), secondary: BusNumber(4), subordinate: BusNumber(5))
        )
        #expect(m.twin.register(of: port, at: 0x18, width: 4).map { $0 & 0xff_ffff } == 0x05_0403)
        // Cycles to bus 1 reach nobody now.
        let card = try m.at("01:00.0")
        let events = try m.run(.setCommand(card, Command(rawValue: 1)))
        #expect(events == [.refused(card, .io, "configuration cycles to its bus do not reach the function")])
        try m.run(.setCommand(port, Command(rawValue: 0xffff)))
        #expect(m.twin.register(of: port, at: 4, width: 2) == 0x7ff)
    }

    @Test("the image of a plugged card says what its profile says")
    func image() throws {
        let m = try machine()
        let function = try #require(try m.twin.topology()[m.at("01:00.0")])
        #expect(function.identity.vendor == 0x1234 && function.identity.device == 0x5678)
        let config = function.config
        #expect(config.long(0) == 0x5678_1234 && config.long(8) == 0x0200_0117 && config.long(0x2c) == 0xdef0_9abc)
        #expect(config.headerLayout == 0 && !config.isMultiFunction && config.count == 4096)
        let port = try #require(try m.twin.topology()[m.at("00:01.0")])
        #expect(port.config.headerLayout == 1 && port.capabilities.express?.portType == .rootPort)
        #expect(port.capabilities.express?.isSlotImplemented == true && !port.isHotPlugBridge)
        #expect(port.capabilities.express?.slotStatus.map { $0 & 0x40 } == 0x40)
    }
}
