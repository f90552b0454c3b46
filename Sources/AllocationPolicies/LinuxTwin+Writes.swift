// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Writes to configuration registers from user space. The kernel takes no notice until it looks again.
extension LinuxTwin {
    mutating func write(_ operation: TwinOperation) throws(TwinError) {
        if let address = operation.writtenFunction, let device = position(of: address), !state.answers(device) {
            return state.note(.refused(address, .io, "configuration cycles to its bus do not reach the function"))
        }
        switch operation {
        case .writeConfig(let address, let offset, let width, let value):
            try write(try known(address), offset, width, value)
        case .setBusNumbers(let address, let primary, let secondary, let subordinate):
            let device = try bridge(address)
            state.registers[device].primary = primary.rawValue
            state.registers[device].secondary = secondary.rawValue
            state.registers[device].subordinate = subordinate.rawValue
        case .writeWindow(let address, let kind, let range):
            writeWindow(try bridge(address), kind, range)
        case .setCommand(let address, let command):
            state.registers[try known(address)].command = command.rawValue & 0x7ff
        case .setResizableBAR(let address, let bar, let exponent):
            let device = try resizable(address, bar)
            guard (0...43).contains(exponent), state.facts[device].bars[bar].resizable >> UInt64(exponent) & 1 == 1
            else {
                throw TwinError(.badArgument, "expected a size that BAR \(bar) of \(address) offers, found \(exponent)")
            }
            state.setResizable(device, bar: bar, exponent: exponent)
        default: break
        }
    }

    private func bridge(_ address: FunctionAddress) throws(TwinError) -> Int32 {
        let device = try known(address)
        guard state.facts[device].headerLayout == 1 else {
            throw TwinError(.notABridge, "expected a bridge, \(address) is none")
        }
        return device
    }

    private mutating func write(_ device: Int32, _ offset: Int, _ width: Int, _ value: UInt32) throws(TwinError) {
        guard width == 1 || width == 2 || width == 4, offset >= 0, offset + width <= 4096,
            offset & 3 + width <= 4
        else {
            throw TwinError(.badArgument, "expected 1, 2 or 4 aligned bytes below 4096, found \(width) at \(offset)")
        }
        let base = offset & ~3
        if let old = state.readRegister(device, at: base) {
            let shift = UInt32(offset & 3) * 8
            let mask: UInt32 = width == 4 ? .max : (1 << UInt32(width * 8)) - 1
            _ = state.writeRegister(device, at: base, old & ~(mask << shift) | (value & mask) << shift)
            return
        }
        if width == 4 || offset & 3 < 2, state.writeRegister(device, at: base, value << UInt32((offset & 3) * 8)) {
            return
        }
        let original = state.facts[device].original
        if original != none { originals[Int(original)].config.write(value, at: offset, width: width) }
    }

    private mutating func writeWindow(_ device: Int32, _ kind: ResourceKind, _ range: AddressRange?) {
        let first = range?.first ?? (kind == .io ? 0xf000 : 0xfff0_0000)
        let last = range?.last ?? 0
        func low(_ value: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: value >> 16) & 0xfff0 }
        switch kind {
        case .io:
            let base = UInt32(truncatingIfNeeded: first >> 8) & 0xff
            let limit = UInt32(truncatingIfNeeded: last >> 8) & 0xff
            _ = state.writeRegister(device, at: 0x1c, base | limit << 8)
            let upper = UInt32(truncatingIfNeeded: first >> 16) & 0xffff
            _ = state.writeRegister(device, at: 0x30, upper | UInt32(truncatingIfNeeded: last) & 0xffff_0000)
        case .memory: _ = state.writeRegister(device, at: 0x20, low(first) | low(last) << 16)
        case .prefetchable:
            _ = state.writeRegister(device, at: 0x24, low(first) | low(last) << 16)
            _ = state.writeRegister(device, at: 0x28, UInt32(truncatingIfNeeded: first >> 32))
            _ = state.writeRegister(device, at: 0x2c, UInt32(truncatingIfNeeded: last >> 32))
        }
    }
}

extension TwinOperation {
    /// The function whose registers the operation writes.
    fileprivate var writtenFunction: FunctionAddress? {
        switch self {
        case .writeConfig(let address, _, _, _), .setBusNumbers(let address, _, _, _), .writeWindow(let address, _, _),
            .setCommand(let address, _), .setResizableBAR(let address, _, _):
            address
        default: nil
        }
    }
}
