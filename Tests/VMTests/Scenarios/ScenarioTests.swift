// SPDX-License-Identifier: GPL-2.0-or-later

internal import Testing
internal import VMLaboratory

/// The planner's promises on real kernels: plan, apply for real, every resource equal to the prediction, nothing else
/// moved, every device working afterwards, and nobody disturbed beyond the cheapest known way.
///
/// A few scenarios per kernel; with `PCI_REBALANCE_SCENARIOS=all` every one (`make scenarios`), with another word those
/// whose names hold it.
@Suite("scenarios on real kernels")
struct ScenarioTests {
    @Test("plan, apply, compare, use", arguments: ScenarioSuite.kernels)
    func scenarios(kernel: Kernel) async throws {
        if let reason = VirtualMachine.unavailableReason(kernel) { try Test.cancel("\(reason)") }
        let applicable = Scenario.all.filter { !$0.skipping.contains(kernel) }
        #expect(applicable.count >= 25)
        await ScenarioSuite.run(Scenario.all, on: kernel)
    }
}
