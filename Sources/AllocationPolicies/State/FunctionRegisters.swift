// SPDX-License-Identifier: GPL-2.0-or-later

/// The registers of a function that operations change.
///
/// They stay when the kernel forgets the function.
struct FunctionRegisters: Sendable {
    var command: UInt16 = 0
    /// The address bits of each BAR; a 64-bit BAR is whole at its first index.
    var bars = SixWords()
    /// The size of each BAR in bytes, by the Resizable BAR control where there is one; 0 for none.
    var sizes = SixWords()
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
    var vfBARs = SixWords()
    var vfSizes = SixWords()
    var vfEnabled = false
    var vfARI = false
    var numVFs: UInt16 = 0
}

/// Six words in place.
struct SixWords: Sendable {
    var a: UInt64 = 0
    var b: UInt64 = 0
    var c: UInt64 = 0
    var d: UInt64 = 0
    var e: UInt64 = 0
    var f: UInt64 = 0

    @inline(__always)
    subscript(_ index: Int) -> UInt64 {
        get {
            switch index {
            case 0: a
            case 1: b
            case 2: c
            case 3: d
            case 4: e
            default: f
            }
        }
        set {
            switch index {
            case 0: a = newValue
            case 1: b = newValue
            case 2: c = newValue
            case 3: d = newValue
            case 4: e = newValue
            default: f = newValue
            }
        }
    }
}
