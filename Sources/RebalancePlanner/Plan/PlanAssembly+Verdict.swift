// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology
internal import ProofChecker
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
            let name = "\(context.address(i)) \(index): \(ByteCount(size))"
            remarks.append(
                obstacle.map { "\(name) is the largest size that may be had; \(wish) would fit, but \($0)" }
                    ?? "\(name) is the largest size that fits, \(wish) does not"
            )
        }
    }

    /// Says that a wish was given up.
    mutating func note(unfulfilled wish: Demand) {
        let address = context.address(wish.function)
        switch wish {
        case .window(_, let index, let size):
            remarks.append("\(address) \(index) cannot get back its \(ByteCount(size))")
        case .buses(_, let count): remarks.append("\(address) cannot get back its \(count) bus numbers")
        default: remarks.append("\(address) cannot get back all that it had")
        }
    }

    /// Says that safety forbids a way.
    mutating func note(refusal reason: String, _ sentence: String) { refusals.append((reason, sentence)) }

    /// Says that the only way leads over functions that may not be stopped, and what permits it; `stopped` functions in use
    /// are stopped then.
    mutating func note(refused wanted: [Demand], protected: [Int], stopped: Int) {
        let names = protectionNames(protected)
        refusals.append(("protected", protectionSentence(protected)))
        for (i, name) in zip(protected, names) {
            diagnosis.append(DiagnosisLine(code: "protected", address: context.address(i), text: name))
        }
        var words: [String] = []
        for i in protected {
            let word = weights.permission(i, context.address(i))
            if !words.contains(word) { words.append(word) }
        }
        remarks.append(
            "a way exists \(words.joined(separator: " ")): it stops \(stopped) endpoint\(stopped == 1 ? "" : "s")"
        )
    }

    private func protectionNames(_ protected: [Int]) -> [String] {
        protected.compactMap { i in weights.protection(i).map { "\(context.address(i)): \($0)" } }
    }

    /// That a way leads over protected functions, a sentence.
    func protectionSentence(_ protected: [Int]) -> String {
        let names = protectionNames(protected)
        return "the way leads over a function that must not be stopped: \(names.isEmpty ? "one" : names.listed(1))"
    }

    /// Says that there is no way, for a reason that needs no search.
    mutating func note(impossible reason: String, _ sentence: String) { impossible.append((reason, sentence)) }

    /// Says that there is no way, for want of bus numbers or of addresses, and why where the solver proved it.
    mutating func note(impossible wanted: [Demand], _ answer: DisturbanceBound.Answer?, isShortOfBuses: Bool) {
        let reason = isShortOfBuses ? "bus-exhausted" : shortage(wanted)
        if planner.certifies, let certificate = answer?.certificate { certificates.append(certificate) }
        guard let conflict = answer?.conflict else {
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

    /// What stands in the way of demands that cannot be met, a slug.
    private func shortage(_ wanted: [Demand]) -> String {
        if wanted.contains(where: { if case .located = $0 { true } else { false } }) { return "address-not-reached" }
        var isIO = true
        var codes: [String] = []
        for demand in wanted {
            switch demand {
            case .cleared(_, let code, _): codes.append(code.rawValue)
            case .address(let i, let index): isIO = isIO && context.kind(i, index) == .io
            default: isIO = false
            }
        }
        if let code = codes.first, codes.count == wanted.count { return code }
        return isIO && codes.isEmpty ? "io-window-too-small" : "mmio-window-too-small"
    }

    /// The plan as it stands.
    ///
    /// - Parameter result: what the steps come to.
    /// - Returns: the plan with its verdict, its proof and its remarks.
    func finish(_ result: Result) -> Plan {
        if steps.isEmpty {
            if let refusal = refusals.first {
                return make(.init(.refused, reason: refusal.reason, sentence: refusal.sentence))
            }
            if let no = impossible.first {
                var plan = make(.init(.impossible, reason: no.reason, sentence: no.sentence))
                // One thing that cannot be had is enough.
                plan.certificates = ofThisTree(Array(certificates.prefix(1)))
                return plan
            }
            return nothingToDo()
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
        plan.disturbed = result.disturbed
        for rest in refusals + impossible { plan.remarks.append("left undone (\(rest.reason)): \(rest.sentence)") }
        plan.remarks += result.losses
        plan.remarks += wordRemarks(result.disturbed)
        plan.remarks += boundDriverRemarks(result.disturbed)
        if let remark = appearanceRemark { plan.remarks.append(remark) }
        plan.proof =
            result.cost <= result.bound && !isPartial
            ? .optimal : .bestOfSearched(cost: result.cost, lowerBound: min(result.bound, result.cost))
        if plan.proof == .optimal { plan.certificates = ofThisTree(result.certificates) }
        return plan
    }

    private func ofThisTree(_ certificates: [Certificate]) -> [Certificate] {
        certificates.map { certificate in
            var certificate = certificate
            certificate.fingerprint = before.fingerprint
            return certificate
        }
    }

    /// The plan without steps. That what was asked for is there does not say that nothing else is missing.
    private func nothingToDo() -> Plan {
        if goals == [.compact] {
            return make(
                .init(
                    .none,
                    reason: "compact",
                    sentence: "no way that was tried leaves larger free stretches than there are"
                )
            )
        }
        let lacking = planner.topology.problemShortfalls
        guard !goals.contains(where: \.isPlacement), !lacking.isEmpty else {
            let untold = planner.topology.reservations()
            let seen = untold.isEmpty ? "" : " that was seen"
            var plan = make(
                .init(.none, reason: "nothing-missing", sentence: "everything required\(seen) has its place")
            )
            plan.remarks += untold.map { "not told: \($0.sentence)" }
            return plan
        }
        var plan = make(.init(.none, reason: "already-there", sentence: "what was asked for is there as it is"))
        let places = Dictionary(
            planner.topology.functions.indices.map {
                (planner.topology.path(of: $0), planner.topology.functions[$0].address)
            }
        ) { first, _ in first }
        let names = lacking.compactMap { one in
            places[one.path].map { address in
                switch one.kind {
                case .bus: "\(address) bus numbers"
                case .resource(let index), .unreachable(let index): "\(address) \(index)"
                }
            }
        }
        plan.remarks.append("still without a place: \(names.listed(4)); plan --place all looks for one")
        return plan
    }

    /// What steps come to.
    struct Result {
        /// Everything that they stop or move, in address order.
        var disturbed: [Disturbance] = []
        /// Its weight.
        var cost = 0
        /// What any plan for the same demands weighs at least.
        var bound = 0
        /// Optional things that are worse afterwards, a sentence each.
        var losses: [String] = []
        /// Why no plan weighs less; empty unless it was asked for.
        var certificates: [Certificate] = []
    }

    /// A sentence for each BAR that gets an address beneath a driver that goes on running: a driver learns what there is
    /// when it is bound (`pci_enable_device`).
    private func boundDriverRemarks(_ disturbed: [Disturbance]) -> [String] {
        let stopped = Set(disturbed.map(\.address))
        return asked.compactMap { demand in
            guard case .address(let i, let index) = demand, let driver = context.function(i).use.driver,
                !context.isBridge(i), !stopped.contains(context.address(i))
            else { return nil }
            return
                "\(context.address(i)) \(index) gets its address while \(driver) goes on running: the driver uses it "
                + "when it is bound again"
        }
    }

    /// A sentence for each word of the command line and of files that names a function which will have another address.
    private func wordRemarks(_ disturbed: [Disturbance]) -> [String] {
        let renumbered = Dictionary(disturbed.map { ($0.address, $0.newAddress) }) { first, _ in first }
        return planner.topology.addressWords.compactMap { word -> String? in
            guard let address = renumbered[word.address], address != word.address else { return nil }
            let other = after.functions.contains { $0.address == word.address }
            if word.place != nil {
                return "\(word.phrase) names \(word.address), which will be \(address): it has to name that"
                    + (other ? ", and means the function that has \(word.address) then as long as it does not" : "")
                    + "; --keep \(word.address) asks for a plan that leaves it alone"
            }
            return "\(word.phrase) names \(word.address), which will be \(address): "
                + (word.isReadWhenFound
                    ? "the kernel looks for that address when it finds a function, so what the word did for it ends with "
                        + "this plan" : "from the next boot on the word does not reach it if it keeps that number")
                + (other ? ", and the word reaches the function that has \(word.address) then" : "")
                + "; --keep \(word.address) asks for a plan that leaves it alone"
        }
    }

    /// The plan that says what it would have to know.
    mutating func unknown(_ unknowns: [Unknown]) -> Plan {
        for one in unknowns { remarks.append("not told: \(one.sentence)") }
        remarks.append("what would tell: \(unknowns.commands)")
        return make(
            .init(
                .unknown,
                reason: unknowns.first?.code.rawValue ?? Unknown.Code.noFunctions.rawValue,
                sentence: "cannot tell: \(unknowns.first?.sentence ?? "nothing was read")"
            )
        )
    }

    /// The plan that cannot tell whether a condition would hold.
    mutating func unknown(reason: String, _ sentence: String) -> Plan {
        remarks.append("what would tell: \(Unknown.Remedy.snapshot.rawValue)")
        return make(.init(.unknown, reason: reason, sentence: "cannot tell: \(sentence)"))
    }

    /// The plan for problems that addresses do not mend.
    mutating func hopeless(_ problems: [Finding]) -> Plan {
        for finding in problems {
            diagnosis.append(
                DiagnosisLine(
                    code: finding.code.rawValue,
                    address: finding.address,
                    text: "\(finding.address) \(finding.sentence)"
                )
            )
            for cause in finding.causes {
                diagnosis.append(DiagnosisLine(code: "cause", address: finding.address, text: cause))
            }
        }
        return make(
            .init(
                .impossible,
                reason: problems.first?.code.rawValue ?? "not-addresses",
                sentence: "what is wrong here is not mended by giving addresses"
            )
        )
    }

    private var reason: String {
        if diagnosis.contains(where: { $0.code == "bus-missing" }) { return "missing-bus" }
        let kinds = Set(
            asked.map { demand in
                switch demand {
                case .address, .bus: "unassigned-bars"
                case .cleared(_, let code, _): code.rawValue
                case .located: "address"
                case .stretch: "compact"
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
        if let one = ["address", "resize", "room-for-vfs", "reserve", "unassigned-bars", "compact"].first(where: {
            kinds.contains($0)
        }) {
            return one
        }
        // Only what findings tell was asked for: an overlap is no missing address.
        return kinds.sorted().first ?? "unassigned-bars"
    }

    private func make(_ verdict: Plan.Verdict) -> Plan {
        var plan = Plan(
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
        plan.conditions = conditions
        return plan
    }

    /// The records of the functions that the steps stop or move.
    func disturbances(_ disturbed: FunctionSet, _ final: SearchState) -> [Disturbance] {
        let later = Dictionary(after.functions.map { ($0.address, $0) }) { first, _ in first }
        var result: [Disturbance] = []
        for i in disturbed.members {
            let function = context.function(i)
            guard let address = final.address(i) ?? virtualAddress(of: function, final),
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

    /// Where a VF is once as many are enabled again: a new function to the twin, at the routing id that follows from its
    /// physical function's (PCIe 6.0 §9.2.1.2).
    private func virtualAddress(of function: Function, _ final: SearchState) -> FunctionAddress? {
        guard let physical = function.physicalFunction, let p = context.topology.position(of: physical),
            let sriov = context.function(p).capabilities.sriov, let now = final.address(p)
        else { return nil }
        let id = Int(function.address.bus.rawValue) << 8 | Int(function.address.devfn)
        let number = (0..<max(0, sriov.numVFs)).first {
            sriov.routingID(ofVF: $0, bus: physical.bus, devfn: physical.devfn) == id
        }
        return number.flatMap { number in
            let id = sriov.routingID(ofVF: number, bus: now.bus, devfn: now.devfn)
            return UInt8(exactly: id >> 8).map {
                FunctionAddress(segment: now.segment, bus: BusNumber($0), devfn: UInt8(id & 0xff))
            }
        }
    }
}

extension Goal {
    /// The goal as a plan names it: a saved layout by its fingerprint alone.
    fileprivate var named: Goal {
        guard case .restore(let layout) = self else { return self }
        return .restore(SavedLayout(fingerprint: layout.fingerprint, places: []))
    }
}
