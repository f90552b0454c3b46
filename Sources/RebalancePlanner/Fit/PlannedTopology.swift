// SPDX-License-Identifier: GPL-2.0-or-later

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
