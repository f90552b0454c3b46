// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The room that a root port asks firmware for; what is nil is left to firmware.
public struct PortReserve: Hashable, Sendable {
    /// Bus numbers beyond the port's own.
    public var buses: UInt64?
    /// Bytes of memory that is not prefetchable.
    public var memory: UInt64?
    /// Bytes of 64-bit prefetchable memory.
    public var prefetchable64: UInt64?

    /// Creates a reserve; everything is left to firmware by default.
    public init(buses: UInt64? = nil, memory: UInt64? = nil, prefetchable64: UInt64? = nil) {
        self.buses = buses
        self.memory = memory
        self.prefetchable64 = prefetchable64
    }

    /// Writes the reserve into a port's configuration space as the vendor-specific capability in which QEMU tells it to
    /// firmware (QEMU, docs/pcie_pci_bridge.txt: 32 bytes, all ones for what is not asked for).
    func write(to config: inout ConfigSpace) {
        let at = 0xc0
        let next = UInt32(config.byte(0x34) ?? 0)
        config.write(0x09 | next << 8 | 32 << 16 | 1 << 24, at: at, width: 4)
        func write64(_ value: UInt64?, _ offset: Int) {
            config.write(UInt32(truncatingIfNeeded: value ?? .max), at: at + offset, width: 4)
            config.write(UInt32(truncatingIfNeeded: (value ?? .max) >> 32), at: at + offset + 4, width: 4)
        }
        config.write(UInt32(truncatingIfNeeded: buses ?? .max), at: at + 4, width: 4)
        write64(nil, 8)
        config.write(UInt32(truncatingIfNeeded: memory ?? .max), at: at + 16, width: 4)
        config.write(.max, at: at + 20, width: 4)
        write64(prefetchable64, 24)
        config.write(UInt32(at), at: 0x34, width: 1)
        let status = config.word(6) ?? 0
        config.write(UInt32(status | 0x10), at: 6, width: 2)
    }
}
