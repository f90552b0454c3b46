// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import Testing

/// Windows, alignments and links of non-transparent bridges, by the ids and registers that Linux's drivers read.
@Suite("non-transparent bridges")
struct NonTransparentBridgeTests {
    /// A function with memory BARs 1, 2, 4 and 5 and 4 KiB of registers.
    private static func function(
        _ vendor: UInt16,
        _ device: UInt16,
        _ classCode: UInt32 = 0x06_8000,
        revision: UInt8 = 0,
        driver: String? = nil,
        _ fill: (inout ConfigSpace) -> Void = { _ in }
    ) -> Function {
        var config = ConfigSpace(Array(repeating: 0, count: 4096))
        config.write(UInt32(vendor) | UInt32(device) << 16, at: 0, width: 4)
        fill(&config)
        var function = Function(
            address: FunctionAddress(bus: BusNumber(3), devfn: 0),
            identity: .init(vendor: vendor, device: device, classCode: classCode, revision: revision),
            config: config
        )
        function.use.driver = driver
        function.resources = [1, 2, 4, 5].compactMap { bar in
            ResourceIndex.bar(bar).map {
                Resource(
                    index: $0,
                    flags: [.memory],
                    size: ByteCount(UInt64(bar) << 20),
                    alignment: ByteCount(1 << 20),
                    assignment: .unassigned
                )
            }
        }
        return function
    }

    private func windows(_ function: Function) -> [String]? {
        function.nonTransparentBridge?.windows?.map { window in
            "\(window.bar) \(window.size?.description ?? "?") \(window.translationAlignment?.description ?? "?")"
        }
    }

    @Test("windows: which BARs, how large, and what they are translated to must be aligned to")
    func sizes() throws {
        #expect(windows(Self.function(0x8086, 0x2f0d)) == ["2 2M 2M", "4 4M 4M"])
        #expect(
            windows(Self.function(0x8086, 0x2f0d) { $0.write(0x41, at: 0xd4, width: 1) }) == [
                "2 2M 2M", "4 4M 4M", "5 5M 5M",
            ],
            "the registers split BAR 4"
        )
        #expect(windows(Self.function(0x8086, 0x201c)) == ["2 2M 2M", "4 4M 4M"])
        for (revision, alignment) in [(UInt8(1), "4K"), (2, "2M"), (15, "2M"), (16, "4K")] {
            #expect(windows(Self.function(0x8086, 0x347e, revision: revision))?.first == "2 2M \(alignment)")
        }
        #expect(windows(Self.function(0x1022, 0x145b)) == ["1 1M 4K", "2 2M 4K", "4 4M 4K"])
        #expect(windows(Self.function(0x1022, 0x148b)) == ["2 2M 4K", "4 4M 4K"])
        #expect(windows(Self.function(0x1d94, 0x145b))?.count == 3)
        // What decides stands in a BAR.
        for (vendor, device, classCode) in [
            (0x11f8, 0x8531, 0x06_8000), (0x10b5, 0x87b0, 0x06_8000), (0x104c, 0xb00d, 0x05_0000),
        ] as [(UInt16, UInt16, UInt32)] {
            let bridge = try #require(Self.function(vendor, device, classCode).nonTransparentBridge)
            #expect(bridge.windows == nil && bridge.link == .untold)
        }
        #expect(Self.function(0x104c, 0xb00d).nonTransparentBridge == nil, "the same chip as something else")
        #expect(Self.function(1, 1, driver: "ntb_hw_idt").nonTransparentBridge?.kind == .idt)
        var unread = Self.function(0x8086, 0x2f0d)
        unread.knowledge.registers = .unseen
        #expect(unread.nonTransparentBridge?.windows == nil && unread.nonTransparentBridge?.link == .untold)
        var unsized = Self.function(0x8086, 0x201c)
        unsized.resources[1].size = nil
        #expect(windows(unsized) == ["2 ? ?", "4 4M 4M"])
    }

    @Test(
        "the link: by the register of the first and third Intel generation, by what a driver said, else it counts as up"
    )
    func link() throws {
        func link(_ device: UInt16, _ status: UInt32) -> NonTransparentBridge.Link? {
            Self.function(0x8086, device) { $0.write(status, at: 0x1a2, width: 2) }.nonTransparentBridge?.link
        }
        for device in [0x3725, 0x3c0d, 0x0e0e, 0x2f0d, 0x6f0e, 0x201c] as [UInt16] {
            #expect(link(device, 0x2043) == .up && link(device, 0x0043) == .down, "\(device)")
        }
        #expect(link(0x347e, 0x2043) == .untold, "in a BAR")
        for device in [0x3727, 0x3c0f, 0x0e0f, 0x2f0f, 0x6f0f] as [UInt16] { #expect(link(device, 0) == .up) }

        var amd = Self.function(0x1022, 0x148b, driver: "ntb_hw_amd")
        #expect(amd.heldByOtherHost?.contains("whether its link is up is not told") == true)
        amd.use.evidence = [UseEvidence(code: "ntb-down", detail: "", isProtected: false, weight: 50)]
        #expect(amd.nonTransparentBridge?.link == .down && amd.heldByOtherHost == nil)
        let up = Self.function(0x8086, 0x201c) { $0.write(0x2000, at: 0x1a2, width: 2) }
        #expect(up.heldByOtherHost == "another host reaches this one through it: its link is up")
        #expect(Self.function(0x8086, 0x201c).heldByOtherHost == nil, "the register says that it is down")
        #expect(Self.function(0x8086, 0x1572).heldByOtherHost == nil)
    }
}
