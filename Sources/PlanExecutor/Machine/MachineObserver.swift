// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// What the executor reads of a machine; the other half of `SystemWriter`.
///
/// Whatever is thrown other than `ObservationError` ends the apply at once, as a crash would.
public protocol MachineObserver: AnyObject {
    /// The tree as the kernel shows it now.
    func tree() throws -> TreeState

    /// Driver and configuration space of the functions at `addresses`; absent functions are left out.
    func health(of addresses: [FunctionAddress]) throws -> [FunctionHealth]

    /// The register at `offset`, `width` bytes.
    func register(_ address: FunctionAddress, offset: Int, width: Int) throws -> UInt32

    /// What `write` is about to replace, where it can be told: the way to undo it.
    func savedValue(before write: SystemWrite) throws -> SavedValue?

    /// The Device Serial Number of the function at `address`, or nil when it has none or it cannot be read.
    func serialNumber(of address: FunctionAddress) throws -> UInt64?

    /// Whether the kernel has a bus of this number.
    func busExists(segment: UInt32, bus: BusNumber) throws -> Bool

    /// The reasons for which the function at `address` must not be stopped now; empty when there is none.
    func protectedUse(of address: FunctionAddress) throws -> [UseEvidence]

    /// Sentences on what is missing to carry out writes: privileges, and a kernel that is not locked down when
    /// configuration space is to be written.
    func obstacles(writesConfig: Bool) throws -> [String]

    /// The number of the IOMMU group of each function that has one; empty where the kernel runs no IOMMU.
    func iommuGroups() throws -> [FunctionAddress: Int]

    /// How many events the kernel has raised for devices since it was booted; 0 where that cannot be told.
    func eventCount() -> UInt64

    /// The kernel release, `uname -r`.
    func kernelRelease() throws -> String

    /// An identifier that is another one after every boot.
    func bootID() throws -> String
}

extension MachineObserver {
    /// None.
    public func serialNumber(of address: FunctionAddress) throws -> UInt64? { nil }

    /// None.
    public func iommuGroups() throws -> [FunctionAddress: Int] { [:] }

    /// 0: that cannot be told.
    public func eventCount() -> UInt64 { 0 }
}

/// Why something could not be read.
public struct ObservationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was expected and found, a lower-case sentence.
    public var description: String

    /// Creates an error.
    public init(_ description: String) { self.description = description }
}

/// What a write replaces.
public enum SavedValue: Hashable, Sendable {
    /// A register, a count, a size exponent, a switch.
    case number(UInt64)
    /// A text.
    case text(String)
}

/// What tells whether a function works, beyond its resources: its driver and its configuration space.
public struct FunctionHealth: Hashable, Sendable {
    /// The address.
    public var address: FunctionAddress
    /// The bound driver, or nil.
    public var driver: String?
    /// The driver that alone may bind the function (`driver_override`), or nil.
    public var driverOverride: String?
    /// The configuration space, at least 64 bytes unless the function does not answer.
    public var config: ConfigSpace

    /// Creates a record.
    public init(address: FunctionAddress, driver: String?, driverOverride: String? = nil, config: ConfigSpace) {
        self.address = address
        self.driver = driver
        self.driverOverride = driverOverride
        self.config = config
    }

    /// The decode bits of COMMAND: I/O and memory.
    public var decode: Command { (config.command ?? []).intersection([.ioSpace, .memorySpace]) }

    /// Max_Payload_Size in bytes, or nil for a conventional function.
    public var maxPayloadSize: Int? { Capabilities(config).express?.maxPayloadSize }
}

extension SystemWrite {
    /// Whether the write replaces the alignments that are asked for.
    var isAlignmentText: Bool { if case .resourceAlignment = self { true } else { false } }

    /// Whether the write has the kernel look for functions.
    var isRescan: Bool {
        switch self {
        case .rescanBus, .rescanDevice, .rescanAll: true
        default: false
        }
    }

    /// The function that the write goes to, or nil when it goes to a bus, a slot or the whole machine.
    public var address: FunctionAddress? {
        switch self {
        case .remove(let address), .rescanDevice(let address), .config(let address, _, _, _, _),
            .resizeBAR(let address, _, _), .sriovNumVFs(let address, _), .unbindDriver(let address),
            .probeDriver(let address), .driverOverride(let address, _):
            address
        case .rescanBus, .rescanAll, .resourceAlignment, .slotPower: nil
        }
    }

    /// Whether the write can make functions come, go or move, so that only the plan knows the way back.
    public var changesTree: Bool {
        switch self {
        case .remove, .rescanBus, .rescanDevice, .rescanAll, .slotPower, .sriovNumVFs, .resizeBAR: true
        case .config, .resourceAlignment, .unbindDriver, .probeDriver, .driverOverride: false
        }
    }

    /// The write that undoes this one when it replaced `saved`; nil when there is none.
    public func undone(_ saved: SavedValue?) -> SystemWrite? {
        switch (self, saved) {
        case (.config(let address, let offset, let width, let mask, _), .number(let old)):
            .config(address, offset: offset, width: width, mask: mask, value: UInt32(truncatingIfNeeded: old) & mask)
        case (.resourceAlignment, .text(let old)): .resourceAlignment(old)
        case (.sriovNumVFs(let address, _), .number(let old)):
            .sriovNumVFs(address, count: Int(truncatingIfNeeded: old & 0xffff))
        case (.resizeBAR(let address, let bar, _), .number(let old)):
            .resizeBAR(address, bar: bar, exponent: Int(truncatingIfNeeded: old & 0x3f))
        case (.slotPower(let slot, _), .number(let old)): .slotPower(slot: slot, on: old != 0)
        case (.unbindDriver(let address), _): .probeDriver(address)
        default: nil
        }
    }
}
