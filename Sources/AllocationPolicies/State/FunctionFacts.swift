// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What a function is in hardware and what no operation of the kernel changes.
struct FunctionFacts: Sendable {
    var vendor: UInt16 = 0
    var device: UInt16 = 0
    var subsystemVendor: UInt16 = 0
    var subsystemDevice: UInt16 = 0
    var classCode: UInt32 = 0
    var revision: UInt8 = 0
    var headerLayout: UInt8 = 0
    var devfn: UInt8 = 0
    var isMultiFunction = false
    /// Plugged in and answering.
    var isPresent = true
    /// The bridge above in hardware, none on a root bus.
    var parent: Int32 = none
    var host: Int32 = 0
    /// Functions on the secondary side in ascending devfn.
    var firstChild: Int32 = none
    var nextSibling: Int32 = none
    /// The first of the function's resources and how many: 7, with SR-IOV 13, bridges 17.
    var firstResource: Int32 = 0
    var resourceCount: Int32 = 7
    /// The six BARs; bridges use the first two.
    var bars = Six(BARFacts())
    var hasROM = false
    /// The boot display, whose ROM stands copied in RAM below 1 MiB.
    var hasShadowedROM = false
    var portType: UInt8 = 0xff
    var isExpress: Bool { portType != 0xff }
    var isSlotHotPlug = false
    /// What gives a port services: error reporting, containment, bandwidth notification, more than one link speed.
    var hasErrorReporting = false
    var hasContainment = false
    var notifiesBandwidth = false
    var hasSeveralSpeeds = false
    /// A bridge that passes the first 256 bytes of configuration space alone: neither a port nor PCI-X of mode 2.
    var hidesExtendedConfiguration = false
    /// Windows that the bridge implements, by their type.
    var hasIOWindow = false
    var hasIO32 = false
    var hasIO1K = false
    var hasPrefetchWindow = false
    var hasPrefetch64 = false
    /// ARI: the port can forward it, the function has the capability.
    var forwardsARI = false
    var hasARI = false
    /// Bus numbers fixed by Enhanced Allocation: secondary and subordinate; 0 without.
    var fixedSecondary: UInt8 = 0
    var fixedSubordinate: UInt8 = 0
    /// SR-IOV.
    var totalVFs: UInt16 = 0
    var initialVFs: UInt16 = 0
    var vfOffset: UInt16 = 0
    var vfStride: UInt16 = 0
    var vfDevice: UInt16 = 0
    var vfBARs = Six(BARFacts())
    /// The physical function of a VF and its number, none otherwise.
    var physicalFunction: Int32 = none
    var vfNumber: Int32 = 0
    /// The first of the functions that were made for this one's VFs, and how many; none before.
    var firstVF: Int32 = none
    /// Of a VF, the one with the next number: VFs of several physical functions may alternate.
    var nextVF: Int32 = none
    var vfCapacity: Int32 = 0
    /// The driver that binds when the function is added.
    var driver: DriverKind = .none
    /// Whether that driver leaves VFs enabled when it lets go (`pci_iov_remove` warns).
    var driverLeavesVFs = false
    /// The function as it was read: everything that the twin hands on unchanged.
    var original: Int32 = none

    /// A bridge of header layout 1 or 2, with or without a bus.
    var isBridge: Bool { headerLayout == 1 || headerLayout == 2 }
}

/// What a driver does to the enable count of a function that it binds to.
enum DriverKind: UInt8, Sendable {
    /// No driver binds.
    case none
    /// The driver of PCI Express ports: enables and makes bus master.
    case port
    /// An ordinary driver: enables and makes bus master.
    case enabling
    /// A driver that leaves the function disabled (`vfio-pci`, `pci-stub`, `pciback`).
    case passive
}

/// The kind of a BAR register.
enum BARKind: UInt8, Sendable {
    case none
    case io
    case memory32
    case memory64
    /// The upper half of a 64-bit BAR.
    case upperHalf
}

/// Kind, prefetchability and a fixed address of a BAR.
struct BARFacts: Sendable {
    var kind: BARKind = .none
    var isPrefetchable = false
    /// By Enhanced Allocation or a header that fixes it: the register is not written.
    var fixedRange: AddressRange?
    /// The sizes that a Resizable BAR entry offers, bit n for 2^n MiB; 0 without.
    var resizable: UInt64 = 0
    /// The control register of the Resizable BAR entry.
    var resizeControl: UInt16 = 0

    var isImplemented: Bool { kind != .none && kind != .upperHalf || fixedRange != nil }

    /// The flags that the kernel derives from the register (`decode_bar`).
    var flags: UInt32 {
        switch kind {
        case .io: Flag.io | 0x1
        case .memory32: Flag.memory | (isPrefetchable ? Flag.prefetch | 0x8 : 0)
        case .memory64: Flag.memory | Flag.memory64 | 0x4 | (isPrefetchable ? Flag.prefetch | 0x8 : 0)
        case .none, .upperHalf: 0
        }
    }
}
