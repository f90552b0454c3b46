// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// One step of a plan: what must hold before it, the writes, what the machine will show after it, the way back.
///
/// A step is the smallest thing that is checked: after its last write the tree is left to settle, read again and
/// compared with `after`.
public struct PlanStep: Hashable, Sendable {
    /// What the step is for, one sentence.
    public var purpose: String
    /// What must hold before the first write, checked against the machine.
    public var preconditions: [Precondition]
    /// The writes, in order.
    public var writes: [SystemWrite]
    /// The tree that the kernel is predicted to show after the step.
    public var after: TreeState
    /// The bridges, by their addresses after the step, below which functions may appear that nobody could see before it;
    /// ascending. `after` holds none of them.
    public var mayAppearBelow: [FunctionAddress]
    /// Bridge and COMMAND registers that must read so after the step, where kernel tree and registers could part.
    public var registersAfter: [RegisterExpectation]
    /// The writes that lead back to a tree nothing worse than before the step; empty when the next steps are the way back.
    public var wayBack: [SystemWrite]

    /// Creates a step.
    public init(
        purpose: String,
        preconditions: [Precondition],
        writes: [SystemWrite],
        after: TreeState,
        mayAppearBelow: [FunctionAddress] = [],
        registersAfter: [RegisterExpectation] = [],
        wayBack: [SystemWrite] = []
    ) {
        self.purpose = purpose
        self.preconditions = preconditions
        self.writes = writes
        self.after = after
        self.mayAppearBelow = mayAppearBelow
        self.registersAfter = registersAfter
        self.wayBack = wayBack
    }
}

/// What must hold before a step.
public enum Precondition: Hashable, Sendable {
    /// The tree equals the state predicted after the step before (or the plan's `before`).
    case treeAsPredicted
    /// The function exists and has these ids (vendor in the high half, device in the low half).
    case present(FunctionAddress, ids: UInt32)
    /// The bus exists and no function sits on it.
    case busIsEmpty(segment: UInt32, bus: BusNumber)
    /// No bus of this number exists.
    case busIsAbsent(segment: UInt32, bus: BusNumber)
    /// The function carries no protected use (mounted disk, default route, console, …), checked again right before.
    case notInUse(FunctionAddress)
}

/// A register that must hold a value after a step.
public struct RegisterExpectation: Hashable, Sendable {
    /// The function.
    public var address: FunctionAddress
    /// The offset in configuration space, 0 to 4095.
    public var offset: Int
    /// The width in bytes: 1, 2 or 4.
    public var width: Int
    /// The bits that count.
    public var mask: UInt32
    /// The value of those bits.
    public var value: UInt32

    /// Creates an expectation.
    public init(address: FunctionAddress, offset: Int, width: Int, mask: UInt32, value: UInt32) {
        self.address = address
        self.offset = offset
        self.width = width
        self.mask = mask
        self.value = value
    }
}

/// One write to the machine: the closed list of everything that a plan may ever do.
public enum SystemWrite: Hashable, Sendable {
    /// `echo 1 > /sys/bus/pci/devices/X/remove`: stops the function and everything below it; frees its ranges.
    case remove(FunctionAddress)
    /// `echo 1 > /sys/class/pci_bus/DDDD:BB/rescan`.
    case rescanBus(segment: UInt32, bus: BusNumber)
    /// `echo 1 > /sys/bus/pci/devices/X/rescan`: rescans the bus that X sits on.
    case rescanDevice(FunctionAddress)
    /// `echo 1 > /sys/bus/pci/rescan`: rescans every root bus. Only where nothing narrower reaches.
    case rescanAll
    /// A write of `width` (1, 2, 4) bytes to configuration space; bits outside `mask` keep their value.
    case config(FunctionAddress, offset: Int, width: Int, mask: UInt32, value: UInt32)
    /// `echo N > /sys/bus/pci/devices/X/resourceB_resize`; the exponent n of 2^n MiB.
    case resizeBAR(FunctionAddress, bar: Int, exponent: Int)
    /// Replaces the string in `/sys/bus/pci/resource_alignment`; empty clears.
    case resourceAlignment(String)
    /// `echo N > /sys/bus/pci/devices/X/sriov_numvfs`.
    case sriovNumVFs(FunctionAddress, count: Int)
    /// `echo X > /sys/bus/pci/devices/X/driver/unbind`.
    case unbindDriver(FunctionAddress)
    /// `echo X > /sys/bus/pci/drivers_probe`.
    case probeDriver(FunctionAddress)
    /// `echo DRIVER > /sys/bus/pci/devices/X/driver_override`: a removal forgets it, and going back restores it. No plan
    /// asks for this.
    case driverOverride(FunctionAddress, driver: String)
    /// `echo 0|1 > /sys/bus/pci/slots/NAME/power`.
    case slotPower(slot: String, on: Bool)
}

extension SystemWrite: CustomStringConvertible {
    /// The write as a shell line that does it.
    public var description: String {
        switch self {
        case .remove(let x): "echo 1 > /sys/bus/pci/devices/\(x)/remove"
        case .rescanBus(let segment, let bus):
            "echo 1 > /sys/class/pci_bus/\(busName(segment: segment, bus))/rescan"
        case .rescanDevice(let x): "echo 1 > /sys/bus/pci/devices/\(x)/rescan"
        case .rescanAll: "echo 1 > /sys/bus/pci/rescan"
        case .config(let x, let offset, let width, let mask, let value):
            "setpci -s \(x) \(bareHex(UInt64(offset), width: 2)).\(width == 1 ? "b" : width == 2 ? "w" : "l")"
                + "=\(bareHex(UInt64(value), width: width * 2)):\(bareHex(UInt64(mask), width: width * 2))"
        case .resizeBAR(let x, let bar, let exponent):
            "echo \(exponent) > /sys/bus/pci/devices/\(x)/resource\(bar)_resize"
        case .resourceAlignment(let text): "echo '\(text)' > /sys/bus/pci/resource_alignment"
        case .sriovNumVFs(let x, let count): "echo \(count) > /sys/bus/pci/devices/\(x)/sriov_numvfs"
        case .unbindDriver(let x): "echo \(x) > /sys/bus/pci/devices/\(x)/driver/unbind"
        case .probeDriver(let x): "echo \(x) > /sys/bus/pci/drivers_probe"
        case .driverOverride(let x, let driver): "echo \(driver) > /sys/bus/pci/devices/\(x)/driver_override"
        case .slotPower(let slot, let on): "echo \(on ? 1 : 0) > /sys/bus/pci/slots/\(slot)/power"
        }
    }
}
