// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ResourceSolver

// What a plan says of itself.
extension PlanAssembly {
    /// Says which of several sizes it became; `obstacle` keeps the best of them from being had though it would fit.
    mutating func noteSizes(_ wanted: [Demand], _ cluster: DemandCatalogue.Cluster, _ obstacle: String?) {
        guard let best = cluster.choices.first, best != wanted else { return }
        for (demand, dream) in zip(wanted, best) where demand != dream {
            guard case .size(let i, let index, let size) = demand else { continue }
            var wish = "its present size"
            if case .size(_, _, let size) = dream { wish = ByteCount(size).description }
            let name = "\(ground.address(i)) \(index): \(ByteCount(size))"
            remarks.append(
                obstacle.map { "\(name) is the largest size that may be had; \(wish) would fit, but \($0)" }
                    ?? "\(name) is the largest size that fits, \(wish) does not"
            )
        }
    }

    /// Says that a wish was given up.
    mutating func note(unfulfilled wish: Demand) {
        let address = ground.address(wish.function)
        switch wish {
        case .window(_, let index, let size):
            remarks.append("\(address) \(index) cannot get back its \(ByteCount(size))")
        case .buses(_, let count): remarks.append("\(address) cannot get back its \(count) bus numbers")
        default: remarks.append("\(address) cannot get back all that it had")
        }
    }

    /// Says that safety forbids a way.
    mutating func note(refusal reason: String, _ sentence: String) { refusals.append((reason, sentence)) }

    /// Says that the only way leads over functions that may not be stopped.
    mutating func note(refused wanted: [Demand], protected: [Int]) {
        let names = protectionNames(protected)
        refusals.append(("protected", protectionSentence(protected)))
        for (i, name) in zip(protected, names) {
            diagnosis.append(DiagnosisLine(code: "protected", address: ground.address(i), text: name))
        }
    }

    private func protectionNames(_ protected: [Int]) -> [String] {
        protected.compactMap { i in weights.protection(i).map { "\(ground.address(i)): \($0)" } }
    }

    /// That a way leads over protected functions, a sentence.
    func protectionSentence(_ protected: [Int]) -> String {
        let names = protectionNames(protected)
        let more = names.count > 1 ? " and \(names.count - 1) more" : ""
        return "the way leads over a function that must not be stopped: \(names.first ?? "one")\(more)"
    }

    /// Says that there is no way, for a reason that needs no search.
    mutating func note(impossible reason: String, _ sentence: String) { impossible.append((reason, sentence)) }

    /// Says that there is no way, and why where the solver proved it.
    mutating func note(impossible wanted: [Demand], _ conflict: Conflict?) {
        let reason = wanted.contains(where: \.wantsBuses) ? "bus-exhausted" : "mmio-window-too-small"
        guard let conflict else {
            impossible.append(
                (
                    reason,
                    "no sequence of operations was found that fixes this without making something else worse"
                )
            )
            return
        }
        impossible.append((reason, conflict.summary))
        for line in conflict.derivation { diagnosis.append(DiagnosisLine(code: "conflict", address: nil, text: line)) }
        for hint in conflict.hints { remarks.append(hint) }
    }

    /// The plan as it stands.
    ///
    /// - Parameters:
    ///   - disturbed: everything that the steps stop or move.
    ///   - cost: its weight.
    ///   - bound: what any plan for the same demands weighs at least.
    ///   - losses: optional things that are worse afterwards.
    ///   - final: the machine after the last step.
    /// - Returns: the plan with its verdict, its proof and its remarks.
    func finish(
        disturbed: FunctionSet,
        cost: Int,
        bound: Int,
        losses: [String],
        final: Situation
    ) -> Plan {
        if steps.isEmpty {
            if let refusal = refusals.first {
                return make(.init(.refused, reason: refusal.reason, sentence: refusal.sentence))
            }
            if let no = impossible.first { return make(.init(.impossible, reason: no.reason, sentence: no.sentence)) }
            return make(
                .init(.none, reason: "nothing-missing", sentence: "everything required has its place")
            )
        }
        let isPartial = !refusals.isEmpty || !impossible.isEmpty
        let reason = isPartial ? "partly" : reason
        let sentence =
            isPartial
            ? "part of what was asked for can be reached"
            : reason == "unassigned-bars" || reason == "missing-bus"
                ? "everything that is missing can be placed" : "what was asked for can be reached"
        var plan = make(.init(.act, reason: reason, sentence: sentence))
        plan.steps = steps
        plan.after = after
        plan.disturbed = disturbances(disturbed, final)
        for rest in refusals + impossible { plan.remarks.append("left undone (\(rest.reason)): \(rest.sentence)") }
        plan.remarks += losses
        plan.proof =
            cost <= bound && !isPartial
            ? .optimal : .bestOfSearched(cost: cost, lowerBound: min(bound, cost))
        return plan
    }

    private var reason: String {
        if diagnosis.contains(where: { $0.code == "bus-missing" }) { return "missing-bus" }
        let kinds = Set(
            asked.map { demand in
                switch demand {
                case .address, .bus, .cleared: "unassigned-bars"
                case .size(_, let index, _): index.isVFBAR ? "room-for-vfs" : "resize"
                case .room, .freeBuses: "reserve"
                case .buses: "room-for-vfs"
                case .window: "restore"
                }
            }
        )
        for goal in goals {
            if case .restore = goal { return "restore" }
        }
        return ["resize", "room-for-vfs", "reserve"].first { kinds.contains($0) } ?? "unassigned-bars"
    }

    private func make(_ verdict: Plan.Verdict) -> Plan {
        Plan(
            verdict: verdict,
            kernelRelease: planner.topology.kernel.release ?? "unknown",
            behaviour: planner.behaviour.name,
            fingerprint: before.fingerprint,
            goals: goals.map(\.named),
            diagnosis: diagnosis,
            disturbed: [],
            steps: [],
            before: before,
            after: before,
            proof: .notApplicable,
            remarks: remarks
        )
    }

    private func disturbances(_ disturbed: FunctionSet, _ final: Situation) -> [Disturbance] {
        let later = Dictionary(after.functions.map { ($0.address, $0) }) { first, _ in first }
        var result: [Disturbance] = []
        for i in disturbed.members {
            let function = ground.function(i)
            // VFs that are enabled again are new functions to the twin, at the old addresses.
            guard let address = final.address(i) ?? (function.isVirtual ? function.address : nil),
                let state = later[address]
            else { continue }
            let isMoved = !function.lines.isEmpty && function.lines != state.lines
            var what = function.roleText
            if let name = function.identity.name { what += " \(name)" }
            what += ", \(function.use.driver ?? "no driver")"
            result.append(
                Disturbance(
                    address: function.address,
                    newAddress: address,
                    effect: address != function.address ? .renumbered : isMoved ? .moved : .stopped,
                    what: what,
                    weight: weights.weight(i),
                    // That a driver is bound, or none, stands in `what`.
                    uses: function.use.evidence.filter { !["driver-bound", "idle"].contains($0.code) }.map(\.detail)
                )
            )
        }
        return result.sorted { $0.address < $1.address }
    }
}

extension Goal {
    /// The goal as a plan names it: a saved layout by its fingerprint alone.
    fileprivate var named: Goal {
        guard case .restore(let layout) = self else { return self }
        return .restore(SavedLayout(fingerprint: layout.fingerprint, places: []))
    }
}
