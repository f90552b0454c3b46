// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

@testable import AllocationPolicies

/// Cards by a word, what they need, and how many of them fit.
@Suite("Cards and the room for them")
struct CardTests {
    private func bars(_ word: String) throws -> [CardBAR] { try CardProfile(word: word).functions[0].bars }

    @Test("a word and its BARs")
    func words() throws {
        #expect(
            try bars("testdev:16M") == [
                .memory(0, 4096), .io(1, 256), .memory(2, 16 << 20, is64Bit: true, isPrefetchable: true),
            ]
        )
        #expect(
            try bars("mem:4K,pref:1G,io:32") == [
                .memory(0, 4096), .io(1, 32), .memory(2, 1 << 30, is64Bit: true, isPrefetchable: true),
            ]
        )
        #expect(try bars("io:16") == [.io(1, 16)])
        #expect(try bars("pci-bridge") == [.memory(0, 256, is64Bit: true)])
        let packetSwitch = try CardProfile(word: "switch:3")
        #expect(packetSwitch.functions[0].bridge?.children.map(\.devfn) == [0, 8, 16])
        #expect(packetSwitch.functions[0].bridge?.children.allSatisfy { $0.bridge?.isHotPlug == true } == true)
        #expect(try CardProfile(word: "switch:32").functions[0].bridge?.children.count == 32)
        let gpu = try CardProfile(word: "gpu:256M")
        let sizes = Set(gpu.functions.flatMap(\.bars).map(\.size))
        #expect(gpu.functions.count == 2 && sizes.isSuperset(of: [16 << 20, 256 << 20, 32 << 20, 128]))
        for profile in CardProfile.named { #expect(try CardProfile(word: profile.name) == profile) }
    }

    @Test(
        "what is no card is refused",
        arguments: [
            "", "gpu", "gpu:", "gpu:0", "gpu:3M", "testdev:1Q", "switch:0", "switch:33", "switch", "pci-bridge:1",
            "mem:4K,mem:8K",
            "mem", "pref:", "mem:4K,rom:1K", "elephant",
        ]
    )
    func noWords(word: String) {
        #expect(throws: CardWordError.self) { try CardProfile(word: word) }
    }

    @Test("sizes of BARs are powers of two, of a least size, at indexes that there are")
    func sensible() {
        func isSensible(_ bar: CardBAR, rom: UInt64 = 0) -> Bool {
            CardProfile(
                name: "",
                functions: [
                    CardFunction(identity: Function.Identity(vendor: 1, device: 1), bars: [bar], romSize: rom)
                ]
            ).isSensible
        }
        #expect(isSensible(.memory(0, 16)) && !isSensible(.memory(0, 8)) && !isSensible(.memory(0, 24)))
        #expect(isSensible(.io(5, 4)) && !isSensible(.io(5, 2)) && !isSensible(.io(6, 4)) && !isSensible(.io(-1, 4)))
        #expect(isSensible(.memory(4, 16, is64Bit: true)) && !isSensible(.memory(5, 16, is64Bit: true)))
        #expect(!isSensible(.memory(0, 0)))
        #expect(isSensible(.memory(0, 16), rom: 2048) && !isSensible(.memory(0, 16), rom: 3000))
    }

    // MARK: Needs

    private func need(_ word: String) throws -> [String] {
        CardNeed(try CardProfile(word: word)).blocks.map {
            "\($0.kind.word) \(ByteCount($0.size))/\(ByteCount($0.alignment))\($0.is64Bit ? " wide" : "")"
        }
    }

    @Test("what a card takes: pages of memory, windows of a bridge in whole granules, its buses")
    func needs() throws {
        #expect(try need("mem:256,io:16,pref:1M") == ["pref 1M/1M wide", "mem 4K/4K", "io 16/16"])
        var inside = try CardProfile(word: "mem:2M,io:16,pref:64K").functions[0]
        func behindBridge(_ bridge: CardBridge) -> CardNeed {
            var bridge = bridge
            bridge.children = [inside]
            return CardNeed(
                CardProfile(
                    name: "",
                    functions: [
                        CardFunction(
                            identity: Function.Identity(vendor: 1, device: 1),
                            portType: .bridgeToPCI,
                            bridge: bridge
                        )
                    ]
                )
            )
        }
        func text(_ need: CardNeed) -> [String] {
            need.blocks.map {
                "\($0.kind.word) \(ByteCount($0.size))/\(ByteCount($0.alignment))\($0.is64Bit ? " wide" : "")"
            }
        }
        let plain = behindBridge(CardBridge())
        #expect(text(plain) == ["mem 2M/2M", "pref 1M/1M wide", "io 4K/4K"] && plain.buses == 1)
        #expect(text(behindBridge(CardBridge(hasPrefetchable64: false)))[1] == "pref 1M/1M")
        // Without a prefetchable window all of it is memory: 2M and 64K, in granules of 1M.
        #expect(
            text(behindBridge(CardBridge(hasPrefetchable: false, hasPrefetchable64: false))) == [
                "mem 3M/2M", "io 4K/4K",
            ]
        )
        inside.bars = [.io(0, 0x1000), .io(1, 0x20)]
        #expect(text(behindBridge(CardBridge())) == ["io 8K/4K"])
        #expect(CardNeed(try CardProfile(word: "switch:4")).buses == 5)
    }

    private func range(_ first: UInt64, _ last: UInt64) throws -> AddressRange {
        try #require(AddressRange(first: first, last: last))
    }

    @Test("how many fit: by bytes, by alignment, by width, by bus numbers")
    func copies() throws {
        let card = CardNeed(try CardProfile(word: "mem:1M"))
        func count(_ memory: [AddressRange], _ prefetchable: [AddressRange] = [], for need: CardNeed, buses: Int = 0)
            -> Int
        {
            need.copies(in: [[], memory, prefetchable], buses: buses)
        }
        #expect(try count([range(0xc000_0000, 0xc03f_ffff)], for: card) == 4)
        #expect(try count([range(0xc000_0000, 0xc03f_fffe)], for: card) == 3)
        #expect(try count([range(0xc000_1000, 0xc030_0fff)], for: card) == 2)
        #expect(try count([range(0xc000_0000, 0xc00f_ffff), range(0xc020_0000, 0xc02f_ffff)], for: card) == 2)
        #expect(try count([range(0xc000_0000, 0xcfff_ffff)], for: card) == 16, "no more are counted")
        #expect(try count([range(0x1_0000_0000, 0x1_00ff_ffff)], for: card) == 0, "32 bits")
        #expect(try count([range(0xfff0_0000, 0x1_00ff_ffff)], for: card) == 1)
        let wide = CardNeed(try CardProfile(word: "pref:1M"))
        #expect(try count([], [range(0x1_0000_0000, 0x1_002f_ffff)], for: wide) == 3)
        #expect(try count([range(0xc000_0000, 0xc01f_ffff)], [range(0x1_0000_0000, 0x1_002f_ffff)], for: wide) == 5)
        #expect(
            try count([], [range(0xc000_0000, 0xc01f_ffff)], for: card) == 0,
            "memory does not go to prefetchable windows"
        )
        let bridge = CardNeed(try CardProfile(word: "pci-bridge"))
        #expect(try count([range(0xc000_0000, 0xc0ff_ffff)], for: bridge, buses: 3) == 3)
        #expect(try count([range(0xc000_0000, 0xc0ff_ffff)], for: bridge, buses: 0) == 0)
        #expect(CardNeed(CardProfile(name: "", functions: [])).copies(in: [[], [], []], buses: 5) == 0)
        #expect(card.copies(in: [[], [try range(0xc000_0000, 0xcfff_ffff)], []], buses: 0, most: 3) == 3)
    }
}
