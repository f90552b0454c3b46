// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import Testing

@testable internal import RebalancePlanner

/// What a guest's port has to reserve for a card.
@Suite("reserves of a guest's port")
struct GuestReserveTests {
    private static let mib: UInt64 = 1 << 20
    private static let identity = Function.Identity(vendor: 0x10de, device: 1, classCode: 0x03_0200)

    private func reserve(_ bars: [CardBAR]) -> GuestReserve {
        GuestReserve(CardProfile(name: "card", functions: [CardFunction(identity: Self.identity, bars: bars)]))
    }

    @Test("sums by kind, rounded up to a MiB; I/O to 4 KiB and at most all 64 KiB but the last byte")
    func sums() {
        let mixed = reserve([
            .memory(0, Self.mib), .memory(1, 1), .memory(2, 3 * Self.mib, is64Bit: true, isPrefetchable: true),
            .io(4, 1),
        ])
        #expect(mixed.memory == 2 * Self.mib && mixed.prefetchable == 3 * Self.mib && mixed.io == 0x1000)
        #expect(mixed.buses == 0)
        // What is prefetchable but of 32 bits, or wide but not prefetchable, goes into the memory window.
        let narrow = reserve([.memory(0, 16, isPrefetchable: true), .memory(2, 16, is64Bit: true)])
        #expect(narrow.memory == Self.mib && narrow.prefetchable == 0)
        for (size, rounded) in [(0x1000, 0x1000), (0x1001, 0x2000), (0xffff, 0x1_0000)] as [(UInt64, UInt64)] {
            #expect(reserve([.io(0, size)]).io == rounded)
        }
        #expect(reserve([.io(0, 0x8000), .io(1, 0x8000)]).io == 0x1_0000)
        for (size, rounded) in [
            (Self.mib - 1, Self.mib), (Self.mib, Self.mib), (Self.mib + 1, 2 * Self.mib),
            (.max - 0xf_ffff, .max - 0xf_ffff), (.max - 0xf_fffe, .max - 0xf_fffe),
        ] as [(UInt64, UInt64)] { #expect(reserve([.memory(0, size)]).memory == rounded, "\(size)") }
    }

    @Test("slack for the alignment: the largest BAR less 2 MiB, where it is larger than that")
    func slack() {
        for (sizes, expected) in [
            ([2 * Self.mib], 2 * Self.mib), ([4 * Self.mib], 6 * Self.mib),
            ([4 * Self.mib, 8 * Self.mib], 18 * Self.mib), ([Self.mib, Self.mib], 2 * Self.mib),
        ] as [([UInt64], UInt64)] {
            let memory = reserve(sizes.enumerated().map { .memory($0.offset, $0.element) })
            #expect(memory.withSlack.memory == expected && memory.withSlack.prefetchable == 0)
            let wide = reserve(
                sizes.enumerated().map { .memory(2 * $0.offset, $0.element, is64Bit: true, isPrefetchable: true) }
            )
            #expect(wide.withSlack.prefetchable == expected && wide.withSlack.memory == 0)
        }
    }

    @Test("a bus for each bridge of the card, and what is behind them counts")
    func bridges() {
        let inner = CardFunction(identity: Self.identity, bars: [.memory(0, Self.mib), .io(1, 16)])
        func bridge(_ children: [CardFunction]) -> CardFunction {
            CardFunction(identity: Self.identity, portType: .downstreamPort, bridge: CardBridge(children: children))
        }
        let card = CardProfile(
            name: "switch",
            functions: [
                CardFunction(
                    identity: Self.identity,
                    bars: [.memory(0, Self.mib)],
                    portType: .upstreamPort,
                    bridge: CardBridge(children: [bridge([inner]), bridge([])])
                )
            ]
        )
        let reserve = GuestReserve(card)
        #expect(reserve.buses == 3 && reserve.memory == 2 * Self.mib && reserve.io == 0x1000)
        #expect(reserve.properties == "io-reserve=4K,mem-reserve=2M,bus-reserve=3")
        #expect(
            reserve.libvirtLines(alias: "ua-p") == [
                "<qemu:override>", "  <qemu:device alias='ua-p'>", "    <qemu:frontend>",
                "      <qemu:property name='io-reserve' type='unsigned' value='4096'/>",
                "      <qemu:property name='mem-reserve' type='unsigned' value='2097152'/>",
                "      <qemu:property name='bus-reserve' type='unsigned' value='3'/>", "    </qemu:frontend>",
                "  </qemu:device>", "</qemu:override>",
            ]
        )
        #expect(GuestReserve(CardProfile(name: "none", functions: [])).properties == "")
    }

    @Test("a card like one that is there: all functions of the device, BARs as they are decoded, no VFs")
    func likeAnother() throws {
        let machine = try WriteMachine(enabledVFs: 2)
        let card = try #require(CardProfile(of: WriteMachine.card, in: machine.topology))
        #expect(card.name == "0000:03:00.0")
        #expect(card.functions.map(\.devfn) == [0, 1])
        #expect(
            card.functions[0].bars == [
                .memory(0, Self.mib), .io(1, 256), .memory(2, 64 * Self.mib, is64Bit: true, isPrefetchable: true),
            ]
        )
        #expect(card.functions[1].bars == [.memory(0, 4096)])
        #expect(card.functions[0].identity == machine.topology[WriteMachine.card]?.identity)
        // A bridge is no card; neither is a function that is not there, or one without BARs.
        #expect(CardProfile(of: WriteMachine.full, in: machine.topology) == nil)
        #expect(CardProfile(of: FunctionAddress(bus: BusNumber(0x3f), devfn: 0), in: machine.topology) == nil)
    }
}
