// SPDX-License-Identifier: GPL-2.0-or-later

import AllocationPolicies
import PCITopology

extension TwinEvent {
    /// The event in the kernel's words.
    var text: String {
        switch self {
        case .found(let a): "pci \(a): found"
        case .removed(let a): "pci \(a): removed"
        case .assigned(let a, let index, let range): "pci \(a): \(index) \(bracket(index, range)): assigned"
        case .claimed(let a, let index, let range): "pci \(a): \(index) \(bracket(index, range)): claimed"
        case .notClaimed(let a, let index, let range):
            "pci \(a): \(index)\(range.map { " \(bracket(index, $0))" } ?? ""): can't claim"
        case .failed(let a, let index, let size):
            "pci \(a): \(index) [size \(hex(size.rawValue, width: 8))]: can't assign; no space"
        case .expanded(let a, let index, let range):
            "pci \(a): \(index) \(bracket(index, range)): reassigned; expanded"
        case .notExpanded(let a, let index, let size):
            "pci \(a): \(index): failed to expand by \(hex(size.rawValue))"
        case .released(let a, let index, let range): "pci \(a): \(index) \(bracket(index, range)): released"
        case .lost(let a, let index, let range): "pci \(a): \(index) \(bracket(index, range)): lost"
        case .extra(let a, let index, let size, let alignment):
            "pci \(a): \(index): add_size \(bareHex(size.rawValue)) add_align \(bareHex(alignment.rawValue))"
        case .bus(let a, let range): "pci \(a): PCI bridge to \(range)"
        case .renumbered(let a): "pci \(a): bridge configuration invalid, reconfiguring"
        case .busConflict(let a, let range): "pci \(a): busn_res: can not insert \(range)"
        case .unusable(let a, let range): "pci \(a): devices behind bridge are unusable, \(range) is out of range"
        case .noBusNumber(let a): "pci \(a): No bus number available for hot-added bridge"
        case .retry(let number): "PCI: No. \(number) try to assign unassigned res"
        case .programmed(let a): "pci \(a): window registers written"
        case .notEnabled(let a): "pci \(a): can't enable device: BAR not assigned"
        case .refused(let a, let error, let why): "pci \(a): refused with \(error.rawValue): \(why)"
        case .fault(let a, let why): "pci \(a): the kernel would warn or crash here: \(why)"
        }
    }

    private func bracket(_ index: ResourceIndex, _ range: AddressRange) -> String {
        let isIO = index == .ioWindow
        return "[\(isIO ? "io  " : "")\(hex(range.first, width: isIO ? 4 : 8))-\(hex(range.last, width: isIO ? 4 : 8))]"
    }
}
