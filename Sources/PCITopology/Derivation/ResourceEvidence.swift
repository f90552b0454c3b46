// SPDX-License-Identifier: GPL-2.0-or-later

/// What is known about a function's resources beyond its `resource` lines and registers.
///
/// Empty by default: then an address counts as held by the kernel and a register that reads zero as not implemented.
public struct ResourceEvidence: Hashable, Sendable {
    /// Bit n: the kernel holds resource n (it is a node of /proc/iomem or /proc/ioports). Nil when nobody can tell.
    public var held: UInt32?
    /// Sizes that other sources tell, best source first for each index.
    public var sizes: [KnownSize]
    /// Bit n: resource n is implemented although its register reads zero, or is known not to be a resource at all when
    /// `refuted` has the bit.
    public var implemented: UInt32
    /// Bit n: resource n is no resource whatever its register reads: the kernel called it invalid, a probe found
    /// nothing, or the kernel listed the function's BARs without it.
    public var refuted: UInt32
    /// Bit n: the kernel says that it does not hold resource n although it shows an address (`not claimed`).
    public var unheld: UInt32 = 0
    /// Bit n: a text tells an address or nothing at all of resource n, so that a register or a line of zeros proves no
    /// failed assignment.
    public var untold: UInt32 = 0
    /// TotalVFs when the SR-IOV capability could not be read.
    public var totalVFs: Int?

    /// Creates evidence; nothing is known by default.
    public init(
        held: UInt32? = nil,
        sizes: [KnownSize] = [],
        implemented: UInt32 = 0,
        refuted: UInt32 = 0,
        totalVFs: Int? = nil
    ) {
        self.held = held
        self.sizes = sizes
        self.implemented = implemented
        self.refuted = refuted
        self.totalVFs = totalVFs
    }

    /// No evidence.
    public static let none = ResourceEvidence()

    /// A size that a source other than the `resource` file tells.
    public struct KnownSize: Hashable, Sendable {
        /// The resource.
        public var index: ResourceIndex
        /// The size; VF BARs: the whole block for TotalVFs.
        public var size: ByteCount
        /// The flags, or nil when the source tells none.
        public var flags: ResourceFlags?
        /// The source.
        public var source: Resource.SizeSource

        /// Creates a known size.
        public init(index: ResourceIndex, size: ByteCount, flags: ResourceFlags?, source: Resource.SizeSource) {
            self.index = index
            self.size = size
            self.flags = flags
            self.source = source
        }
    }

    func size(of index: ResourceIndex) -> KnownSize? { sizes.first { $0.index == index } }

    func says(_ mask: UInt32, _ index: ResourceIndex) -> Bool { mask >> UInt32(index.rawValue) & 1 == 1 }

    func isHeld(_ index: ResourceIndex) -> Bool? { says(unheld, index) ? false : held.map { says($0, index) } }
}
