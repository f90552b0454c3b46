// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// The sizes that the kernel tried for a BAR of a function with a driver and found no room for, as the log tells them.
///
/// A driver that asks for another size and is refused keeps what it had, without a word of the kernel. If the old size is
/// refused behind another one, the old place could not be given back either, and the BAR has none
/// (`pci_resize_resource`, `pci_restore_resources`).
struct SizesTried: Hashable {
    private var sizes: Set<ByteCount> = []

    init() {}

    /// Notes that the kernel found no room for `size`; whether this leaves the BAR, whose size was `old`, without a place.
    mutating func undoes(refusalOf size: ByteCount, old: ByteCount?) -> Bool {
        sizes.insert(size)
        return size == old && sizes.count > 1
    }
}
