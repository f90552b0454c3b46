// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
public import PCITopology

extension Planner {
    /// The tree that the twin shows after all writes of `plan`, as a model that can be drawn and judged.
    ///
    /// - Parameter plan: a plan for this planner's tree.
    /// - Returns: the tree; the planner's own when the plan has no steps.
    /// - Throws: `PlanningError` when the twin refuses a write.
    public func topology(after plan: Plan) throws(PlanningError) -> Topology {
        var simulation = try TwinSimulation(topology, behaviour: behaviour)
        for write in plan.steps.flatMap(\.writes) {
            guard simulation.perform([write]) else {
                throw PlanningError(.twin, "the twin refuses \(write)")
            }
        }
        do {
            return try simulation.topology()
        } catch {
            throw PlanningError(.twin, "\(error)")
        }
    }
}

extension Planner {
    /// What the steps of `plan` make of IOMMU groups, of routes between siblings and of settings; nil where there is neither
    /// an IOMMU nor a switch with ACS, and where nothing is stopped.
    func isolation(of plan: Plan) -> IsolationChange? {
        guard !plan.steps.isEmpty,
            topology.hasGroups || topology.functions.contains(where: { $0.capabilities.hasACS }),
            let after = try? topology(after: plan)
        else { return nil }
        let disturbed = Set(plan.disturbed.map(\.newAddress))
        let found = after.functions.indices.filter { disturbed.contains(after.functions[$0].address) }
        return IsolationChange(before: topology, after: after, found: Set(found.map { after.path(of: $0) }))
    }
}
