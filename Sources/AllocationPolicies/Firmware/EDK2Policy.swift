// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// EDK2's PCI bus driver with its host bridge driver (edk2, MdeModulePkg: PciBusDxe, PciHostBridgeDxe).
///
/// Five pools per root bridge (I/O, 32- and 64-bit memory, both prefetchable or not); a bridge that cannot decode a
/// pool degrades it; a failure shrinks resizable BARs once and then rejects the largest consumer, again and again. The
/// page Docs/policies/edk2.md says more.
public struct EDK2Policy: AllocationPolicy, Hashable {
    /// What a platform asks for below a hot-plug port.
    public enum Padding: String, Hashable, Sendable {
        /// Nothing: a platform without the hot-plug initialisation protocol.
        case none
        /// As OVMF: the port's reserve where QEMU states one, else 512 bytes of I/O, 2 MiB of memory, and 1/256 of the
        /// 64-bit aperture as prefetchable memory when the aperture exceeds 32 GiB.
        case ovmf
    }

    /// The padding of hot-plug ports.
    public var padding: Padding
    /// Whether prefetchable and other memory share a pool at the root (OVMF: yes).
    public var combinesPrefetchable: Bool
    /// Whether 64-bit BARs of a function with an option ROM are degraded to 32 bits (PcdPciDegradeResourceForOptionRom,
    /// true by default; OVMF overrides it per device).
    public var degradesForOptionROM: Bool
    /// Whether resizable BARs are set to their largest size first (PcdPcieResizableBarSupport, false by default).
    public var resizesBARs: Bool
    /// The bus addresses of the I/O pool; nil: the largest I/O aperture.
    public var io: AddressRange?
    /// The bus addresses of the pool below 4 GiB; nil: the largest memory aperture there.
    public var memory32: AddressRange?
    /// The bus addresses of the pool above 4 GiB; nil: the largest memory aperture there.
    public var memory64: AddressRange?

    /// Creates the policy; the defaults are OVMF's.
    public init(
        padding: Padding = .ovmf,
        combinesPrefetchable: Bool = true,
        degradesForOptionROM: Bool = false,
        resizesBARs: Bool = false,
        io: AddressRange? = nil,
        memory32: AddressRange? = nil,
        memory64: AddressRange? = nil
    ) {
        self.padding = padding
        self.combinesPrefetchable = combinesPrefetchable
        self.degradesForOptionROM = degradesForOptionROM
        self.resizesBARs = resizesBARs
        self.io = io
        self.memory32 = memory32
        self.memory64 = memory64
    }

    /// The name.
    public var name: String { padding == .ovmf ? "edk2 ovmf" : "edk2" }

    /// One sentence on what it does.
    public var summary: String {
        "five pools sorted by alignment, degraded where a bridge cannot decode them, hot-plug ports padded, the largest consumer rejected on failure"
    }

    /// Lays out the tree.
    public func allocate(_ demand: ResourceDemand) -> PolicyOutcome {
        var run = EDK2Run(self, demand)
        for host in demand.hosts.indices {
            run.numberBuses(of: host)
            run.allocate(host)
        }
        return run.draft.outcome(policy: name, defaultReason: "the pool that holds it was not placed")
    }
}

/// A pool of address space.
enum EDK2Pool: Int, CaseIterable {
    case io, memory32, prefetchable32, memory64, prefetchable64

    var kind: ResourceKind {
        switch self {
        case .io: .io
        case .memory32, .memory64: .memory
        case .prefetchable32, .prefetchable64: .prefetchable
        }
    }
}

/// A node of the resource tree: a BAR, the padding of a port, or the window of a bridge with what it holds.
struct EDK2Node {
    enum Content {
        case request(place: Int, index: Int)
        case padding(place: Int)
        case romShadow
        case window(place: Int, EDK2Pool, children: [EDK2Node])
    }

    var content: Content
    var length: UInt64
    /// A mask: the alignment minus one.
    var alignment: UInt64
    var offset: UInt64 = 0

    var isPadding: Bool {
        if case .padding = content { return true }
        return false
    }
}

/// The list of nodes below a bridge for one pool, in the driver's order.
struct EDK2List {
    var nodes: [EDK2Node] = []

    /// Puts the node at the head and lets it sink below every node of larger alignment, and below those of equal
    /// alignment whose length has the larger remainder (`InsertResourceNode`).
    mutating func insert(_ node: EDK2Node) {
        var at = 0
        while at < nodes.count {
            let other = nodes[at]
            if node.alignment > other.alignment { break }
            if node.alignment == other.alignment {
                let rest = node.length & node.alignment
                if rest == 0 || rest >= other.length & other.alignment { break }
            }
            at += 1
        }
        nodes.insert(node, at: at)
    }

    /// Takes over every node of `other`, first to last (`MergeResourceTree`).
    mutating func merge(_ other: inout EDK2List) {
        for node in other.nodes { insert(node) }
        other.nodes = []
    }

    /// Gives every node an offset; padding and the rest are summed apart and the larger counts.
    /// - Returns: length and alignment mask of a window with the given least alignment mask.
    mutating func size(_ pool: EDK2Pool, leastAlignment: UInt64) -> (length: UInt64, alignment: UInt64) {
        var typical: UInt64 = 0
        var padding: UInt64 = 0
        for i in nodes.indices {
            if nodes[i].isPadding {
                if pool == .io {
                    padding = nodes[i].length
                } else {
                    nodes[i].offset = roundUp(padding, nodes[i].alignment)
                    padding = add(nodes[i].offset, nodes[i].length)
                }
            } else {
                nodes[i].offset = roundUp(typical, nodes[i].alignment)
                typical = add(nodes[i].offset, nodes[i].length)
            }
        }
        typical = roundUp(typical, leastAlignment)
        // The I/O padding is not rounded to the window's granularity: the next sibling may start inside the window.
        if pool != .io { padding = roundUp(padding, leastAlignment) }
        return (max(typical, padding), max(leastAlignment, nodes.first?.alignment ?? 0))
    }

    private func roundUp(_ value: UInt64, _ mask: UInt64) -> UInt64 { alignUp(value, add(mask, 1)) ?? .max }

    private func add(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : sum
    }
}
