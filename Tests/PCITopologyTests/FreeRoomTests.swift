// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology
internal import Testing

/// Room below a port.
@Suite("free room")
struct FreeRoomTests {
    private func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
        try #require(AddressRange(first: first, last: last))
    }

    @Test("room is the bytes, and an aligned block of the largest power of two in them")
    func block() throws {
        //    0x1000_0000        0x3000_0000   0x4800_0000        0x8fff_ffff
        //    |------- free -----|--- taken ---|------ free ------|
        let room = FreeRoom(in: try range(0x1000_0000, 0x8fff_ffff), taken: [try range(0x3000_0000, 0x47ff_ffff)])
        #expect(room.bytes == 0x6800_0000)
        #expect(room.largestBlock == 0x2000_0000)
        #expect(room.holds(0x2000_0000))
        #expect(room.holds(0x3fff_ffff), "the rest may lie elsewhere")
        #expect(!room.holds(0x4000_0000), "1 GiB is free, and no aligned block of it")
    }

    @Test("1033 MiB hold 1 GiB only where they begin at a multiple of it")
    func alignment() throws {
        #expect(FreeRoom(in: try range(0x4000_0000, 0x808f_ffff), taken: []).holds(1 << 30))
        #expect(!FreeRoom(in: try range(0x4010_0000, 0x809f_ffff), taken: []).holds(1 << 30))
    }

    @Test("the borders: nothing wanted, no window, all of the address space, the last byte")
    func borders() throws {
        #expect(FreeRoom(in: nil, taken: []).holds(0))
        #expect(!FreeRoom(in: nil, taken: []).holds(1))
        #expect(FreeRoom(in: try range(0, .max), taken: []).largestBlock == 1 << 63)
        let last = FreeRoom(in: try range(.max, .max), taken: [])
        #expect(last.holds(1))
        #expect(!last.holds(2))
        #expect(FreeRoom.block(of: 0) == 0)
        #expect(FreeRoom.block(of: 1) == 1)
        #expect(FreeRoom.block(of: .max) == 1 << 63)
    }

    @Test("a port's own bus is not free, nor what bridges below it have")
    func buses() throws {
        let range = try #require(BusRange(first: BusNumber(4), last: BusNumber(9)))
        let child = try #require(BusRange(first: BusNumber(6), last: BusNumber(8)))
        #expect(FreeRoom.busNumbers(in: nil, below: []) == 0)
        #expect(FreeRoom.busNumbers(in: range, below: []) == 5)
        #expect(FreeRoom.busNumbers(in: range, below: [child]) == 2)
        #expect(FreeRoom.busNumbers(in: range, below: [range]) == 0)
    }
}
