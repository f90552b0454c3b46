// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver
import Testing

/// Where several places cost the same, the one that breaks the smallest free block is taken, then the nearest.
@Suite("Gaps are chosen so that large blocks stay whole")
struct GapChoiceTests {
    private let mib: UInt64 = 1 << 20

    private func placed(_ p: Drawing, _ request: Int) throws -> UInt64? {
        let layout = try #require(try Solver().smallestChange(p.problem).layout)
        #expect(LayoutChecker(p.problem).defects(of: layout) == [])
        return layout.placements[request]?.first
    }

    @Test("a new BAR takes the gap that nothing larger fits into")
    func smallGap() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe0ff_ffff)
        p.bar(p.device("00:02.0", below: nil), mib, at: 0xe0e0_0000)
        let new = p.bar(p.device("00:03.0", below: nil), mib)
        #expect(try placed(p, new) == 0xe0f0_0000)
    }

    @Test("what has to leave goes to the small end of a gap, in its own window")
    func smallEnd() throws {
        for nested in [false, true] {
            var p = Drawing(.memory, 0xe000_0000, 0xe0ff_ffff)
            let port = nested ? p.bridge("00:01.0", windows: [.memory: (0xe000_0000, 0xe0ff_ffff)]) : nil
            let leaver = p.bar(p.device("01:00.0", below: port), mib, at: 0xe090_0000)
            p.bar(p.device("01:01.0", below: port, weight: 5), mib, at: 0xe070_0000)
            let new = p.bar(p.device("01:02.0", below: port), 8 * mib)
            #expect(try placed(p, new) == 0xe080_0000)
            #expect(try placed(p, leaver) == 0xe060_0000)
        }
    }

    @Test("among equal blocks the nearest is taken")
    func nearest() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe0ff_ffff)
        let leaver = p.bar(p.device("00:02.0", below: nil), mib, at: 0xe0a0_0000)
        for start: UInt64 in [0xe010_0000, 0xe050_0000, 0xe070_0000] {
            p.bar(p.device("00:03.0", below: nil, weight: 5), mib, at: start)
        }
        let new = p.bar(p.device("00:04.0", below: nil), 8 * mib)
        #expect(try placed(p, new) == 0xe080_0000)
        // Free are the blocks of 1 MiB at 0xe0000000, 0xe0400000 and 0xe0600000.
        #expect(try placed(p, leaver) == 0xe060_0000)
    }

    @Test("a register that holds 32 bits, and the end of the 64-bit space, are kept")
    func limits() throws {
        var p = Drawing(.memory, 0xffff_ffff_ff00_0000, .max)
        p.aperture(.memory, 0xe000_0000, 0xe00f_ffff)
        let device = p.device("00:02.0", below: nil)
        let narrow = p.bar(device, mib, below4G: true)
        p.bar(p.device("00:03.0", below: nil), mib, .prefetchable, at: 0xffff_ffff_ffe0_0000)
        let wide = p.bar(device, mib, .prefetchable, name: "BAR 2")
        #expect(try placed(p, narrow) == 0xe000_0000)
        #expect(try placed(p, wide) == 0xffff_ffff_fff0_0000)
    }

    @Test(
        "addresses beyond 2^62 are addresses like all others",
        arguments: [
            0x3fff_ffff_ff00_0000, 0x7fff_ffff_ff00_0000, 0xefff_ffff_ff00_0000, 0xffff_ffff_ff00_0000,
        ] as [UInt64],
        [false, true]
    )
    func high(first: UInt64, nested: Bool) throws {
        var p = Drawing(.prefetchable, first, first + 0xff_ffff)
        let port =
            nested
            ? p.bridge("00:01.0", windows: [.prefetchable: (first + 0x80_0000, first + 0xff_ffff)]) : nil
        let present = p.bar(p.device("01:00.0", below: port), mib, .prefetchable, at: first + 0xf0_0000)
        let small = p.bar(p.device("01:01.0", below: port), 4 * mib, .prefetchable)
        #expect(try placed(p, present) == first + 0xf0_0000)
        #expect(try placed(p, small) == first + 0x80_0000)
        let large = p.bar(p.device("01:02.0", below: port), 8 * mib, .prefetchable)
        #expect(try placed(p, small) == first + 0x80_0000)
        #expect(try placed(p, large) == first)
    }
}
