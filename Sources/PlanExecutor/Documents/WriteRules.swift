// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology
import RebalancePlanner

/// What a plan may write at all, whoever made it.
///
/// Configuration space: COMMAND, BARs, bus numbers and windows, bridge control; and in extended space only the control
/// registers of Resizable BAR and VF Resizable BAR, which the writer looks up in the function's capability list.
enum WriteRules {
    /// Why `write` is not acceptable, a lower-case sentence, or nil.
    static func fault(in write: SystemWrite) -> String? {
        switch write {
        case .config(_, let offset, let width, let mask, let value):
            return registerFault(offset: offset, width: width, mask: mask, value: value)
        case .resizeBAR(_, let bar, let exponent):
            return (0...5).contains(bar) && (0...43).contains(exponent)
                ? nil : "expected BAR 0 to 5 and exponent 0 to 43, found \(bar) and \(exponent)"
        case .sriovNumVFs(_, let count):
            return (0...65_535).contains(count) ? nil : "expected 0 to 65535 VFs, found \(count)"
        case .resourceAlignment(let text): return alignmentFault(text)
        case .slotPower(let slot, _): return isSlotName(slot) ? nil : "expected the name of a slot"
        case .driverOverride(_, let driver): return isDriverName(driver) ? nil : "expected the name of a driver"
        case .remove, .rescanBus, .rescanDevice, .rescanAll, .unbindDriver, .probeDriver: return nil
        }
    }

    private static func registerFault(offset: Int, width: Int, mask: UInt32, value: UInt32) -> String? {
        guard width == 1 || width == 2 || width == 4, offset >= 0, offset <= 4096 - width, offset % width == 0 else {
            return "expected an aligned register of 1, 2 or 4 bytes within configuration space"
        }
        guard mask != 0, width == 4 || mask >> UInt32(8 * width) == 0, value & ~mask == 0 else {
            return "expected a value within a mask within \(width) bytes"
        }
        let allowed: [ClosedRange<Int>] = [0x04...0x05, 0x10...0x33, 0x3e...0x3f, 0x100...0xfff]
        guard allowed.contains(where: { $0.contains(offset) && $0.contains(offset + width - 1) }) else {
            return "expected COMMAND, a BAR, a bridge register or a Resizable BAR control, found \(hex(UInt64(offset)))"
        }
        // Of a Resizable BAR control register only the size field, bits 8 to 13, is a plan's business.
        guard offset < 0x100 || (width == 4 && mask & ~0x3f00 == 0) else {
            return "expected the size field of a Resizable BAR control, found mask \(hex(UInt64(mask)))"
        }
        return nil
    }

    /// The grammar of the kernel's `resource_alignment` parameter: `[order@]device` joined by semicolons, where a device
    /// is `[DDDD:]BB:DD.F[/DD.F]*` or `pci:vendor:device[:subvendor:subdevice]`.
    private static func alignmentFault(_ text: String) -> String? {
        let fault = "expected [order@]device joined by semicolons"
        guard text.utf8.count <= 4000 else { return "expected at most 4000 bytes of alignment text" }
        guard !text.isEmpty else { return nil }
        for entry in text.split(separator: ";", omittingEmptySubsequences: false) {
            let parts = entry.split(separator: "@", omittingEmptySubsequences: false)
            guard parts.count == 1 || parts.count == 2, let device = parts.last else { return fault }
            if parts.count == 2 {
                guard parts[0].utf8.count <= 2, let order = Int(parts[0]), (0...63).contains(order) else {
                    return fault
                }
            }
            if device.hasPrefix("pci:") {
                let ids = device.dropFirst(4).split(separator: ":", omittingEmptySubsequences: false)
                guard ids.count == 2 || ids.count == 4, ids.allSatisfy(isHexWord) else { return fault }
            } else {
                guard TopologyPath(parsing: String(device)) != nil else { return fault }
            }
        }
        return nil
    }

    private static func isHexWord(_ text: Substring) -> Bool {
        (1...8).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                    || ($0 | 0x20 >= UInt8(ascii: "a") && $0 | 0x20 <= UInt8(ascii: "f"))
            }
    }

    /// Names of drivers are those of modules and of what else registers with the PCI bus.
    static func isDriverName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) || $0 == UInt8(ascii: "-")
                    || $0 == UInt8(ascii: "_")
                    || ($0 | 0x20 >= UInt8(ascii: "a") && $0 | 0x20 <= UInt8(ascii: "z"))
            }
    }

    /// Slot names come from firmware: printable, without slashes, and no way to name a directory above.
    static func isSlotName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count) && name.utf8.first != UInt8(ascii: ".")
            && name.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") }
    }
}
