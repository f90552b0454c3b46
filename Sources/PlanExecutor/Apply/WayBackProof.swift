// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

/// Tries the way back from every step of a plan, under every behaviour that the kernel may have, before anything is
/// written.
///
/// The executor itself is run on machines in thought (`TwinMachine`): forward as it would go, stopped after each of the
/// steps in turn, and back the way it would take. Whatever is missing then would be lost on a kernel of that behaviour.
struct WayBackProof {
    private let topology: Topology
    private let behaviours: BehaviourSet

    init(_ topology: Topology, _ behaviours: BehaviourSet) {
        self.topology = topology
        self.behaviours = behaviours
    }

    /// The steps of `plan` that cannot be gone back from.
    ///
    /// - Complexity: O(behaviours x steps^2) steps of an apply on a twin.
    func answer(for plan: Plan) -> WayBackAnswer {
        var gaps: [WayBackAnswer.Gap] = []
        for behaviour in behaviours.behaviours {
            for last in plan.steps.indices {
                let (reached, losses) = attempt(plan, behaviour, stoppedAfter: last + 1)
                if !losses.isEmpty {
                    let step = min(reached, last) + 1
                    gaps.append(WayBackAnswer.Gap(behaviour: behaviour.name, step: step, losses: losses))
                }
                // One gap is enough, and where the apply itself went back, it would not come any further.
                if !losses.isEmpty || reached <= last { break }
            }
        }
        return WayBackAnswer(
            behaviours: behaviours.behaviours.map(\.name),
            gaps: gaps,
            isJudged: behaviours.isJudged
        )
    }

    /// What is lost when an apply of the plan on a kernel of this behaviour is stopped after so many steps and goes back,
    /// and how many steps it came.
    private func attempt(
        _ plan: Plan,
        _ behaviour: KernelBehaviour,
        stoppedAfter last: Int
    ) -> (reached: Int, losses: [String]) {
        var reached = 0
        do {
            let machine = try TwinMachine(
                topology,
                behaviour: behaviour,
                agreedTo: Set(plan.disturbed.map(\.address))
            )
            let tree = try machine.tree()
            guard tree == plan.before else {
                return (0, ["the twin shows another tree than the one that the plan was made for"])
            }
            let run = ApplyRun(
                Machine(writer: machine, observer: machine),
                journal: nil,
                audit: SilentAuditLog(),
                clock: ExecutionClock(now: { .zero }, sleep: { _ in }, wallClock: { 0 }),
                limits: ApplyLimits(quietWindow: .zero, activityLimit: .zero),
                id: "thought",
                progress: { if case .stepReached = $0 { reached += 1 } }
            )
            let health = try run.health(of: tree)
            let predictor = TwinPredictor(
                initial: topology,
                behaviours: behaviours,
                readTopology: { try machine.topology() }
            )
            // What only a new plan could bring back counts as lost: a plan is a search, and this is tried many times.
            predictor.plansBack = false
            let execution = PlanExecution(
                run: run,
                plan: plan,
                journal: .unwritten,
                records: health.map(HealthRecord.init),
                check: RegisterCheck(tree, health),
                predictor: predictor
            )
            let isWhole = last == plan.steps.count
            let report = try execution.carryOut(from: 0, journaledWrites: []) { !isWhole && reached >= last }
            guard report.verdict == .failed else { return (reached, []) }
            // Drivers are started by user space, which no twin knows.
            let losses = run.losses.filter(\.needsRescan).map(\.description)
            return (reached, losses.isEmpty && run.losses.isEmpty ? [report.sentence] : losses)
        } catch {
            return (reached, ["the twin cannot follow: \(error)"])
        }
    }
}
