// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@Suite("Resource lines")
struct ResourceLineTests {
    private static let bar = ResourceIndex.all[0]
    private static let window = ResourceIndex.prefetchableWindow

    private func line(_ start: UInt64, _ end: UInt64, _ flags: ResourceFlags) -> ResourceLine {
        ResourceLine(start: start, end: end, flags: flags)
    }

    @Test func anAddressThatIsHeldOrNotJudgedIsAssigned() throws {
        let shown = line(0xfe80_0000, 0xfe80_0fff, [.memory, .sizeAlign])
        let range = try #require(AddressRange(first: 0xfe80_0000, last: 0xfe80_0fff))
        #expect(shown.assignment(of: Self.bar) == .assigned(range))
        #expect(shown.assignment(of: Self.bar, isHeld: true) == .assigned(range))
        #expect(shown.assignment(of: Self.bar, isHeld: false) == .unclaimed(range))
        #expect(shown.range(of: Self.bar) == range)
    }

    @Test(arguments: [ResourceFlags.unset, .disabled, .startAlign])
    func aMarkMeansThatThereIsNoAddress(mark: ResourceFlags) {
        let shown = line(0x1000_0000, 0x1fff_ffff, [.memory, .sizeAlign, mark])
        #expect(shown.assignment(of: Self.bar, isHeld: false) == .unassigned)
        #expect(shown.range(of: Self.bar) == nil)
        #expect(shown.size == ByteCount(0x1000_0000))
    }

    @Test func aWindowThatFailedToGrowKeepsItsPlaceUnderTheMarkOfAnAlignment() throws {
        let shown = line(0x10_0000, 0x1f_ffff, [.memory, .prefetchable, .startAlign])
        let range = try #require(AddressRange(first: 0x10_0000, last: 0x1f_ffff))
        #expect(shown.assignment(of: Self.window, isHeld: true) == .assigned(range))
        #expect(shown.assignment(of: Self.window, isHeld: false) == .unassigned)
        #expect(shown.assignment(of: Self.window) == .unassigned)
        // An alignment is a power of two.
        let moved = line(0x63_0000_0000, 0x63_04ff_ffff, [.memory, .prefetchable, .startAlign])
        let place = try #require(AddressRange(first: 0x63_0000_0000, last: 0x63_04ff_ffff))
        #expect(moved.assignment(of: Self.window) == .assigned(place))
        #expect(moved.assignment(of: Self.window, isHeld: false) == .unassigned)
    }

    @Test func aROMThatIsOffKeepsItsAddress() throws {
        let shown = line(0xfeb0_0000, 0xfeb0_ffff, [.memory, .readOnly, .disabled])
        let range = try #require(AddressRange(first: 0xfeb0_0000, last: 0xfeb0_ffff))
        #expect(shown.assignment(of: .rom) == .assigned(range))
    }

    @Test func addressZeroIsOneOnlyWhereItIsHeld() throws {
        let shown = line(0, 0xff, [.io, .sizeAlign])
        let range = try #require(AddressRange(first: 0, last: 0xff))
        #expect(shown.assignment(of: Self.bar) == .unassigned)
        #expect(shown.assignment(of: Self.bar, isHeld: false) == .unassigned)
        #expect(shown.assignment(of: Self.bar, isHeld: true) == .assigned(range))
    }

    @Test func anEmptyLineIsAWipedBARAndAClosedWindow() {
        #expect(ResourceLine.zero.assignment(of: Self.bar) == .wiped)
        #expect(ResourceLine.zero.assignment(of: Self.window) == .closed)
        #expect(ResourceLine.zero.size == nil)
        #expect(line(0, 0xf_ffff, [.memory, .unset]).assignment(of: Self.window) == .closed)
    }

    @Test func aFixedRangeStaysClaimedOrNot() throws {
        let shown = line(0x1f0, 0x1f7, [.io, .fixed])
        let range = try #require(AddressRange(first: 0x1f0, last: 0x1f7))
        #expect(shown.assignment(of: Self.bar, isHeld: false) == .assigned(range))
    }

    @Test func anEndBelowTheStartIsNoRange() {
        #expect(line(0x2000, 0x1fff, [.memory]).assignment(of: Self.bar) == .unassigned)
        #expect(line(0, .max, [.memory]).size == nil)
    }

    // MARK: Numbering

    @Test(arguments: [
        (7, ResourceNumbering.withoutVFs, false), (11, .withoutVFs, true), (12, .withoutVFs, true),
        (13, .withVFs, false), (17, .withVFs, true), (18, .withVFs, true),
    ])
    func theNumberOfLinesTellsTheKernelsConfiguration(count: Int, numbering: ResourceNumbering, windows: Bool) {
        #expect(ResourceNumbering(lineCount: count) == numbering)
        #expect(ResourceNumbering.showsWindows(lineCount: count) == windows)
        for raw in 0...16 {
            let index = ResourceIndex.all[raw]
            guard let at = numbering.line(of: index) else { continue }
            #expect(numbering.index(ofLine: at) == index)
        }
    }

    @Test func withoutVFsLineSevenIsTheIOWindow() {
        var lines = Array(repeating: ResourceLine.zero, count: 11)
        lines[7] = line(0xc000, 0xcfff, [.io])
        #expect(lines[.ioWindow] == lines[7])
        #expect(lines[ResourceIndex.all[7]] == .zero)
        #expect(lines.byIndex.map(\.index.rawValue) == [0, 1, 2, 3, 4, 5, 6, 13, 14, 15, 16])
    }

    @Test func listsOfOtherNumberingsAreComparedByIndex() {
        var short = Array(repeating: ResourceLine.zero, count: 11)
        short[9] = line(0x1_0000_0000, 0x1_000f_ffff, [.memory, .prefetchable])
        var long = Array(repeating: ResourceLine.zero, count: 17)
        long[15] = short[9]
        #expect(short.pairs(with: long).allSatisfy { $1 == $2 })
        long[14] = line(0xfe80_0000, 0xfe8f_ffff, [.memory])
        #expect(long.pairs(with: short).filter { $1 != $2 }.map(\.0) == [.memoryWindow])
        // A bridge that gets a bus prints four lines more.
        let withoutBus = Array(long.prefix(13))
        #expect(withoutBus.pairs(with: long).filter { $1 != $2 }.map(\.0) == [.memoryWindow, .prefetchableWindow])
    }
}

extension ResourceIndex {
    /// Every index, 0 to 16.
    fileprivate static let all = (0...16).compactMap { ResourceIndex($0) }
}
