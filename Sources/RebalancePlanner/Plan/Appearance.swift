// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// What a plan says of functions that nobody could see before it.
extension Topology {
    /// The places of the bridges behind which everything was seen.
    var searchedBridges: Set<TopologyPath> {
        var result: Set<TopologyPath> = []
        for i in functions.indices where functions[i].isBridge && unseenReason(behind: i) == nil {
            result.insert(path(of: i))
        }
        return result
    }

    /// The bridges whose inside can be seen here and was not among those `searched` before, ascending.
    func bridges(searchedNow searched: Set<TopologyPath>) -> [FunctionAddress] {
        functions.indices.filter { i in
            functions[i].bridge?.busRange != nil && unseenReason(behind: i) == nil && !searched.contains(path(of: i))
        }.map { functions[$0].address }.sorted()
    }
}

extension PlanAssembly {
    /// What a step adds to its purpose: where functions may appear.
    static func appearanceText(_ ports: [FunctionAddress]) -> String {
        guard !ports.isEmpty else { return "" }
        return "; devices may appear below \(ports.listed(4))"
    }

    /// What whoever agrees to a plan with such steps agrees to.
    var appearanceRemark: String? {
        guard steps.contains(where: { !$0.mayAppearBelow.isEmpty }) else { return nil }
        return "where devices appear, the addresses of what was stopped may be others than predicted, and apply reads "
            + "again and plans on for what has appeared: it stops nobody but those named here, what has appeared, and "
            + "bridges, which cost nothing"
    }
}
