// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
internal import PCITopology
internal import RebalancePlanner

/// How many of a family's cases are rescued, at what price, beside what people do by hand.
public struct RescueRate: Sendable {
    /// The kernel.
    public var behaviour: KernelBehaviour
    /// Cases in which the card did not fit.
    public var cases = 0
    /// Cases for which the solver has a layout that leaves protected functions alone.
    public var feasible = 0
    /// Cases for which the solver could not tell.
    public var undecided = 0
    /// Cases that the planner's plan cures, by the twin and by the judge.
    public var rescued = 0
    /// Rescued cases whose plan is proved to be the least disturbing one.
    public var proved = 0
    /// Endpoints stopped by the rescuing plans.
    public var stopped = 0
    /// Cases in which a way exists and safety forbids it.
    public var refused = 0
    /// Those of them in which a part of what is missing can be had without it.
    public var refusedInPart = 0
    /// Feasible cases that were not rescued, with the plan's verdict.
    public var open: [String] = []
    /// What must not be: plans that do not cure, cases that a baseline cures and no plan, plans that stop more than a
    /// baseline that breaks no protection, plans cheaper than what was proved.
    public var faults: [String] = []
    /// Per baseline: cured cases, those of them without breaking protection, and endpoints stopped in cured cases.
    public var baselines: [RescueBaseline: (cured: Int, allowed: Int, stopped: Int)] = [:]

    /// Measures the cases of `seeds` under one kernel.
    public init(_ behaviour: KernelBehaviour, seeds: Range<UInt64>) throws {
        self.behaviour = behaviour
        for baseline in RescueBaseline.allCases { baselines[baseline] = (0, 0, 0) }
        for seed in seeds {
            if let example = try RescueCase(seed: seed, behaviour: behaviour) { try take(example) }
        }
    }

    private mutating func take(_ example: RescueCase) throws {
        cases += 1
        let judge = RescueJudge(example.topology)
        let planner = Planner(topology: example.topology, behaviour: behaviour)
        let plan = try planner.plan(goals: [.everythingRequired])
        let isFeasible = judge.isFeasible()
        if isFeasible == true { feasible += 1 }
        if isFeasible == nil { undecided += 1 }
        let name = "seed \(example.seed): \(plan.verdict.line)"
        var isRescued = false
        if plan.verdict.answer == .act, plan.verdict.reason != "partly" {
            isRescued = judge.isCured(try planner.topology(after: plan))
            if !isRescued { faults.append("\(name) does not cure") }
        }
        let isForbidden = plan.remarks.contains { $0.hasPrefix("left undone (protected)") }
        let price = plan.disturbed.filter { $0.weight > 0 }.count
        let cost = plan.disturbed.reduce(0) { $0 + $1.weight }
        if isRescued {
            rescued += 1
            stopped += price
            if plan.proof == .optimal { proved += 1 }
            if case .bestOfSearched(_, let bound) = plan.proof, cost < bound {
                faults.append("\(name) is below its bound")
            }
        } else if plan.verdict.answer == .refused {
            refused += 1
        } else if isForbidden {
            refused += 1
            refusedInPart += 1
        }
        for baseline in RescueBaseline.allCases {
            let outcome = try baseline.outcome(example)
            guard outcome.isCured else { continue }
            baselines[baseline]?.cured += 1
            baselines[baseline]?.stopped += outcome.stopped
            guard !outcome.breaksProtection else { continue }
            baselines[baseline]?.allowed += 1
            if !isRescued { faults.append("\(name), cured by: \(baseline.rawValue)") }
            if isRescued, price > outcome.stopped { faults.append("\(name) stops more than: \(baseline.rawValue)") }
        }
        if isFeasible == true, !isRescued, plan.verdict.answer != .refused, !isForbidden { open.append(name) }
    }

    /// The figures, a line each.
    public var lines: [String] {
        func mean(_ sum: Int, _ count: Int) -> String {
            let tenths = count == 0 ? 0 : (sum * 10 + count / 2) / count
            return "\(tenths / 10).\(tenths % 10)"
        }
        var result = [
            "\(behaviour.name): \(cases) failed hot-adds, \(feasible) feasible by the solver"
                + (undecided > 0 ? ", \(undecided) undecided" : ""),
            "  planner: \(rescued) rescued (\(proved) proved least), \(mean(stopped, rescued)) endpoints stopped on "
                + "average; \(refused) refused since something protected is in the way (a part done in \(refusedInPart)), \(open.count) "
                + "feasible ones open",
        ]
        for baseline in RescueBaseline.allCases {
            guard let found = baselines[baseline] else { continue }
            result.append(
                "  \(baseline.rawValue): \(found.cured) cured, \(found.allowed) of them without stopping something "
                    + "protected, \(mean(found.stopped, found.cured)) endpoints stopped on average"
            )
        }
        return result + open.map { "  open: \($0)" } + faults.map { "  FAULT: \($0)" }
    }
}
