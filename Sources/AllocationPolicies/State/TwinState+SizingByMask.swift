// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Memory windows as kernels up to 6.17 size them: flag masks choose the members, sizes are rounded to the alignment.
extension TwinState {
    /// The three flag patterns that make a resource a member of a window, and how the window itself is found.
    private struct Members {
        var mask: UInt32
        var types: (UInt32, UInt32, UInt32)

        func include(_ flags: UInt32) -> Bool {
            let masked = flags & mask
            return masked == types.0 || masked == types.1 || masked == types.2
        }
    }

    /// The order of `__pci_bus_size_bridges`: the 64-bit prefetchable window, else a 32-bit one, then the rest.
    mutating func sizeMemoryByMask(
        _ bus: Int32,
        memory: UInt64,
        prefetchable: UInt64,
        _ extras: inout Extras
    ) {
        let bridge = buses[bus].bridge
        var memory = memory
        var rest = Members(mask: Flag.memory, types: (Flag.memory, 0, 0))
        var isDone = false
        let window = facts[bridge].firstResource &+ 15
        if facts[bridge].resourceCount >= 17, resources[window].flags & Flag.memory64 != 0 {
            let wide = Flag.memory | Flag.prefetch | Flag.memory64
            if size(bus, Members(mask: wide, types: (wide, wide, wide)), extra: prefetchable, &extras) {
                rest = Members(
                    mask: wide,
                    types: (Flag.memory, Flag.memory | Flag.prefetch, Flag.memory | Flag.memory64)
                )
                isDone = true
            }
        }
        if !isDone {
            let narrow = Flag.memory | Flag.prefetch
            if size(bus, Members(mask: narrow, types: (narrow, narrow, narrow)), extra: prefetchable, &extras) {
                rest.mask = narrow
            } else {
                memory &+= prefetchable
            }
            rest.types = (Flag.memory, Flag.memory, Flag.memory)
        }
        _ = size(bus, rest, extra: memory, &extras)
    }

    /// `pbus_size_mem`: false when the bus has no window of the kind.
    private mutating func size(_ bus: Int32, _ members: Members, extra: UInt64, _ extras: inout Extras) -> Bool {
        let window = findWindow(bus, mask: members.mask | Flag.prefetch, type: members.types.0)
        guard window != none else { return false }
        guard resources[window].parent == none else { return true }
        var orders = AlignmentOrders()
        var total: UInt64 = 0
        var childExtra: UInt64 = 0
        var extraAlignment: UInt64 = 0
        var device = buses[bus].firstDevice
        while device != none {
            let first = facts[device].firstResource
            for resource in first..<(first &+ facts[device].resourceCount) {
                let held = resources[resource]
                guard held.flags != 0, held.parent == none, held.flags & Flag.fixed == 0,
                    members.include(held.flags)
                else { continue }
                let size = held.size
                let alignment = alignment(resource, of: device)
                if behaviour.optionalSplit, extras.isListed, isOptional(resource, of: device) {
                    extraAlignment = max(extraAlignment, alignment)
                    extras.list.add(makeRequest(resource, device, extra: 0))
                    childExtra &+= size
                    continue
                }
                if extras.isListed, isVFBAR(index(resource, of: device)) {
                    // VF BARs are wholly optional.
                    extraAlignment = max(extraAlignment, alignment)
                    resources[resource].end = held.start &- 1
                    extras.list.add(makeRequest(resource, device, extra: size))
                    childExtra &+= size
                    continue
                }
                let order = AlignmentOrders.order(of: alignment)
                guard order < behaviour.alignmentOrders else {
                    resources[resource].flags = 0
                    continue
                }
                total &+= max(size, alignment)
                orders.note(order, size <= alignment ? alignment : 0)
                if extras.isListed {
                    // Only the last member's alignment is kept by the kernel before the maximum is taken.
                    let entry = extras.list.find(resource)
                    childExtra &+= entry?.extra ?? 0
                    extraAlignment = max(extraAlignment, entry?.alignment ?? 0)
                }
            }
            device = devices[device].next
        }
        let mask = members.mask | Flag.prefetch
        let type = members.types.0
        finishMemory(window, on: bus, MemorySums(total, childExtra, extraAlignment, orders), extra: extra, &extras) {
            $0.hasRoomAbove(bus, mask: mask, type: type, $1, $2)
        }
        return true
    }

    /// `pbus_upstream_space_available`: whether the nearest claimed window of the type above has room for a size.
    private func hasRoomAbove(
        _ bus: Int32,
        mask: UInt32,
        type: UInt32,
        _ size: UInt64,
        _ alignment: UInt64
    ) -> Bool {
        var above = buses[bus].parent
        while above != none, !buses[above].isRoot {
            for n in 0..<busResourceCount(above) {
                let window = busResource(above, n)
                guard window != none, resources[window].parent != none, resources[window].flags & mask == type else {
                    continue
                }
                return hasRoom(in: window, size, alignment)
            }
            above = buses[above].parent
        }
        return true
    }
}

/// The bytes at each power of two of alignment, from 1 MiB.
struct AlignmentOrders {
    private var sums = [UInt64](repeating: 0, count: 44)
    private(set) var highest = 0

    /// The order of an alignment: 0 up to 1 MiB, then one per power of two; 44 and more for nonsense.
    static func order(of alignment: UInt64) -> Int { max(alignment.trailingZeroBitCount - 20, 0) }

    /// Counts a member.
    mutating func note(_ order: Int, _ bytes: UInt64) {
        sums[order] &+= bytes
        highest = max(highest, order)
    }

    /// `calculate_mem_align`: half of the largest alignment is enough where smaller members fill the head.
    var halvedAlignment: UInt64 {
        var sum: UInt64 = 0
        var least: UInt64 = 0
        for order in 0...highest {
            let unit: UInt64 = 1 << (UInt64(order) + 20)
            if sum == 0 {
                least = unit
            } else if Word.align(sum &+ least, least) < unit {
                least = unit >> 1
            }
            sum &+= sums[order]
        }
        return least
    }

    /// `calculate_head_align`: the largest alignment, halved as long as smaller members can fill the gap that makes.
    var headAlignment: UInt64 {
        var head: UInt64 = 1 << (UInt64(highest) + 20)
        var remainder: UInt64 = 0
        var order = highest - 1
        while order >= 0 {
            let unit: UInt64 = 1 << (UInt64(order) + 20)
            remainder &+= sums[order]
            while head > unit, remainder >= head / 2 {
                head /= 2
                remainder &-= head
            }
            order -= 1
        }
        return head
    }
}
