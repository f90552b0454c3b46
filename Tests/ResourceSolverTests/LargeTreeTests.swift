// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import ResourceSolver
import Testing

private let mib: UInt64 = 1 << 20

/// Many ports side by side: what is far from the failure neither decides nor costs.
@Suite("Large trees")
struct LargeTreeTests {
    /// `count` root ports, each with an endpoint that fills a memory window of 1 MiB and a prefetchable one of 1 MiB.
    private func ports(_ count: Int, slack: UInt64) -> (Drawing, endpoints: [Int]) {
        let first: UInt64 = 0x8000_0000
        let high: UInt64 = 1 << 40
        var p = Drawing(.memory, first, first + UInt64(count) * mib + slack - 1)
        p.aperture(.memory, high, high + (1 << 34) - 1)
        p.problem.rule = .stock
        var endpoints: [Int] = []
        for n in 0..<count {
            let at = first + UInt64(n) * mib
            let above = high + UInt64(n) * mib
            let port = p.bridge(
                "port \(n)",
                windows: [.memory: (at, at + mib - 1), .prefetchable: (above, above + mib - 1)]
            )
            let endpoint = p.device("endpoint \(n)", below: port, weight: 10 + n)
            p.bar(endpoint, 16 << 10, at: at, below4G: true)
            endpoints.append(endpoint)
        }
        return (p, endpoints)
    }

    @Test("of many ports only the endpoint without a place is disturbed, and that is proved", arguments: [8, 100])
    func one(_ count: Int) throws {
        let (drawing, endpoints) = ports(count, slack: 8 * mib)
        var p = drawing
        p.bar(endpoints[3], 16 * mib, .prefetchable, name: "BAR 2")
        let layout = try #require(try Solver(effort: Effort(steps: 60_000)).smallestChange(p.problem).layout)
        #expect(LayoutChecker(p.problem).defects(of: layout) == [])
        #expect(layout.disturbed == [endpoints[3]])
        #expect(layout.cost == 13 && layout.proof == .optimal)
    }

    @Test("several at once", arguments: [8, 100])
    func several(_ count: Int) throws {
        let (drawing, endpoints) = ports(count, slack: 8 * mib)
        var p = drawing
        for n in [1, 5, 6] { p.bar(endpoints[n], 16 * mib, .prefetchable, name: "BAR 2") }
        let layout = try #require(try Solver(effort: Effort(steps: 60_000)).smallestChange(p.problem).layout)
        #expect(LayoutChecker(p.problem).defects(of: layout) == [])
        #expect(layout.disturbed.sorted() == [1, 5, 6].map { endpoints[$0] })
        #expect(layout.cost == 11 + 15 + 16 && layout.proof == .optimal)
    }

    @Test(
        "what no order of many windows gives room for is impossible: one granule less than needed",
        arguments: [8, 100]
    )
    func full(_ count: Int) throws {
        for (slack, isPossible) in [(15 * mib, false), (16 * mib, true)] {
            let (drawing, endpoints) = ports(count, slack: slack)
            var p = drawing
            // Its window has 1 MiB, and needs 17 with what is in it.
            p.bar(endpoints[3], 16 * mib, name: "BAR 2", below4G: true)
            let outcome = try Solver(effort: Effort(steps: 60_000), explainsConflicts: false).smallestChange(p.problem)
            if isPossible {
                #expect(outcome.conflict == nil)
            } else {
                #expect(outcome.conflict != nil)
            }
        }
    }
}
