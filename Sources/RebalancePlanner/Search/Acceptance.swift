// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// What a search state must be so that a plan may end in it: everything that was asked for holds, nothing is worse.
struct Acceptance {
    /// The machine before the plan.
    let original: Baseline
    /// The problems that the tree had before.
    let problems: Set<Problem>
    /// No address that the plan gives may end above this.
    let highestAddress: UInt64?
    /// What must be as it is beside addresses.
    var conditions = HeldConditions()
    /// What earlier stages have reached and later ones must keep.
    var reached: [Demand] = []

    /// A problem of the tree's findings, named by function.
    struct Problem: Hashable {
        var function: Int
        var code: Finding.Code
        var resource: ResourceIndex?
    }

    init(_ original: Baseline, findings: [Finding], constraints: Constraints) {
        self.init(
            original,
            problems: Set(Self.problems(findings, in: original.context.topology, original.context)),
            highestAddress: constraints.highestAddress
        )
        conditions = HeldConditions(original.context.topology, constraints.conditions)
    }

    init(_ original: Baseline, problems: Set<Problem>, highestAddress: UInt64?) {
        self.original = original
        self.problems = problems
        self.highestAddress = highestAddress
    }

    /// The problems among `findings` of a tree.
    static func problems(_ findings: [Finding], in topology: Topology, _ context: SearchContext) -> [Problem] {
        findings.compactMap { finding in
            guard finding.severity == .problem, let i = topology.position(of: finding.address),
                let number = context.number(at: topology.path(of: i))
            else { return nil }
            return Problem(function: number, code: finding.code, resource: finding.resource)
        }
    }

    /// The demands of `wanted` that are not met, as far as the summary tells.
    func unmet(_ wanted: [Demand], in searchState: SearchState) -> [Demand] {
        wanted.filter { !$0.isMet(in: searchState.summary, searchState.context) }
    }

    /// How far a search state is from one that a plan may end in: demands that are not met, resources that are worse, BARs
    /// that are grown.
    func distance(_ searchState: SearchState, wanted: [Demand]) -> Int {
        let summary = searchState.summary
        // What was lost on the way is found again more easily than what never had a place.
        return 4 * unmet(wanted + reached, in: searchState).count
            + original.harmCount(in: summary, asked: wanted + reached)
            + (isTrue(summary) ? 0 : 1)
    }

    /// What has to be done yet: demands that are not met, and what has become worse.
    func pending(_ wanted: [Demand], in searchState: SearchState) -> [Demand] {
        let open = unmet(wanted + reached, in: searchState)
        let repairs = original.repairs(in: searchState.summary, asked: wanted + reached).filter { !open.contains($0) }
        // When only the findings object, anything that was wanted may be what they object to.
        return open.isEmpty && repairs.isEmpty && isTrue(searchState.summary) ? wanted : open + repairs
    }

    /// Whether a plan for `wanted` may end here.
    func accepts(_ searchState: SearchState, wanted: [Demand]) -> Bool {
        let summary = searchState.summary
        guard unmet(wanted, in: searchState).isEmpty, unmet(reached, in: searchState).isEmpty,
            !original.isHarmed(in: summary, asked: wanted + reached), isTrue(summary), isLowEnough(summary)
        else { return false }
        guard let topology = try? searchState.simulation.topology() else { return false }
        let now = Set(Self.problems(topology.findings(explains: false), in: topology, original.context))
        guard now.isSubset(of: problems), conditions.broken(by: searchState, topology).isEmpty else { return false }
        return (wanted + reached).allSatisfy { demand in
            guard case .cleared(let i, let code, let resource) = demand else { return true }
            return !now.contains(Problem(function: i, code: code, resource: resource))
        }
    }

    /// Whether every BAR has the size of its hardware; the text in `resource_alignment` grows them for a while.
    private func isTrue(_ summary: TwinSummary) -> Bool {
        summary.candidates.allSatisfy {
            $0 >= original.context.count || summary.inflated[$0] & ~original.summary.inflated[$0] == 0
        }
    }

    private func isLowEnough(_ summary: TwinSummary) -> Bool {
        guard let highestAddress else { return true }
        let width = TwinSummary.width
        for i in 0..<original.context.count where summary.isKnown[i] {
            for index in 0..<13 {
                let at = i * width + index
                guard summary.sizes[at] > 0,
                    summary.starts[at] != original.summary.starts[at] || original.summary.sizes[at] == 0,
                    original.context.kind(i, index) != .io
                else { continue }
                if summary.starts[at].saturatingAdd(summary.sizes[at] - 1) > highestAddress { return false }
            }
        }
        return true
    }

    /// Functions that a step changed although it did not stop them: those whose addresses are others than before.
    func moved(from before: TwinSummary, to after: TwinSummary, stopped: FunctionSet) -> FunctionSet {
        var result = FunctionSet()
        for i in after.candidates
        where i < original.context.count && after.isKnown[i] && before.isKnown[i] && !stopped.contains(i) {
            for index in 0..<13 {
                let at = i * TwinSummary.width + index
                guard before.sizes[at] > 0, after.sizes[at] > 0 else { continue }
                if before.starts[at] != after.starts[at] || before.sizes[at] != after.sizes[at] { result.insert(i) }
            }
        }
        return result
    }
}
