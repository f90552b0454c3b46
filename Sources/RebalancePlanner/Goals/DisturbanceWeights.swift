// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What stopping each function costs, and which functions may not be stopped.
///
/// The user's cost, not the kernel's: a bridge by itself costs nothing, since what hurts is what is below it; an idle
/// endpoint costs 1, one with a driver 10, and every piece of evidence of use adds its weight.
struct DisturbanceWeights {
    /// The cost per function, by place.
    private var weights: [TopologyPath: Int] = [:]
    /// Why a function may not be stopped, by place.
    private var protections: [TopologyPath: String] = [:]

    /// Weighs the functions of `topology`; with `ignoresProtection` for the question what would be possible if nothing
    /// were protected.
    init(_ topology: Topology, constraints: Constraints, ignoresProtection: Bool = false) {
        let limit = constraints.onlyBelow.flatMap { topology.position(of: $0) }.map { topology.path(of: $0) }
        for i in topology.functions.indices {
            let function = topology.functions[i]
            let path = topology.path(of: i)
            weights[path] = Self.weight(of: function)
            if ignoresProtection { continue }
            if let limit, !limit.isAncestorOrSelf(of: path) {
                protections[path] = "it is not below the port that the plan is limited to"
            }
            if constraints.keep.contains(function.address) {
                protections[path] = "it was asked to be kept"
            } else if !constraints.allowDisturb.contains(function.address),
                let reason = function.use.evidence.first(where: \.isProtected)
            {
                protections[path] = reason.detail
            } else if !constraints.allowDisturb.contains(function.address), function.use.enabledVFs ?? 0 > 0 {
                protections[path] = "it has \(function.use.enabledVFs ?? 0) VFs enabled"
            }
        }
    }

    /// The cost of stopping the function at `path`, 0 and up; 0 for a function that is not known.
    func weight(_ path: TopologyPath) -> Int { weights[path] ?? 0 }

    /// Whether any function is protected.
    var hasProtections: Bool { !protections.isEmpty }

    /// Why the function at `path` may not be stopped, or nil when it may.
    func protection(_ path: TopologyPath) -> String? { protections[path] }

    static func weight(of function: Function) -> Int {
        if function.isVirtual { return 0 }
        var weight = 0
        if !function.isBridge { weight = function.use.driver == nil ? 1 : 10 }
        for evidence in function.use.evidence { weight += max(0, evidence.weight) }
        return weight
    }
}
