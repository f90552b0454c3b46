// SPDX-License-Identifier: GPL-2.0-or-later

internal import HeapModule
internal import PCITopology

/// Finds the cheapest sequence of stages after which nothing that was wanted is missing and nothing is worse.
///
/// Uniform-cost search with the twin as the simulator. A sequence is simulated only when no cheaper one is left
/// untried, so the first that reaches the goal is the cheapest of all sequences that the source offers, up to
/// `maximumStages`. Cost, in this order: weight of what is disturbed (each function once) and one for every endpoint in
/// use that gets another bus number, stages, functions disturbed, writes, order of generation.
struct ManeuverSearch<Simulation: Simulator> {
    let weights: DisturbanceWeights
    let original: Standing
    let maximumStages: Int
    var budget: Int

    /// A sequence that reaches the goal.
    struct Solution {
        var maneuvers: [Maneuver]
        var simulation: Simulation
        var disturbed: Set<TopologyPath>
        var weight: Int
        /// Whether every cheaper sequence was simulated.
        var isCheapest: Bool
    }

    private struct Node {
        var simulation: Simulation
        var topology: Topology
        var maneuvers: [Maneuver]
        var disturbed: Set<TopologyPath>
        /// The endpoints that got other bus numbers on the way here.
        var renumbered = 0
    }

    private struct Candidate: Comparable {
        var weight: Int
        var stages: Int
        var functions: Int
        var writes: Int
        var serial: Int
        var node: Int
        var maneuver: Maneuver
        var disturbed: Set<TopologyPath>

        private var key: (Int, Int, Int, Int, Int) { (weight, stages, functions, writes, serial) }
        static func < (a: Candidate, b: Candidate) -> Bool { a.key < b.key }
        static func == (a: Candidate, b: Candidate) -> Bool { a.serial == b.serial }
    }

    /// Searches from `start` for a way to provide all of `wanted`.
    ///
    /// - Returns: the cheapest sequence, or nil when none of at most `maximumStages` stages reaches the goal or the budget
    ///   ran out; `simulations` is what was spent.
    mutating func solve(from start: Simulation, wanted: [Demand], simulations: inout Int) -> Solution? {
        guard let topology = try? start.topology() else { return nil }
        var nodes = [Node(simulation: start, topology: topology, maneuvers: [], disturbed: [])]
        var queue = Heap<Candidate>()
        var serial = 0
        var seenStates: Set<UInt64> = [topology.stateKey]

        func expand(_ n: Int) {
            let node = nodes[n]
            let source = ManeuverSource(topology: node.topology, weights: weights)
            for maneuver in source.maneuvers(for: wanted) {
                let disturbed = node.disturbed.union(source.disturbed(by: maneuver.stopped))
                queue.insert(
                    Candidate(
                        weight: disturbed.reduce(0) { $0 + weights.weight($1) }
                            + node.renumbered + source.renumbered(by: maneuver),
                        stages: node.maneuvers.count + 1,
                        functions: disturbed.count,
                        writes: maneuver.stopWrites(in: node.topology).count,
                        serial: serial,
                        node: n,
                        maneuver: maneuver,
                        disturbed: disturbed
                    )
                )
                serial += 1
            }
        }

        expand(0)
        while let candidate = queue.popMin() {
            guard simulations < budget else { return nil }
            simulations += 1
            let parent = nodes[candidate.node]
            var simulation = parent.simulation
            let writes = candidate.maneuver.stopWrites(in: parent.topology) + candidate.maneuver.findWrites
            guard simulation.perform(writes), let after = try? simulation.topology() else { continue }
            let standing = Standing(after)
            let harmed = original.losses(in: standing, asked: wanted).contains { $0.grade == .harm }
            if !harmed, wanted.allSatisfy({ $0.isMet(in: standing) }) {
                return Solution(
                    maneuvers: parent.maneuvers + [candidate.maneuver],
                    simulation: simulation,
                    disturbed: candidate.disturbed,
                    weight: candidate.weight,
                    isCheapest: true
                )
            }
            guard candidate.stages < maximumStages, seenStates.insert(after.stateKey).inserted else { continue }
            nodes.append(
                Node(
                    simulation: simulation,
                    topology: after,
                    maneuvers: parent.maneuvers + [candidate.maneuver],
                    disturbed: candidate.disturbed,
                    renumbered: parent.renumbered
                        + ManeuverSource(topology: parent.topology, weights: weights)
                        .renumbered(by: candidate.maneuver)
                )
            )
            expand(nodes.count - 1)
        }
        return nil
    }
}

extension Topology {
    /// A key that two equal states share: what the kernel shows, and the registers of the bridges.
    fileprivate var stateKey: UInt64 {
        var hash = TreeState(self).fingerprint
        for function in functions where function.isBridge {
            for offset in stride(from: 0x18, to: 0x34, by: 4) {
                // A mixing step of FNV-1a, which is defined modulo 2^64.
                hash = (hash ^ UInt64(function.config.long(offset) ?? 0)) &* 0x100_0000_01b3
            }
        }
        return hash
    }
}
