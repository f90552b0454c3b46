// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

// Parts of a machine that share nothing, planned apart.
extension Planner {
    /// The plan put together from one plan for each group of host bridges that shares nothing with the others; nil where
    /// there is one group only, or where a goal or a limit is about the whole machine.
    ///
    /// What is simulated and judged for one part is then as large as the part. The order of the steps is that of the whole:
    /// groups of demands are taken in the order of the tree.
    func planByParts(_ goals: [Goal], _ constraints: Constraints) throws(PlanningError) -> Plan? {
        guard constraints.maxMoves == nil, constraints.onlyBelow == nil, topology.hostBridges.count > 1 else {
            return nil
        }
        for goal in goals {
            // The whole says what is wrong with a goal that names nobody.
            if case .restore = goal { return nil }
            if let address = goal.function, topology.position(of: address) == nil { return nil }
        }
        let groups = topology.independentHosts
        guard groups.count > 1, groups.allSatisfy({ isOwnSegments($0) }) else { return nil }
        let weights = DisturbanceWeights(topology, constraints: constraints)
        let start = Situation(
            Ground(topology, weights: weights),
            try TwinSimulation(topology, behaviour: behaviour)
        )
        var whole = PlanAssembly(planner: self, goals: goals, start: start, weights: weights)
        var result = PlanAssembly.Result()
        var parts: [PlanAssembly] = []
        for group in groups {
            guard let part = topology.part(ofHosts: group) else { return nil }
            let mine = goals.filter { goal in goal.function.map { part.position(of: $0) != nil } ?? true }
            guard !mine.isEmpty, !part.functions.isEmpty else { continue }
            var planner = Planner(topology: part, behaviour: behaviour)
            planner.maximumStages = maximumStages
            var (run, catalogue) = try planner.run(goals: mine, constraints: constraints)
            let clusters = try catalogue.clusters(for: mine)
            whole.remarks += catalogue.remarks(for: mine)
            whole.diagnosis += catalogue.diagnosis(of: clusters)
            for cluster in clusters { run.take(cluster) }
            let end = run.result()
            result.disturbed += end.disturbed
            result.cost += end.cost
            result.bound += end.bound
            result.losses += end.losses
            parts.append(run.assembly)
        }
        for part in parts { whole.append(part: part) }
        result.disturbed.sort { $0.address < $1.address }
        return whole.finish(result)
    }

    /// Whether every function of the segments of these host bridges is below one of them.
    private func isOwnSegments(_ group: [Int]) -> Bool {
        let segments = Set(group.map { topology.hostBridges[$0].segment })
        return topology.hostBridges.indices.allSatisfy {
            group.contains($0) || !segments.contains(topology.hostBridges[$0].segment)
        }
    }
}

extension Goal {
    /// The function that the goal is about, or nil where it is about all.
    fileprivate var function: FunctionAddress? {
        switch self {
        case .everythingRequired, .restore: nil
        case .place(let x), .resize(let x, _, _), .reserve(let x, _), .virtualFunctions(let x, _): x
        }
    }
}
