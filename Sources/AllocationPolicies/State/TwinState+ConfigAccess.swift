// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Configuration registers by offset: what the twin models of them.
extension TwinState {
    /// The 32-bit register at a dword-aligned offset, or nil for one that is not modelled.
    func readRegister(_ device: Int32, at offset: Int) -> UInt32? {
        let layout = facts[device].headerLayout
        switch offset {
        case 0x04: return UInt32(registers[device].command)
        case 0x10...0x24 where layout == 0: return readBAR(device, (offset - 0x10) / 4)
        case 0x10, 0x14: return layout == 1 ? readBAR(device, (offset - 0x10) / 4) : nil
        case 0x30 where layout == 0, 0x38 where layout == 1:
            guard facts[device].hasROM else { return 0 }
            return UInt32(truncatingIfNeeded: registers[device].rom) | (registers[device].romEnabled ? 1 : 0)
        default: return layout == 1 ? readBridgeRegister(device, at: offset) : nil
        }
    }

    private func readBAR(_ device: Int32, _ bar: Int) -> UInt32 {
        let known = facts[device].bars[bar]
        switch known.kind {
        case .none: return 0
        case .io: return UInt32(truncatingIfNeeded: registers[device].bars[bar]) | 1
        case .memory32, .memory64:
            return UInt32(truncatingIfNeeded: registers[device].bars[bar]) | known.flags & 0xf
        case .upperHalf: return UInt32(truncatingIfNeeded: registers[device].bars[bar - 1] >> 32)
        }
    }

    private func readBridgeRegister(_ device: Int32, at offset: Int) -> UInt32? {
        switch offset {
        case 0x18:
            return UInt32(registers[device].primary) | UInt32(registers[device].secondary) << 8
                | UInt32(registers[device].subordinate) << 16
        case 0x1c:
            let type: UInt32 = facts[device].hasIO32 ? 1 : 0
            return UInt32(registers[device].ioBase) | type | (UInt32(registers[device].ioLimit) | type) << 8
        case 0x20: return UInt32(registers[device].memoryBase) | UInt32(registers[device].memoryLimit) << 16
        case 0x24:
            let type: UInt32 = facts[device].hasPrefetch64 ? 1 : 0
            return UInt32(registers[device].prefetchBase) | type | (UInt32(registers[device].prefetchLimit) | type)
                << 16
        case 0x28: return registers[device].prefetchBaseUpper
        case 0x2c: return registers[device].prefetchLimitUpper
        case 0x30: return UInt32(registers[device].ioBaseUpper) | UInt32(registers[device].ioLimitUpper) << 16
        case 0x3c: return UInt32(registers[device].bridgeControl) << 16
        default: return nil
        }
    }

    /// Writes the 32-bit register at a dword-aligned offset as the hardware takes it; false for one not modelled.
    mutating func writeRegister(_ device: Int32, at offset: Int, _ value: UInt32) -> Bool {
        let known = facts[device]
        switch offset {
        case 0x04: registers[device].command = UInt16(truncatingIfNeeded: value) & 0x7ff
        case 0x10...0x24 where known.headerLayout == 0: writeBAR(device, (offset - 0x10) / 4, value)
        case 0x10, 0x14:
            guard known.headerLayout == 1 else { return false }
            writeBAR(device, (offset - 0x10) / 4, value)
        case 0x30 where known.headerLayout == 0, 0x38 where known.headerLayout == 1:
            guard known.hasROM else { return true }
            let size = registers[device].romSize
            registers[device].rom = UInt64(value & 0xffff_f800) & ~(size &- 1)
            registers[device].romEnabled = value & 1 != 0
        default:
            if known.headerLayout == 1, writeBridgeRegister(device, at: offset, value) { return true }
            return writeResizable(device, at: offset, value)
        }
        return true
    }

    private mutating func writeBAR(_ device: Int32, _ bar: Int, _ value: UInt32) {
        let known = facts[device].bars[bar]
        let mask = ~(registers[device].sizes[bar] &- 1)
        switch known.kind {
        case .none: break
        case .io: registers[device].bars[bar] = UInt64(value & ~3) & mask
        case .memory32: registers[device].bars[bar] = UInt64(value & ~0xf) & mask
        case .memory64:
            let upper = registers[device].bars[bar] & 0xffff_ffff_0000_0000
            registers[device].bars[bar] = (upper | UInt64(value & ~0xf)) & mask
        case .upperHalf:
            let lower = registers[device].bars[bar - 1] & 0xffff_ffff
            let whole = UInt64(value) << 32 | lower
            registers[device].bars[bar - 1] = whole & ~(registers[device].sizes[bar - 1] &- 1)
        }
    }

    private mutating func writeBridgeRegister(_ device: Int32, at offset: Int, _ value: UInt32) -> Bool {
        let known = facts[device]
        let low = UInt16(truncatingIfNeeded: value)
        let high = UInt16(truncatingIfNeeded: value >> 16)
        switch offset {
        case 0x18:
            registers[device].primary = UInt8(truncatingIfNeeded: value)
            registers[device].secondary = UInt8(truncatingIfNeeded: value >> 8)
            registers[device].subordinate = UInt8(truncatingIfNeeded: value >> 16)
        case 0x1c:
            guard known.hasIOWindow else { return true }
            let mask: UInt8 = known.hasIO1K ? 0xfc : 0xf0
            registers[device].ioBase = UInt8(truncatingIfNeeded: value) & mask
            registers[device].ioLimit = UInt8(truncatingIfNeeded: value >> 8) & mask
        case 0x20:
            registers[device].memoryBase = low & 0xfff0
            registers[device].memoryLimit = high & 0xfff0
        case 0x24:
            guard known.hasPrefetchWindow else { return true }
            registers[device].prefetchBase = low & 0xfff0
            registers[device].prefetchLimit = high & 0xfff0
        case 0x28: if known.hasPrefetch64 { registers[device].prefetchBaseUpper = value }
        case 0x2c: if known.hasPrefetch64 { registers[device].prefetchLimitUpper = value }
        case 0x30:
            guard known.hasIO32 else { return true }
            registers[device].ioBaseUpper = low
            registers[device].ioLimitUpper = high
        case 0x3c: registers[device].bridgeControl = high
        default: return false
        }
        return true
    }

    private mutating func writeResizable(_ device: Int32, at offset: Int, _ value: UInt32) -> Bool {
        for bar in 0..<6 {
            let known = facts[device].bars[bar]
            guard known.resizable != 0, Int(known.resizeControl) == offset else { continue }
            let exponent = Int(value >> 8 & 0x3f)
            if exponent <= 43, known.resizable >> UInt64(exponent) & 1 == 1 {
                setResizable(device, bar: bar, exponent: exponent)
            }
            return true
        }
        return false
    }
}
