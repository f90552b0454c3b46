// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A window register of a bridge and what it is to hold.
public struct WindowRegisterValue: Hashable, Sendable {
    /// The offset, a multiple of `width`.
    public var offset: Int
    /// 2 or 4 bytes.
    public var width: Int
    /// The bits that hold addresses.
    public var mask: UInt32
    /// The value; bits outside `mask` do not count.
    public var value: UInt32

    /// Creates a value; what is not an address is masked out.
    public init(offset: Int, width: Int, value: UInt32) {
        self.offset = offset
        self.width = width
        self.value = value
        mask =
            switch offset {
            case 0x1c: 0xf0f0
            case 0x20, 0x24: 0xfff0_fff0
            default: .max
            }
    }

    /// The registers of a window (PCI-to-PCI Bridge Architecture Specification 1.2 §3.2.5).
    ///
    /// - Parameters:
    ///   - index: which window.
    ///   - range: the bus addresses that it forwards, or nil to close it.
    ///   - isWide: whether the registers have upper halves.
    /// - Returns: the registers by offset; none for a resource that is no window.
    public static func values(of index: ResourceIndex, _ range: AddressRange?, isWide: Bool) -> [WindowRegisterValue] {
        func half(_ value: UInt64, _ shift: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: value >> shift) }
        let first = range?.first ?? 0
        let last = range?.last ?? 0
        switch index {
        case .ioWindow:
            let low = range == nil ? 0x00f0 : half(first, 8) & 0xf0 | half(last, 0) & 0xf000
            let upper = range == nil ? 0 : half(first, 16) & 0xffff | half(last, 0) & 0xffff_0000
            return [.init(offset: 0x1c, width: 2, value: low)]
                + (isWide ? [.init(offset: 0x30, width: 4, value: upper)] : [])
        case .memoryWindow, .prefetchableWindow:
            let low = range == nil ? 0xfff0 : half(first, 16) & 0xfff0 | half(last, 0) & 0xfff0_0000
            let offset = index == .memoryWindow ? 0x20 : 0x24
            let result = [WindowRegisterValue(offset: offset, width: 4, value: low)]
            guard isWide, index == .prefetchableWindow else { return result }
            return result + [
                .init(offset: 0x28, width: 4, value: range == nil ? 0 : half(first, 32)),
                .init(offset: 0x2c, width: 4, value: range == nil ? 0 : half(last, 32)),
            ]
        default: return []
        }
    }

    /// The registers of a bridge that differ from what they are to hold, in an order in which no window forwards anything
    /// between two writes but what it did before, or will afterwards: where several registers make up one, the base goes
    /// above every limit first and to its place last (as `pci_setup_bridge_io` has it).
    ///
    /// - Parameters:
    ///   - wanted: what the registers are to hold.
    ///   - present: what one holds.
    /// - Returns: the writes in order; one register may be written twice.
    public static func writeOrder(
        _ wanted: [WindowRegisterValue],
        present: (WindowRegisterValue) -> UInt32
    ) -> [WindowRegisterValue] {
        var result: [WindowRegisterValue] = []
        // The register with the upper half of the base stands last in each, with what closes the window.
        for (window, closed) in [([0x1c, 0x30], 0x0000_ffff), ([0x20], 0), ([0x2c, 0x24, 0x28], UInt32.max)] {
            let mine = window.compactMap { offset in wanted.first { $0.offset == offset } }
            let changed = mine.filter { (present($0) ^ $0.value) & $0.mask != 0 }
            guard changed.count > 1, var upper = mine.last else {
                result += changed
                continue
            }
            let end = upper
            upper.value = closed
            result += [upper] + changed.filter { $0.offset != end.offset } + [end]
        }
        return result
    }

    /// The write to the register of the bridge at an address.
    public func write(to address: FunctionAddress) -> SystemWrite {
        .config(address, offset: offset, width: width, mask: mask, value: value & mask)
    }
}
