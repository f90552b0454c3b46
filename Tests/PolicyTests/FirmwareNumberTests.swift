// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import Testing

/// Addresses of coreboot and FreeBSD, worked out by hand from their rules.
@Suite("Numbers of coreboot and FreeBSD")
struct FirmwareNumberTests {
    private static let low: ClosedRange<UInt64> = 0xc000_0000...0xdfff_ffff
    private static let high: ClosedRange<UInt64> = 0x10_0000_0000...0x1f_ffff_ffff

    /// Where BARs and windows begin and end: `00:03.0 BAR 0 c0000000-c00fffff`, in the order of the tree.
    private func places(
        _ policy: any AllocationPolicy,
        in memory: [ClosedRange<UInt64>] = [low, high],
        _ build: (inout SmallTree) -> Void
    ) throws -> [String] {
        let outcome = policy.allocate(ResourceDemand(try SmallTree(memory: memory, build).topology()))
        return outcome.functions.flatMap { function in
            function.windows.map { "\(function.today.short) \($0.index) \(text($0.range))" }
                + function.resources.map { "\(function.today.short) \($0.index) \($0.range.map(text) ?? "-")" }
        }
    }

    private func text(_ range: AddressRange) -> String { "\(bareHex(range.first))-\(bareHex(range.last))" }

    @Test("coreboot: by falling alignment, from the top down or from the bottom up, pages of memory")
    func corebootOrder() throws {
        let cards: (inout SmallTree) -> Void = {
            $0.endpoint("00:03.0", bars: [.mem32(1 << 20), .mem32(16), .io(0x20)])
            $0.endpoint("00:04.0", bars: [.mem32(4 << 20), .io(0x100)])
        }
        #expect(
            try places(CorebootPolicy(reserve: nil), cards) == [
                "00:03.0 BAR 0 dfb00000-dfbfffff", "00:03.0 BAR 1 dfaff000-dfaff00f", "00:03.0 BAR 2 fee0-feff",
                "00:04.0 BAR 0 dfc00000-dfffffff", "00:04.0 BAR 1 ff00-ffff",
            ]
        )
        #expect(
            try places(CorebootPolicy(isTopDown: false, reserve: nil), cards) == [
                "00:03.0 BAR 0 c0400000-c04fffff", "00:03.0 BAR 1 c0500000-c050000f", "00:03.0 BAR 2 1100-111f",
                "00:04.0 BAR 0 c0000000-c03fffff", "00:04.0 BAR 1 1000-10ff",
            ]
        )
    }

    @Test("coreboot: what may lie above 4 GiB")
    func corebootHigh() throws {
        func place(_ bar: SmallTree.BAR, allowsHigh: Bool) throws -> [String] {
            try places(CorebootPolicy(allowsHigh: allowsHigh, reserve: nil)) {
                $0.endpoint("00:03.0", bars: [bar])
            }
        }
        #expect(try place(.pref64(256 << 20), allowsHigh: false) == ["00:03.0 BAR 0 d0000000-dfffffff"])
        #expect(try place(.pref64(256 << 20), allowsHigh: true) == ["00:03.0 BAR 0 1ff0000000-1fffffffff"])
        #expect(try place(.mem64(256 << 20), allowsHigh: true) == ["00:03.0 BAR 0 1ff0000000-1fffffffff"])
        #expect(try place(.mem32(256 << 20), allowsHigh: true) == ["00:03.0 BAR 0 d0000000-dfffffff"])
        // Exactly as much as there is, and one doubling more.
        #expect(try place(.mem32(512 << 20), allowsHigh: false) == ["00:03.0 BAR 0 c0000000-dfffffff"])
        #expect(try place(.mem32(1 << 30), allowsHigh: false) == ["00:03.0 BAR 0 -"])
    }

    @Test("coreboot: a hot-plug port gets 8 buses more, 8 MiB, 256 MiB prefetchable, 2 KiB of I/O in whole granules")
    func corebootReserve() throws {
        let policy = CorebootPolicy()
        let port: (inout SmallTree) -> Void = { $0.port("00:02.0", isHotPlug: true) }
        #expect(
            Set(try places(policy, port)) == [
                "00:02.0 io window f000-ffff", "00:02.0 mem window df800000-dfffffff",
                "00:02.0 pref window 1ff0000000-1fffffffff",
            ]
        )
        let outcome = policy.allocate(
            ResourceDemand(
                try SmallTree(memory: [Self.low]) {
                    let first = $0.port("00:02.0", isHotPlug: true)
                    $0.port("01:00.0", below: first)
                    $0.port("00:03.0")
                }.topology()
            )
        )
        // 1 and 8 more, of which the inner port takes the next after them.
        #expect(outcome.functions.map { $0.buses?.description } == ["[bus 01-0a]", "[bus 0a]", "[bus 0b]"])
    }

    @Test("coreboot: windows hold their contents by falling size, rounded to granules")
    func corebootWindow() throws {
        #expect(
            Set(
                try places(CorebootPolicy(reserve: nil)) {
                    let port = $0.port("00:02.0")
                    $0.endpoint("01:00.0", below: port, bars: [.mem32(1 << 20), .mem32(2 << 20), .io(0x20)])
                }
            ) == [
                "00:02.0 io window f000-ffff", "00:02.0 mem window dfc00000-dfefffff",
                "01:00.0 BAR 0 dfe00000-dfefffff",
                "01:00.0 BAR 1 dfc00000-dfdfffff", "01:00.0 BAR 2 f000-f01f",
            ]
        )
    }

    @Test("FreeBSD: in the order of discovery from the bottom, ROMs never")
    func freeBSDOrder() throws {
        #expect(
            try places(FreeBSDPolicy()) {
                $0.endpoint("00:03.0", bars: [.mem32(1 << 20), .mem32(4 << 20), .io(0x20)])
                $0.endpoint("00:04.0", bars: [.mem32(1 << 20), .pref64(1 << 30), .pref64(2 << 30)])
            } == [
                "00:03.0 BAR 0 c0000000-c00fffff", "00:03.0 BAR 1 c0400000-c07fffff", "00:03.0 BAR 2 1000-101f",
                "00:04.0 BAR 0 c0100000-c01fffff", "00:04.0 BAR 1 1000000000-103fffffff",
                "00:04.0 BAR 3 1080000000-10ffffffff",
            ]
        )
    }

    @Test("FreeBSD: a window opens for the first BAR and grows at the end that costs least")
    func freeBSDGrowth() throws {
        #expect(
            Set(
                try places(FreeBSDPolicy()) {
                    let port = $0.port("00:02.0")
                    $0.endpoint(
                        "01:00.0",
                        below: port,
                        bars: [.mem32(1 << 20), .mem32(4 << 20), .mem32(1 << 20), .io(0x20)]
                    )
                }
            ) == [
                "00:02.0 io window 1000-1fff", "00:02.0 mem window c0000000-c07fffff",
                "01:00.0 BAR 0 c0000000-c00fffff",
                "01:00.0 BAR 1 c0400000-c07fffff", "01:00.0 BAR 2 c0100000-c01fffff", "01:00.0 BAR 3 1000-101f",
            ]
        )
        // A window of 32 bits does not follow a prefetchable BAR above 4 GiB.
        #expect(
            Set(
                try places(FreeBSDPolicy(), in: [Self.high]) {
                    let port = $0.port("00:02.0", prefetchableType: 0)
                    $0.endpoint("01:00.0", below: port, bars: [.pref64(1 << 20)])
                }
            ) == ["01:00.0 BAR 0 -"]
        )
        #expect(
            Set(
                try places(FreeBSDPolicy(), in: [Self.high]) {
                    let port = $0.port("00:02.0")
                    $0.endpoint("01:00.0", below: port, bars: [.pref64(1 << 20)])
                }
            ) == ["00:02.0 pref window 1000000000-10000fffff", "01:00.0 BAR 0 1000000000-10000fffff"]
        )
    }

    @Test("FreeBSD: numbers buses depth first and stops at the last")
    func freeBSDBuses() throws {
        let outcome = FreeBSDPolicy().allocate(
            ResourceDemand(
                try SmallTree(memory: [Self.low]) {
                    let first = $0.port("00:02.0")
                    $0.port("01:00.0", below: first)
                    $0.port("00:03.0")
                }.topology()
            )
        )
        #expect(outcome.functions.map { $0.buses?.description } == ["[bus 01-02]", "[bus 02]", "[bus 03]"])
    }
}
