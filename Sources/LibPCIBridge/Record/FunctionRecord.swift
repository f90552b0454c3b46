// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// The raw evidence of one function.
public struct FunctionRecord: Hashable, Sendable {
    /// The address.
    public var address: FunctionAddress
    /// Where the function sits by the kernel's own tree.
    public var placement: Placement
    /// The configuration space as far as it could be read.
    public var config: ConfigSpace
    /// The lines of the sysfs file `resource`, or nil when it could not be read.
    public var resource: [ResourceLine]?
    /// Vendor ID as the kernel holds it, or nil.
    public var vendor: UInt16?
    /// Device ID as the kernel holds it, or nil.
    public var device: UInt16?
    /// Class code (24 bits) as the kernel holds it, or nil.
    public var classCode: UInt32?
    /// Revision as the kernel holds it, or nil.
    public var revision: UInt8?
    /// Subsystem vendor ID as the kernel holds it, or nil.
    public var subsystemVendor: UInt16?
    /// Subsystem ID as the kernel holds it, or nil.
    public var subsystemDevice: UInt16?
    /// The bound driver, or nil.
    public var driver: String?
    /// The kernel's enable count, or nil.
    public var enableCount: Int?
    /// The NUMA node, or nil.
    public var numaNode: Int?
    /// The IOMMU group, or nil.
    public var iommuGroup: Int?
    /// The `removable` attribute, or nil.
    public var removable: String?
    /// The `untrusted` attribute of kernels that export it, or nil.
    public var isUntrusted: Bool?
    /// The number of VFs that are enabled, or nil without SR-IOV.
    public var enabledVFs: Int?
    /// The number of VFs that the function can have, or nil without SR-IOV.
    public var totalVFs: Int?
    /// The physical function of a VF, or nil.
    public var physicalFunction: FunctionAddress?
    /// Whether firmware showed its first picture on this function, or nil when the kernel does not say.
    public var isBootVGA: Bool?
    /// Sizes learnt by probing, by ascending index.
    public var probed: [ProbedSize]
    /// Reasons why stopping the function would hurt.
    public var use: [UseEvidence]
    /// How much of the function a text told, or nil for a reading of the kernel's own files.
    public var knowledge: FunctionKnowledge?
    /// Resources that a text names without saying how large they are: they have no line, and their size is not known.
    package var unsized: [Resource] = []
    /// What a text calls the function, where it does not tell its ids.
    package var name: String?
    /// Bit n: a text says of resource n that there is none to speak of (`<ignored>`), whatever a register reads.
    package var ignored: UInt32 = 0
    /// Bit n: a text says that there is a BAR n in memory without address, and not how large it is.
    package var named: UInt32 = 0

    /// Where a function sits.
    public enum Placement: Hashable, Sendable {
        /// Directly below this bridge.
        case below(FunctionAddress)
        /// On a root bus.
        case rootBus
        /// The source does not tell; bus numbers decide.
        case unknown
    }

    /// Creates a record that knows an address and nothing else.
    public init(address: FunctionAddress) {
        self.address = address
        placement = .unknown
        config = ConfigSpace()
        probed = []
        use = []
    }
}

/// A size that writing all ones to a register gave.
public struct ProbedSize: Hashable, Sendable {
    /// The resource.
    public var index: ResourceIndex
    /// The size; 0 when the register turned out not to be implemented.
    public var size: ByteCount
    /// The flags that the register implies; empty when it is not implemented.
    public var flags: ResourceFlags

    /// Creates a probed size.
    public init(index: ResourceIndex, size: ByteCount, flags: ResourceFlags) {
        self.index = index
        self.size = size
        self.flags = flags
    }
}
