// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// resourceN_resize and the Resizable BAR control.
@Suite struct ResizeTests {
    /// A graphics card with a 256 MiB BAR that may be 256 MiB to 8 GiB, behind a root port with just enough.
    static func machine(_ behaviour: KernelBehaviour, driver: String? = nil) throws -> Q35 {
        let sizes: UInt64 = (8...13).reduce(0) { $0 | 1 << UInt64($1) }
        let card = CardFunction(
            identity: Function.Identity(vendor: 0x1002, device: 0x73bf, classCode: 0x030000),
            bars: [
                .memory(0, mib(256), is64Bit: true, isPrefetchable: true, resizable: sizes),
                .memory(2, mib(2), is64Bit: true, isPrefetchable: true), .memory(5, mib(1)),
            ],
            driver: driver
        )
        var m = try Q35(behaviour, cards: [.rootPort(1, isHotPlug: false, [card])])
        m.program(
            [0x08],
            bars: [0: 0xfea1_2000],
            buses: (0, 1, 1),
            mem: 0xfe80_0000...0xfe9f_ffff,
            pref: 0xd000_0000...0xe01f_ffff
        )
        m.program([0x08, 0], bars: [0: 0xd000_0000, 2: 0xe000_0000, 5: 0xfe80_0000], command: 0)
        try m.boot()
        return m
    }

    static func behaviours() -> [KernelBehaviour] {
        var old = KernelBehaviour.linux6_1
        old.resizeRelease = .identicalFlags
        return KernelBehaviour.presets + [old]
    }

    @Test("a sole user's window grows with the BAR", arguments: behaviours())
    func grows(_ behaviour: KernelBehaviour) throws {
        var m = try Self.machine(behaviour)
        let card = try m.at("01:00.0")
        try m.run(.resizeBAR(card, bar: 0, exponent: 13))
        let line = try #require(m.twin.resourceLines(of: card))[0]
        #expect(line.end - line.start + 1 == 8 << 30)
        #expect(line.start >= 0x1_0000_0000)
        let window = try #require(m.twin.resourceLines(of: try m.at("00:01.0")))[15]
        #expect(window.start <= line.start && line.end <= window.end)
        #expect(try m.registers("00:01.0")[2] == "\(bareHex(window.start))-\(bareHex(window.end))")
        #expect(try m.place("01:00.0", 2) != "-")
        #expect(try m.twin.topology()[card]?.capabilities.resizableBARs.first?.currentExponent == 13)
        #expect(try m.place("01:00.0", 5) == "fe800000-fe8fffff")
    }

    @Test("a size that finds no room puts everything back", arguments: behaviours())
    func noRoom(_ behaviour: KernelBehaviour) throws {
        var m = try Self.machine(behaviour)
        let aperture = m.twin.state.hosts[0].apertures[5]
        m.twin.state.resources[aperture].end = 0x1_0fff_ffff
        let card = try m.at("01:00.0")
        let before = try #require(m.twin.resourceLines(of: card))
        let events = try m.run(.resizeBAR(card, bar: 0, exponent: 13))
        #expect(
            events.contains { event in
                if case .refused(card, .noSpace, _) = event { return true }
                return false
            }
        )
        let after = try #require(m.twin.resourceLines(of: card))
        #expect(after[0].end - after[0].start == before[0].end - before[0].start)
        if behaviour.resizeRelease != .identicalFlags {
            #expect(after == before)
            #expect(try m.place("00:01.0", 15) == "d0000000-e01fffff")
        }
        #expect(try m.twin.topology()[card]?.capabilities.resizableBARs.first?.currentExponent == 8)
    }

    @Test("a bound driver, an unsupported size, a BAR without the capability", arguments: KernelBehaviour.presets)
    func refusals(_ behaviour: KernelBehaviour) throws {
        var m = try Self.machine(behaviour, driver: "amdgpu")
        let card = try m.at("01:00.0")
        let busy = try m.run(.resizeBAR(card, bar: 0, exponent: 9))
        #expect(busy == [.refused(card, .busy, "a driver is bound")])
        try m.run(.unbind(card))
        let invalid = try m.run(.resizeBAR(card, bar: 0, exponent: 20))
        #expect(invalid.first == .refused(card, .invalid, "size exponent 20 is not offered"))
        #expect(throws: TwinError.self) { try m.run(.resizeBAR(card, bar: 2, exponent: 9)) }
    }

    @Test("a control written by hand counts when the function is found again", arguments: KernelBehaviour.presets)
    func byHand(_ behaviour: KernelBehaviour) throws {
        var m = try Self.machine(behaviour)
        let card = try m.at("01:00.0")
        try m.run(.setResizableBAR(card, bar: 0, exponent: 10))
        #expect(try m.place("01:00.0", 0) == "d0000000-dfffffff")
        try m.run(.remove(card), .rescanBus(segment: 0, bus: BusNumber(1)))
        let line = try #require(m.twin.resourceLines(of: card))[0]
        #expect(line.end - line.start + 1 == 1 << 30)
        #expect(throws: TwinError.self) { try m.run(.setResizableBAR(card, bar: 0, exponent: 3)) }
        // The same through a plain configuration write to the control register.
        let entry = try #require(try m.twin.topology()[card]?.capabilities.resizableBARs.first)
        try m.run(.writeConfig(card, offset: Int(entry.controlOffset), width: 4, value: 9 << 8))
        #expect(try m.twin.topology()[card]?.capabilities.resizableBARs.first?.currentExponent == 9)
    }
}
