// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

/// What a situation must be so that a plan may end in it: everything that was asked for holds, nothing is worse.
struct Acceptance {
    /// The machine before the plan.
    let original: Standing
    /// The problems that the tree had before.
    let problems: Set<Problem>
    /// No address that the plan gives may end above this.
    let highestAddress: UInt64?
    /// What earlier stages have reached and later ones must keep.
    var reached: [Demand] = []

    /// A problem of the tree's findings, named by function.
    struct Problem: Hashable {
        var function: Int
        var code: Finding.Code
        var resource: ResourceIndex?
    }

    init(_ original: Standing, findings: [Finding], constraints: Constraints) {
        self.init(
            original,
            problems: Set(Self.problems(findings, in: original.ground.topology, original.ground)),
            highestAddress: constraints.highestAddress
        )
    }

    init(_ original: Standing, problems: Set<Problem>, highestAddress: UInt64?) {
        self.original = original
        self.problems = problems
        self.highestAddress = highestAddress
    }

    /// The problems among `findings` of a tree.
    static func problems(_ findings: [Finding], in topology: Topology, _ ground: Ground) -> [Problem] {
        findings.compactMap { finding in
            guard finding.severity == .problem, let i = topology.position(of: finding.address),
                let number = ground.number(at: topology.path(of: i))
            else { return nil }
            return Problem(function: number, code: finding.code, resource: finding.resource)
        }
    }

    /// The demands of `wanted` that are not met, as far as the glance tells.
    func unmet(_ wanted: [Demand], in situation: Situation) -> [Demand] {
        wanted.filter { !$0.isMet(in: situation.glance, situation.ground) }
    }

    /// How far a situation is from one that a plan may end in: demands that are not met, resources that are worse, BARs
    /// that are grown.
    func distance(_ situation: Situation, wanted: [Demand]) -> Int {
        let glance = situation.glance
        // What was lost on the way is found again more easily than what never had a place.
        return 4 * unmet(wanted + reached, in: situation).count
            + original.harmCount(in: glance, asked: wanted + reached)
            + (isTrue(glance) ? 0 : 1)
    }

    /// What has to be done yet: demands that are not met, and what has become worse.
    func pending(_ wanted: [Demand], in situation: Situation) -> [Demand] {
        let open = unmet(wanted + reached, in: situation)
        let repairs = original.repairs(in: situation.glance, asked: wanted + reached).filter { !open.contains($0) }
        // When only the findings object, anything that was wanted may be what they object to.
        return open.isEmpty && repairs.isEmpty && isTrue(situation.glance) ? wanted : open + repairs
    }

    /// Whether a plan for `wanted` may end here.
    func accepts(_ situation: Situation, wanted: [Demand]) -> Bool {
        let glance = situation.glance
        guard unmet(wanted, in: situation).isEmpty, unmet(reached, in: situation).isEmpty,
            !original.isHarmed(in: glance, asked: wanted + reached), isTrue(glance), isLowEnough(glance)
        else { return false }
        guard let topology = try? situation.simulation.topology() else { return false }
        let now = Set(Self.problems(topology.findings(explains: false), in: topology, original.ground))
        guard now.isSubset(of: problems) else { return false }
        return (wanted + reached).allSatisfy { demand in
            guard case .cleared(let i, let code, let resource) = demand else { return true }
            return !now.contains(Problem(function: i, code: code, resource: resource))
        }
    }

    /// Whether every BAR has the size of its hardware; the text in `resource_alignment` grows them for a while.
    private func isTrue(_ glance: TwinGlance) -> Bool {
        (0..<original.ground.count).allSatisfy { glance.inflated[$0] & ~original.glance.inflated[$0] == 0 }
    }

    private func isLowEnough(_ glance: TwinGlance) -> Bool {
        guard let highestAddress else { return true }
        let width = TwinGlance.width
        for i in 0..<original.ground.count where glance.isKnown[i] {
            for index in 0..<13 {
                let at = i * width + index
                guard glance.sizes[at] > 0,
                    glance.starts[at] != original.glance.starts[at] || original.glance.sizes[at] == 0,
                    original.ground.kind(i, index) != .io
                else { continue }
                if glance.starts[at].saturatingAdd(glance.sizes[at] - 1) > highestAddress { return false }
            }
        }
        return true
    }

    /// Functions that a step changed although it did not stop them: those whose addresses are others than before.
    func moved(from before: TwinGlance, to after: TwinGlance, stopped: FunctionSet) -> FunctionSet {
        var result = FunctionSet()
        for i in 0..<original.ground.count where after.isKnown[i] && before.isKnown[i] && !stopped.contains(i) {
            for index in 0..<13 {
                let at = i * TwinGlance.width + index
                guard before.sizes[at] > 0, after.sizes[at] > 0 else { continue }
                if before.starts[at] != after.starts[at] || before.sizes[at] != after.sizes[at] { result.insert(i) }
            }
        }
        return result
    }
}
