// SPDX-License-Identifier: GPL-2.0-or-later

public import AllocationPolicies
public import PCITopology

/// The reserves that a virtual machine's root port needs so that a card can be hot-added below it.
///
/// The prefetchable flag of a BAR decides which window it needs, not its width; confusing the two is why reserves are so
/// often too small. Source: the `*-reserve` properties of QEMU's `pcie-root-port`, which firmware reads.
///
/// The values hold for windows that begin at a multiple of the largest BAR: OVMF places them so (`PciHotPlugInitDxe`), and
/// Linux moves the window of an empty port where it must. SeaBIOS aligns windows to 2 MiB; `withSlack` is enough there too.
public struct GuestReserve: Hashable, Sendable {
    /// Bytes of I/O space, a multiple of 4 KiB.
    public private(set) var io: UInt64 = 0
    /// Bytes of memory below 4 GiB, a multiple of 1 MiB.
    public private(set) var memory: UInt64 = 0
    /// Bytes of 64-bit prefetchable memory, a multiple of 1 MiB.
    public private(set) var prefetchable: UInt64 = 0
    /// Bus numbers behind the port's own bus; 0 for a card without bridges.
    public private(set) var buses = 0
    /// The largest BARs by kind, which decide how windows must be aligned.
    private var largestMemory: UInt64 = 0
    private var largestPrefetchable: UInt64 = 0

    /// What is enough wherever firmware lets the windows begin: every window larger by what the search for a multiple of the
    /// largest BAR may skip from a multiple of 2 MiB.
    public var withSlack: GuestReserve {
        func slack(_ size: UInt64, _ largest: UInt64) -> UInt64 {
            largest > 2 << 20 ? size.addingReportingOverflow(largest - (2 << 20)).partialValue : size
        }
        var copy = self
        copy.memory = slack(memory, largestMemory)
        copy.prefetchable = slack(prefetchable, largestPrefetchable)
        return copy
    }

    /// Computes the reserves for `card`.
    public init(_ card: CardProfile) {
        var memorySizes: [UInt64] = []
        var prefetchableSizes: [UInt64] = []
        for function in card.functions { collect(function, &memorySizes, &prefetchableSizes) }
        largestMemory = memorySizes.max() ?? 0
        largestPrefetchable = prefetchableSizes.max() ?? 0
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

    /// The same for libvirt, which has no element of its own for these: lines of a `qemu:override` element
    /// (libvirt 8.2 and later) for the controller whose alias is given. Sizes in bytes.
    public func libvirtLines(alias: String) -> [String] {
        var properties: [(name: String, value: UInt64)] = []
        if io > 0 { properties.append(("io-reserve", io)) }
        if memory > 0 { properties.append(("mem-reserve", memory)) }
        if prefetchable > 0 { properties.append(("pref64-reserve", prefetchable)) }
        if buses > 0 { properties.append(("bus-reserve", UInt64(buses))) }
        let inner = properties.map {
            "      <qemu:property name='\($0.name)' type='unsigned' value='\($0.value)'/>"
        }
        return ["<qemu:override>", "  <qemu:device alias='\(alias)'>", "    <qemu:frontend>"] + inner
            + ["    </qemu:frontend>", "  </qemu:device>", "</qemu:override>"]
    }
}

extension CardProfile {
    /// The device that the function at `address` belongs to, with all functions of its slot that are no bridges and no
    /// VFs, as a card; nil when there is none there or when the size of a BAR is not known.
    public init?(of address: FunctionAddress, in topology: Topology) {
        guard topology[address] != nil else { return nil }
        var functions: [CardFunction] = []
        for function in topology.functions
        where function.address.segment == address.segment && function.address.bus == address.bus
            && function.address.device == address.device && !function.isVirtual && !function.isBridge
        {
            var bars: [CardBAR] = []
            for resource in function.resources where resource.index.isBAR && !resource.isFixed {
                guard let size = resource.size?.rawValue, size > 0 else { return nil }
                let number = Int(resource.index.rawValue)
                if resource.flags.contains(.io) {
                    bars.append(.io(number, size))
                } else {
                    bars.append(
                        .memory(
                            number,
                            size,
                            is64Bit: resource.is64Bit,
                            isPrefetchable: resource.flags.contains(.prefetchable)
                        )
                    )
                }
            }
            functions.append(CardFunction(devfn: function.address.function, identity: function.identity, bars: bars))
        }
        guard functions.contains(where: { !$0.bars.isEmpty }) else { return nil }
        self.init(name: address.description, functions: functions)
    }
}
