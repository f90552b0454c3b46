// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// The resource tree (kernel/resource.c).
extension TwinState {
    /// Links a resource below `root` where its range is free.
    ///
    /// Mirrors `__request_resource`. Gives none, or the node in the way; `root` itself when the range is not inside it.
    mutating func request(_ new: Int32, in root: Int32) -> Int32 {
        let start = resources[new].start
        let end = resources[new].end
        let outer = resources[root]
        guard end >= start, start >= outer.start, end <= outer.end else { return root }
        var previous = none
        var this = outer.child
        while true {
            if this == none || resources[this].start > end {
                resources[new].sibling = this
                resources[new].parent = root
                if previous == none { resources[root].child = new } else { resources[previous].sibling = new }
                return none
            }
            if resources[this].end >= start { return this }
            previous = this
            this = resources[this].sibling
        }
    }

    /// Takes a resource out of the tree with everything below it (`release_resource`); false when it is in no tree.
    @discardableResult
    mutating func release(_ old: Int32) -> Bool {
        let parent = resources[old].parent
        guard parent != none else { return false }
        var previous = none
        var this = resources[parent].child
        while this != none {
            if this == old {
                let next = resources[old].sibling
                if previous == none { resources[parent].child = next } else { resources[previous].sibling = next }
                resources[old].parent = none
                return true
            }
            previous = this
            this = resources[this].sibling
        }
        return false
    }

    /// Frees everything below a resource; sizes and flags stay (`release_child_resources`).
    mutating func releaseChildren(of resource: Int32) {
        var this = resources[resource].child
        resources[resource].child = none
        while this != none {
            let next = resources[this].sibling
            resources[this].parent = none
            resources[this].sibling = none
            releaseChildren(of: this)
            let owner = owners[this]
            if owner != none {
                note(.lost(address(owner), resourceIndex(this, of: owner), range(this)))
            }
            let size = resources[this].size
            resources[this].setRange(0, size: size)
            this = next
        }
    }

    /// Links a resource where it belongs at any depth, below or around what is there (`__insert_resource`).
    ///
    /// Gives none, or the node that it overlaps in part.
    mutating func insert(_ new: Int32, in root: Int32) -> Int32 {
        var parent = root
        var first = none
        while true {
            first = request(new, in: parent)
            if first == none || first == parent || first == new { return first }
            let found = resources[first]
            if found.start > resources[new].start || found.end < resources[new].end { break }
            if found.start == resources[new].start, found.end == resources[new].end { break }
            parent = first
        }
        var last = first
        while true {
            let this = resources[last]
            if this.start < resources[new].start || this.end > resources[new].end { return last }
            guard this.sibling != none, resources[this.sibling].start <= resources[new].end else { break }
            last = this.sibling
        }
        resources[new].parent = parent
        resources[new].sibling = resources[last].sibling
        resources[new].child = first
        resources[last].sibling = none
        var moved = first
        while moved != none {
            resources[moved].parent = new
            moved = resources[moved].sibling
        }
        if resources[parent].child == first {
            resources[parent].child = new
        } else {
            var before = resources[parent].child
            while before != none, resources[before].sibling != first { before = resources[before].sibling }
            if before != none { resources[before].sibling = new }
        }
        return none
    }

    /// Changes the end of a resource where neighbours, parent and children allow it (`adjust_resource`).
    mutating func adjust(_ resource: Int32, start: UInt64, size: UInt64) -> Bool {
        let end = start &+ size &- 1
        let held = resources[resource]
        if held.parent != none {
            guard start >= resources[held.parent].start, end <= resources[held.parent].end else { return false }
            if held.sibling != none, resources[held.sibling].start <= end { return false }
            var before = resources[held.parent].child
            if before != resource {
                while before != none, resources[before].sibling != resource { before = resources[before].sibling }
                if before != none, start <= resources[before].end { return false }
            }
        }
        var below = held.child
        while below != none {
            if resources[below].start < start || resources[below].end > end { return false }
            below = resources[below].sibling
        }
        resources[resource].start = start
        resources[resource].end = end
        return true
    }

    /// Whether `a` contains `b` (`resource_contains`): same type, both with an address.
    @inline(__always)
    func contains(_ a: Int32, _ b: Int32) -> Bool {
        let x = resources[a]
        let y = resources[b]
        guard (x.flags ^ y.flags) & Flag.typeBits == 0, (x.flags | y.flags) & Flag.unset == 0 else { return false }
        return x.start <= y.start && x.end >= y.end
    }
}

/// What a place must fulfil (`struct resource_constraint`).
struct PlaceConstraint {
    var minimum: UInt64
    var maximum: UInt64
    var alignment: UInt64
    /// Apply the alignment rules of the platform and the generation (`pcibios_align_resource`).
    var appliesRules: Bool
}

extension TwinState {
    /// The lowest place below `root` that fulfils a constraint.
    ///
    /// Mirrors `__find_resource` and `__find_resource_space`. `old` is the resource that is being moved, its own range
    /// counts as free. First fit over the gaps in ascending order.
    func findPlace(
        in root: Int32,
        old: Int32,
        flags: UInt32,
        size: UInt64,
        _ constraint: PlaceConstraint
    ) -> (start: UInt64, end: UInt64)? {
        let outer = resources[root]
        var this = outer.child
        var start = outer.start
        if this != none, resources[this].start == outer.start {
            start = this == old ? resources[old].start : resources[this].end &+ 1
            this = resources[this].sibling
        }
        while true {
            var end = outer.end
            if this != none { end = this == old ? resources[this].end : resources[this].start &- 1 }
            if end >= start, let place = fit(gap: &start, end, flags: flags, size: size, constraint) { return place }
            guard this != none, resources[this].end != outer.end else { return nil }
            // A gap that continues over the resource being moved keeps the start that clipping left.
            if this != old { start = resources[this].end &+ 1 }
            this = resources[this].sibling
        }
    }

    @inline(__always)
    private func fit(
        gap low: inout UInt64,
        _ last: UInt64,
        flags: UInt32,
        size: UInt64,
        _ constraint: PlaceConstraint
    ) -> (start: UInt64, end: UInt64)? {
        low = max(low, constraint.minimum)
        var high = min(last, constraint.maximum)
        if platform.hasISARules, flags & Flag.memory != 0 { removeReservations(&low, &high) }
        let aligned = Word.align(low, constraint.alignment)
        guard aligned >= low else { return nil }
        var start = aligned
        if constraint.appliesRules {
            if platform.avoidsISAAliases, flags & Flag.io != 0 {
                if start & 0x300 != 0 { start = (start &+ 0x3ff) & ~0x3ff }
            } else if flags & Flag.memory != 0 {
                if behaviour.tailBelowAlignedStart {
                    start = startWithTail(below: start, gapStart: low, size: size, constraint)
                }
                if platform.hasISARules, start < 0x10_0000 { start = 0x10_0000 }
            }
        }
        let end = start &+ size &- 1
        // The tail rule may start below the aligned address but not below the gap.
        let floor = behaviour.tailBelowAlignedStart ? low : aligned
        guard start <= end, floor <= start, high >= end else { return nil }
        return (start, end)
    }

    /// `pci_align_resource`: the remainder that does not fill the alignment goes below the aligned address if it fits.
    private func startWithTail(
        below start: UInt64,
        gapStart: UInt64,
        size: UInt64,
        _ constraint: PlaceConstraint
    ) -> UInt64 {
        let alignment = constraint.alignment
        guard alignment > 0, size & (alignment &- 1) != 0 else { return start }
        let remainder = size &- Word.alignDown(size, alignment)
        guard remainder & 0xf_ffff == 0, start >= remainder else { return start }
        let candidate = start &- remainder
        return gapStart > candidate ? start : candidate
    }

    /// `arch_remove_reservations`: the boot ROM below 4 GiB and the firmware's map; the larger side of a gap stays.
    private func removeReservations(_ low: inout UInt64, _ high: inout UInt64) {
        func clip(_ first: UInt64, _ last: UInt64) {
            guard high >= first, low <= last else { return }
            let below = low < first ? first &- low : 0
            let above = high > last ? high &- last : 0
            if below > above { high = first &- 1 } else { low = last &+ 1 }
        }
        clip(0xffe0_0000, 0xffff_ffff)
        for entry in firmwareMap { clip(entry.first, entry.last) }
    }
}
