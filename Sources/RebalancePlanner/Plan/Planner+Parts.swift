// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Parts of a machine that share nothing, planned apart.
extension Planner {
    /// Plans for `clusters` group by group of host bridges that share nothing with the others; false, with nothing done,
    /// where there is one group only, or where a goal or a limit is about the whole machine.
    ///
    /// What is simulated and judged for one part is then as large as the part. The order of the steps is that of the whole:
    /// groups of demands are taken in the order of the tree.
    ///
    /// - Returns: what the steps come to, or nil.
    func takeByParts(
        _ clusters: [DemandCatalogue.Cluster],
        _ goals: [Goal],
        _ constraints: Constraints,
        _ whole: inout PlanningRun
    ) throws(PlanningError) -> PlanAssembly.Result? {
        guard constraints.maxMoves == nil, constraints.onlyBelow == nil, topology.hostBridges.count > 1,
            !goals.contains(where: \.isOfWholeTree)
        else { return nil }
        let groups = topology.independentHosts
        guard groups.count > 1 else { return nil }
        let hosts = Set(
            clusters.flatMap { ($0.choices.flatMap { $0 } + $0.wishes).map { topology.host(of: $0.function) } }
        )
        let concerned = groups.filter { !hosts.isDisjoint(with: $0) }
        var parts: [(run: PlanningRun, clusters: [DemandCatalogue.Cluster], numbers: [Int])] = []
        for group in concerned {
            guard let part = topology.part(ofHosts: group) else { return nil }
            let mine = goals.filter { goal in goal.subject.map { part.position(of: $0) != nil } ?? true }
            let isIncluded = Set(group)
            let numbers = topology.functions.indices.filter { isIncluded.contains(topology.host(of: $0)) }
            var planner = self
            planner.topology = part
            let (run, catalogue) = try planner.run(goals: mine, constraints: constraints, whole.allowance)
            parts.append((run, try catalogue.clusters(for: mine), numbers))
        }
        whole.allowance.share(among: parts.reduce(0) { $0 + $1.clusters.count })
        var result = PlanAssembly.Result()
        for n in parts.indices {
            for cluster in parts[n].clusters { parts[n].run.take(cluster) }
            let end = parts[n].run.result()
            result.disturbed += end.disturbed
            result.cost += end.cost
            result.bound += end.bound
            result.losses += end.losses
            result.certificates += end.certificates
            whole.takeOver(parts[n].run, numbers: parts[n].numbers)
        }
        result.disturbed.sort { $0.address < $1.address }
        return result
    }
}

extension Goal {
    /// Whether the goal cannot be taken part by part.
    fileprivate var isOfWholeTree: Bool {
        switch self {
        case .restore, .compact: true
        default: false
        }
    }
}
