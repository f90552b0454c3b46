// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner
import ResourceSolver

/// What people do by hand: remove something big and rescan, and see.
enum RescueBaseline: String, CaseIterable {
    /// The root port above the card.
    case rootPort = "remove and rescan the root port"
    /// Everything on the root bus.
    case everything = "remove and rescan everything"

    /// The tree afterwards and the number of endpoints stopped; nil when nothing may be done since something is protected.
    func outcome(_ example: RescueCase) throws -> (isCured: Bool, stopped: Int, breaksProtection: Bool) {
        let topology = example.topology
        var twin = try LinuxTwin(topology, behaviour: example.behaviour)
        var roots: [Int] = []
        switch self {
        case .rootPort:
            if let i = topology.position(of: example.port) { roots = [topology.ancestors(of: i).last ?? i] }
        case .everything: roots = topology.roots(of: 0)
        }
        let stopped = roots.flatMap { topology.subtree(of: $0) }.filter { !topology.functions[$0].isBridge }
        for root in roots { try twin.perform(.remove(topology.functions[root].address)) }
        try twin.perform(.rescan)
        return (
            RescueJudge(topology).isCured(try twin.topology()), stopped.count,
            stopped.contains { topology.functions[$0].use.evidence.contains(where: \.isProtected) }
        )
    }
}

/// Judges a tree by what it shows, sharing nothing with the planner.
struct RescueJudge {
    let before: Topology

    init(_ before: Topology) { self.before = before }

    /// No problem is left, every function is there, and every BAR that had an address has one of that size.
    func isCured(_ after: Topology) -> Bool {
        guard after.findings().allSatisfy({ $0.severity == .note }) else { return false }
        var places: [TopologyPath: Function] = [:]
        for i in after.functions.indices { places[after.path(of: i)] = after.functions[i] }
        for i in before.functions.indices {
            guard let later = places[before.path(of: i)] else { return false }
            for resource in before.functions[i].resources where resource.index.isBAR {
                guard let range = resource.range else { continue }
                guard later.resource(resource.index)?.range?.size == range.size else { return false }
            }
        }
        return true
    }

    /// Whether the solver finds a layout for everything that the findings miss, whoever moves that is not protected; nil
    /// when it cannot tell.
    func isFeasible() -> Bool? {
        var options = ProblemOptions()
        options.rule = .movable
        var problem = Problem(before, options: options)
        let harmless = Set(
            before.findings().filter { $0.severity == .note }.compactMap { finding in
                finding.resource.map { "\(finding.address) \($0)" }
            }
        )
        problem.requests = problem.requests.compactMap { request in
            if request.kind.space == .bus { return request }
            guard request.current == nil else { return request }
            guard request.tier == .required, !harmless.contains(request.label) else { return nil }
            return request
        }
        switch try? Solver(effort: Effort(steps: 400_000)).smallestChange(problem) {
        case .layout: return true
        case .conflict: return false
        case .undecided, nil: return nil
        }
    }
}
