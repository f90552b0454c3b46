// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

extension ResourceIndex {
    /// The resource whose register lies at `offset` of the configuration header, as messages before 6.9 name BARs and the
    /// ROM; nil for every other offset.
    static func ofRegister(_ offset: UInt64) -> ResourceIndex? {
        switch offset {
        case 0x10...0x24: bar(Int(offset - 0x10) / 4)
        case 0x30, 0x38: .rom
        default: nil
        }
    }
}

/// The numbers by which kernels before 6.9 name resources.
///
/// With CONFIG_PCI_IOV the numbers are those of `ResourceIndex`; without it 7, 8 and 9 are a bridge's windows, which the
/// others call 13, 14 and 15.
enum OldResourceNumber {
    /// The window that 7, 8 or 9 means.
    ///
    /// - Parameters:
    ///   - index: the number as the message has it.
    ///   - kind: the kind of space that the message names, or nil.
    ///   - isBridge: whether the function is known to be a bridge, or the kernel to number so. Without that knowledge
    ///     ports alone tell: blocks for virtual functions lie in memory (SR-IOV 1.1 §3.3.14).
    /// - Returns: the window; nil for a block for virtual functions and for every other number.
    static func window(_ index: ResourceIndex, _ kind: ResourceKind?, isBridge: Bool) -> ResourceKind? {
        switch (index.rawValue, kind) {
        case (7, .io): .io
        case (8, .memory) where isBridge: .memory
        case (9, .prefetchable) where isBridge: .prefetchable
        default: nil
        }
    }
}
