// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import RescueFamily
internal import Testing

/// Random failed hot-adds with the twin as judge; `make rescue-rate` measures more of them.
@Suite("random failed hot-adds")
struct RescueTests {
    @Test("plans cure, and stop no more than what people do by hand", arguments: KernelBehaviour.presets)
    func rescue(behaviour: KernelBehaviour) throws {
        let rate = try RescueRate(behaviour, seeds: 1..<81)
        for line in rate.lines { print(line) }
        #expect(rate.cases > 15)
        #expect(rate.faults.isEmpty)
        // Whatever the solver has a layout for, some sequence of levers reaches; few need more than the search allows.
        #expect(rate.rescued + rate.refused >= rate.feasible * 9 / 10)
    }
}
