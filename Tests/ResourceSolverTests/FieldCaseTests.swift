// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver
import Testing

private let kib: UInt64 = 1 << 10
private let mib: UInt64 = 1 << 20
private let gib: UInt64 = 1 << 30

private func range(_ first: UInt64, _ last: UInt64) -> AddressRange? { AddressRange(first: first, last: last) }

/// Machines that people reported, with the numbers of their reports; what the reports leave open is chosen here.
@Suite("Field cases")
struct FieldCaseTests {
    private func solved(_ problem: Problem) throws -> Layout {
        let outcome = try Solver().smallestChange(problem)
        if let conflict = outcome.conflict { Issue.record("\(conflict)") }
        let layout = try #require(outcome.layout)
        #expect(LayoutChecker(problem).defects(of: layout) == [])
        return layout
    }

    @Test("a Thunderbolt controller whose empty port holds the reserve gives 2 MiB to its neighbour")
    func emptySiblingHoldsReserve() throws {
        var p = Drawing(.memory, 0x7000_0000, 0xea0f_ffff)
        p.aperture(.io, 0x3000, 0x3fff)
        let up = p.bridge(
            "01:00.0",
            windows: [
                .io: (0x3000, 0x3fff), .memory: (0xbc00_0000, 0xea0f_ffff), .prefetchable: (0x7000_0000, 0xb9ff_ffff),
            ],
            frozen: [.io, .memory, .prefetchable]
        )
        let d0 = p.bridge("02:00.0", below: up, windows: [.memory: (0xea00_0000, 0xea0f_ffff)])
        let nhi = p.device("03:00.0", below: d0)
        p.bar(nhi, 256 * kib, at: 0xea00_0000)
        p.bar(nhi, 4 * kib, at: 0xea04_0000, name: "BAR 1")
        let empty = p.bridge(
            "02:01.0",
            below: up,
            windows: [
                .io: (0x3000, 0x3fff), .memory: (0xbc00_0000, 0xe9ef_ffff), .prefetchable: (0x7000_0000, 0xb9ff_ffff),
            ]
        )
        let d2 = p.bridge(
            "02:02.0",
            below: up,
            windows: [.io: (0, 0), .memory: (0xe9f0_0000, 0xe9ff_ffff), .prefetchable: (0, 0)]
        )
        let xhci = p.device("6b:00.0", below: d2)
        p.bar(xhci, 64 * kib, at: 0xe9f0_0000)
        let new = p.reserve(d2, 2 * mib, .prefetchable, tier: .required)
        let ports = p.reserve(empty, 4 * kib, .io, tier: .optional(1), alignment: 4 * kib)
        let more = p.reserve(d2, 4 * kib, .io, tier: .optional(2), alignment: 4 * kib)
        let keep = p.reserve(empty, 1184 * mib, .prefetchable, tier: .reserve(weight: 1))
        for rule in DisturbanceRule.allCases {
            p.problem.rule = rule
            let layout = try solved(p.problem)
            #expect(layout.cost == 0)
            #expect(layout.placements[new] != nil)
            #expect(layout.placements[ports] != nil)
            #expect(layout.placements[more] == nil, "one 4 KiB page of I/O cannot serve two ports")
            // Everything but 2 MiB stays with the empty port, to the step of a 64th.
            #expect((layout.placements[keep]?.clampedSize ?? 0) >= 1140 * mib)
        }
    }

    private func battlemage(np: (UInt64, UInt64) = (0x8300_0000, 0x840f_ffff)) -> (
        Drawing, bar: Int, own: Int, rom: Int
    ) {
        var p = Drawing(.prefetchable, 0x40_0000_0000, 0x7f_ffff_ffff)
        p.aperture(.memory, 0x8300_0000, 0x840f_ffff)
        let root = p.bridge(
            "00:01.0",
            windows: [.memory: np, .prefetchable: (0x40_0000_0000, 0x44_007f_ffff)],
            frozen: [.memory, .prefetchable]
        )
        let up = p.bridge(
            "01:00.0",
            below: root,
            windows: [.memory: np, .prefetchable: (0x40_0000_0000, 0x40_17ff_ffff)]
        )
        let own = p.bar(p.problem.bridges[up].device ?? 0, 8 * mib, .prefetchable, at: 0x40_1800_0000)
        let d1 = p.bridge(
            "02:01.0",
            below: up,
            windows: [.memory: (0x8300_0000, 0x83ff_ffff), .prefetchable: (0x40_0000_0000, 0x40_0fff_ffff)]
        )
        let gpu = p.device("03:00.0", below: d1)
        p.bar(gpu, 16 * mib, at: 0x8300_0000)
        let bar = p.bar(
            gpu,
            16 * gib,
            .prefetchable,
            at: 0x40_0000_0000,
            name: "BAR 2",
            currentSize: 256 * mib
        )
        let rom = p.bar(gpu, 2 * mib, name: "ROM", below4G: true, tier: .optional(0))
        let d2 = p.bridge(
            "02:02.0",
            below: up,
            windows: [.memory: (0x8400_0000, 0x840f_ffff), .prefetchable: (0x40_1000_0000, 0x40_100f_ffff)]
        )
        let audio = p.device("04:00.0", below: d2)
        p.bar(audio, 16 * kib, at: 0x8400_0000)
        return (p, bar, own, rom)
    }

    @Test("16 GiB fit exactly into 16 GiB + 8 MiB when what is optional is dropped")
    func exactFit() throws {
        let (p, bar, own, rom) = battlemage()
        let layout = try solved(p.problem)
        #expect(layout.placements[bar] == range(0x40_0000_0000, 0x43_ffff_ffff))
        #expect(layout.placements[own] == range(0x44_0000_0000, 0x44_007f_ffff))
        #expect(layout.placements[rom] == nil)
        #expect(layout.windows[3] == [range(0x8400_0000, 0x840f_ffff), nil])
        #expect(layout.disturbed.map { p.problem.devices[$0].label } == ["01:00.0", "03:00.0"])
        #expect(layout.proof == .optimal)
    }

    @Test("a pinned 8 MiB BAR of the switch makes the same request impossible, and is named")
    func pinnedUpstreamBAR() throws {
        var (p, _, own, _) = battlemage()
        p.problem.requests[own].isFixed = true
        let conflict = try #require(try Solver().smallestChange(p.problem).conflict)
        #expect(conflict.isIrreducible)
        #expect(
            conflict.description == """
                03:00.0 BAR 2 does not fit: 16G short; in the way: 01:00.0 BAR 0, 00:01.0 prefetchable window
                  1. 03:00.0 BAR 2 needs 16G aligned to 16G
                  2. 01:00.0 BAR 0 holds 0x4018000000-0x40187fffff and must not move
                  3. 00:01.0 prefetchable window must stay 0x4000000000-0x44007fffff
                  4. free between them: 0x4000000000-0x4017ffffff (384M, largest aligned block 256M), \
                0x4018800000-0x44007fffff (15.6G, largest aligned block 8G)
                """
        )
    }

    @Test("the classic pin: the switch's own BAR keeps 16 GiB out until the root port's window moves")
    func classicPin() throws {
        var p = Drawing(.prefetchable, 0x3810_0000_0000, 0x381f_ffff_ffff)
        p.aperture(.memory, 0xd000_0000, 0xdfff_ffff)
        let root = p.bridge(
            "80:03.0",
            windows: [.memory: (0xd000_0000, 0xd1ff_ffff), .prefetchable: (0x381f_e000_0000, 0x381f_f07f_ffff)]
        )
        let up = p.bridge(
            "84:00.0",
            below: root,
            windows: [.memory: (0xd000_0000, 0xd1ff_ffff), .prefetchable: (0x381f_e000_0000, 0x381f_efff_ffff)]
        )
        p.bar(p.problem.bridges[up].device ?? 0, 8 * mib, .prefetchable, at: 0x381f_f000_0000)
        let down = p.bridge(
            "85:01.0",
            below: up,
            windows: [.memory: (0xd000_0000, 0xd0ff_ffff), .prefetchable: (0x381f_e000_0000, 0x381f_efff_ffff)]
        )
        let gpu = p.device("86:00.0", below: down)
        p.bar(gpu, 16 * mib, at: 0xd000_0000)
        let bar = p.bar(gpu, 16 * gib, .prefetchable, at: 0x381f_e000_0000, name: "BAR 2", currentSize: 256 * mib)
        let other = p.bridge("85:02.0", below: up, windows: [.memory: (0xd100_0000, 0xd10f_ffff)])
        p.bar(p.device("87:00.0", below: other), 16 * kib, at: 0xd100_0000)
        let movable = try solved(p.problem)
        #expect(movable.placements[bar]?.clampedSize == 16 * gib)
        p.problem.rule = .stock
        let stock = try solved(p.problem)
        #expect(stock.disturbed.count == 5, "everything below the root port, which stays itself")
        #expect(stock.cost >= movable.cost)
    }

    private func sixCards(reserved: Bool) -> (Problem, [Int]) {
        var p = Drawing(.prefetchable, 0x40_0000_0000, 0x7f_ffff_ffff)
        if reserved, let held = range(0x40_0000_0000, 0x40_ffff_ffff) {
            p.problem.hosts[0].obstacles = [Problem.Obstacle(label: "reserved", space: .memory, range: held)]
        }
        var bars: [Int] = []
        for i in 0..<6 {
            let port = p.bridge("0\(i)", windows: [.prefetchable: (0, 0)])
            let gpu = p.device("0\(i + 1):00.0", below: port)
            let smaller = (28..<35).map { UInt64(1) << UInt64($0) }
            bars.append(p.bar(gpu, 32 * gib, .prefetchable, name: "BAR 1", alternatives: smaller))
            p.bar(gpu, 32 * mib, .prefetchable, name: "BAR 3")
        }
        return (p.problem, bars)
    }

    @Test("six cards of 32 GiB in 256 GiB: five at 32 GiB and one at 16 GiB, jointly")
    func sixCardsJointly() throws {
        let (problem, bars) = sixCards(reserved: false)
        let layout = try solved(problem)
        let sizes = bars.compactMap { layout.placements[$0]?.clampedSize }.sorted()
        #expect(sizes == [16 * gib] + Array(repeating: 32 * gib, count: 5))
    }

    @Test("the same with the first 4 GiB occupied: 168 GiB together")
    func sixCardsOccupied() throws {
        let (problem, bars) = sixCards(reserved: true)
        let layout = try solved(problem)
        let sum = bars.compactMap { layout.placements[$0]?.clampedSize }.reduce(0, +)
        #expect(sum == 168 * gib)
    }

    @Test("six cards that insist on 32 GiB are impossible")
    func sixCardsInsisting() throws {
        var (problem, bars) = sixCards(reserved: false)
        for r in bars { problem.requests[r].alternatives = [] }
        let conflict = try #require(try Solver().smallestChange(problem).conflict)
        #expect(conflict.isIrreducible)
        // Six BARs of 32 GiB and the small ones that force windows apart.
        #expect(conflict.members.count > 6)
    }

    @Test("a function that was removed returns to the only place left in a full window")
    func fullWindow() throws {
        var p = Drawing(.prefetchable, 0x1_2000_0000, 0x1_210f_ffff)
        let port = p.bridge(
            "7c:00.0",
            windows: [.prefetchable: (0x1_2000_0000, 0x1_210f_ffff)],
            frozen: [.prefetchable]
        )
        let shift: [UInt64] = [0, 1, 2, 3]
        var last: [Int] = []
        for f in shift {
            let device = p.device("7d:00.\(f)", below: port)
            let gone = f == 3
            func at(_ address: UInt64) -> UInt64? { gone ? nil : address }
            let a = p.bar(device, 64 * kib, .prefetchable, at: at(0x1_2100_0000 + f * 0x4_0000))
            let b = p.bar(device, mib, .prefetchable, at: at(0x1_2000_0000 + f * 0x40_0000), name: "BAR 2")
            let c = p.bar(
                device,
                192 * kib,
                .prefetchable,
                at: at(0x1_2101_0000 + f * 0x4_0000),
                name: "VF BAR 0",
                alignment: 64 * kib
            )
            let d = p.bar(
                device,
                3 * mib,
                .prefetchable,
                at: at(0x1_2010_0000 + f * 0x40_0000),
                name: "VF BAR 2",
                alignment: mib
            )
            if gone { last = [a, b, c, d] }
        }
        let layout = try solved(p.problem)
        #expect(layout.cost == 0)
        #expect(layout.proof == .optimal)
        let small = last.compactMap { layout.placements[$0] }.reduce(UInt64(0)) { $0 + $1.clampedSize }
        #expect(small == 4 * mib + 256 * kib)
    }

    @Test("SR-IOV bus numbers: an empty port moves out of the way, two ports keep their first numbers")
    func virtualFunctionBuses() throws {
        var p = Drawing(.memory, 0xf000_0000, 0xfeff_ffff, buses: 1...0x15)
        func port(_ label: String, _ bus: UInt64, below: Int? = nil, weight: Int? = 1, empty: Bool = false) -> Int {
            let bridge = p.bridge(label, below: below, device: false, windows: [.bus: (0, 0)])
            let holder = empty ? [] : [p.device("\(label) bus", below: bridge, weight: weight)]
            p.secondary(bridge, at: empty ? nil : bus, holders: holder)
            return bridge
        }
        let top = port("00:01.0", 5)
        let up = port("05:00.0", 6, below: top)
        let a = port("06:02.0", 7, below: up)
        let b = port("06:04.0", 8, below: up)
        let empty = port("00:01.1", 9, empty: true)
        for (label, bus) in [("00:06.0", 2), ("00:1c.4", 3), ("00:1c.7", 1)] as [(String, UInt64)] {
            _ = port(label, bus, weight: nil)
        }
        for label in ["00:1c.0", "00:1c.6", "00:1e.0"] { _ = port(label, 0, empty: true) }
        for r in p.problem.requests.indices where p.problem.requests[r].bridge == a || p.problem.requests[r].bridge == b
        {
            p.problem.requests[r].size = 2
            p.problem.requests[r].currentSize = nil
        }
        // The two cards' first bus numbers stay where they can: 07 with 08 behind it, 09 with 0a.
        for r in p.problem.requests.indices where p.problem.requests[r].bridge == b {
            p.problem.requests[r].current = nil
        }
        for r in p.problem.requests.indices where p.problem.requests[r].bridge == a {
            p.problem.requests[r].currentSize = 2
        }
        let layout = try solved(p.problem)
        #expect(layout.windows[a] == [range(7, 8)])
        #expect(layout.windows[b] == [range(9, 10)])
        #expect(layout.windows[up] == [range(6, 10)])
        #expect(layout.windows[top] == [range(5, 10)])
        #expect(layout.windows[empty][0]?.first != 9)
        #expect(layout.cost == 0)
    }

    @Test("a switch that arrives late needs five numbers, and its port grows to them")
    func lateSwitch() throws {
        var p = Drawing(.memory, 0xf000_0000, 0xf0ff_ffff, buses: 0x41...0x4f)
        let root = p.bridge("0004:40:00.0", device: false, windows: [.bus: (0x41, 0x41)])
        p.secondary(root, at: 0x41, holders: [])
        let up = p.bridge("41:00.0", below: root, device: false, windows: [.bus: (0, 0)])
        p.secondary(up, at: nil, holders: [])
        for slot in ["00", "02", "06", "0e"] {
            p.secondary(
                p.bridge("42:\(slot).0", below: up, device: false, windows: [.bus: (0, 0)]),
                at: nil,
                holders: []
            )
        }
        let layout = try solved(p.problem)
        #expect(layout.windows[root] == [range(0x41, 0x46)])
        #expect(layout.windows[up] == [range(0x42, 0x46)])
        #expect(layout.cost == 0)
    }

    private func alpineRidge(wide: Bool) -> (Drawing, reserves: [Int], protected: [Int]) {
        var p =
            wide
            ? Drawing(.memory, 0x4f80_0000, 0xdfff_ffff) : Drawing(.memory, 0x4f80_0000, 0xdfff_ffff)
        if wide { p.aperture(.prefetchable, 0x4_b000_0000, 0x7f_ffff_ffff) }
        let gpu = p.device("00:02.0", below: nil, weight: nil)
        let a = p.bar(gpu, 16 * mib, at: 0xdb00_0000)
        let b = p.bar(gpu, 256 * mib, .prefetchable, at: 0x5000_0000, name: "BAR 2")
        let disk = p.bridge("00:1d.0", windows: [.memory: (0xdc00_0000, 0xdc0f_ffff)])
        let c = p.bar(p.device("6d:00.0", below: disk, weight: nil), 16 * kib, at: 0xdc00_0000)
        for (label, at, size) in [("00:1c.0", 0xdc20_0000, 4 * kib), ("00:1c.2", 0xdc10_0000, 8 * kib)]
            as [(String, UInt64, UInt64)]
        {
            let port = p.bridge(label, windows: [.memory: (at, at + mib - 1)])
            p.bar(p.device("\(label) card", below: port), size, at: at)
        }
        let top = p.bridge(
            "00:1c.4",
            windows: [.memory: (0xac00_0000, 0xda0f_ffff), .prefetchable: (0x6000_0000, 0xa9ff_ffff)]
        )
        let up = p.bridge("03:00.0", below: top, windows: [.memory: (0xac00_0000, 0xac1f_ffff), .prefetchable: (0, 0)])
        let d0 = p.bridge("04:00.0", below: up, windows: [.memory: (0xac10_0000, 0xac1f_ffff)])
        let nhi = p.device("05:00.0", below: d0)
        p.bar(nhi, 256 * kib, at: 0xac10_0000)
        p.bar(nhi, 4 * kib, at: 0xac14_0000, name: "BAR 1")
        let d2 = p.bridge("04:02.0", below: up, windows: [.memory: (0xac00_0000, 0xac0f_ffff)])
        p.bar(p.device("39:00.0", below: d2), 64 * kib, at: 0xac00_0000)
        var reserves: [Int] = []
        for label in ["04:01.0", "04:04.0"] {
            let port = p.bridge(label, below: up, windows: [.memory: (0, 0), .prefetchable: (0, 0)])
            reserves.append(p.reserve(port, 400 * mib, .memory, tier: .required))
            reserves.append(p.reserve(port, 64 * gib, .prefetchable, tier: .required))
        }
        return (p, reserves, [a, b, c])
    }

    @Test("400 MiB and 64 GiB for two ports: one plan, console and boot disk untouched")
    func reservePerPort() throws {
        let (p, reserves, protected) = alpineRidge(wide: true)
        let layout = try solved(p.problem)
        for r in reserves { #expect(layout.placements[r] != nil) }
        for r in protected { #expect(layout.placements[r] == p.problem.requests[r].currentRange) }
        #expect(layout.proof == .optimal)
    }

    @Test("without an aperture above 4 GiB the same is impossible; shared out, both ports get a part")
    func reservePerPortNarrow() throws {
        var (p, reserves, protected) = alpineRidge(wide: false)
        let conflict = try #require(try Solver().smallestChange(p.problem).conflict)
        #expect(conflict.isIrreducible)
        #expect(conflict.shortage > 60 * gib)
        for r in reserves { p.problem.requests[r].tier = .reserve(weight: 1) }
        let layout = try solved(p.problem)
        #expect(layout.cost == 0)
        // What stays in place leaves 1,216 MiB below 0xac000000 and 750 MiB from 0xac200000 on. No port can have more than
        // 750 MiB without the other one's getting less; the rest goes to the three requests on the other side, 7 of 400 MiB
        // being the share of 1,202 of 65,536.
        #expect(reserves.map { (layout.placements[$0]?.clampedSize ?? 0) / mib } == [7, 1_202, 7, 750])
        for r in protected { #expect(layout.placements[r] == p.problem.requests[r].currentRange) }
    }

    @Test("a root port window that is too small by far opens at a 32 GiB boundary")
    func rootPortTooSmall() throws {
        var p = Drawing(.prefetchable, 0x40_0000_0000, 0x7f_ffff_ffff)
        let root = p.bridge("00:07.0", windows: [.prefetchable: (0x60_0000_0000, 0x60_1bff_ffff)])
        let up = p.bridge("03:00.0", below: root, windows: [.prefetchable: (0, 0)])
        let down = p.bridge("04:00.0", below: up, windows: [.prefetchable: (0, 0)])
        let gpu = p.device("05:00.0", below: down)
        let bar = p.bar(gpu, 32 * gib, .prefetchable)
        p.bar(gpu, 2 * mib, .prefetchable, name: "BAR 2")
        let layout = try solved(p.problem)
        #expect(layout.cost == 0)
        #expect((layout.placements[bar]?.first ?? 1) % (32 * gib) == 0)
        #expect((layout.windows[root][0]?.clampedSize ?? 0) >= 32 * gib + 2 * mib)
    }

    @Test("a guest's root port: 16 MiB of 64-bit BAR go above 4 GiB, nobody else is touched")
    func guestRootPort() throws {
        var p = Drawing(.memory, 0xb000_0000, 0xfebf_ffff)
        p.aperture(.prefetchable, 0x8_0000_0000, 0xf_ffff_ffff)
        let port = p.bridge(
            "00:05.0",
            windows: [.memory: (0xfd80_0000, 0xfd9f_ffff), .prefetchable: (0xfe60_0000, 0xfe7f_ffff)]
        )
        let nic = p.device("02:00.0", below: port)
        let big = p.bar(nic, 16 * mib, .prefetchable)
        let small = p.bar(nic, 32 * kib, .prefetchable, name: "BAR 3")
        let layout = try solved(p.problem)
        #expect(layout.cost == 0)
        #expect(layout.placements[big] != nil)
        #expect(layout.placements[small] != nil)
        #expect((layout.windows[port][1]?.clampedSize ?? 0) >= 17 * mib)
    }

    @Test("a step down from 16 GiB to 8 GiB behind an aperture of 12 GiB with a bus offset")
    func stepDown() throws {
        var p = Drawing(.prefetchable, 0x18_0000_0000, 0x1a_ffff_ffff)
        p.problem.hosts[0].apertures = []
        p.aperture(.prefetchable, 0x18_0000_0000, 0x1a_ffff_ffff)
        p.aperture(.memory, 0, 0xffff_fffb, offset: 0x1b_0000_0000)
        let root = p.bridge("00:00.0", windows: [.prefetchable: (0x18_0000_0000, 0x18_17ff_ffff)])
        let up = p.bridge("01:00.0", below: root, windows: [.prefetchable: (0x18_0000_0000, 0x18_0fff_ffff)])
        p.bar(p.problem.bridges[up].device ?? 0, 8 * mib, .prefetchable, at: 0x18_1000_0000)
        let down = p.bridge("02:01.0", below: up, windows: [.prefetchable: (0x18_0000_0000, 0x18_0fff_ffff)])
        let gpu = p.device("03:00.0", below: down)
        let bar = p.bar(
            gpu,
            16 * gib,
            .prefetchable,
            at: 0x18_0000_0000,
            name: "BAR 2",
            alternatives: (28..<34).map { UInt64(1) << UInt64($0) },
            currentSize: 256 * mib
        )
        let layout = try solved(p.problem)
        #expect(layout.placements[bar]?.clampedSize == 8 * gib)
        p.problem.requests[bar].alternatives = []
        let conflict = try #require(try Solver().smallestChange(p.problem).conflict)
        #expect(
            conflict.description == """
                03:00.0 BAR 2 does not fit: 16G short
                  1. 03:00.0 BAR 2 needs 16G aligned to 16G
                  2. free between them: 0x0-0xfffffffb (3.9G, largest aligned block 2G), \
                0x1800000000-0x1affffffff (12G, largest aligned block 8G)
                """
        )
    }

    @Test("a gap in a huge window takes 16 GiB once the old size is no floor")
    func hugeWindow() throws {
        let first: UInt64 = 0x6_2000_0000_0000
        var p = Drawing(.prefetchable, first, 0x6_203f_bff0_ffff)
        let root = p.bridge(
            "0030:00:00.0",
            windows: [.prefetchable: (first, 0x6_203f_bff0_ffff)],
            frozen: [.prefetchable]
        )
        let up = p.bridge(
            "01:00.0",
            below: root,
            windows: [.prefetchable: (first, 0x6_203f_bff0_ffff)],
            frozen: [.prefetchable]
        )
        let down = p.bridge("02:01.0", below: up, windows: [.prefetchable: (first, 0x6_2000_1fff_ffff)])
        let gpu = p.device("03:00.0", below: down)
        let bar = p.bar(gpu, 16 * gib, .prefetchable, at: first, name: "BAR 2", currentSize: 256 * mib)
        let layout = try solved(p.problem)
        #expect((layout.placements[bar]?.first ?? 1) % (16 * gib) == 0)
        #expect((layout.windows[down][0]?.clampedSize ?? .max) <= 17 * gib)
        #expect(layout.cost == 1)
    }
}
