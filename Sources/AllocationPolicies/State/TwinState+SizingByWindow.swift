// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Memory windows as kernels from 6.18 size them: each request belongs to one window.
extension TwinState {
    /// The prefetchable window if there is one, then the other.
    mutating func sizeMemoryByWindow(
        _ bus: Int32,
        memory: UInt64,
        prefetchable: UInt64,
        _ extras: inout Extras
    ) {
        let wide = selectWindow(bus, forType: Flag.memory | Flag.prefetch64)
        if wide != none, resources[wide].flags & Flag.prefetch != 0 {
            size(bus, wide, extra: prefetchable, &extras)
        }
        let plain = selectWindow(bus, forType: Flag.memory)
        if plain != none { size(bus, plain, extra: memory, &extras) }
    }

    /// `pbus_size_mem`.
    private mutating func size(_ bus: Int32, _ window: Int32, extra: UInt64, _ extras: inout Extras) {
        guard resources[window].parent == none else { return }
        var orders = AlignmentOrders()
        var total: UInt64 = 0
        var childExtra: UInt64 = 0
        var extraAlignment: UInt64 = 0
        var device = buses[bus].firstDevice
        while device != none {
            if isAssignable(device) {
                let first = facts[device].firstResource
                for resource in first..<(first &+ facts[device].resourceCount) {
                    guard shouldFit(resource, of: device), selectWindow(bus, for: resource) == window else { continue }
                    let alignment = alignment(resource, of: device)
                    let order = AlignmentOrders.order(of: alignment)
                    guard order < behaviour.alignmentOrders else {
                        resources[resource].flags = 0
                        continue
                    }
                    if isWhollyOptional(resource, of: device, alignment, &extras, &extraAlignment, &childExtra) {
                        continue
                    }
                    let size = resources[resource].size
                    total &+= max(size, alignment)
                    orders.note(order, behaviour.largeMembersAlign || size <= alignment ? alignment : 0)
                }
            }
            device = devices[device].next
        }
        finishMemory(window, on: bus, MemorySums(total, childExtra, extraAlignment, orders), extra: extra, &extras) {
            $0.hasRoomAbove(bus, window, $1, $2)
        }
    }

    /// `pbus_upstream_space_available` from 6.18: whether the nearest claimed window that this one belongs to has room.
    private func hasRoomAbove(_ bus: Int32, _ window: Int32, _ size: UInt64, _ alignment: UInt64) -> Bool {
        var above = buses[bus].parent
        var window = window
        while above != none, !buses[above].isRoot {
            window = selectWindow(above, for: window)
            guard window != none else { return false }
            if resources[window].parent != none { return hasRoom(in: window, size, alignment) }
            above = buses[above].parent
        }
        return true
    }

    /// `pdev_resource_should_fit`: has flags, no place, may move, and is no closed window.
    func shouldFit(_ resource: Int32, of device: Int32) -> Bool {
        let held = resources[resource]
        guard held.parent == none, held.flags != 0, held.flags & Flag.fixed == 0 else { return false }
        return !isWindow(index(resource, of: device)) || held.flags & Flag.disabled == 0
    }

    /// `pbus_size_mem_optional`: counts extras; true when nothing of the resource is required.
    private mutating func isWhollyOptional(
        _ resource: Int32,
        of device: Int32,
        _ alignment: UInt64,
        _ extras: inout Extras,
        _ extraAlignment: inout UInt64,
        _ childExtra: inout UInt64
    ) -> Bool {
        guard extras.isListed else { return false }
        let size = resources[resource].size
        let isOptional = isOptional(resource, of: device)
        if isOptional, !behaviour.optionalEntriesCarryAlignment {
            extras.list.add(makeRequest(resource, device, extra: 0))
            childExtra &+= size
            extraAlignment = max(extraAlignment, alignment)
            return true
        }
        var isListed = false
        if isWindow(index(resource, of: device)), let entry = extras.list.find(resource) {
            childExtra &+= entry.extra
            extraAlignment = max(extraAlignment, entry.alignment)
            isListed = true
        }
        guard isOptional else { return false }
        if !isListed { extras.list.add(makeRequest(resource, device, extra: 0, alignment: alignment)) }
        childExtra &+= size
        extraAlignment = max(extraAlignment, alignment)
        return true
    }
}
