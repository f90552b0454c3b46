// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

extension IsolationChange {
    /// Which functions share an IOMMU group that the plan does not put together, neither before nor after it, and after the
    /// last step which do not share the one that it puts them into; a sentence each, by address.
    ///
    /// Functions that the plan does not name, and those of which it foretells nothing, do not count.
    ///
    /// - Parameters:
    ///   - observed: the groups as the kernel shows them.
    ///   - isAfterwards: whether all steps are done, so that the groups are those of afterwards.
    /// - Returns: the sentences; empty where all is as foretold.
    func differences(from observed: [FunctionAddress: Int], isAfterwards: Bool = false) -> [String] {
        guard hasGroups else { return [] }
        var foretold: [FunctionAddress: Set<Int>] = [:]
        for (number, group) in (groupsBefore + groupsAfter).enumerated() {
            for address in group { foretold[address, default: []].insert(number) }
        }
        for address in contradicted + untold { foretold[address] = nil }
        var members: [Int: [FunctionAddress]] = [:]
        for (address, group) in observed where foretold[address] != nil { members[group, default: []].append(address) }
        var apart: [String] = []
        for group in isAfterwards ? groupsAfter : [] {
            let found = group.filter { foretold[$0] != nil && observed[$0] != nil }
            guard let first = found.first else { continue }
            for other in found where observed[other] != observed[first] {
                apart.append("\(other) expected in the IOMMU group of \(first), found in another")
            }
        }
        return apart
            + members.sorted { $0.key < $1.key }.flatMap { group, found in
                let found = found.sorted()
                return found.dropFirst().compactMap { other -> String? in
                    guard let first = foretold[found[0]], let its = foretold[other], first.isDisjoint(with: its) else {
                        return nil
                    }
                    return "\(other) expected apart from \(found[0]), found in IOMMU group \(group) with it"
                }
            }
    }
}
