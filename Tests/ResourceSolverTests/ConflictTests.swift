// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver
import Testing

/// What a conflict says: who takes part, and how much is missing, worked out here.
@Suite("Conflicts in numbers")
struct ConflictTests {
    private static let mib: UInt64 = 1 << 20

    private func conflict(_ p: Drawing) throws -> Conflict {
        try #require(try Solver().smallestChange(p.problem).conflict)
    }

    @Test("one BAR and one that must not move: free bytes, alignment, and what would help")
    func holder() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe00f_ffff)
        let held = p.device("held", below: nil, weight: nil)
        let new = p.device("new", below: nil)
        p.bar(held, 0x8_0000, at: 0xe000_0000)
        p.bar(new, Self.mib)
        let found = try conflict(p)
        #expect(found.members.map(\.label) == ["new BAR 0", "held BAR 0"])
        #expect(found.members.map(\.role) == [.request(1), .holder(0)])
        // 512 KiB are free and 1 MiB is needed; no multiple of 1 MiB is in them.
        #expect(found.shortage == Self.mib && found.isIrreducible)
        #expect(found.summary == "new BAR 0 does not fit: 1M short; in the way: held BAR 0")
        #expect(
            found.derivation == [
                "1. new BAR 0 needs 1M aligned to 1M",
                "2. held BAR 0 holds 0xe0000000-0xe007ffff and must not move",
                "3. free between them: 0xe0080000-0xe00fffff (512K, largest aligned block 512K)",
            ]
        )
        #expect(found.hints == ["allow held to be disturbed"])
        #expect(
            found.description.split(separator: "\n").map(String.init)
                == [found.summary] + found.derivation.map { "  \($0)" } + ["  hint: allow held to be disturbed"]
        )
    }

    @Test("what is aligned less than its size lacks bytes, not blocks")
    func bytes() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe00f_ffff)
        let new = p.device("new", below: nil)
        p.bar(new, 5 * 0x4_0000, alignment: 0x4_0000)
        let found = try conflict(p)
        #expect(found.shortage == 0x4_0000 && found.summary == "new BAR 0 does not fit: 256K short")
        #expect(found.derivation.first == "1. new BAR 0 needs 1280K aligned to 256K")
        #expect(found.hints == [])
    }

    @Test("an obstacle, a limit of 32 bits, a fixed BAR, a frozen window: each named with what it holds")
    func members() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe01f_ffff)
        p.problem.hosts[0].obstacles = [
            Problem.Obstacle(
                label: "HPET",
                space: .memory,
                range: try #require(AddressRange(first: 0xe000_0000, last: 0xe000_0fff))
            )
        ]
        let new = p.device("new", below: nil)
        p.bar(new, 2 * Self.mib, below4G: true, alternatives: [4 * Self.mib])
        let found = try conflict(p)
        #expect(found.members.map(\.role) == [.request(0), .obstacle(host: 0, index: 0)])
        #expect(
            found.derivation == [
                "1. new BAR 0 needs 2M aligned to 2M below 4 GiB", "2. HPET holds 0xe0000000-0xe0000fff",
                "3. free between them: 0xe0001000-0xe01fffff (2044K, largest aligned block 1M)",
            ]
        )
        #expect(found.shortage == 2 * Self.mib && found.hints == ["give new BAR 0 a smaller size"])

        var fixed = Drawing(.memory, 0xe000_0000, 0xe01f_ffff)
        let rock = fixed.device("rock", below: nil)
        fixed.bar(rock, Self.mib, at: 0xe000_0000, fixed: true)
        let big = fixed.device("big", below: nil)
        fixed.bar(big, 2 * Self.mib)
        let second = try conflict(fixed)
        #expect(second.members.map(\.role) == [.request(1), .holder(0)] && second.hints == [])

        var frozen = Drawing(.memory, 0xe000_0000, 0xe0ff_ffff)
        let port = frozen.bridge("port", windows: [.memory: (0xe010_0000, 0xe01f_ffff)], frozen: [.memory])
        let card = frozen.device("card", below: port)
        frozen.bar(card, 2 * Self.mib)
        let third = try conflict(frozen)
        #expect(third.members.map(\.role) == [.request(0), .frozenWindow(bridge: 0, window: 0)])
        #expect(
            third.derivation == [
                "1. card BAR 0 needs 2M aligned to 2M", "2. port memory window must stay 0xe0100000-0xe01fffff",
                "3. free between them: 0xe0100000-0xe01fffff (1M, largest aligned block 1M)",
            ]
        )
        #expect(third.summary == "card BAR 0 does not fit: 2M short; in the way: port memory window")
    }

    @Test("two that fit alone and not beside each other")
    func two() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe02f_ffff)
        for name in ["a", "b"] {
            let card = p.device(name, below: nil)
            p.bar(card, 2 * Self.mib)
        }
        let found = try conflict(p)
        #expect(found.members.map(\.role) == [.request(0), .request(1)])
        // 3 MiB are free, 4 are needed, and of the blocks of 2 MiB there is one.
        #expect(found.shortage == 2 * Self.mib && found.summary == "a BAR 0, b BAR 0 do not fit: 2M short")
    }

    @Test("bus numbers are counted, one and several")
    func buses() throws {
        var p = Drawing(.memory, 0, 0xffff, buses: 1...2)
        let old = p.bridge("old", device: false, windows: [.bus: (1, 1)])
        let below = p.device("below", below: old, weight: nil)
        p.secondary(old, at: 1, holders: [below])
        let new = p.bridge("new", device: false, windows: [.bus: (0, 0)])
        p.secondary(new, at: nil, count: 2, holders: [])
        let found = try conflict(p)
        #expect(found.shortage == 1)
        #expect(found.summary == "new secondary bus does not fit: 1 bus number short; in the way: old secondary bus")
        #expect(found.derivation.first == "1. new secondary bus needs 2 bus numbers")
        #expect(found.derivation.last == "3. free between them: 2-2")
    }

    @Test("a request that no window takes")
    func homeless() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe0ff_ffff)
        let port = p.bridge("port", windows: [.memory: (0, 0)])
        let card = p.device("card", below: port)
        p.bar(card, 0x100, .io)
        let found = try conflict(p)
        #expect(found.summary == "card BAR 0 cannot be placed: port has no window that takes it")
        #expect(found.derivation == ["1. card BAR 0 needs 256 behind port"] && found.shortage == 0x100)
        #expect(found.isIrreducible && found.members.map(\.role) == [.request(0)])
        let silent = try #require(try Solver(explainsConflicts: false).smallestChange(tight()).conflict)
        #expect(silent.summary == "not everything fits" && silent.members.isEmpty && !silent.isIrreducible)
    }

    private func tight() -> Problem {
        var p = Drawing(.memory, 0xe000_0000, 0xe00f_ffff)
        let card = p.device("card", below: nil)
        p.bar(card, 2 * Self.mib)
        return p.problem
    }

    // MARK: Reserves, options, preferences

    @Test("reserves share what is left by weight, in whole steps")
    func reserves() throws {
        func granted(_ reserves: [(UInt64, Int)], room: UInt64) throws -> [UInt64] {
            var p = Drawing(.prefetchable, 0, room * Self.mib - 1)
            for (i, (size, weight)) in reserves.enumerated() {
                let port = p.bridge("port \(i)", device: false, windows: [.prefetchable: (0, 0)])
                p.reserve(port, size * Self.mib, .prefetchable, tier: .reserve(weight: weight))
            }
            let layout = try #require(try Solver().smallestChange(p.problem).layout)
            #expect(LayoutChecker(p.problem).defects(of: layout) == [])
            return layout.placements.map { ($0?.clampedSize ?? 0) / Self.mib }
        }
        #expect(try granted([(8, 1), (8, 1)], room: 16) == [8, 8])
        #expect(try granted([(8, 1), (8, 1)], room: 8) == [4, 4])
        // Three times the weight: 6 to 2 of 8, until the first has all it asked for.
        #expect(try granted([(8, 3), (8, 1)], room: 8) == [6, 2])
        #expect(try granted([(8, 3), (8, 1)], room: 14) == [8, 6])
        #expect(try granted([(8, 1)], room: 3) == [3])
        #expect(try granted([(8, 1), (4, 1)], room: 6) == [4, 2])
    }

    @Test("optional requests go by their rank, then by their key; what disturbs others is not worth it")
    func optional() throws {
        var p = Drawing(.memory, 0xe000_0000, 0xe02f_ffff)
        let card = p.device("card", below: nil)
        for (rank, name) in [(1, "late"), (0, "first"), (0, "second"), (2, "last")] {
            p.bar(card, Self.mib, name: name, tier: .optional(rank))
        }
        let layout = try #require(try Solver().smallestChange(p.problem).layout)
        #expect(layout.placements.map { $0 != nil } == [true, true, true, false])
        #expect(layout.cost == 0 && layout.proof == .optimal)
    }

    @Test("preferred requests may disturb, optional ones may not")
    func preferred() throws {
        for (tier, isPlaced) in [(Problem.Tier.preferred(0), true), (.optional(0), false)] {
            var p = Drawing(.memory, 0xe000_0000, 0xe03f_ffff)
            let old = p.device("old", below: nil, weight: 3)
            p.bar(old, Self.mib, at: 0xe010_0000)
            let other = p.device("other", below: nil, weight: nil)
            p.bar(other, Self.mib, at: 0xe030_0000)
            let new = p.device("new", below: nil)
            p.bar(new, 2 * Self.mib, tier: tier)
            let layout = try #require(try Solver().smallestChange(p.problem).layout)
            #expect((layout.placements[2] != nil) == isPlaced, "\(tier)")
            #expect(layout.cost == (isPlaced ? 3 : 0) && layout.disturbed == (isPlaced ? [0] : []), "\(tier)")
        }
    }
}
