// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Memory windows as kernels from 7.0 size them: each request belongs to one window, sizes are rounded to 1 MiB.
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
        let bridge = buses[bus].bridge
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
                    orders.note(order, size <= alignment ? alignment : 0)
                }
            }
            device = devices[device].next
        }
        let granularity = windowAlignment(bus, resources[window].flags)
        let alignment = max(behaviour.headAlignment ? orders.headAlignment : orders.halvedAlignment, granularity)
        let old = behaviour.oldWindowSizeIsLowerBound && resources[window].size != 1 ? resources[window].size : 0
        let required = Word.align(max(max(total, extras.isListed ? 0 : extra), old), granularity)
        if required != 0 {
            resources[window].setRange(alignment, size: required)
            resources[window].flags &= ~Flag.disabled
        }
        var generous: UInt64 = 0
        if extras.isListed, extra > 0 || childExtra > 0 {
            extraAlignment = max(alignment, extraAlignment)
            generous = Word.align(max(max(total, extra) &+ childExtra, old), granularity)
        }
        finish(window, of: bridge, required, generous, alignment, extraAlignment: extraAlignment, &extras)
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
