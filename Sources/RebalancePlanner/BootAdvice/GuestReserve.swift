// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
internal import PCITopology

/// The reserves that a virtual machine's root port needs so that a card can be hot-added below it.
///
/// The prefetchable flag of a BAR decides which window it needs, not its width; confusing the two is why reserves are so
/// often too small. Source: the `*-reserve` properties of QEMU's `pcie-root-port`, which firmware reads.
public struct GuestReserve: Hashable, Sendable {
    /// Bytes of I/O space, a multiple of 4 KiB.
    public private(set) var io: UInt64 = 0
    /// Bytes of memory below 4 GiB, a multiple of 1 MiB.
    public private(set) var memory: UInt64 = 0
    /// Bytes of 64-bit prefetchable memory, a multiple of 1 MiB.
    public private(set) var prefetchable: UInt64 = 0
    /// Bus numbers behind the port's own bus; 0 for a card without bridges.
    public private(set) var buses = 0

    /// Computes the reserves for `card`.
    public init(_ card: CardProfile) {
        var memorySizes: [UInt64] = []
        var prefetchableSizes: [UInt64] = []
        for function in card.functions { collect(function, &memorySizes, &prefetchableSizes) }
        memory = Self.packed(memorySizes)
        prefetchable = Self.packed(prefetchableSizes)
        if io > 0 { io = (io + 0xfff) & ~0xfff }
    }

    private mutating func collect(_ function: CardFunction, _ memory: inout [UInt64], _ prefetchable: inout [UInt64]) {
        for bar in function.bars {
            if bar.isIO {
                io = min(io.addingReportingOverflow(bar.size).partialValue, 0xffff)
            } else if bar.isPrefetchable, bar.is64Bit {
                prefetchable.append(bar.size)
            } else {
                memory.append(bar.size)
            }
        }
        guard let bridge = function.bridge else { return }
        buses += 1
        for child in bridge.children { collect(child, &memory, &prefetchable) }
    }

    /// The room that naturally aligned blocks need in a window that begins at a multiple of the largest: their sum,
    /// rounded up to 1 MiB.
    private static func packed(_ sizes: [UInt64]) -> UInt64 {
        var sum: UInt64 = 0
        for size in sizes { sum = sum.addingReportingOverflow(size).partialValue }
        return sum > UInt64.max - 0xf_ffff ? sum : (sum + 0xf_ffff) & ~0xf_ffff
    }

    /// The properties as QEMU's command line takes them: `mem-reserve=16M,pref64-reserve=32800M`; empty for a card that
    /// needs nothing beyond firmware's defaults.
    public var properties: String {
        var parts: [String] = []
        if io > 0 { parts.append("io-reserve=\(ByteCount(io).exactText)") }
        if memory > 0 { parts.append("mem-reserve=\(ByteCount(memory).exactText)") }
        if prefetchable > 0 { parts.append("pref64-reserve=\(ByteCount(prefetchable).exactText)") }
        if buses > 0 { parts.append("bus-reserve=\(buses)") }
        return parts.joined(separator: ",")
    }
}
