// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// Something that the kernel does, or says, while it carries out an operation; in the order of the kernel log.
public enum TwinEvent: Sendable, Hashable {
    /// The kernel found a function that it did not know.
    case found(FunctionAddress)
    /// The kernel forgot a function.
    case removed(FunctionAddress)
    /// `assigned`: a resource got a range.
    case assigned(FunctionAddress, ResourceIndex, AddressRange)
    /// `claimed` at boot or by the ACPI hot-plug driver: the range in the registers was taken over.
    case claimed(FunctionAddress, ResourceIndex, AddressRange)
    /// The range in the registers could not be taken over.
    case notClaimed(FunctionAddress, ResourceIndex, AddressRange?)
    /// `failed to assign`: no window had room for this many bytes.
    case failed(FunctionAddress, ResourceIndex, ByteCount)
    /// `reassigned; expanded`: a window grew.
    case expanded(FunctionAddress, ResourceIndex, AddressRange)
    /// `failed to expand` by this many bytes; the window keeps what it has.
    case notExpanded(FunctionAddress, ResourceIndex, ByteCount)
    /// `released`: a window or BAR gave up its range.
    case released(FunctionAddress, ResourceIndex, AddressRange)
    /// A resource below a released window lost its range with it, whoever owns it.
    case lost(FunctionAddress, ResourceIndex, AddressRange)
    /// A window wants extra bytes beyond what is below it: `add_size`, `add_align`.
    case extra(FunctionAddress, ResourceIndex, ByteCount, alignment: ByteCount)
    /// A bridge has a bus: the range as the kernel holds it.
    case bus(FunctionAddress, BusRange)
    /// `bridge configuration invalid, reconfiguring`: the bus numbers in the registers are not sane.
    case renumbered(FunctionAddress)
    /// `busn_res: can not insert`: the range conflicts with the parent's or a sibling's.
    case busConflict(FunctionAddress, BusRange)
    /// `devices behind bridge are unusable`: the range is outside that of a bus above.
    case unusable(FunctionAddress, BusRange)
    /// `No bus number available for hot-added bridge`.
    case noBusNumber(FunctionAddress)
    /// `No. n try to assign unassigned res`.
    case retry(Int)
    /// The bridge's window registers were written.
    case programmed(FunctionAddress)
    /// Enabling the function for its driver failed: a resource has no address.
    case notEnabled(FunctionAddress)
    /// The kernel refused the operation, with its error and why.
    case refused(FunctionAddress, KernelError, String)
    /// The kernel would warn or crash here; nothing after this is certain.
    case fault(FunctionAddress, String)
}

/// An error number that a sysfs write returns.
public enum KernelError: String, Sendable, Hashable {
    /// In use.
    case busy = "EBUSY"
    /// No room.
    case noSpace = "ENOSPC"
    /// Not enough of a resource.
    case noMemory = "ENOMEM"
    /// A malformed or unsupported value.
    case invalid = "EINVAL"
    /// Out of range.
    case range = "ERANGE"
    /// Nothing to act on.
    case missing = "ENOENT"
    /// Not supported.
    case unsupported = "ENOTSUPP"
    /// Already there.
    case exists = "EEXIST"
    /// No such device.
    case noDevice = "ENODEV"
    /// Input/output error.
    case io = "EIO"
}

/// Why a twin could not be made or an operation has no meaning for it.
public struct TwinError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong.
    public enum Code: String, Sendable, Hashable {
        /// The kernel does not know a function at this address.
        case noSuchFunction
        /// The kernel has no bus of this number.
        case noSuchBus
        /// The function is no bridge, or has no bus behind it.
        case notABridge
        /// The place for the card is taken.
        case occupied
        /// The operation's arguments make no sense for this function.
        case badArgument
        /// The topology holds something that no kernel state can be.
        case badTopology
    }

    /// What is wrong.
    public let code: Code
    /// A lower-case sentence with what was expected and found.
    public let description: String

    /// Creates an error.
    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
