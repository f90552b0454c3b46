// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What the kernel holds for a function that it found (`struct pci_dev`); the same number as the function's facts.
struct KernelDevice: Sendable {
    /// The kernel knows the function at present.
    var exists = false
    /// The bus it sits on.
    var bus: Int32 = none
    /// The bus behind it, or none.
    var subordinate: Int32 = none
    /// Neighbours in the bus's device list.
    var next: Int32 = none
    var previous: Int32 = none
    /// `enable_cnt`; above 0 the function counts as enabled.
    var enableCount: Int32 = 0
    /// The class after the kernel's corrections: 0 when class and header layout contradict.
    var classCode: UInt32 = 0
    var devfn: UInt8 = 0
    var isAdded = false
    var isMultiFunction = false
    var isHotPlugBridge = false
    var isTransparent = false
    var hasIOWindow = false
    var hasPrefetchWindow = false
    var hasPrefetchWindow64 = false
    var isPhysicalFunction = false
    var isVirtualFunction = false
    var isBusMaster = false
    var isBound = false
    var ariEnabled = false
    /// The highest bus number that VFs may need.
    var maxVFBus: Int32 = 0
    /// The number of enabled VFs.
    var enabledVFs: Int32 = 0
    /// Base class and sub-class.
    var classWord: UInt32 { classCode >> 8 }
}

/// A bus (`struct pci_bus`).
struct KernelBus: Sendable {
    var exists = true
    /// Whether a search by number finds it.
    var isListed = true
    /// The host bridge above.
    var host: Int32
    var number: UInt8
    var primary: UInt8 = 0
    var bridgeControl: UInt16 = 0
    /// Whether windows have been read (`is_added`).
    var isAdded = false
    /// The bus above, none for a root bus.
    var parent: Int32 = none
    /// The bridge leading here; none for a root bus and for a bus made for VFs.
    var bridge: Int32 = none
    var firstDevice: Int32 = none
    var lastDevice: Int32 = none
    var firstChild: Int32 = none
    var lastChild: Int32 = none
    var next: Int32 = none
    var previous: Int32 = none
    /// The node of the bus-number tree.
    var numbers: Int32
    /// The bridge windows' first resource (index 13), none for a bus without bridge or before there are windows.
    var windows: Int32 = none
    /// Bytes of configuration space from 0x100 on do not reach functions here (`PCI_BUS_FLAGS_NO_EXTCFG`).
    var hidesExtendedConfiguration = false
    /// Apertures of a root bus; what a transparent bridge passes on.
    var extra: [Int32] = []

    var isRoot: Bool { parent == none }
}

/// A host bridge with its apertures, as the twin needs it.
struct TwinHost: Sendable {
    var segment: UInt32
    var firstBus: UInt8
    var lastBus: UInt8
    /// The aperture nodes in list order.
    var apertures: [Int32]
    /// CPU address minus bus address of each aperture.
    var offsets: [UInt64]
    /// Firmware left PCI Express hot-plug below this host bridge to the kernel.
    var hasNativeHotPlug = true
    /// Who notices a card on the root bus.
    var slotDriver = SlotDriver.unknown
    /// The root bus, none until it is scanned.
    var rootBus: Int32 = none
    /// The functions on the root bus in ascending devfn.
    var firstFunction: Int32 = none

    /// Whether a driver makes the host bridge, of a device (VMD) or a hypervisor's channel: Linux numbers such segments
    /// from 0x10000.
    var isMadeByDriver: Bool { segment > 0xffff }
}
