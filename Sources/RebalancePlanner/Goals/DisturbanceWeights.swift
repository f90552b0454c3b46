// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What stopping each function costs, and which functions may not be stopped.
///
/// The user's cost, not the kernel's: a bridge by itself costs nothing, since what hurts is what is below it; an idle
/// endpoint costs 1, one with a driver 10, and every piece of evidence of use adds its weight.
struct DisturbanceWeights {
    /// The cost per function, by position in the topology.
    private var weights: [Int] = []
    /// Why a function may not be stopped, by position.
    private var protections: [Int: String] = [:]
    /// The options that forbid to stop a function and would have to go, by position.
    private var limits: [Int: String] = [:]
    /// Functions that the user allowed to be stopped whatever uses them, by position.
    private var allowed = FunctionSet()

    /// Weighs the functions of `topology`; with `ignoresProtection` for the question what would be possible if nothing
    /// were protected.
    init(_ topology: Topology, constraints: Constraints, ignoresProtection: Bool = false) {
        let limit = constraints.onlyBelow.flatMap { topology.position(of: $0) }
        let inside = limit.map { FunctionSet(topology.subtree(of: $0)) }
        weights = topology.functions.map { Self.weight(of: $0) }
        allowed = FunctionSet(constraints.allowDisturb.compactMap { topology.position(of: $0) })
        guard !ignoresProtection else { return }
        var kept: [Int: FunctionAddress] = [:]
        for address in constraints.keep.sorted() {
            guard let i = topology.position(of: address) else { continue }
            for below in topology.subtree(of: i) where kept[below] == nil || below == i { kept[below] = address }
        }
        for i in topology.functions.indices {
            let function = topology.functions[i]
            if let inside, !inside.contains(i), !isVirtualInside(function, inside, topology) {
                protections[i] = "it is not below the port that the plan is limited to"
                limits[i] = constraints.onlyBelow.map { "without --only-below \($0)" }
            }
            if let address = kept[i] {
                limits[i] = "without --keep \(address)"
                protections[i] =
                    address == function.address
                    ? "it was asked to be kept" : "it is below \(address), which was asked to be kept"
            } else if !constraints.allowDisturb.contains(function.address),
                let reason = function.use.evidence.first(where: \.isProtected)
            {
                protections[i] = reason.detail
            } else if !constraints.allowDisturb.contains(function.address), let reason = function.heldByOtherHost {
                protections[i] = reason
            } else if !constraints.allowDisturb.contains(function.address), function.use.enabledVFs ?? 0 > 0 {
                protections[i] = "it has \(function.use.enabledVFs ?? 0) VFs enabled"
            }
        }
    }

    /// VFs may sit on a bus outside the subtree of their physical function's port.
    private func isVirtualInside(_ function: Function, _ inside: FunctionSet, _ topology: Topology) -> Bool {
        function.physicalFunction.flatMap { topology.position(of: $0) }.map { inside.contains($0) } ?? false
    }

    /// The cost of stopping the function at position `i`, 0 and up.
    func weight(_ i: Int) -> Int { weights.indices.contains(i) ? weights[i] : 0 }

    /// Whether any function is protected.
    var hasProtections: Bool { !protections.isEmpty }

    /// Why the function at position `i` may not be stopped, or nil when it may.
    func protection(_ i: Int) -> String? { protections[i] }

    /// The words on the command line that permit to stop a protected function.
    func permission(_ i: Int, _ address: FunctionAddress) -> String { limits[i] ?? "with --allow-disturb \(address)" }

    /// Whether a use that comes up after planning must keep a step from stopping the function.
    func isWatched(_ i: Int) -> Bool { protections[i] == nil && !allowed.contains(i) }

    /// The same with the protection of these functions lifted, whoever asked for it.
    func permitting(_ functions: [Int]) -> DisturbanceWeights {
        var result = self
        for i in functions { result.protections[i] = nil }
        return result
    }

    static func weight(of function: Function) -> Int {
        let evidence = function.use.evidence.reduce(0) { $0 + max(0, $1.weight) }
        // A record that says whether a driver is bound has counted it.
        let isCounted = function.use.evidence.contains { $0.code == "driver-bound" || $0.code == "idle" }
        guard !function.isBridge, !function.isVirtual, !isCounted else { return evidence }
        return evidence + (function.use.driver == nil ? 1 : 10)
    }
}
