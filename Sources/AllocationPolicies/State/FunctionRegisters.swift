// SPDX-License-Identifier: GPL-2.0-or-later

/// The registers of a function that operations change.
///
/// They stay when the kernel forgets the function.
struct FunctionRegisters: Sendable {
    var command: UInt16 = 0
    /// The address bits of each BAR; a 64-bit BAR is whole at its first index.
    var bars = Six<UInt64>(0)
    /// The size of each BAR in bytes, by the Resizable BAR control where there is one; 0 for none.
    var sizes = Six<UInt64>(0)
    var rom: UInt64 = 0
    var romSize: UInt64 = 0
    var romEnabled = false
    var primary: UInt8 = 0
    var secondary: UInt8 = 0
    var subordinate: UInt8 = 0
    var bridgeControl: UInt16 = 0
    /// I/O window: bits 7:4 of base and limit, and the upper halves.
    var ioBase: UInt8 = 0
    var ioLimit: UInt8 = 0
    var ioBaseUpper: UInt16 = 0
    var ioLimitUpper: UInt16 = 0
    /// Memory window: bits 15:4 of base and limit.
    var memoryBase: UInt16 = 0
    var memoryLimit: UInt16 = 0
    /// Prefetchable window.
    var prefetchBase: UInt16 = 0
    var prefetchLimit: UInt16 = 0
    var prefetchBaseUpper: UInt32 = 0
    var prefetchLimitUpper: UInt32 = 0
    var ariForwarding = false
    /// SR-IOV: VF BAR address bits, the size of one VF's BAR, control and number.
    var vfBARs = Six<UInt64>(0)
    var vfSizes = Six<UInt64>(0)
    var vfEnabled = false
    var vfARI = false
    var numVFs: UInt16 = 0
}
