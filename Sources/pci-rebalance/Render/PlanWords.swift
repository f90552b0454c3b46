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
        case .busIsEmpty(let segment, let bus): "bus \(bareHex(UInt64(segment), width: 4)):\(bus) exists and is empty"
        case .busIsAbsent(let segment, let bus): "bus \(bareHex(UInt64(segment), width: 4)):\(bus) does not exist"
        case .notInUse(let address): "\(address) is not in use"
        }
    }
}

extension PlanStep {
    /// The way back from here in words: the recorded writes, and what `apply` puts back by its journal; never empty.
    var wayBackText: [String] {
        var result = wayBack.map(\.description)
        var kinds: Set<String> = []
        for write in writes {
            switch write {
            case .config: kinds.insert("the registers get their old values")
            case .resourceAlignment: kinds.insert("resource_alignment gets its old text")
            case .unbindDriver: kinds.insert("the driver is bound again")
            case .sriovNumVFs: kinds.insert("the number of VFs is as before")
            case .resizeBAR: kinds.insert("the BAR gets its old size")
            case .slotPower: kinds.insert("the slot's power is as before")
            case .remove, .rescanBus, .rescanDevice, .rescanAll, .probeDriver, .driverOverride: break
            }
        }
        result += kinds.sorted()
        return result.isEmpty ? ["nothing to undo; what is lost is planned for again"] : result
    }
}
