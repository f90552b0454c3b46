// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import Testing

/// Rules that no recording shows, on trees of a few functions.
@Suite("Rules of the policies, one at a time")
struct PolicyRuleTests {
    private let low: ClosedRange<UInt64> = 0xc000_0000...0xdfff_ffff
    private let high: ClosedRange<UInt64> = 0x10_0000_0000...0x1f_ffff_ffff

    private func run(_ tree: SmallTree, _ policy: any AllocationPolicy) throws -> [String: FunctionOutcome] {
        let outcome = policy.allocate(ResourceDemand(try tree.topology()))
        return Dictionary(outcome.functions.map { ($0.today.short, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private func bar(_ number: Int) throws -> ResourceIndex { try #require(ResourceIndex.bar(number)) }

    @Test("SeaBIOS repeats bus numbers behind a reserve that is smaller than what is in use")
    func seabiosReserve() throws {
        let tree = SmallTree(memory: [low]) {
            let port = $0.port("00:02.0", reservesBuses: 1)
            let second = $0.port("01:00.0", below: port)
            $0.port("02:00.0", below: second)
            $0.port("00:03.0")
        }
        let outcome = try run(tree, SeaBIOSPolicy(release: .v1_16_2))
        #expect(outcome["02:00.0"]?.buses?.first.rawValue == 3)
        #expect(outcome["00:03.0"]?.buses?.first.rawValue == 2)
    }

    @Test("SeaBIOS 1.17 pads a hot-plug port's prefetchable window to 1/2048 of the address space")
    func seabiosPadding() throws {
        let tree = SmallTree(memory: [low, high]) { $0.port("00:02.0", isHotPlug: true) }
        let old = try run(tree, SeaBIOSPolicy(release: .v1_16_2))
        #expect(old["00:02.0"]?.window(.prefetchableWindow)?.size == 2 << 20)
        let new = try run(tree, SeaBIOSPolicy(release: .v1_17_0, physicalAddressBits: 37))
        #expect(new["00:02.0"]?.window(.prefetchableWindow)?.size == 1 << 26)
        #expect(new["00:02.0"]?.window(.prefetchableWindow)?.first ?? 0 > 0xffff_ffff)
    }

    @Test("SeaBIOS halts rather than leave a BAR out")
    func seabiosHalt() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc0ff_ffff]) { tree in
            tree.endpoint("00:02.0", bars: [.mem32(32 << 20)])
            tree.endpoint("00:03.0", bars: [.mem32(4096)])
        }
        let outcome = SeaBIOSPolicy().allocate(ResourceDemand(try tree.topology()))
        #expect(outcome.halt == "halts: out of 32-bit address space")
        #expect(outcome.functions.allSatisfy { $0.resources.allSatisfy { $0.range == nil && $0.reason != nil } })
    }

    @Test("SeaBIOS takes the aperture that ends below the I/O APIC at 0xfec00000, else the largest")
    func seabiosLowRange() throws {
        func first(_ memory: [ClosedRange<UInt64>]) throws -> UInt64? {
            let tree = SmallTree(memory: memory) { $0.endpoint("00:02.0", bars: [.mem32(4096)]) }
            return try run(tree, SeaBIOSPolicy())["00:02.0"]?.range(try bar(0))?.first
        }
        // q35 with little RAM: the space below MMCONFIG is the larger one.
        #expect(try first([0x2000_0000...0xafff_ffff, 0xc000_0000...0xfebf_ffff]) == 0xfebf_f000)
        // Other machines: an aperture further up may hold little.
        #expect(try first([0x8000_0000...0xdfff_ffff, 0xfd00_0000...0xfe7f_ffff]) == 0xdfff_f000)
        #expect(try first([0xfed0_0000...0xfed3_ffff]) == 0xfed3_f000)
    }

    @Test("EDK2 rejects the largest consumer, never one on bus 0 and never a display controller")
    func edk2Rejects() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc1ff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem32(8 << 20)])
            let port = $0.port("00:03.0")
            $0.endpoint("01:00.0", below: port, classCode: 0x030000, bars: [.mem32(8 << 20)])
            $0.endpoint("01:01.0", below: port, bars: [.mem32(4 << 20)])
            $0.endpoint("01:02.0", below: port, bars: [.mem32(16 << 20)])
        }
        let outcome = try run(tree, EDK2Policy(padding: .none))
        let first = try bar(0)
        #expect(outcome["01:02.0"]?.range(first) == nil)
        #expect(outcome["01:02.0"]?.resources.first?.reason?.hasPrefix("rejected") == true)
        for name in ["00:02.0", "01:00.0", "01:01.0"] { #expect(outcome[name]?.range(first) != nil) }
    }

    @Test("EDK2 gives up for want of room, not for want of an aperture")
    func edk2GivesUp() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc0ff_ffff, high]) {
            $0.endpoint("00:02.0", bars: [.mem32(32 << 20)])
        }
        let outcome = EDK2Policy(padding: .none).allocate(ResourceDemand(try tree.topology()))
        #expect(outcome.halt == "gives up: no room in the apertures for memory32")
        #expect(outcome.haltReason == "no room in the apertures for memory32")
    }

    @Test("EDK2 turns 32-bit prefetchable requests into memory where 64-bit ones share the bridge")
    func edk2Degrades() throws {
        let tree = SmallTree(memory: [low, high]) {
            let port = $0.port("00:02.0")
            $0.endpoint("01:00.0", below: port, bars: [.pref64(1 << 30), .pref32(1 << 20)])
        }
        let outcome = try run(tree, EDK2Policy(padding: .none))
        let port = try #require(outcome["00:02.0"])
        #expect(port.window(.prefetchableWindow)?.first == 0x10_0000_0000)
        let narrow = try #require(outcome["01:00.0"]?.range(try bar(2)))
        #expect(port.window(.memoryWindow)?.contains(narrow) == true)
    }

    @Test("EDK2 takes a 32-bit prefetchable window for none")
    func edk2NarrowWindow() throws {
        let tree = SmallTree(memory: [low, high]) {
            let port = $0.port("00:02.0", prefetchableType: 0)
            $0.endpoint("01:00.0", below: port, bars: [.pref64(1 << 20)])
        }
        let port = try #require(try run(tree, EDK2Policy(padding: .none))["00:02.0"])
        #expect(port.window(.prefetchableWindow) == nil)
        #expect(port.window(.memoryWindow)?.size == 1 << 20)
    }

    @Test("coreboot takes the top, keeps BARs below 4 GiB unless told otherwise, and reserves for hot-plug ports")
    func coreboot() throws {
        let tree = SmallTree(memory: [low, high]) {
            let port = $0.port("00:02.0", isHotPlug: true)
            $0.endpoint("01:00.0", below: port, bars: [.mem32(1 << 20)])
            $0.endpoint("00:03.0", bars: [.pref64(256 << 20)])
            $0.port("00:04.0")
        }
        let plain = try run(tree, CorebootPolicy())
        #expect(plain["00:03.0"]?.range(try bar(0))?.first == 0xd000_0000)
        #expect(plain["00:02.0"]?.buses == BusRange(first: BusNumber(1), last: BusNumber(9)))
        #expect(plain["00:04.0"]?.buses == BusRange(BusNumber(10)))
        #expect(plain["00:02.0"]?.window(.memoryWindow)?.size == 9 << 20)
        #expect(plain["00:02.0"]?.window(.prefetchableWindow)?.size == 256 << 20)
        #expect(plain["00:02.0"]?.window(.prefetchableWindow)?.first ?? 0 > 0xffff_ffff)
        let high = try run(tree, CorebootPolicy(allowsHigh: true))
        #expect(high["00:03.0"]?.range(try bar(0))?.last == 0x1f_ffff_ffff)
    }

    @Test("U-Boot leaves holes in the order of discovery and goes on after a failure")
    func uboot() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc3ff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem32(4096), .mem32(16 << 20)])
            $0.endpoint("00:03.0", bars: [.mem32(64 << 20), .mem32(1 << 20)])
        }
        let outcome = try run(tree, UBootPolicy())
        #expect(outcome["00:02.0"]?.range(try bar(0))?.first == 0xc000_0000)
        #expect(outcome["00:02.0"]?.range(try bar(1))?.first == 0xc100_0000)
        #expect(outcome["00:03.0"]?.range(try bar(0)) == nil)
        #expect(outcome["00:03.0"]?.range(try bar(1))?.first == 0xc200_0000)
    }

    /// 0xc0000000 |--1M device--|--1M window of 00:03.0--|------ free ------|
    @Test("FreeBSD grows a window in place and moves nothing that is there")
    func freebsdGrows() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc0ff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem32(1 << 20)], today: [0xc000_0000])
            let port = $0.port("00:03.0", windows: [.memoryWindow: 0xc010_0000...0xc01f_ffff])
            $0.endpoint("01:00.0", below: port, bars: [.mem32(1 << 20)], today: [0xc010_0000])
            $0.endpoint("01:01.0", below: port, bars: [.mem32(2 << 20)])
        }
        let outcome = try run(tree, FreeBSDPolicy(keepsToday: true))
        #expect(outcome["01:00.0"]?.range(try bar(0))?.first == 0xc010_0000)
        #expect(outcome["01:01.0"]?.range(try bar(0))?.first == 0xc020_0000)
        #expect(outcome["00:03.0"]?.window(.memoryWindow) == AddressRange(first: 0xc010_0000, last: 0xc03f_ffff))
    }

    /// 0xc0000000 |--1M device--|--1M window--|--1M device--|------ free ------|
    @Test("FreeBSD cannot grow between neighbours")
    func freebsdStuck() throws {
        let tree = SmallTree(memory: [0xc000_0000...0xc0ff_ffff]) {
            $0.endpoint("00:02.0", bars: [.mem32(1 << 20)], today: [0xc000_0000])
            let port = $0.port("00:03.0", windows: [.memoryWindow: 0xc010_0000...0xc01f_ffff])
            $0.endpoint("01:00.0", below: port, bars: [.mem32(1 << 20)], today: [0xc010_0000])
            $0.endpoint("01:01.0", below: port, bars: [.mem32(1 << 20)])
            $0.endpoint("00:04.0", bars: [.mem32(1 << 20)], today: [0xc020_0000])
        }
        let outcome = try run(tree, FreeBSDPolicy(keepsToday: true))
        #expect(outcome["01:01.0"]?.range(try bar(0)) == nil)
        #expect(outcome["01:01.0"]?.resources.first?.reason == "no window could grow far enough")
    }

    @Test("the audit finds what is wrong with a layout")
    func audit() throws {
        let tree = SmallTree(memory: [low]) {
            let port = $0.port("00:02.0")
            $0.endpoint("01:00.0", below: port, bars: [.mem32(1 << 20)])
            $0.endpoint("00:03.0", bars: [.mem32(1 << 20)])
        }
        let demand = ResourceDemand(try tree.topology())
        let sound = CorebootPolicy().allocate(demand)
        #expect(LayoutAudit(sound, demand).violations.isEmpty)
        func broken(_ name: String, _ first: UInt64) throws -> [String] {
            var outcome = sound
            let f = try #require(outcome.functions.firstIndex { $0.today.short == name })
            outcome.functions[f].resources[0].range = AddressRange(first: first, size: 1 << 20)
            return LayoutAudit(outcome, demand).violations
        }
        #expect(try broken("00:03.0", 0xc000_8000).contains { $0.contains("not aligned") })
        #expect(try broken("00:03.0", 0x1000_0000).contains { $0.contains("outside the apertures") })
        #expect(try broken("01:00.0", 0xc000_0000).contains { $0.contains("outside the windows") })
        let window = try #require(sound.functions.first { $0.today.short == "00:02.0" }?.window(.memoryWindow))
        #expect(try broken("00:03.0", window.first).contains { $0.contains("overlaps") })
        let narrow = SmallTree(memory: [low, high]) {
            let port = $0.port("00:02.0", prefetchableType: 0)
            $0.endpoint("01:00.0", below: port, bars: [.pref64(1 << 30)])
        }
        // U-Boot does not look at the width of a port's window.
        let wide = ResourceDemand(try narrow.topology())
        #expect(LayoutAudit(UBootPolicy().allocate(wide), wide).violations.contains { $0.contains("32-bit window") })
    }
}
