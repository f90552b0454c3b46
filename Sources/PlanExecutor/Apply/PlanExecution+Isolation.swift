// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology
import RebalancePlanner

extension IsolationChange {
    /// Which functions share an IOMMU group that the plan does not put together, neither before nor after it; a sentence
    /// each, by address.
    ///
    /// Functions that the plan does not name, and those of which it foretells nothing, do not count.
    ///
    /// - Parameter observed: the groups as the kernel shows them.
    /// - Returns: the sentences; empty where all is as foretold.
    func differences(from observed: [FunctionAddress: Int]) -> [String] {
        guard hasGroups else { return [] }
        var foretold: [FunctionAddress: Set<Int>] = [:]
        for (number, group) in (groupsBefore + groupsAfter).enumerated() {
            for address in group { foretold[address, default: []].insert(number) }
        }
        for address in contradicted + untold { foretold[address] = nil }
        var members: [Int: [FunctionAddress]] = [:]
        for (address, group) in observed where foretold[address] != nil { members[group, default: []].append(address) }
        return members.sorted { $0.key < $1.key }.flatMap { group, found in
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
