// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import PlanExecutor
import RebalancePlanner

/// A twin of the fake machine that knows it by heart.
final class FakePredictor: Predictor {
    private let machine: FakeMachine
    /// The behaviour that explains whatever was seen.
    var explanation: String?
    /// The steps of a plan back.
    var back: (([FunctionAddress]) -> [(writes: [SystemWrite], wayBack: [SystemWrite])])?
    /// Another plan.
    var anew: (() -> Plan)?
    /// The behaviours that the kernel may have: machines as they were before the first write.
    var variants: [(name: String, state: FakeMachineState)] = []
    /// What names functions by their addresses.
    var addressWords: [AddressWord] = []
    /// What is known of the way back.
    var answer: WayBackAnswer?
    /// The machine when what was seen was to be explained last.
    private var explained: FakeMachineState?
    private(set) var askedBack = 0
    private(set) var askedAnew = 0

    init(_ machine: FakeMachine) { self.machine = machine }

    func explain(_ seen: [Observation]) -> String? {
        explained = machine.state
        return explanation
    }

    func outcome(of writes: [SystemWrite]) -> TreeState? {
        guard explanation != nil, var copy = explained else { return nil }
        for write in writes { _ = copy.perform(write) }
        return copy.tree
    }

    func planBack(from now: TreeState, for goals: [Goal]) -> Plan? {
        askedBack += 1
        let addresses = goals.compactMap { goal in
            switch goal {
            case .place(let address), .resize(let address, _, _): address
            default: nil
            }
        }
        return back.map { Fake.plan(machine.state, $0(addresses)) }
    }

    func planAnew() -> Plan? {
        askedAnew += 1
        return anew?()
    }

    func foresee(_ writes: [SystemWrite], after seen: [Observation]) -> [ForeseenState] {
        variants.compactMap { name, state in
            var copy = state
            for observation in seen {
                for write in observation.writes { _ = copy.perform(write) }
                guard copy.tree == observation.tree else { return nil }
            }
            for write in writes { _ = copy.perform(write) }
            return ForeseenState(behaviour: name, tree: copy.tree)
        }
    }

    func wayBack(of plan: Plan) -> WayBackAnswer? { answer }
}
