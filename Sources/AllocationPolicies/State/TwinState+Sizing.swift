// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Whether extras are optional and listed, or simply part of the size (the kernel's `realloc_head` being NULL).
struct Extras {
    var isListed: Bool
    var list = ExtraList()

    static var mandatory: Extras { Extras(isListed: false) }
    static var listed: Extras { Extras(isListed: true) }
}

/// What the members of a memory window add up to.
struct MemorySums {
    /// The required bytes, each member at least its alignment.
    var total: UInt64
    /// The optional bytes of the members.
    var childExtra: UInt64
    /// The largest alignment of what is optional.
    var extraAlignment: UInt64
    var orders: AlignmentOrders

    init(_ total: UInt64, _ childExtra: UInt64, _ extraAlignment: UInt64, _ orders: AlignmentOrders) {
        self.total = total
        self.childExtra = childExtra
        self.extraAlignment = extraAlignment
        self.orders = orders
    }
}

// Sizes of bridge windows (drivers/pci/setup-bus.c): what both generations share.
extension TwinState {
    /// `__pci_bus_size_bridges`: sizes the windows of every bridge below a bus, then those of the bus's own bridge.
    mutating func sizeBridges(_ bus: Int32, _ extras: inout Extras) {
        var device = buses[bus].firstDevice
        while device != none {
            let below = devices[device].subordinate
            if below != none {
                if facts[device].headerLayout == 2 {
                    sizeCardBus(device, &extras)
                } else {
                    sizeBridges(below, &extras)
                }
            }
            device = devices[device].next
        }
        let bridge = buses[bus].bridge
        guard !buses[bus].isRoot, bridge != none, facts[bridge].headerLayout != 2 else { return }
        var io: UInt64 = 0
        var memory: UInt64 = 0
        var prefetchable: UInt64 = 0
        if facts[bridge].headerLayout == 1 {
            stateWindowKinds(bridge)
            if devices[bridge].isHotPlugBridge {
                io = platform.hotPlugIO
                memory = platform.hotPlugMemory
                prefetchable = platform.hotPlugPrefetchable
            }
        }
        sizeIO(bus, extra: io, &extras)
        if behaviour.windowSelectedByType {
            sizeMemoryByWindow(bus, memory: memory, prefetchable: prefetchable, &extras)
        } else {
            sizeMemoryByMask(bus, memory: memory, prefetchable: prefetchable, &extras)
        }
    }

    /// `pci_bridge_check_ranges`: states again which windows the bridge has.
    private mutating func stateWindowKinds(_ bridge: Int32) {
        let first = facts[bridge].firstResource
        resources[first &+ 14].flags |= Flag.memory
        if devices[bridge].hasIOWindow { resources[first &+ 13].flags |= Flag.io }
        if devices[bridge].hasPrefetchWindow {
            resources[first &+ 15].flags |= Flag.memory | Flag.prefetch
            if devices[bridge].hasPrefetchWindow64 { resources[first &+ 15].flags |= Flag.memory64 | 1 }
        }
    }

    /// `find_bus_resource_of_type`: the first window of a type without a place, else the first with one.
    func findWindow(_ bus: Int32, mask: UInt32, type: UInt32) -> Int32 {
        var assigned = none
        for n in 0..<busResourceCount(bus) {
            let window = busResource(bus, n)
            guard window != none, window != Self.memoryRoot, window != Self.ioRoot,
                resources[window].flags & mask == type
            else { continue }
            if resources[window].parent == none { return window }
            if assigned == none { assigned = window }
        }
        return assigned
    }

    /// `pbus_select_window_for_type`: the window that a type of request belongs to, or none.
    func selectWindow(_ bus: Int32, forType flags: UInt32) -> Int32 {
        let space = flags & Flag.typeBits
        guard space == Flag.io || space == Flag.memory else { return none }
        var type = flags & Flag.windowBits
        if buses[bus].isRoot {
            var window = findWindow(bus, mask: type, type: type)
            if window != none { return window }
            type &= ~Flag.memory64
            window = findWindow(bus, mask: type, type: type)
            if window != none { return window }
            type &= ~Flag.prefetch
            return findWindow(bus, mask: type, type: type)
        }
        let first = buses[bus].windows
        guard first != none else { return none }
        if space == Flag.io { return resources[first].flags & Flag.io != 0 ? first : none }
        let memory = resources[first &+ 1].flags & Flag.memory != 0 ? first &+ 1 : none
        let prefetchable = resources[first &+ 2].flags & Flag.memory != 0 ? first &+ 2 : none
        if type & Flag.prefetch == 0 || prefetchable == none { return memory }
        if type & Flag.memory64 != 0 || resources[prefetchable].flags & Flag.memory64 == 0 { return prefetchable }
        return memory
    }

    /// `pbus_select_window`: the window that a resource is in or belongs to.
    func selectWindow(_ bus: Int32, for resource: Int32) -> Int32 {
        let parent = resources[resource].parent
        return parent != none ? parent : selectWindow(bus, forType: resources[resource].flags)
    }

    /// `pdev_resources_assignable`: everything but classless functions, host bridges and interrupt controllers in use.
    func isAssignable(_ device: Int32) -> Bool {
        switch devices[device].classWord {
        case 0x0000, 0x0600: false
        case 0x0800: registers[device].command & 3 == 0
        default: true
        }
    }

    /// `pci_resource_is_optional`: VF BARs, ROMs that are off, windows that need nothing.
    func isOptional(_ resource: Int32, of device: Int32) -> Bool {
        let index = index(resource, of: device)
        if isVFBAR(index) { return true }
        if index == 6 { return resources[resource].flags & Flag.romEnable == 0 }
        return behaviour.emptyWindowsAreOptional && isWindow(index) && resources[resource].size == 0
    }

    /// `pbus_size_io`: the I/O window; never smaller than the size it carries.
    private mutating func sizeIO(_ bus: Int32, extra: UInt64, _ extras: inout Extras) {
        let bridge = buses[bus].bridge
        let window =
            behaviour.windowSelectedByType
            ? selectWindow(bus, forType: Flag.io) : findWindow(bus, mask: Flag.io, type: Flag.io)
        guard window != none, resources[window].parent == none else { return }
        var alignment = windowAlignment(bus, Flag.io)
        // Requests below 1 KiB are summed apart: the least size counts against them alone.
        var small: UInt64 = 0
        var large: UInt64 = 0
        var childExtra: UInt64 = 0
        var device = buses[bus].firstDevice
        while device != none {
            let first = facts[device].firstResource
            for resource in first..<(first &+ facts[device].resourceCount) {
                let held = resources[resource]
                guard held.parent == none, held.flags & Flag.io != 0 else { continue }
                if behaviour.closedWindowsKeepFlags, held.flags & Flag.disabled != 0,
                    isWindow(index(resource, of: device))
                {
                    continue
                }
                if held.size < 0x400 { small &+= held.size } else { large &+= held.size }
                alignment = max(alignment, self.alignment(resource, of: device))
                if extras.isListed { childExtra &+= extras.list.find(resource)?.extra ?? 0 }
            }
            device = devices[device].next
        }
        let old = resources[window].size == 1 ? 0 : resources[window].size
        let least = extras.isListed ? 0 : extra
        let required = Word.align(max(max(small, least) &+ large, old), alignment)
        if behaviour.closedWindowsKeepFlags, required != 0 { resources[window].flags &= ~Flag.disabled }
        var generous = required
        if extras.isListed, extra > 0 || childExtra > 0 {
            let sum = small &+ (behaviour.ioExtraCountsRequired ? required : large)
            generous = Word.align(max(max(sum, extra) &+ childExtra, old), alignment)
        }
        finish(window, of: bridge, required, generous, alignment, extraAlignment: alignment, &extras)
    }

    /// The last part of `pbus_size_mem`: required and generous size and the alignment, rounded as the generation does.
    ///
    /// `hasRoom` tells whether a size with an alignment fits into what the windows above have left.
    mutating func finishMemory(
        _ window: Int32,
        on bus: Int32,
        _ sums: MemorySums,
        extra: UInt64,
        _ extras: inout Extras,
        hasRoom: (TwinState, UInt64, UInt64) -> Bool
    ) {
        let granularity = windowAlignment(bus, resources[window].flags)
        let old = behaviour.oldWindowSizeIsLowerBound && resources[window].size != 1 ? resources[window].size : 0
        let least = max(sums.total, extras.isListed ? 0 : extra)
        func relaxed(_ alignment: UInt64) -> UInt64 {
            let whole = max(1 << (UInt64(sums.orders.highest) + 20), granularity)
            return behaviour.relaxedTailNeverRaises ? min(alignment, whole) : whole
        }
        var alignment = max(
            behaviour.headAlignment ? sums.orders.headAlignment : sums.orders.halvedAlignment,
            granularity
        )
        var required = Word.align(max(least, old), behaviour.headAlignment ? granularity : alignment)
        var extraAlignment = sums.extraAlignment
        if !behaviour.relaxedTailForExtras, !behaviour.headAlignment { extraAlignment = max(alignment, extraAlignment) }
        if behaviour.closedWindowsKeepFlags, required != 0 {
            resources[window].setRange(alignment, size: required)
            resources[window].flags &= ~Flag.disabled
        }
        if behaviour.relaxedTail, required != 0,
            !hasRoom(self, required, behaviour.relaxedTailForExtras ? alignment : extraAlignment)
        {
            alignment = relaxed(alignment)
            required = Word.align(max(least, old), granularity)
            if behaviour.closedWindowsKeepFlags { resources[window].setRange(alignment, size: required) }
        }
        var generous = required
        if extras.isListed, extra > 0 || sums.childExtra > 0 {
            extraAlignment = max(alignment, extraAlignment)
            let wanted =
                behaviour.childExtrasCountAgainstLeast
                ? max(least &+ sums.childExtra, extra) : max(least, extra) &+ sums.childExtra
            generous = Word.align(max(wanted, old), behaviour.headAlignment ? granularity : extraAlignment)
            if behaviour.relaxedTailForExtras, behaviour.relaxedTail, generous != 0,
                !hasRoom(self, generous, extraAlignment)
            {
                alignment = relaxed(alignment)
                generous = Word.align(max(wanted, old), granularity)
            }
        }
        finish(window, of: buses[bus].bridge, required, generous, alignment, extraAlignment: extraAlignment, &extras)
    }

    /// Whether a claimed window has a gap for a size with an alignment (`find_resource_space`).
    func hasRoom(in window: Int32, _ size: UInt64, _ alignment: UInt64) -> Bool {
        guard resources[window].size >= size else { return false }
        let constraint = PlaceConstraint(minimum: 0, maximum: .max, alignment: alignment, appliesRules: false)
        return findPlace(in: window, old: none, flags: 0, size: size, constraint) != nil
    }

    /// Writes a computed size into a window and lists what is optional of it.
    mutating func finish(
        _ window: Int32,
        of bridge: Int32,
        _ required: UInt64,
        _ generous: UInt64,
        _ alignment: UInt64,
        extraAlignment: UInt64,
        _ extras: inout Extras
    ) {
        guard required != 0 || generous != 0 else {
            if behaviour.closedWindowsKeepFlags {
                resources[window].flags |= Flag.disabled
            } else {
                resources[window].flags = 0
            }
            return
        }
        resources[window].setRange(alignment, size: required)
        resources[window].flags |= Flag.startAlign
        let isMemory = resources[window].flags & Flag.memory != 0
        let onlyAlignment = behaviour.alignmentAloneIsExtra && isMemory && extraAlignment > alignment
        guard extras.isListed, generous > required || onlyAlignment else { return }
        if behaviour.closedWindowsKeepFlags { resources[window].flags &= ~Flag.disabled }
        let extra = generous > required ? generous &- required : 0
        extras.list.add(makeRequest(window, bridge, extra: extra, alignment: extraAlignment))
        note(
            .extra(
                address(bridge),
                resourceIndex(window, of: bridge),
                ByteCount(extra),
                alignment: ByteCount(extraAlignment)
            )
        )
    }

    /// CardBus bridges ask for fixed amounts: 256 bytes of I/O twice, 64 MiB of memory twice (`pci_bus_size_cardbus`).
    private mutating func sizeCardBus(_ bridge: Int32, _ extras: inout Extras) {
        guard facts[bridge].resourceCount >= 17 else { return }
        let first = facts[bridge].firstResource &+ 13
        let plan: [(offset: Int32, flags: UInt32, size: UInt64)] = [
            (0, Flag.io, 256), (1, Flag.io, 256),
            (2, Flag.memory | Flag.prefetch, 64 << 20), (3, Flag.memory, 64 << 20),
        ]
        // The second memory window must not be prefetchable, the first must be.
        registers[bridge].bridgeControl = registers[bridge].bridgeControl & ~0x200 | 0x100
        for entry in plan {
            let window = first &+ entry.offset
            guard resources[window].parent == none else { continue }
            resources[window].setRange(entry.size, size: extras.isListed ? 0 : entry.size)
            resources[window].flags |= entry.flags | Flag.startAlign
            if extras.isListed {
                extras.list.add(makeRequest(window, bridge, extra: entry.size, alignment: entry.size))
            }
        }
    }
}
