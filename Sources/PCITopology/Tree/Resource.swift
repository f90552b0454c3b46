// SPDX-License-Identifier: GPL-2.0-or-later

/// One resource of a function: a BAR, the ROM, a VF BAR block or a bridge window, as kernel and registers hold it.
///
/// Addresses are CPU addresses, as in the sysfs file `resource`. A resource that the function does not implement is not
/// in the model.
public struct Resource: Hashable, Sendable {
    /// Which resource of the function this is.
    public var index: ResourceIndex
    /// The kernel's flag word; for a wiped resource the flags that its register implies.
    public var flags: ResourceFlags
    /// The size in bytes; nil when nobody could tell. VF BARs: the whole block for TotalVFs. Windows: the open size, 0 closed.
    public var size: ByteCount?
    /// What the register decodes, where the kernel's figure is larger because of a resource_alignment request; else nil.
    public var hardwareSize: ByteCount?
    /// A closed window: the size that it last had or was to have, which kernels from 7.0 on go on asking for; nil when
    /// nothing tells. sysfs does not show it.
    public var rememberedSize: ByteCount?
    /// The alignment in bytes that the kernel would ask for; nil when unknown.
    public var alignment: ByteCount?
    /// Where it is, or how it is without an address.
    public var assignment: Assignment
    /// How the size was learnt.
    public var sizeSource: SizeSource

    /// Creates a resource.
    public init(
        index: ResourceIndex,
        flags: ResourceFlags,
        size: ByteCount?,
        alignment: ByteCount?,
        assignment: Assignment,
        sizeSource: SizeSource = .kernel
    ) {
        self.index = index
        self.flags = flags
        self.size = size
        self.alignment = alignment
        self.assignment = assignment
        self.sizeSource = sizeSource
    }

    /// Where a resource is, or how it is without an address.
    public enum Assignment: Hashable, Sendable {
        /// The kernel gave it this range and holds it.
        case assigned(AddressRange)
        /// It carries an address that the kernel does not hold (not in /proc/iomem, not in a window).
        case unclaimed(AddressRange)
        /// The kernel knows size and kind, and has no address for it (`UNSET`, or an address of zero).
        case unassigned
        /// An assignment failed and the kernel forgot the resource: sysfs shows zeros, the register still is a BAR. No
        /// rescan retries it before the function is removed and found again (`reset_resource`).
        case wiped
        /// A window that is implemented and forwards nothing.
        case closed

        /// Whether there is no address and there could be one.
        public var lacksAddress: Bool {
            switch self {
            case .unassigned, .wiped: true
            case .assigned, .unclaimed, .closed: false
            }
        }
    }

    /// How a size was learnt.
    public enum SizeSource: Hashable, Sendable {
        /// From the kernel's resource.
        case kernel
        /// From the Resizable BAR capability.
        case resizableBAR
        /// From a message of the kernel log.
        case kernelLog
        /// By writing all ones to the register and reading it back while decoding was off.
        case probed
        /// From another function's record or an older snapshot.
        case inferred
        /// Not learnt.
        case unknown
    }

    /// The assigned range, or nil.
    public var range: AddressRange? {
        if case .assigned(let range) = assignment { return range }
        return nil
    }

    /// The address range that the resource shows, held by the kernel or not.
    public var shownRange: AddressRange? {
        switch assignment {
        case .assigned(let range), .unclaimed(let range): range
        default: nil
        }
    }

    /// The kind of space, or nil when flags tell none.
    public var kind: ResourceKind? { ResourceKind(flags) }

    /// Whether a 64-bit address may be written.
    public var is64Bit: Bool { flags.contains(.memory64) }

    /// Whether it is fixed in hardware and never moves.
    public var isFixed: Bool { flags.contains(.fixed) }

    /// Whether the function needs it to work: BARs are required; ROMs and VF BARs are optional; windows follow from what is below.
    public var isRequired: Bool { index.isBAR }

    /// Whether it lacks an address that it could have.
    public var lacksAddress: Bool { assignment.lacksAddress }

    /// The kernel's wording of the space and width: `io`, `mem`, `mem 64bit`, `mem 64bit pref`.
    public var typeSuffix: String {
        var text = ""
        if flags.contains(.memory64) { text += " 64bit" }
        if flags.contains(.prefetchable) { text += " pref" }
        return text
    }

    /// The resource as the kernel prints it: `[mem 0xfe800000-0xfe800fff]`, `[mem size 0x40000000 64bit pref]`.
    public var kernelText: String {
        let space = flags.contains(.io) ? "io " : flags.contains(.memory) ? "mem" : "???"
        if let range = shownRange {
            let width = flags.contains(.io) ? 4 : is64Bit && range.last > 0xffff_ffff ? 0 : 8
            return "[\(space) \(hex(range.first, width: width))-\(hex(range.last, width: width))\(typeSuffix)]"
        }
        if assignment == .closed { return "[\(space) closed\(typeSuffix)]" }
        guard let size else { return "[\(space) size unknown\(typeSuffix)]" }
        return "[\(space) size \(hex(size.rawValue, width: flags.contains(.io) ? 4 : 8))\(typeSuffix)]"
    }
}
