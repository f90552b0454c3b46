// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

extension Disturbance.Effect {
    /// What happens, in words.
    var text: String {
        switch self {
        case .stopped: "stopped, comes back as it was"
        case .moved: "stopped, comes back at other addresses"
        case .renumbered: "stopped, comes back on another bus"
        }
    }
}

extension Precondition {
    /// The condition in words, after "only if".
    var text: String {
        switch self {
        case .treeAsPredicted: "the tree is as predicted"
        case .present(let address, let ids):
            "\(address) is \(bareHex(UInt64(ids >> 16), width: 4)):\(bareHex(UInt64(ids & 0xffff), width: 4))"
        case .busIsEmpty(let segment, let bus): "bus \(busName(segment: segment, bus)) exists and is empty"
        case .busIsAbsent(let segment, let bus): "bus \(busName(segment: segment, bus)) does not exist"
        case .notInUse(let address): "\(address) is not in use"
        }
    }
}

extension PlanStep {
    /// The way back from here in words: the recorded writes, and what `apply` puts back by its journal; never empty.
    var wayBackText: [String] {
        var result = wayBack.map(\.description)
        let isRemoved = writes.contains { if case .remove = $0 { true } else { false } }
        for write in writes {
            let text: String
            switch write {
            // What is found again has the kernel's new values.
            case .config where !isRemoved: text = "the registers get their old values"
            case .resourceAlignment: text = "resource_alignment gets its old text"
            case .unbindDriver where !isRemoved: text = "the driver is bound again"
            default: continue
            }
            if !result.contains(text) { result.append(text) }
        }
        return result.isEmpty ? ["nothing to undo; what is lost is planned for again"] : result
    }
}
