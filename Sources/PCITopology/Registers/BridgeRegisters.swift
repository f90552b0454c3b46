// SPDX-License-Identifier: GPL-2.0-or-later

/// The bus-number and window registers of a PCI-to-PCI bridge (header layout 1), as the hardware holds them.
///
/// Addresses are bus addresses. Source: PCI-to-PCI Bridge Architecture Specification 1.2 §3.2.
public struct BridgeRegisters: Hashable, Sendable {
    /// Primary bus number, offset 0x18.
    public var primary: BusNumber
    /// Secondary bus number, offset 0x19.
    public var secondary: BusNumber
    /// Subordinate bus number, offset 0x1a.
    public var subordinate: BusNumber
    /// The I/O window's registers (base 0x1c, limit 0x1d, upper halves 0x30).
    public var io: WindowRegister
    /// The non-prefetchable memory window's registers (base 0x20, limit 0x22).
    public var memory: WindowRegister
    /// The prefetchable memory window's registers (base 0x24, limit 0x26, upper halves 0x28, 0x2c).
    public var prefetchable: WindowRegister
    /// The bridge control register, offset 0x3e.
    public var control: UInt16

    /// Decodes the registers of a bridge; nil unless the header layout is 1 and 64 bytes were read.
    public init?(_ config: ConfigSpace) {
        guard config.headerLayout == 1, config.count >= 64 else { return nil }
        func byte(_ o: Int) -> UInt8 { config.byte(o) ?? 0 }
        func word(_ o: Int) -> UInt64 { UInt64(config.word(o) ?? 0) }
        func long(_ o: Int) -> UInt64 { UInt64(config.long(o) ?? 0) }
        primary = BusNumber(byte(0x18))
        secondary = BusNumber(byte(0x19))
        subordinate = BusNumber(byte(0x1a))
        control = UInt16(word(0x3e))

        let ioBase = byte(0x1c)
        let ioLimit = byte(0x1d)
        var ioStart = UInt64(ioBase & 0xf0) << 8
        var ioEnd = UInt64(ioLimit & 0xf0) << 8 | 0xfff
        let io32 = ioBase & 0xf == 1
        if io32 {
            ioStart |= word(0x30) << 16
            ioEnd |= word(0x32) << 16
        }
        io = WindowRegister(base: ioStart, limit: ioEnd, type: ioBase & 0xf)

        memory = WindowRegister(
            base: (word(0x20) & 0xfff0) << 16,
            limit: (word(0x22) & 0xfff0) << 16 | 0xfffff,
            type: UInt8(word(0x20) & 0xf)
        )

        let prefBase = word(0x24)
        let prefLimit = word(0x26)
        var prefStart = (prefBase & 0xfff0) << 16
        var prefEnd = (prefLimit & 0xfff0) << 16 | 0xfffff
        if prefBase & 0xf == 1 {
            prefStart |= long(0x28) << 32
            prefEnd |= long(0x2c) << 32
        }
        prefetchable = WindowRegister(base: prefStart, limit: prefEnd, type: UInt8(prefBase & 0xf))
    }
}

/// One window as its base and limit registers state it.
public struct WindowRegister: Hashable, Sendable {
    /// The first bus address by the base register.
    public var base: UInt64
    /// The last bus address by the limit register.
    public var limit: UInt64
    /// The type nibble of the base register: I/O 0 = 16 bit, 1 = 32 bit; prefetchable 0 = 32 bit, 1 = 64 bit.
    public var type: UInt8

    /// Creates a register pair.
    public init(base: UInt64, limit: UInt64, type: UInt8) {
        self.base = base
        self.limit = limit
        self.type = type
    }

    /// The range that the bridge forwards, or nil when the window is closed (base above limit).
    public var range: AddressRange? { AddressRange(first: base, last: limit) }
}

/// The last address of a window that ends at `last`, as registers can hold it: they tell the end to the granule, 4 KiB of
/// ports and 1 MiB of memory, and some kernels end a window in the middle of one (`pci_bus_distribute_available_resources`).
package func windowEnd(_ last: UInt64, isIO: Bool) -> UInt64 { last | (isIO ? 0xfff : 0xf_ffff) }
