// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Where one resource goes (drivers/pci/setup-res.c, drivers/pci/bus.c).
extension TwinState {
    /// The part of bus-address space that an attempt may use.
    private enum Reach {
        case below4G
        case above4G
        case everywhere

        var first: UInt64 { self == .above4G ? 0x1_0000_0000 : 0 }
        var last: UInt64 { self == .below4G ? 0xffff_ffff : .max }
    }

    /// Assigns a resource (`pci_assign_resource`): places it, writes its register, or tries the firmware's address.
    mutating func assign(_ resource: Int32, of device: Int32) -> Bool {
        if resources[resource].flags & Flag.fixed != 0 { return true }
        resources[resource].flags |= Flag.unset
        let alignment = alignment(resource, of: device)
        guard alignment != 0 else { return false }
        let size = resources[resource].size
        var done = place(resource, of: device, size: size, alignment: alignment)
        if !done { done = revertToFirmware(resource, of: device, size: size) }
        guard done else {
            note(.failed(address(device), resourceIndex(resource, of: device), ByteCount(size)))
            return false
        }
        let index = index(resource, of: device)
        resources[resource].flags &= ~(Flag.unset | Flag.startAlign)
        if isWindow(index) {
            if behaviour.closedWindowsKeepFlags { resources[resource].flags &= ~Flag.disabled }
        } else {
            writeBAR(resource, of: device)
        }
        note(.assigned(address(device), resourceIndex(resource, of: device), range(resource)))
        return true
    }

    /// Grows or moves an assigned resource by `extra` bytes (`pci_reassign_resource`).
    mutating func reassign(_ resource: Int32, of device: Int32, extra: UInt64, alignment: UInt64) -> Bool {
        let flags = resources[resource].flags
        if flags & Flag.fixed != 0 { return true }
        resources[resource].flags |= Flag.unset
        guard resources[resource].parent != none else { return false }
        let size = resources[resource].size &+ extra
        guard place(resource, of: device, size: size, alignment: alignment) else {
            resources[resource].flags = flags
            note(.notExpanded(address(device), resourceIndex(resource, of: device), ByteCount(extra)))
            return false
        }
        resources[resource].flags &= ~(Flag.unset | Flag.startAlign)
        if !isWindow(index(resource, of: device)) { writeBAR(resource, of: device) }
        note(.expanded(address(device), resourceIndex(resource, of: device), range(resource)))
        return true
    }

    /// `_pci_assign_resource`: the bus of the function, and the buses above as long as bridges are transparent.
    private mutating func place(_ resource: Int32, of device: Int32, size: UInt64, alignment: UInt64) -> Bool {
        var bus = devices[device].bus
        while true {
            if place(resource, on: bus, size: size, alignment: alignment) { return true }
            let bridge = buses[bus].bridge
            guard buses[bus].parent != none, bridge != none, devices[bridge].isTransparent else { return false }
            bus = buses[bus].parent
        }
    }

    /// `__pci_assign_resource`: exact window first, then a narrower prefetchable one, then any of the type.
    private mutating func place(_ resource: Int32, on bus: Int32, size: UInt64, alignment: UInt64) -> Bool {
        let flags = resources[resource].flags
        if attempt(resource, on: bus, size: size, alignment: alignment, mask: Flag.prefetch64) { return true }
        if flags & Flag.prefetch64 == Flag.prefetch64,
            attempt(resource, on: bus, size: size, alignment: alignment, mask: Flag.prefetch)
        {
            return true
        }
        guard flags & Flag.prefetch64 != 0 else { return false }
        return attempt(resource, on: bus, size: size, alignment: alignment, mask: 0)
    }

    /// `pci_bus_alloc_resource`: 64-bit resources try above 4 GiB before everywhere, others stay below.
    private mutating func attempt(
        _ resource: Int32,
        on bus: Int32,
        size: UInt64,
        alignment: UInt64,
        mask: UInt32
    ) -> Bool {
        if resources[resource].flags & Flag.memory64 != 0 {
            return attempt(resource, on: bus, size: size, alignment: alignment, mask: mask, .above4G)
                || attempt(resource, on: bus, size: size, alignment: alignment, mask: mask, .everywhere)
        }
        return attempt(resource, on: bus, size: size, alignment: alignment, mask: mask, .below4G)
    }

    /// `pci_bus_alloc_from_region`: every window of the bus in order.
    private mutating func attempt(
        _ resource: Int32,
        on bus: Int32,
        size: UInt64,
        alignment: UInt64,
        mask: UInt32,
        _ reach: Reach
    ) -> Bool {
        let flags = resources[resource].flags
        let mask = mask | Flag.typeBits
        let lowest = flags & Flag.io != 0 ? platform.minimumIO : platform.minimumMemory
        for n in 0..<busResourceCount(bus) {
            let window = busResource(bus, n)
            guard window != none else { continue }
            let held = resources[window]
            if behaviour.closedWindowsKeepFlags, held.flags & (Flag.unset | Flag.disabled) != 0 { continue }
            if (flags ^ held.flags) & mask != 0 { continue }
            if held.flags & Flag.prefetch != 0, flags & Flag.prefetch == 0 { continue }
            let (first, last) = clip(window, on: bus, to: reach)
            let minimum = first != 0 ? first : lowest
            if behaviour.skipsTooSmallWindows, size > last &- minimum &+ 1 { continue }
            let constraint = PlaceConstraint(
                minimum: minimum,
                maximum: last,
                alignment: alignment,
                appliesRules: true
            )
            if allocate(resource, in: window, size: size, constraint) { return true }
        }
        return false
    }

    /// `pci_clip_resource_to_region`: the part of a window whose bus addresses are within reach.
    private func clip(_ window: Int32, on bus: Int32, to reach: Reach) -> (first: UInt64, last: UInt64) {
        let held = resources[window]
        let offset = offset(of: window, on: bus)
        let first = max(held.start &- offset, reach.first)
        let last = min(held.end &- offset, reach.last)
        if last < first { return (held.start, held.start &- 1) }
        return (first &+ offset, last &+ offset)
    }

    /// CPU address minus bus address for a resource (`pcibios_resource_to_bus`).
    func offset(of resource: Int32, on bus: Int32) -> UInt64 {
        guard translates else { return 0 }
        let host = hosts[Int(buses[bus].host)]
        for (aperture, offset) in zip(host.apertures, host.offsets) where contains(aperture, resource) { return offset }
        return 0
    }

    /// CPU address minus bus address for a range of bus addresses (`pcibios_bus_to_resource`).
    func offset(ofBusAddress first: UInt64, _ last: UInt64, flags: UInt32, on bus: Int32) -> UInt64 {
        guard translates else { return 0 }
        let host = hosts[Int(buses[bus].host)]
        for (aperture, offset) in zip(host.apertures, host.offsets) {
            let held = resources[aperture]
            guard (held.flags ^ flags) & Flag.typeBits == 0 else { continue }
            if held.start &- offset <= first, held.end &- offset >= last { return offset }
        }
        return 0
    }

    /// `allocate_resource` and, for one that has a place already, `reallocate_resource`.
    private mutating func allocate(
        _ resource: Int32,
        in window: Int32,
        size: UInt64,
        _ constraint: PlaceConstraint
    ) -> Bool {
        let moving = resources[resource].parent != none
        guard
            let found = findPlace(
                in: window,
                old: moving ? resource : none,
                flags: resources[resource].flags,
                size: size,
                constraint
            )
        else { return false }
        if moving {
            // The address counts as unset while it moves, so growth in place is a release and a new request.
            if resources[resource].child != none { return false }
            release(resource)
        }
        resources[resource].start = found.start
        resources[resource].end = found.end
        return request(resource, in: window) == none
    }

    /// `pci_revert_fw_address`: the address that firmware had left, where boot still remembers it.
    private mutating func revertToFirmware(_ resource: Int32, of device: Int32, size: UInt64) -> Bool {
        guard let first = firmwareAddresses[resource], first != 0 else { return false }
        let start = resources[resource].start
        let end = resources[resource].end
        resources[resource].setRange(first, size: size)
        resources[resource].flags &= ~Flag.unset
        var root = parentWindow(of: resource, on: devices[device].bus)
        if root == none {
            guard buses[devices[device].bus].isRoot else { return false }
            root = resources[resource].flags & Flag.io != 0 ? Self.ioRoot : Self.memoryRoot
        }
        guard request(resource, in: root) == none else {
            resources[resource].start = start
            resources[resource].end = end
            resources[resource].flags |= Flag.unset
            return false
        }
        return true
    }

    /// `pci_find_parent_resource`: the first window of the bus that contains the range, if its kind may hold it.
    func parentWindow(of resource: Int32, on bus: Int32) -> Int32 {
        for n in 0..<busResourceCount(bus) {
            let window = busResource(bus, n)
            guard window != none, contains(window, resource) else { continue }
            if resources[window].flags & Flag.prefetch != 0, resources[resource].flags & Flag.prefetch == 0 {
                return none
            }
            return window
        }
        return none
    }

    /// Takes over the range that a resource carries (`pci_claim_resource`).
    mutating func claim(_ resource: Int32, of device: Int32) -> Bool {
        let flags = resources[resource].flags
        if flags & Flag.unset != 0 { return false }
        let index = index(resource, of: device)
        if flags & Flag.romShadow != 0, index == 6 { return true }
        let root = parentWindow(of: resource, on: devices[device].bus)
        guard root != none, request(resource, in: root) == none else {
            resources[resource].flags |= Flag.unset
            note(.notClaimed(address(device), resourceIndex(resource, of: device), range(resource)))
            return false
        }
        note(.claimed(address(device), resourceIndex(resource, of: device), range(resource)))
        return true
    }

    /// Gives up the place of a resource and keeps its size (`pci_release_resource`).
    mutating func releasePlace(_ resource: Int32, of device: Int32) {
        guard resources[resource].parent != none else { return }
        note(.released(address(device), resourceIndex(resource, of: device), range(resource)))
        release(resource)
        let size = resources[resource].size
        resources[resource].setRange(0, size: size)
        resources[resource].flags |= Flag.unset
    }
}
