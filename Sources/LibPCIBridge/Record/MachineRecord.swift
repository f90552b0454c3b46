// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The raw evidence of one machine at one moment.
///
/// Everything that a reading command prints derives from a record alone: a live reading is a record first, then a
/// topology. That is why a snapshot gives the same output as the machine it was taken from.
public struct MachineRecord: Hashable, Sendable {
    /// How the record came about.
    public enum Origin: String, Hashable, Sendable {
        /// Read from the running kernel.
        case live
        /// Read from a directory in the shape of sysfs.
        case directory
        /// Put together from texts.
        case text
    }

    /// How the record came about.
    public var origin: Origin
    /// The kernel that ran.
    public var kernel: KernelIdentity
    /// The functions in ascending address order.
    public var functions: [FunctionRecord]
    /// The buses that the kernel had, from /sys/class/pci_bus and the paths of functions.
    public var buses: [BusRecord]
    /// The slots below /sys/bus/pci/slots.
    public var slots: [SlotRecord]
    /// The ports whose hot-plug service pciehp drives, from /sys/bus/pci_express/drivers/pciehp; nil when that was not read.
    public var nativeHotPlugPorts: [FunctionAddress]?
    /// The addresses in the order of /proc/bus/pci/devices, which is the order of the kernel's device lists.
    public var deviceOrder: [FunctionAddress]
    /// The text of /proc/iomem, or nil when it could not be read.
    public var iomem: String?
    /// The text of /proc/ioports, or nil when it could not be read.
    public var ioports: String?
    /// The entries of /sys/firmware/memmap, or nil without that directory.
    public var firmwareMap: [FirmwareMapEntry]?
    /// The kernel log's lines that speak of PCI or of the firmware's memory map, or nil when it could not be read.
    public var kernelLog: [String]?
    /// The text of /sys/bus/pci/resource_alignment, or nil.
    public var resourceAlignment: String?
    /// What the reader was allowed to do, or nil when not recorded.
    public var privileges: PrivilegeRecord?
    /// What names functions of the record by their addresses in files: guests' configurations, rules, links.
    public var namings: [AddressWord] = []
    /// What could not be read, and what follows from that.
    public var gaps: [ReadingGap]

    /// Creates an empty record.
    public init(origin: Origin, kernel: KernelIdentity = KernelIdentity()) {
        self.origin = origin
        self.kernel = kernel
        functions = []
        buses = []
        slots = []
        deviceOrder = []
        gaps = []
    }

    /// The function at `address`, or nil.
    /// - Complexity: O(n).
    public func function(at address: FunctionAddress) -> FunctionRecord? {
        functions.first { $0.address == address }
    }
}
