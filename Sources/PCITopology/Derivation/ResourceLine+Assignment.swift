// SPDX-License-Identifier: GPL-2.0-or-later

extension ResourceLine {
    /// Where a resource is that a kernel shows by this line, or how it is without an address.
    ///
    /// The one rule for what has an address: readings, predictions and comparisons ask here.
    ///
    /// - Parameters:
    ///   - index: which resource the line shows.
    ///   - isHeld: whether the kernel holds the range in its resource tree (it stands in /proc/iomem or /proc/ioports); nil
    ///     when nothing tells.
    /// - Returns: `wiped` for a line without a kind (`closed` for a window), `unassigned` for one that is marked `UNSET` or
    ///   `DISABLED`, carries an alignment in place of its start, or starts at 0 without being held; `unclaimed` for an
    ///   address that the kernel is known not to hold; else `assigned`. Sources: `resource_show`, `reset_resource`,
    ///   `reassign_resources_sorted`, `pci_disable_bridge_window`.
    public func assignment(of index: ResourceIndex, isHeld: Bool? = nil) -> Resource.Assignment {
        guard ResourceKind(flags) != nil else { return index.isWindow ? .closed : .wiped }
        let isClosed = index.isWindow && !flags.isDisjoint(with: [.unset, .disabled])
        let unplaced: Resource.Assignment = isClosed ? .closed : .unassigned
        // A window that failed to grow keeps its place and the mark of an unplaced one (`reassign_resources_sorted`).
        // Alignments are powers of two; a start that is none is an address, whoever holds it.
        let mayBeAlignment = start & (start &- 1) == 0 || !index.isWindow
        let holdsAlignment = flags.contains(.startAlign) && (isHeld.map { !$0 } ?? mayBeAlignment)
        guard !flags.contains(.unset), !holdsAlignment, let range = AddressRange(first: start, last: end) else {
            return unplaced
        }
        // A ROM that is off keeps its address.
        if flags.contains(.disabled), !index.isROM { return unplaced }
        // The kernel prints a resource that it released as 0...size-1 without a mark; only where it holds address 0
        // itself (an I/O space that starts there) is 0 an address.
        if start == 0 { return isHeld == true ? .assigned(range) : .unassigned }
        // Fixed ranges (legacy IDE, a shadowed ROM, Enhanced Allocation) stay where they are, claimed or not.
        if flags.contains(.fixed) { return .assigned(range) }
        return isHeld == false ? .unclaimed(range) : .assigned(range)
    }

    /// The range that the line shows as the address of `index`; nil when it shows none.
    public func range(of index: ResourceIndex) -> AddressRange? {
        if case .assigned(let range) = assignment(of: index) { return range }
        return nil
    }

    /// The bytes that the line speaks of, placed or not; nil for an empty line and for the whole space.
    public var size: ByteCount? {
        guard ResourceKind(flags) != nil, end >= start, end > 0, end - start != .max else { return nil }
        return ByteCount(end - start + 1)
    }
}
