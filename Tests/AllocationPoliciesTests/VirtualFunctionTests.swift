// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// VF BARs, and VFs that come and go.
@Suite struct VirtualFunctionTests {
    /// A controller with eight VFs of 16 KiB behind a root port; its driver takes VFs away when it lets go.
    private func machine(
        _ behaviour: KernelBehaviour,
        total: UInt16 = 8,
        stride: UInt16 = 1,
        driver: String = "mlx5_core"
    ) throws -> Q35 {
        let controller = CardFunction(
            identity: Function.Identity(vendor: 0x1b36, device: 0x0010, classCode: 0x010802),
            bars: [.memory(0, 0x4000, is64Bit: true)],
            sriov: CardSRIOV(
                total: total,
                offset: 1,
                stride: stride,
                device: 0x0010,
                bars: [.memory(0, 0x4000, is64Bit: true)]
            ),
            driver: driver
        )
        var m = try Q35(behaviour, cards: [.rootPort(1, [controller])])
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1), mem: 0xfe80_0000...0xfe9f_ffff, command: 7)
        m.program([0x08, 0], bars: [0: 0xfe80_0000], command: 7)
        try m.boot()
        return m
    }

    @Test("nothing is predicted for a removal that would leave VFs behind; after 0 was written it is")
    func leftBehind() throws {
        var m = try machine(.linux6_12, driver: "nvme")
        let physical = try m.at("01:00.0")
        try m.run(.setVFs(physical, 2))
        var twin = m.twin
        for address in [physical, try m.at("00:01.0")] {
            let error = #expect(throws: TwinError.self) { try twin.perform(.remove(address)) }
            #expect(error?.code == .badArgument)
            #expect(error?.description.contains("whose driver leaves them enabled") == true)
        }
        try twin.perform(.setVFs(physical, 0))
        try twin.perform(.remove(physical))
        #expect(twin.resourceLines(of: physical) == nil)
        #expect(twin.resourceLines(of: try m.at("01:00.1")) == nil)
    }

    @Test("VFs of a physical function whose capability nobody could read stay where they are")
    func unreadCapability() throws {
        var m = try machine(.linux6_12)
        let physical = try m.at("01:00.0")
        try m.run(.setVFs(physical, 2))
        let read = try m.twin.topology()
        var functions = read.functions
        let p = try #require(read.position(of: physical))
        functions[p].config = ConfigSpace(Array(functions[p].config.bytes.prefix(64)))
        functions[p].capabilities = Capabilities(functions[p].config)
        functions[p].resources.removeAll { $0.index.isVFBAR }
        let topology = try Topology(kernel: read.kernel, hostBridges: read.hostBridges, functions: functions)
        let after = try LinuxTwin(topology, behaviour: .linux6_12).topology()
        for (now, before) in zip(after.functions, topology.functions) {
            #expect(now.address == before.address)
            #expect(now.resources.map(\.assignment) == before.resources.map(\.assignment), "\(now.address)")
        }
    }

    @Test("VFs of two physical functions that alternate are each their own's", arguments: KernelBehaviour.presets)
    func alternating(_ behaviour: KernelBehaviour) throws {
        func card(_ number: UInt8) -> CardFunction {
            CardFunction(
                devfn: number,
                identity: Function.Identity(vendor: 0x8086, device: 0x10fb, classCode: 0x020000),
                bars: [.memory(0, 0x4000, is64Bit: true)],
                sriov: CardSRIOV(
                    total: 4,
                    offset: 0x80,
                    stride: 2,
                    device: 0x10ed,
                    bars: [.memory(0, 0x4000, is64Bit: true)]
                ),
                driver: "ixgbe"
            )
        }
        var m = try Q35(behaviour, cards: [.rootPort(1, [card(0), card(1)])])
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1), mem: 0xfe80_0000...0xfe9f_ffff, command: 7)
        try m.boot()
        let physical = [try m.at("01:00.0"), try m.at("01:00.1")]
        for address in physical { try m.run(.setVFs(address, 2)) }
        var twin = try LinuxTwin(try m.twin.topology(), behaviour: behaviour)
        try twin.perform(.setVFs(physical[0], 0))
        for (name, isThere) in [("01:10.0", false), ("01:10.1", true), ("01:10.2", false), ("01:10.3", true)] {
            #expect((twin.resourceLines(of: try m.at(name)) != nil) == isThere, "\(name)")
        }
        let kept = try m.at("01:10.3")
        #expect(twin.resourceLines(of: kept) == m.twin.resourceLines(of: kept))
        try twin.perform(.setVFs(physical[1], 0))
        for _ in 0..<2 {
            try twin.perform(.remove(try m.at("00:01.0")))
            try twin.perform(.rescan)
            for address in physical { try twin.perform(.setVFs(address, 2)) }
            #expect(twin.resourceLines(of: kept) != nil)
            for address in physical { try twin.perform(.setVFs(address, 0)) }
        }
    }

    @Test("the block holds all VFs and is aligned to one", arguments: KernelBehaviour.presets)
    func block(_ behaviour: KernelBehaviour) throws {
        let m = try machine(behaviour)
        let line = try #require(m.twin.resourceLines(of: try m.at("01:00.0")))[7]
        #expect(line.end - line.start + 1 == 0x4000 * 8)
        #expect(line.start % 0x4000 == 0)
        let resource = try m.twin.topology()[try m.at("01:00.0")]?.resource(try #require(.vfBAR(0)))
        #expect(resource?.alignment == ByteCount(0x4000))
        #expect(resource?.range?.size == 0x4000 * 8)
    }

    @Test("VFs get their parts of the block, and go", arguments: KernelBehaviour.presets)
    func comeAndGo(_ behaviour: KernelBehaviour) throws {
        var m = try machine(behaviour)
        let physical = try m.at("01:00.0")
        let block = try #require(m.twin.resourceLines(of: physical))[7]
        try m.run(.setVFs(physical, 3))
        #expect(try m.exists("01:00.3"))
        #expect(try !m.exists("01:00.4"))
        let second = try #require(m.twin.resourceLines(of: try m.at("01:00.2")))[0]
        #expect(second.start == block.start + 0x4000)
        let topology = try m.twin.topology()
        #expect(topology[try m.at("01:00.2")]?.physicalFunction == physical)
        #expect(topology[physical]?.use.enabledVFs == 3)
        let again = try LinuxTwin(topology, behaviour: behaviour)
        #expect(again.resourceLines(of: try m.at("01:00.2")) == m.twin.resourceLines(of: try m.at("01:00.2")))
        let refused = try m.run(.setVFs(physical, 5))
        #expect(
            refused.contains { event in
                if case .refused(physical, .busy, _) = event { return true }
                return false
            }
        )
        try m.run(.setVFs(physical, 0))
        #expect(try !m.exists("01:00.1"))
        try m.run(.setVFs(physical, 8))
        #expect(try m.exists("01:01.0"))
        try m.run(.remove(physical))
        #expect(try !m.exists("01:01.0"))
    }

    @Test("VFs beyond the bridge's bus range are refused", arguments: KernelBehaviour.presets)
    func busRange(_ behaviour: KernelBehaviour) throws {
        var m = try machine(behaviour, total: 4, stride: 200)
        let physical = try m.at("01:00.0")
        let events = try m.run(.setVFs(physical, 3))
        #expect(
            events.contains { event in
                if case .refused(physical, .noMemory, _) = event { return true }
                return false
            }
        )
        #expect(try !m.exists("01:00.1"))
        // More than TotalVFs is out of range whatever there is room for.
        let tooMany = try m.run(.setVFs(physical, 9))
        #expect(
            tooMany.contains { event in
                if case .refused(physical, .range, _) = event { return true }
                return false
            }
        )
    }

    @Test("a block without room leaves the function usable and VFs refused", arguments: KernelBehaviour.presets)
    func noRoom(_ behaviour: KernelBehaviour) throws {
        var m = try machine(behaviour, total: 200)
        // 3.1 MiB of VFs do not fit into the 2 MiB window that firmware left.
        let physical = try m.at("01:00.0")
        #expect(try m.place("01:00.0", 0) != "-")
        let lines = try #require(m.twin.resourceLines(of: physical))
        if lines[7].flags.isEmpty {
            let events = try m.run(.setVFs(physical, 1))
            #expect(
                events.contains { event in
                    if case .refused(physical, .noMemory, _) = event { return true }
                    return false
                }
            )
        } else {
            // Automatic reallocation found room above.
            #expect(lines[7].end - lines[7].start + 1 == 0x4000 * 200)
        }
    }

    /// O25, seen on the three kernels (Fixtures/differential/virtual-functions-no-room-*).
    @Test("O25: a function found anew behind a full window can have no VFs", arguments: KernelBehaviour.presets)
    func o25(_ behaviour: KernelBehaviour) throws {
        var m = try machine(behaviour)
        let physical = try m.at("01:00.0")
        try m.run(.resourceAlignment("21@0000:01:00.0"), .remove(physical), .rescan)
        // BAR 0 counts as 2 MiB now and fills the window; the block is optional and gives way.
        #expect(try m.place("01:00.0", 0) == "fe800000-fe9fffff")
        #expect(try m.place("01:00.0", 7) == "-")
        let refused = try m.run(.setVFs(physical, 2))
        #expect(refused.contains { isRefusal($0, of: physical, .noMemory) })
        #expect(try !m.exists("01:00.1"))
        try m.run(.resourceAlignment(""), .remove(physical), .rescan)
        #expect(try m.place("01:00.0", 7) != "-")
        try m.run(.setVFs(physical, 2))
        #expect(try m.exists("01:00.2"))
    }

    @Test("O25: a card that the ACPI driver finds keeps its BARs when its VFs have no room")
    func o25ACPI() throws {
        for behaviour in KernelBehaviour.presets {
            var m = try Q35(behaviour, cards: [.rootPort(1)])
            m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1), mem: 0xfe80_0000...0xfe9f_ffff, command: 7)
            try m.boot()
            let card = CardProfile(
                name: "controller",
                functions: [
                    CardFunction(
                        identity: Function.Identity(vendor: 0x1b36, device: 0x0010, classCode: 0x010802),
                        bars: [.memory(0, 0x4000, is64Bit: true)],
                        sriov: CardSRIOV(
                            total: 200,
                            offset: 1,
                            stride: 1,
                            device: 0x0010,
                            bars: [.memory(0, 0x4000, is64Bit: true)]
                        ),
                        driver: "nvme"
                    )
                ]
            )
            try m.run(.hotAdd(port: try m.at("00:01.0"), card: card, method: .acpiphp))
            #expect(try m.place("01:00.0", 0) == "fe800000-fe803fff")
            // One try, nothing grows: 3.1 MiB are not to be had in a window of 2 MiB.
            #expect(try m.place("01:00.0", 7) == "-")
            let refused = try m.run(.setVFs(try m.at("01:00.0"), 1))
            #expect(refused.contains { isRefusal($0, of: FunctionAddress(parsing: "01:00.0"), .noMemory) })
        }
    }

    private func isRefusal(_ event: TwinEvent, of address: FunctionAddress?, _ error: KernelError) -> Bool {
        if case .refused(address, error, _) = event { return true }
        return false
    }
}
