// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

/// The arithmetic that everything stands on: exact fits, one beyond, one before, and both ends of what 64 bits hold.
@Suite("Ranges, sizes, buses and addresses")
struct NumberTests {
    private func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
        try #require(AddressRange(first: first, last: last))
    }

    @Test("a range has both of its ends")
    func ends() throws {
        #expect(AddressRange(first: 5, last: 4) == nil)
        #expect(try range(5, 5).size == 1)
        #expect(AddressRange(first: 0x1000, size: 0x1000) == AddressRange(first: 0x1000, last: 0x1fff))
        #expect(AddressRange(first: 0x1000, size: 0) == nil)
        #expect(AddressRange(first: .max, size: 1) == AddressRange(first: .max, last: .max))
        #expect(AddressRange(first: .max, size: 2) == nil)
        #expect(AddressRange(first: 1, size: .max) == AddressRange(first: 1, last: .max))
        #expect(AddressRange.all.size == nil)
        #expect(AddressRange.all.clampedSize == .max)
        #expect(try range(1, .max).size == .max)
    }

    @Test("touching ranges do not overlap, one shared address does; a range contains itself and nothing one longer")
    func relations() throws {
        let middle = try range(10, 19)
        #expect(try !middle.overlaps(range(0, 9)) && !middle.overlaps(range(20, 29)))
        #expect(try middle.overlaps(range(0, 10)) && middle.overlaps(range(19, 29)))
        #expect(try middle.contains(middle) && middle.contains(range(11, 18)))
        #expect(try !middle.contains(range(9, 19)) && !middle.contains(range(10, 20)))
        #expect(middle.contains(10) && middle.contains(19) && !middle.contains(9) && !middle.contains(20))
        #expect(try middle.intersection(range(15, 30)) == AddressRange(first: 15, last: 19))
        #expect(try middle.intersection(range(20, 30)) == nil)
        #expect(try middle.hull(range(30, 31)) == AddressRange(first: 10, last: 31))
        #expect(try range(1, 2) < range(1, 3))
        #expect(try range(1, 9) < range(2, 3))
    }

    @Test("moved ranges stay within 64 bits")
    func shifts() throws {
        #expect(try range(0, 1).shifted(by: -1) == nil)
        #expect(try range(1, 2).shifted(by: -1) == range(0, 1))
        #expect(try range(.max - 1, .max).shifted(by: 1) == nil)
        #expect(try range(.max - 2, .max - 1).shifted(by: 1) == range(.max - 1, .max))
        #expect(try range(1 << 63, 1 << 63).shifted(by: .min) == range(0, 0))
    }

    @Test("what is taken out leaves the rest: at the ends, overlapping, nested, and all of it")
    func gaps() throws {
        let whole = try range(0, 99)
        #expect(
            try whole.subtracting([range(15, 30), range(10, 19), range(90, 200)])
                == [range(0, 9), range(31, 89)]
        )
        #expect(whole.subtracting([]) == [whole])
        #expect(try whole.subtracting([range(0, 0)]) == [range(1, 99)])
        #expect(try whole.subtracting([range(99, 99)]) == [range(0, 98)])
        #expect(try whole.subtracting([range(1, 98)]) == [range(0, 0), range(99, 99)])
        #expect(try whole.subtracting([range(0, 99)]) == [])
        #expect(try whole.subtracting([range(100, 200)]) == [whole])
        // A short one inside a long one must not give back what the long one took.
        #expect(try whole.subtracting([range(10, 80), range(20, 30)]) == [range(0, 9), range(81, 99)])
        #expect(try AddressRange.all.subtracting([range(1, .max)]) == [range(0, 0)])
    }

    @Test("the largest aligned block: exact, one byte short, and at both ends of the space")
    func blocks() throws {
        #expect(try range(0x2000, 0x3fff).largestAlignedBlock == 0x2000)
        #expect(try range(0x2000, 0x3ffe).largestAlignedBlock == 0x1000)
        #expect(try range(0x2001, 0x3fff).largestAlignedBlock == 0x1000)
        #expect(try range(0x1000, 0x3fff).largestAlignedBlock == 0x2000)
        #expect(try range(7, 7).largestAlignedBlock == 1)
        #expect(AddressRange.all.largestAlignedBlock == 1 << 63)
        #expect(try range(1, .max).largestAlignedBlock == 1 << 63)
        #expect(try range(1, .max - 1).largestAlignedBlock == 1 << 62)
    }

    @Test("alignment up and down")
    func alignment() {
        #expect(
            alignUp(0x1000, 0x1000) == 0x1000 && alignUp(0x1001, 0x1000) == 0x2000 && alignUp(0xfff, 0x1000) == 0x1000
        )
        #expect(alignUp(.max, 2) == nil && alignUp(.max - 1, 2) == .max - 1 && alignUp(.max, 1) == .max)
        #expect(alignUp(5, 0) == 5 && alignDown(5, 0) == 5 && alignDown(5, 1) == 5)
        #expect(alignDown(0x1fff, 0x1000) == 0x1000 && alignDown(0x2000, 0x1000) == 0x2000)
    }

    @Test(
        "sizes are read with every unit and written with the one that is exact",
        arguments: [
            ("1", 1, "1"), ("1023", 1023, "1023"), ("4K", 4096, "4K"), ("4k", 4096, "4K"), ("4KiB", 4096, "4K"),
            ("1M", 1 << 20, "1M"), ("1536M", 1536 << 20, "1536M"), ("1G", 1 << 30, "1G"), ("3T", 3 << 40, "3T"),
            ("5P", 5 << 50, "5P"), ("15E", 15 << 60, "15E"), ("0x1000", 4096, "4K"), ("1GB", 1 << 30, "1G"),
            ("1536", 1536, "1.5K"), ("12T", 12 << 40, "12T"),
        ] as [(String, UInt64, String)]
    )
    func sizes(text: String, bytes: UInt64, shown: String) {
        #expect(ByteCount(parsing: text)?.rawValue == bytes)
        #expect(ByteCount(bytes).description == shown)
    }

    @Test(
        "what is no size is none",
        arguments: ["", "K", "16E", "1Q", "-1", "1 K", "0x", "0x+1", "18446744073709551616", "1iB"]
    )
    func noSizes(text: String) {
        #expect(ByteCount(parsing: text) == nil)
    }

    @Test("bus ranges have both ends; 256 buses are counted")
    func buses() throws {
        let all = try #require(BusRange(first: BusNumber(0), last: BusNumber(255)))
        let some = try #require(BusRange(first: BusNumber(2), last: BusNumber(4)))
        #expect(all.count == 256 && some.count == 3 && BusRange(BusNumber(9)).count == 1)
        #expect(BusRange(first: BusNumber(3), last: BusNumber(2)) == nil)
        #expect(some.contains(BusNumber(2)) && some.contains(BusNumber(4)))
        #expect(!some.contains(BusNumber(1)) && !some.contains(BusNumber(5)))
        #expect(all.contains(some) && some.contains(some) && !some.contains(all))
        #expect(!some.overlaps(BusRange(BusNumber(5))) && some.overlaps(BusRange(BusNumber(4))))
        #expect(!some.overlaps(BusRange(BusNumber(1))) && some.overlaps(BusRange(BusNumber(2))))
        #expect(some.description == "[bus 02-04]" && BusRange(BusNumber(0xa)).description == "[bus 0a]")
    }

    @Test("addresses: every field at its limit and one beyond")
    func addresses() throws {
        let highest = try #require(FunctionAddress(parsing: "ffffffff:ff:1f.7"))
        #expect(
            highest.segment == .max && highest.bus == BusNumber(255) && highest.device == 31 && highest.function == 7
        )
        #expect(highest.description == "ffffffff:ff:1f.7")
        for wrong in [
            "00:20.0", "00:1f.8", "100:00.0", "00:00", "00.0", "0:00:00:00.0", "gg:00.0", "00:00.00",
            "123456789:00:00.0",
        ] {
            #expect(FunctionAddress(parsing: wrong) == nil, "\(wrong)")
        }
        #expect(FunctionAddress(bus: 0, device: 32, function: 0) == nil)
        #expect(FunctionAddress(bus: 0, device: 0, function: 8) == nil)
        #expect(FunctionAddress(bus: 1, device: 2, function: 3)?.devfn == 0x13)
        let inOrder = try ["0000:00:00.1", "0000:00:01.0", "0000:01:00.0", "0001:00:00.0"].map {
            try #require(FunctionAddress(parsing: $0))
        }
        #expect(inOrder.reversed().sorted() == inOrder)
    }

    @Test("places: a bridge is above what is below it, not beside it nor on another root bus")
    func places() {
        func path(_ hops: [UInt8], root: UInt8 = 0, segment: UInt32 = 0) -> TopologyPath {
            TopologyPath(segment: segment, rootBus: BusNumber(root), hops: hops)
        }
        #expect(path([8]).isAncestorOrSelf(of: path([8])) && path([8]).isAncestorOrSelf(of: path([8, 0])))
        #expect(!path([8, 0]).isAncestorOrSelf(of: path([8])) && !path([8]).isAncestorOrSelf(of: path([9, 0])))
        #expect(!path([8]).isAncestorOrSelf(of: path([8, 0], root: 1)))
        #expect(!path([8]).isAncestorOrSelf(of: path([8, 0], segment: 1)))
        #expect(path([0x10, 0, 0x0a]).description == "0000:00:02.0/00.0/01.2")
        #expect(path([8]) < path([8, 0]) && path([8, 0xff]) < path([9]) && path([9]) < path([0], root: 1))
    }
}

/// What a tree is compared by.
@Suite("Trees compared")
struct TreeComparisonTests {
    private static let window: ResourceFlags = [.memory, .window]

    private func state() throws -> TreeState {
        func address(_ text: String) throws -> FunctionAddress { try #require(FunctionAddress(parsing: text)) }
        let port = FunctionState(
            address: try address("00:01.0"),
            path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [8]),
            ids: 0x1b36_000c,
            lines: [.zero, ResourceLine(start: 0x1000, end: 0x1fff, flags: .io)],
            busRange: BusRange(BusNumber(1))
        )
        let card = FunctionState(
            address: try address("01:00.0"),
            path: TopologyPath(segment: 0, rootBus: BusNumber(0), hops: [8, 0]),
            ids: 0x1b36_0005,
            lines: [ResourceLine(start: 0xfe00_0000, end: 0xfe00_0fff, flags: .memory)],
            busRange: nil
        )
        return TreeState([card, port])
    }

    @Test("every part of a tree changes its fingerprint and is told as a difference, and nothing else is")
    func parts() throws {
        let before = try state()
        #expect(before.functions.map(\.address.description) == ["0000:00:01.0", "0000:01:00.0"])
        #expect(before.differences(from: before) == [])
        let changes: [(String, (inout TreeState) -> Void)] = [
            ("0000:01:00.0 BAR 0 expected", { $0.functions[1].lines[0].start += 1 }),
            ("0000:01:00.0 BAR 0 expected", { $0.functions[1].lines[0].end += 1 }),
            ("0000:01:00.0 BAR 0 expected", { $0.functions[1].lines[0].flags.insert(.unset) }),
            ("0000:00:01.0 BAR 1 expected", { $0.functions[0].lines.removeLast() }),
            ("0000:00:01.0 expected [bus 01], found no bus", { $0.functions[0].busRange = nil }),
            ("0000:00:01.0 expected [bus 01], found [bus 02]", { $0.functions[0].busRange = BusRange(BusNumber(2)) }),
            ("0000:01:00.0 expected id 1b360005, found 1b360006", { $0.functions[1].ids += 1 }),
            ("0000:01:00.0 expected, not found", { $0.functions.removeLast() }),
        ]
        for (sentence, change) in changes {
            var now = before
            change(&now)
            #expect(now.fingerprint != before.fingerprint, "\(sentence)")
            let told = before.differences(from: now).map(\.description)
            #expect(told.count == 1 && told[0].hasPrefix(sentence), "\(told)")
        }
        var fewer = before
        fewer.functions.removeFirst()
        #expect(fewer.differences(from: before).map(\.description) == ["0000:00:01.0 found, not expected"])
        #expect(before.differences(from: fewer).map(\.description) == ["0000:00:01.0 expected, not found"])
    }

    @Test("a line that only one side has counts as zeros")
    func missingLines() throws {
        let before = try state()
        var now = before
        now.functions[1].lines.append(.zero)
        #expect(before.differences(from: now) == [])
        #expect(now.differences(from: before) == [])
    }

    @Test("lines of `resource` are read as the kernel writes them, and nothing else is")
    func lines() {
        let text = "0x00000000fe800000 0x00000000fe9fffff 0x0000000000000200"
        let line = ResourceLine(parsing: text)
        #expect(line == ResourceLine(start: 0xfe80_0000, end: 0xfe9f_ffff, flags: .memory))
        #expect(line?.description == text)
        for wrong in ["", "0x1 0x2", "0x1 0x2 0x3 0x4", "1 2 3", "0x1 0x2 0xg", "0x1 0x2 0x10000000000000000"] {
            #expect(ResourceLine(parsing: wrong) == nil, "\(wrong)")
        }
    }
}

/// The registers of a bridge, with numbers that no two fields share.
@Suite("Registers of a bridge")
struct BridgeRegisterTests {
    private func config(_ values: [(Int, Int, UInt32)]) -> ConfigSpace {
        var config = ConfigSpace(Array(repeating: 0, count: 64))
        config.write(1, at: 0x0e, width: 1)
        for (offset, width, value) in values { config.write(value, at: offset, width: width) }
        return config
    }

    @Test("every field comes from its own bytes")
    func fields() throws {
        let registers = try #require(
            BridgeRegisters(
                config([
                    (0x1c, 2, 0x7131), (0x30, 4, 0x000a_0009), (0x20, 4, 0xe1f0_e100),
                    (0x24, 4, 0x2ff1_1001), (0x28, 4, 0x38), (0x2c, 4, 0x39), (0x3e, 2, 0x0043),
                ])
            )
        )
        #expect(registers.io.range == AddressRange(first: 0x9_3000, last: 0xa_7fff))
        #expect(registers.memory.range == AddressRange(first: 0xe100_0000, last: 0xe1ff_ffff))
        #expect(registers.prefetchable.range == AddressRange(first: 0x38_1000_0000, last: 0x39_2fff_ffff))
        #expect(registers.control == 0x43)
        let numbers = try #require(BridgeRegisters(config([(0x18, 1, 3), (0x19, 1, 4), (0x1a, 1, 5)])))
        #expect(
            numbers.primary == BusNumber(3) && numbers.secondary == BusNumber(4) && numbers.subordinate == BusNumber(5)
        )
    }

    @Test("narrow windows do not look at the upper halves; base above limit is closed, base at limit is one granule")
    func edges() throws {
        let narrow = try #require(
            BridgeRegisters(config([(0x1c, 2, 0x3030), (0x30, 4, 0x000a_0009), (0x24, 4, 0x2000_2000), (0x28, 4, 7)]))
        )
        #expect(narrow.io.range == AddressRange(first: 0x3000, last: 0x3fff))
        #expect(narrow.prefetchable.range == AddressRange(first: 0x2000_0000, last: 0x200f_ffff))
        let closed = try #require(
            BridgeRegisters(config([(0x1c, 2, 0x2030), (0x20, 4, 0x1ff0_2000), (0x24, 4, 0x1ff1_2001)]))
        )
        #expect(closed.io.range == nil && closed.memory.range == nil && closed.prefetchable.range == nil)
        // Closed by the upper half alone.
        let upper = try #require(BridgeRegisters(config([(0x24, 4, 0x2ff1_2001), (0x28, 4, 2), (0x2c, 4, 1)])))
        #expect(upper.prefetchable.range == nil)
    }

    @Test("registers beyond what was read are nothing")
    func bounds() {
        var config = ConfigSpace([1, 2, 3, 4, 5])
        #expect(config.byte(4) == 5 && config.byte(5) == nil && config.byte(-1) == nil)
        #expect(config.word(3) == 0x0504 && config.word(4) == nil)
        #expect(config.long(1) == 0x0504_0302 && config.long(2) == nil)
        let isWritten = config.write(0xaabb_ccdd, at: 1, width: 4)
        #expect(isWritten)
        #expect(config.bytes == [1, 0xdd, 0xcc, 0xbb, 0xaa])
        let before = config
        for (offset, width) in [(2, 4), (0, 3), (-1, 1)] {
            let isWritten = config.write(0, at: offset, width: width)
            #expect(!isWritten, "\(offset)")
        }
        #expect(config == before)
        #expect(ConfigSpace(Array(repeating: 0, count: 5000)).count == 4096)
    }
}
