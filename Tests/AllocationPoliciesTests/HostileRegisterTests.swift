// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// Registers that no sum may trust.
@Suite("Hostile registers")
struct HostileRegisterTests {
    private func machine(total: UInt16, offset: UInt16, stride: UInt16, _ behaviour: KernelBehaviour) throws -> Q35 {
        let card = CardFunction(
            identity: Function.Identity(vendor: 0x1b36, device: 0x0010, classCode: 0x010802),
            bars: [.memory(0, 0x4000, is64Bit: true)],
            sriov: CardSRIOV(
                total: total,
                offset: offset,
                stride: stride,
                device: 0x0010,
                bars: [.memory(0, 0x4000, is64Bit: true)]
            )
        )
        var m = try Q35(behaviour, cards: [.rootPort(1, [card])])
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1), mem: 0xfe80_0000...0xfe9f_ffff, command: 7)
        m.program([0x08, 0], bars: [0: 0xfe80_0000], command: 7)
        try m.boot()
        return m
    }

    /// The machine with other functions.
    private func changed(_ machine: Topology, _ functions: [Function]) throws -> Topology {
        try Topology(
            kernel: machine.kernel,
            hostBridges: machine.hostBridges,
            functions: functions,
            blockers: machine.blockers
        )
    }

    @Test(
        "an SR-IOV capability of any numbers neither traps nor keeps the others from their places",
        arguments: [
            (UInt16.max, UInt16.max, UInt16.max), (1, .max, 0), (.max, 0, .max), (2, 0x8000, 0x8000), (.max, 0, 0),
        ],
        KernelBehaviour.presets
    )
    func virtualFunctions(_ numbers: (UInt16, UInt16, UInt16), _ behaviour: KernelBehaviour) throws {
        let m = try machine(total: numbers.0, offset: numbers.1, stride: numbers.2, behaviour)
        var twin = m.twin
        let card = try m.at("01:00.0")
        #expect(twin.resourceLines(of: card)?[0].start ?? 0 != 0, "its own BAR has its place")
        _ = try? twin.perform(.setVFs(card, Int(numbers.0)))
        _ = try? twin.perform(.setVFs(card, 1))
        try twin.perform(.rescan)
        _ = try twin.topology()
    }

    @Test(
        "a BAR that sizing switched off is read as it is shown, and nobody else's removal changes it",
        arguments: KernelBehaviour.presets
    )
    func switchedOff(_ behaviour: KernelBehaviour) throws {
        let m = try machine(total: 4, offset: 1, stride: 1, behaviour)
        let before = try m.twin.topology()
        var functions = before.functions
        let card = try m.at("01:00.0")
        let i = try #require(before.position(of: card))
        let shown = ResourceLine(start: 0, end: (1 << 50) - 1, flags: ResourceFlags(rawValue: 0))
        let bar = try #require(ResourceIndex.bar(2))
        try #require(functions[i].lines.count > 2)
        functions[i].lines[2] = shown
        functions[i].resources.removeAll { $0.index == bar }
        functions[i].resources.append(
            Resource(index: bar, flags: [], size: nil, alignment: nil, assignment: .wiped)
        )
        let topology = try changed(before, functions)
        var twin = try LinuxTwin(topology, behaviour: behaviour)
        #expect(twin.resourceLines(of: card)?[2] == shown)
        let port = topology.parent(of: i).map { topology.functions[$0].address }
        let other = try #require(twin.addresses.first { $0 != card && $0 != port })
        try twin.perform(.remove(other))
        #expect(twin.resourceLines(of: card)?[2] == shown)
    }

    @Test(
        "a bus that a bridge left for another is gone with the bus above it, and no way up runs in a circle",
        arguments: KernelBehaviour.presets
    )
    func busLeftBehind(_ behaviour: KernelBehaviour) throws {
        let card: CardProfile = .rootPort(
            1,
            [.upstream([.downstream(0, [.testDevice(1 << 20)]), .downstream(1, [.testDevice(1 << 20)])])]
        )
        var m = try Q35(behaviour, cards: [card])
        m.program([0x08], buses: (0, 1, 4), mem: 0xfe60_0000...0xfe9f_ffff, command: 7)
        m.program([0x08, 0], buses: (1, 2, 4), mem: 0xfe60_0000...0xfe9f_ffff, command: 7)
        m.program([0x08, 0, 0], buses: (2, 3, 3), mem: 0xfe80_0000...0xfe9f_ffff, command: 7)
        m.program([0x08, 0, 8], buses: (2, 4, 4), mem: 0xfe60_0000...0xfe7f_ffff, command: 7)
        try m.boot()
        // A machine that says of a port two levels down that it leads to the root port's own bus.
        let before = try m.twin.topology()
        let liar = try m.at("02:00.0")
        var functions = before.functions
        let i = try #require(before.position(of: liar))
        functions[i].bridge?.busRange = BusRange(first: BusNumber(1), last: BusNumber(1))
        functions[i].bridge?.registers?.primary = BusNumber(0x2c)
        functions[i].bridge?.registers?.secondary = BusNumber(1)
        functions[i].bridge?.registers?.subordinate = BusNumber(0)
        for (offset, byte) in [(0x18, 0x2c), (0x19, 1), (0x1a, 0)] {
            let isWritten = functions[i].config.write(UInt32(byte), at: offset, width: 1)
            #expect(isWritten)
        }
        let topology = try changed(before, functions)
        var twin = try LinuxTwin(topology, behaviour: behaviour)
        // The port gets a number of its own, then everything is found anew.
        for operation: TwinOperation in [.rescan, .remove(try m.at("00:01.0")), .rescan] {
            _ = try twin.perform(operation)
        }
        let after = try twin.topology()
        let upstream = try #require(after.position(of: try m.at("01:00.0")))
        #expect(after.parent(of: upstream).map { after.functions[$0].address } == (try m.at("00:01.0")))
        #expect(after.ancestors(of: try #require(after.position(of: liar))).count == 2)
    }

    @Test("within the buses of a segment the highest bus of VFs is where the last one is")
    func highestBus() throws {
        for (total, offset, stride, bus) in [(8, 1, 1, 1), (255, 1, 1, 1), (256, 1, 1, 2), (4, 256, 256, 5)] {
            let m = try machine(total: UInt16(total), offset: UInt16(offset), stride: UInt16(stride), .linux6_12)
            let i = Int32(try #require(m.twin.topology().position(of: try m.at("01:00.0"))))
            #expect(m.twin.state.highestVFBus(i) == Int32(bus), "\(total) \(offset) \(stride)")
        }
    }
}
