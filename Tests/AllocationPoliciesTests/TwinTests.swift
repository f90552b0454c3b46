// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// The twin as a value: readings, errors, presets.
@Suite struct TwinTests {
    @Test("a topology made of a twin makes the same twin", arguments: KernelBehaviour.presets)
    func roundTrip(_ behaviour: KernelBehaviour) throws {
        for machine in [
            try OracleTests.topologyA(behaviour), try OracleTests.chain(behaviour),
            try CollateralTests.failed(behaviour),
            try ResizeTests.machine(behaviour),
        ] {
            let topology = try machine.twin.topology()
            let again = try LinuxTwin(topology, behaviour: behaviour)
            #expect(again.addresses == machine.twin.addresses)
            for address in machine.twin.addresses {
                #expect(again.busRange(of: address) == machine.twin.busRange(of: address))
                #expect(again.enableCount(of: address) == machine.twin.enableCount(of: address))
                // A lost window keeps its size in the kernel; a reading cannot show that.
                let before = try #require(machine.twin.resourceLines(of: address))
                let after = try #require(again.resourceLines(of: address))
                for (a, b) in zip(before, after) where !a.flags.contains(.startAlign) && a.start != 0 {
                    #expect(a == b)
                }
            }
            #expect(try again.topology().functions.map(\.config) == topology.functions.map(\.config))
            // Only a BAR or ROM decodes less than the kernel holds for it, after a resize or where an alignment rounds it up.
            for resource in topology.functions.flatMap(\.resources) {
                guard let decoded = resource.hardwareSize else { continue }
                #expect(resource.index.isBAR || resource.index.isROM)
                #expect(try decoded > .zero && decoded < #require(resource.size))
            }
        }
    }

    @Test("a bridge whose registers nobody read is taken to forward what the kernel holds, and nothing else")
    func unreadBridge() throws {
        let read = try OracleTests.topologyA().twin.topology()
        var windows: [FunctionAddress: [ResourceIndex: AddressRange]] = [:]
        let functions = read.functions.map { function in
            guard function.isBridge else { return function }
            var function = function
            // The second port has no prefetchable window.
            if function.address.devfn == 0x10 { function.resources.removeAll { $0.index == .prefetchableWindow } }
            for resource in function.resources where resource.index.isWindow {
                windows[function.address, default: [:]][resource.index] = resource.range
            }
            function.config = ConfigSpace()
            function.capabilities = Capabilities(function.config)
            function.bridge?.registers = nil
            return function
        }
        let unread = try Topology(
            kernel: read.kernel,
            hostBridges: read.hostBridges,
            functions: functions,
            blockers: read.blockers
        )
        let twin = try LinuxTwin(unread, behaviour: .linux6_1)
        for (address, expected) in windows {
            var config = ConfigSpace(Array(repeating: 0, count: 64))
            config.write(1, at: 0x0e, width: 1)
            for offset in stride(from: 0x18, through: 0x30, by: 4) {
                config.write(twin.register(of: address, at: offset, width: 4) ?? 0, at: offset, width: 4)
            }
            let registers = try #require(BridgeRegisters(config))
            #expect(registers.io.range == expected[.ioWindow], "\(address)")
            #expect(registers.memory.range == expected[.memoryWindow], "\(address)")
            #expect(registers.prefetchable.range == expected[.prefetchableWindow], "\(address)")
            #expect(registers.secondary == unread[address]?.bridge?.busRange?.first)
            #expect(registers.subordinate == unread[address]?.bridge?.busRange?.last)
        }
        #expect(windows.count == 2 && windows.values.contains { $0[.prefetchableWindow] == nil })
    }

    @Test("operations on what is not there are errors and change nothing")
    func errors() throws {
        var m = try OracleTests.topologyA()
        let nowhere = try m.at("07:00.0")
        let before = try m.twin.topology()
        for operation: TwinOperation in [
            .remove(nowhere), .rescanDevice(nowhere), .rescanBus(segment: 0, bus: BusNumber(9)), .unplug(port: nowhere),
            .unplug(port: try m.at("01:00.0")), .setVFs(try m.at("01:00.0"), 1),
            .setBusNumbers(
                try m.at("01:00.0"),
                primary: BusNumber(0),
                secondary: BusNumber(1),
                subordinate: BusNumber(1)
            ),
            .hotAdd(port: try m.at("00:01.0"), card: .testDevice(mib(1)), method: .pciehp),
            .writeConfig(try m.at("01:00.0"), offset: 3, width: 2, value: 0),
        ] {
            #expect(throws: TwinError.self) { try m.twin.perform(operation) }
        }
        let odd = CardProfile(name: "odd", functions: [.testDevice(3)])
        try m.run(.unplug(port: try m.at("00:02.0")))
        #expect(throws: TwinError.self) {
            try m.twin.perform(.hotAdd(port: try m.at("00:02.0"), card: odd, method: .pciehp))
        }
        #expect(before.functions.count == (try m.twin.topology().functions.count) + 1)
    }

    @Test("a release names a preset")
    func presets() {
        #expect(KernelBehaviour.preset(forRelease: "6.1.0-56-amd64") == (.linux6_1, true))
        #expect(KernelBehaviour.preset(forRelease: "6.12.117+deb13-amd64") == (.linux6_12, false))
        #expect(KernelBehaviour.preset(forRelease: "6.12.118+deb13-amd64") == (.linux6_12, true))
        #expect(KernelBehaviour.preset(forRelease: "7.2.13-1-amd64") == (.linux7_2, true))
        #expect(KernelBehaviour.preset(forRelease: "5.15.0-91-generic") == (.linux6_1, false))
        #expect(KernelBehaviour.preset(forRelease: "6.8.0") == (.linux6_1, false))
        #expect(KernelBehaviour.preset(forRelease: "6.14.0") == (.linux6_12, false))
        #expect(KernelBehaviour.preset(forRelease: "6.18.15+deb13-amd64") == (.linux6_18, true))
        #expect(KernelBehaviour.preset(forRelease: "6.18.16") == (.linux6_18, false))
        #expect(KernelBehaviour.preset(forRelease: "8.0") == (.linux7_3, false))
        #expect(KernelBehaviour.preset(forRelease: "") == (.linux6_1, false))
        #expect(KernelBehaviour.preset(forRelease: "rolling") == (.linux6_1, false))
    }

    @Test("every preset has alternatives, none of them itself", arguments: KernelBehaviour.presets)
    func alternatives(_ behaviour: KernelBehaviour) {
        let others = behaviour.alternatives
        #expect(others.count >= 4)
        #expect(!others.contains { $0.switches == behaviour.switches })
        #expect(Set(others.map(\.name)).count == others.count)
    }

    @Test("what a machine did names the behaviours that fit", arguments: KernelBehaviour.presets)
    func evidence(_ behaviour: KernelBehaviour) throws {
        // A switch whose port is found anew: the generations size, align and distribute differently.
        var machine = try OracleTests.chain(behaviour)
        let before = try machine.twin.topology()
        let operations: [TwinOperation] = [
            .remove(try machine.at("01:00.0")), .rescanBus(segment: 0, bus: BusNumber(1)),
            .remove(try machine.at("00:01.0")), .rescan,
        ]
        for operation in operations { try machine.run(operation) }
        let observed = TreeState(try machine.twin.topology())
        #expect(behaviour.explains(observed, after: operations, from: before))
        for assumed in KernelBehaviour.presets where assumed != behaviour {
            guard !assumed.explains(observed, after: operations, from: before) else { continue }
            let fitting = assumed.alternatives(for: observed, after: operations, from: before)
            #expect(fitting.contains { $0.switches == behaviour.switches }, "\(assumed) does not lead to \(behaviour)")
            #expect(fitting.allSatisfy { $0.explains(observed, after: operations, from: before) })
        }
        // Something that no kernel does.
        var impossible = observed
        impossible.functions.removeLast()
        #expect(behaviour.alternatives(for: impossible, after: operations, from: before).isEmpty)
        // An operation that names nothing.
        let nowhere: [TwinOperation] = [.remove(try machine.at("77:00.0"))]
        #expect(behaviour.alternatives(for: observed, after: nowhere, from: before).isEmpty)
    }

    @Test("the generations can be told apart by what they do to a switch")
    func distinct() throws {
        var states: [String: [String]] = [:]
        for behaviour in KernelBehaviour.presets {
            var machine = try OracleTests.chain(behaviour)
            try machine.run(.remove(try machine.at("00:01.0")), .rescan)
            states["\(try machine.windows("00:01.0"))", default: []].append(behaviour.name)
        }
        #expect(states.count >= 2, "\(states)")
    }

    @Test("unplug and plug again gives the same addresses", arguments: KernelBehaviour.presets)
    func unplug(_ behaviour: KernelBehaviour) throws {
        var m = try OracleTests.topologyA(behaviour)
        let port = try m.at("00:01.0")
        let card = try m.at("01:00.0")
        let before = m.twin.resourceLines(of: card)
        try m.run(.unplug(port: port))
        #expect(try !m.exists("01:00.0"))
        try m.run(.rescan)
        #expect(try !m.exists("01:00.0"))
        try m.run(.hotAdd(port: port, card: .testDevice(mib(16)), method: .pciehp))
        #expect(m.twin.resourceLines(of: card) == before)
        let again = try m.run(.rescan)
        #expect(!again.contains(.found(card)))
    }

    @Test("7.2 asks for two I/O windows' worth where 6.x asks for one")
    func ioQuirk() throws {
        for behaviour in KernelBehaviour.presets {
            var m = try OracleTests.topologyA(behaviour)
            let port = try m.at("00:02.0")
            try m.run(.remove(port), .rescan)
            #expect(try m.place("00:02.0", 13) == (behaviour == .linux7_2 ? "1000-2fff" : "1000-1fff"))
        }
    }

    @Test("the same operations give the same events every time")
    func determinism() throws {
        var a = try OracleTests.chain(.linux7_2)
        var b = try OracleTests.chain(.linux7_2)
        for operation: TwinOperation in [
            .remove(try a.at("01:00.0")), .rescanBus(segment: 0, bus: BusNumber(1)), .remove(try a.at("00:01.0")),
            .rescan,
        ] {
            #expect(try a.run(operation) == b.run(operation))
        }
    }
}
