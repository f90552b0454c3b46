// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Something that is done to a machine: by a write to sysfs, by a hand at a slot, or by starting it.
public enum TwinOperation: Sendable, Hashable {
    /// 1 to /sys/bus/pci/devices/A/remove.
    case remove(FunctionAddress)
    /// 1 to /sys/bus/pci/rescan.
    case rescan
    /// 1 to /sys/bus/pci/devices/A/rescan: the bus that the function sits on.
    case rescanDevice(FunctionAddress)
    /// 1 to /sys/class/pci_bus/DDDD:BB/rescan; with no function on the bus its bridge's windows may grow.
    case rescanBus(segment: UInt32, bus: BusNumber)
    /// A card goes into the slot behind a port.
    case hotAdd(port: FunctionAddress, card: CardProfile, method: HotPlugMethod)
    /// A card goes into a slot of a bus, a root bus or one behind a bridge that has something behind it; the device number
    /// is the card's.
    case hotAddOnBus(segment: UInt32, bus: BusNumber, card: CardProfile, method: HotPlugMethod)
    /// The card behind a port is taken out, in an orderly way.
    case unplug(port: FunctionAddress)
    /// A write of 1, 2 or 4 bytes to /sys/bus/pci/devices/A/config.
    case writeConfig(FunctionAddress, offset: Int, width: Int, value: UInt32)
    /// The bus-number registers of a bridge in one write.
    case setBusNumbers(FunctionAddress, primary: BusNumber, secondary: BusNumber, subordinate: BusNumber)
    /// The registers of a bridge's window: bus addresses, or nil to close it.
    case writeWindow(FunctionAddress, ResourceKind, AddressRange?)
    /// The COMMAND register.
    case setCommand(FunctionAddress, Command)
    /// A string to /sys/bus/pci/resource_alignment; it counts for functions found later.
    case resourceAlignment(String)
    /// An exponent n (2^n MiB) to resourceN_resize.
    case resizeBAR(FunctionAddress, bar: Int, exponent: Int)
    /// The Resizable BAR control register by a config write: the kernel does not know until it finds the function anew.
    case setResizableBAR(FunctionAddress, bar: Int, exponent: Int)
    /// A number to sriov_numvfs.
    case setVFs(FunctionAddress, Int)
    /// The function's driver binds.
    case bind(FunctionAddress)
    /// The function's driver is unbound.
    case unbind(FunctionAddress)
    /// 1 or 0 to /sys/bus/pci/devices/A/enable.
    case setEnabled(FunctionAddress, Bool)
    /// 1 or 0 to /sys/bus/pci/drivers_autoprobe.
    case setAutoprobe(Bool)
    /// The machine starts with the registers as they are, and the kernel takes over.
    case boot(Platform)
}

/// Who notices a card.
public enum HotPlugMethod: String, Sendable, Hashable {
    /// The PCI Express hot-plug driver.
    case pciehp
    /// The ACPI hot-plug driver.
    case acpiphp
    /// Nobody: the card is there, a rescan finds it.
    case unnoticed
}
