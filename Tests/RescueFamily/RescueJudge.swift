// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
internal import ResourceSolver

/// Judges a tree by what it shows, sharing nothing with the planner.
public struct RescueJudge: Sendable {
    private let before: Topology

    /// Judges trees against `before`, the broken one.
    public init(_ before: Topology) { self.before = before }

    /// No finding beyond notes is left, every function is there, and every BAR that had an address has one of that size.
    public func isCured(_ after: Topology) -> Bool {
        after.findings().allSatisfy { $0.severity == .note } && losses(in: after).isEmpty
    }

    /// What was there before and is missing: functions, and addresses of BARs, by place; a sentence each.
    ///
    /// The place is that by the wires: a function that answered behind another bridge than its own and came home is there.
    ///
    /// With `allowsLarger` a BAR may be larger: it looks so from an alignment that was asked for until it is found anew.
    public func losses(in after: Topology, allowsLarger: Bool = false) -> [String] {
        var losses: [String] = []
        var places: [TopologyPath: Function] = [:]
        for state in TreeState(after).functions { places[state.place] = after[state.address] }
        for state in TreeState(before).functions {
            let path = state.place
            guard let function = before[state.address], let later = places[path] else {
                losses.append("\(path) is gone")
                continue
            }
            for resource in function.resources where resource.index.isBAR {
                guard let range = resource.range else { continue }
                let size = later.resource(resource.index)?.range?.size ?? 0
                if allowsLarger ? size >= range.size ?? 0 : size == range.size ?? 0 { continue }
                losses.append("\(path) \(resource.index) had \(range), has none or one of another size")
            }
        }
        return losses
    }

    /// Whether the solver finds a layout for everything that the findings miss, whoever moves that is not protected; nil
    /// when it cannot tell.
    public func isFeasible() -> Bool? {
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
