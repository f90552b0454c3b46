// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// How large a closed window becomes, where it goes, and what goes where in it: worked out by hand from the BARs below.
@Suite("Sizes and places of new windows")
struct WindowSizeTests {
    /// A port whose windows firmware left closed, with a card of the given BARs; beside it a card of 1 MiB at 40000000.
    private func machine(
        _ behaviour: KernelBehaviour,
        commandLine: String? = nil,
        isHotPlug: Bool = false,
        _ bars: [CardBAR],
        rom: UInt64 = 0
    ) throws -> Q35 {
        let card = CardFunction(
            identity: Function.Identity(vendor: 0x1234, device: 1, classCode: 0xff_0000),
            bars: bars,
            romSize: rom
        )
        let neighbour = CardProfile(
            name: "neighbour",
            functions: [
                CardFunction(
                    devfn: 0x18,
                    identity: Function.Identity(vendor: 0x1234, device: 2, classCode: 0xff_0000),
                    bars: [.memory(0, 1 << 20), .io(1, 0x400)]
                )
            ]
        )
        var m = try Q35(
            behaviour,
            commandLine: commandLine,
            cards: [.rootPort(1, isHotPlug: isHotPlug, [card]), neighbour]
        )
        m.program([0x08], bars: [0: 0xfea1_2000], buses: (0, 1, 1))
        m.program([0x08, 0], command: 0)
        m.program([0x18], bars: [0: 0x4000_0000, 1: 0x1000], command: 3)
        try m.boot()
        return m
    }

    private func memory(_ sizes: [UInt64]) -> [CardBAR] { sizes.enumerated().map { .memory($0, $1 << 20) } }

    @Test("memory windows: alignment and size by generation, from the first free MiB at 40100000")
    func alignments() throws {
        for (sizes, old, new) in [
            ([1], "40100000-401fffff", "40100000-401fffff"), ([4], "40400000-407fffff", "40400000-407fffff"),
            // 5 MiB: half of 4 MiB is enough up to 6.17, and the size is rounded to it; from 6.18 the head has no gap.
            ([1, 4], "40200000-407fffff", "40400000-408fffff"), ([1, 1, 4], "40200000-407fffff", "40200000-407fffff"),
            ([1, 1, 1, 4], "40100000-407fffff", "40100000-407fffff"),
            ([2, 4], "40200000-407fffff", "40200000-407fffff"),
            ([1, 2], "40100000-403fffff", "40100000-403fffff"), ([2, 8], "40400000-40ffffff", "40800000-411fffff"),
        ] as [([UInt64], String, String)] {
            for behaviour in [KernelBehaviour.linux6_1, .linux6_12, .linux6_16] {
                #expect(try machine(behaviour, memory(sizes)).place("00:01.0", 14) == old, "\(sizes) \(behaviour.name)")
            }
            for behaviour in [KernelBehaviour.linux6_18, .linux7_0] {
                #expect(try machine(behaviour, memory(sizes)).place("00:01.0", 14) == new, "\(sizes) \(behaviour.name)")
            }
        }
    }

    @Test(
        "registers of the new window say what the kernel holds, the others are closed",
        arguments: KernelBehaviour.presets
    )
    func registers(_ behaviour: KernelBehaviour) throws {
        let m = try machine(behaviour, memory([2, 4]))
        #expect(try m.registers("00:01.0") == ["-", "40200000-407fffff", "-"])
        #expect(try m.place("01:00.0", 1) == "40400000-407fffff" && m.place("01:00.0", 0) == "40200000-403fffff")
        let card = try #require(try m.twin.topology()[m.at("01:00.0")])
        #expect(card.config.long(0x10) == 0x4020_0000 && card.config.long(0x14) == 0x4040_0000)
    }

    @Test(
        "I/O: sums in granules of 4 KiB, and addresses with bits 8 or 9 set are for ISA",
        arguments: KernelBehaviour.presets
    )
    func ports(_ behaviour: KernelBehaviour) throws {
        func io(_ sizes: [UInt64]) throws -> [String] {
            let m = try machine(behaviour, sizes.enumerated().map { .io($0, $1) })
            return [try m.place("00:01.0", 13)] + (try sizes.indices.map { try m.place("01:00.0", $0) })
        }
        #expect(try io([0x20]) == ["2000-2fff", "2000-201f"])
        #expect(try io([0x100, 0x20]) == ["2000-2fff", "2000-20ff", "2400-241f"])
        #expect(try io([0x20, 0x100]) == ["2000-2fff", "2400-241f", "2000-20ff"])
        #expect(try io([0x400, 0x400, 0x400, 0x400]).first == "2000-2fff")
        #expect(try io([0x400, 0x400, 0x400, 0x400, 0x400]).first == "2000-3fff")
        #expect(try io([0x800, 0x800, 0x20]).first == "2000-3fff")
    }

    @Test(
        "prefetchable memory of 64 bits goes above 4 GiB, of 32 bits to the memory window",
        arguments: KernelBehaviour.presets
    )
    func prefetchable(_ behaviour: KernelBehaviour) throws {
        let wide = try machine(
            behaviour,
            [.memory(0, mib(1)), .memory(2, mib(256), is64Bit: true, isPrefetchable: true)]
        )
        #expect(try wide.windows("00:01.0")[1...] == ["40100000-401fffff", "100000000-10fffffff"])
        #expect(try wide.place("01:00.0", 2) == "100000000-10fffffff")
        let narrow = try machine(behaviour, [.memory(0, mib(2), isPrefetchable: true)])
        #expect(try narrow.place("00:01.0", 14) == "40200000-403fffff" && narrow.place("00:01.0", 15) == "-")
        let plain = try machine(behaviour, [.memory(0, mib(2), is64Bit: true)])
        #expect(try plain.place("00:01.0", 14) == "40200000-403fffff")
    }

    @Test("a hot-plug port's extras are added to what is needed, by the words of the command line")
    func extras() throws {
        // 2 MiB for the card, 4 MiB by the word: the larger counts, not the sum.
        let memory = try machine(.linux6_1, commandLine: "pci=hpmmiosize=4M", isHotPlug: true, [.memory(0, mib(2))])
        #expect(try memory.place("00:01.0", 14) == "40200000-405fffff")
        let less = try machine(.linux6_1, commandLine: "pci=hpmmiosize=1M", isHotPlug: true, [.memory(0, mib(2))])
        #expect(try less.place("00:01.0", 14) == "40200000-403fffff")
        let ports = try machine(.linux6_1, commandLine: "pci=hpiosize=8k", isHotPlug: true, [.io(0, 0x20)])
        #expect(try ports.place("00:01.0", 13) == "2000-3fff")
        let none = try machine(
            .linux6_1,
            commandLine: "pci=hpmmiosize=0,hpmmioprefsize=0,hpiosize=0",
            isHotPlug: true,
            [.memory(0, mib(2))]
        )
        #expect(try none.windows("00:01.0") == ["-", "40200000-403fffff", "-"])
    }

    @Test("BARs of 256 GiB and more are dropped up to 6.15's 18 orders, of 2^24 MiB beyond 24")
    func orders() throws {
        func isPlaced(_ behaviour: KernelBehaviour, _ shift: UInt64) throws -> Bool {
            var m = try machine(behaviour, [.memory(0, 1 << shift, is64Bit: true, isPrefetchable: true)])
            m.twin.state.resources[m.twin.state.hosts[0].apertures[5]].end = 1 << 52
            try m.run(.remove(try m.at("00:01.0")), .rescan)
            return try m.place("01:00.0", 0) != "-"
        }
        for (behaviour, last) in [(KernelBehaviour.linux5_10, 37), (.linux6_1, 43), (.linux6_16, 47)]
            as [(KernelBehaviour, UInt64)]
        {
            #expect(try isPlaced(behaviour, last) && !isPlaced(behaviour, last + 1), "\(behaviour.name)")
        }
    }
}

/// What enabling, binding and letting go leave in registers and counts.
@Suite("Enabling and drivers")
struct EnableTests {
    private func machine(driver: String?, bars: [CardBAR]) throws -> Q35 {
        let card = CardFunction(
            identity: Function.Identity(vendor: 0x1234, device: 1, classCode: 0x01_0802),
            bars: bars,
            driver: driver
        )
        var m = try Q35(.linux6_1, cards: [.rootPort(1, [card])])
        m.program(
            [0x08],
            bars: [0: 0xfea1_2000],
            buses: (0, 1, 1),
            io: 0xd000...0xdfff,
            mem: 0xfe80_0000...0xfe9f_ffff,
            command: 0
        )
        m.program([0x08, 0], bars: [0: 0xfe80_0000, 1: 0xd000], command: 0)
        try m.boot()
        return m
    }

    private func state(_ m: Q35, _ address: String = "01:00.0") throws -> [Int] {
        let address = try m.at(address)
        return [
            Int(try #require(m.twin.register(of: address, at: 4, width: 2))),
            try #require(m.twin.enableCount(of: address)),
        ]
    }

    @Test("a driver that enables: both spaces and bus mastering; letting go takes mastering away, decoding stays")
    func bound() throws {
        var m = try machine(driver: "nvme", bars: [.memory(0, 0x1000), .io(1, 0x20)])
        let card = try m.at("01:00.0")
        #expect(try state(m) == [7, 1])
        #expect(try m.run(.setEnabled(card, true)) == [.refused(card, .busy, "a driver is bound")])
        try m.run(.unbind(card))
        #expect(try state(m) == [3, 0])
        try m.run(.bind(card))
        #expect(try state(m) == [7, 1])
        try m.run(.bind(card))
        #expect(try state(m) == [7, 1], "it is bound already")
    }

    @Test("only the spaces that the function has are switched on")
    func spaces() throws {
        #expect(try state(try machine(driver: "nvme", bars: [.memory(0, 0x1000)])) == [6, 1])
        #expect(try state(try machine(driver: "nvme", bars: [.io(1, 0x20)])) == [5, 1])
        #expect(try state(try machine(driver: nil, bars: [.memory(0, 0x1000)])) == [0, 0])
    }

    @Test("the enable attribute counts up and down, and below 0 is refused")
    func byHand() throws {
        var m = try machine(driver: nil, bars: [.memory(0, 0x1000)])
        let card = try m.at("01:00.0")
        #expect(
            try m.run(.setEnabled(card, false)) == [.refused(card, .io, "the function is not enabled")]
        )
        try m.run(.setEnabled(card, true))
        #expect(try state(m) == [2, 1])
        try m.run(.setEnabled(card, true))
        #expect(try state(m) == [2, 2])
        try m.run(.setEnabled(card, false), .setEnabled(card, false))
        #expect(try state(m) == [2, 0])
    }

    @Test("vfio binds and enables nothing")
    func passive() throws {
        var m = try machine(driver: "vfio-pci", bars: [.memory(0, 0x1000)])
        let card = try m.at("01:00.0")
        #expect(try state(m) == [0, 0])
        #expect(try m.run(.setEnabled(card, true)) == [.refused(card, .busy, "a driver is bound")])
        try m.run(.unbind(card), .setEnabled(card, true))
        #expect(try state(m) == [2, 1])
    }

    @Test("a BAR that the kernel wiped does not keep the driver from enabling the function")
    func withoutAddress() throws {
        // There is no window of 64 bits below the port, and 4 GiB do not fit below 4 GiB.
        let m = try machine(driver: "nvme", bars: [.memory(0, 0x1000), .memory(2, 1 << 32, is64Bit: true)])
        #expect(try m.place("01:00.0", 2) == "-")
        #expect(try state(m) == [6, 1])
    }

    @Test("ports are enabled with their bridge control, down from the root")
    func ports() throws {
        let m = try machine(driver: "nvme", bars: [.memory(0, 0x1000)])
        let port = try state(m, "00:01.0")
        #expect(port[0] & 6 == 6 && port[1] == 1)
    }

    @Test("pciehp switches a card off as it goes: no mastering, no SERR, no interrupts")
    func unplug() throws {
        var m = try machine(driver: nil, bars: [.memory(0, 0x1000)])
        let card = try m.at("01:00.0")
        try m.run(.setCommand(card, Command(rawValue: 0x107)))
        let device = m.hardware([0x08, 0])
        try m.run(.unplug(port: try m.at("00:01.0")))
        #expect(m.twin.state.registers[device].command == 0x403)
    }
}
