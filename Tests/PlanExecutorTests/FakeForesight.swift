// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import PlanExecutor
import RebalancePlanner

/// A twin of the fake machine that knows it by heart.
final class FakeForesight: Foresight {
    private let machine: FakeMachine
    /// The behaviour that explains whatever was seen.
    var explanation: String?
    /// The steps of a plan back.
    var back: (([FunctionAddress]) -> [(writes: [SystemWrite], wayBack: [SystemWrite])])?
    /// Another plan.
    var anew: (() -> Plan)?
    private(set) var askedBack = 0
    private(set) var askedAnew = 0

    init(_ machine: FakeMachine) { self.machine = machine }

    func explain(_ seen: [Observation]) -> String? { explanation }

    func outcome(of writes: [SystemWrite]) -> TreeState? {
        guard explanation != nil else { return nil }
        var copy = machine.state
        for write in writes { _ = copy.perform(write) }
        return copy.tree
    }

    func planBack(from now: TreeState, for addresses: [FunctionAddress]) -> Plan? {
        askedBack += 1
        return back.map { Fake.plan(machine.state, $0(addresses)) }
    }

    func planAnew() -> Plan? {
        askedAnew += 1
        return anew?()
    }
}
