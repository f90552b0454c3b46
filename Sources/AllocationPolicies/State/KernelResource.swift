// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// One node of the kernel's resource trees (`struct resource`), linked by numbers.
struct KernelResource: Sendable {
    var start: UInt64 = 0
    var end: UInt64 = 0
    var flags: UInt32 = 0
    var parent: Int32 = none
    var child: Int32 = none
    var sibling: Int32 = none

    /// The size by the kernel's arithmetic: 1 for a wiped resource, 0 for one whose end is below its start.
    @inline(__always)
    var size: UInt64 { end &- start &+ 1 }

    /// Sets start and size (`resource_set_range`).
    @inline(__always)
    mutating func setRange(_ first: UInt64, size: UInt64) {
        start = first
        end = first &+ size &- 1
    }
}

/// The flag bits of a resource (include/linux/ioport.h, include/linux/pci.h).
enum Flag {
    static let romEnable: UInt32 = 0x1
    static let romShadow: UInt32 = 0x2
    static let fixed: UInt32 = 0x10
    static let enhancedAllocation: UInt32 = 0x20
    static let io: UInt32 = 0x100
    static let memory: UInt32 = 0x200
    static let bus: UInt32 = 0x1000
    static let prefetch: UInt32 = 0x2000
    static let readOnly: UInt32 = 0x4000
    static let sizeAlign: UInt32 = 0x40000
    static let startAlign: UInt32 = 0x80000
    static let memory64: UInt32 = 0x10_0000
    static let window: UInt32 = 0x20_0000
    static let disabled: UInt32 = 0x1000_0000
    static let unset: UInt32 = 0x2000_0000
    static let busy: UInt32 = 0x8000_0000
    /// `IORESOURCE_TYPE_BITS`.
    static let typeBits: UInt32 = 0x1f00
    /// `PCI_RES_TYPE_MASK`: the bits that choose a window.
    static let windowBits: UInt32 = io | memory | prefetch | memory64
    static let prefetch64: UInt32 = prefetch | memory64
}

extension KernelResource {
    /// Where the resource with this index is, or how it is without an address.
    func assignment(of index: Int32) -> Resource.Assignment {
        guard let name = ResourceIndex(Int(index)) else { return .wiped }
        return ResourceLine(start: start, end: end, flags: ResourceFlags(rawValue: UInt64(flags)))
            .assignment(of: name, isHeld: parent != none)
    }
}
