// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// What the kernel writes to registers (setup-res.c, setup-bus.c, iov.c) and reads back (probe.c).
extension TwinState {
    /// `pci_update_resource`: writes the address of a BAR, a ROM that is on, or a VF BAR.
    mutating func writeBAR(_ resource: Int32, of device: Int32) {
        let held = resources[resource]
        let index = Int(index(resource, of: device))
        guard held.flags != 0, held.flags & (Flag.unset | Flag.fixed) == 0, !devices[device].isVirtualFunction else {
            return
        }
        let value = held.start &- offset(of: resource, on: devices[device].bus)
        switch index {
        case 0...5:
            registers[device].bars[index] = value
        case 6:
            guard held.flags & Flag.romEnable != 0 else { return }
            registers[device].rom = value
            registers[device].romEnabled = true
        case 7...12:
            guard devices[device].isPhysicalFunction else { return }
            if registers[device].vfEnabled {
                note(.fault(address(device), "a VF BAR would move while VFs are enabled"))
                return
            }
            registers[device].vfBARs[index - 7] = value
        default: break
        }
    }

    /// `__pci_setup_bridge`: writes the bridge's windows of the kinds in `types`, and bridge control.
    mutating func programBridge(_ bus: Int32, types: UInt32 = Flag.io | Flag.memory | Flag.prefetch) {
        let bridge = buses[bus].bridge
        guard bridge != none else { return }
        if types & Flag.io != 0 { programIO(bridge) }
        if types & Flag.memory != 0 { programMemory(bridge) }
        if types & Flag.prefetch != 0 { programPrefetchable(bridge) }
        registers[bridge].bridgeControl = buses[bus].bridgeControl
        note(.programmed(address(bridge)))
    }

    /// Writes one window (`pci_setup_one_bridge_window`), 13 to 15.
    mutating func programWindow(_ bridge: Int32, _ index: Int32) {
        switch index {
        case 13: programIO(bridge)
        case 14: programMemory(bridge)
        case 15: programPrefetchable(bridge)
        default: break
        }
    }

    /// Whether a window's registers get its range rather than "closed".
    private func isOpen(_ resource: Int32, _ flag: UInt32) -> Bool {
        guard resources[resource].flags & flag != 0 else { return false }
        return !behaviour.closedWindowsKeepFlags || resources[resource].parent != none
    }

    private mutating func programIO(_ bridge: Int32) {
        guard facts[bridge].hasIOWindow else { return }
        let window = facts[bridge].firstResource &+ 13
        var base: UInt64 = 0xf000
        var limit: UInt64 = 0
        if isOpen(window, Flag.io) {
            let offset = offset(of: window, on: devices[bridge].bus)
            base = resources[window].start &- offset
            limit = resources[window].end &- offset
        }
        let mask: UInt8 = facts[bridge].hasIO1K ? 0xfc : 0xf0
        registers[bridge].ioBase = UInt8(truncatingIfNeeded: base >> 8) & mask
        registers[bridge].ioLimit = UInt8(truncatingIfNeeded: limit >> 8) & mask
        let open = isOpen(window, Flag.io)
        registers[bridge].ioBaseUpper = open && facts[bridge].hasIO32 ? UInt16(truncatingIfNeeded: base >> 16) : 0
        registers[bridge].ioLimitUpper = open && facts[bridge].hasIO32 ? UInt16(truncatingIfNeeded: limit >> 16) : 0
    }

    private mutating func programMemory(_ bridge: Int32) {
        let window = facts[bridge].firstResource &+ 14
        var base: UInt64 = 0xfff0_0000
        var limit: UInt64 = 0
        if isOpen(window, Flag.memory) {
            let offset = offset(of: window, on: devices[bridge].bus)
            base = resources[window].start &- offset
            limit = resources[window].end &- offset
        }
        registers[bridge].memoryBase = UInt16(truncatingIfNeeded: base >> 16) & 0xfff0
        registers[bridge].memoryLimit = UInt16(truncatingIfNeeded: limit >> 16) & 0xfff0
    }

    private mutating func programPrefetchable(_ bridge: Int32) {
        guard facts[bridge].hasPrefetchWindow else { return }
        let window = facts[bridge].firstResource &+ 15
        var base: UInt64 = 0xfff0_0000
        var limit: UInt64 = 0
        if isOpen(window, Flag.prefetch) {
            let offset = offset(of: window, on: devices[bridge].bus)
            base = resources[window].start &- offset
            limit = resources[window].end &- offset
            if resources[window].flags & Flag.memory64 == 0 {
                base &= 0xffff_ffff
                limit &= 0xffff_ffff
            }
        }
        registers[bridge].prefetchBase = UInt16(truncatingIfNeeded: base >> 16) & 0xfff0
        registers[bridge].prefetchLimit = UInt16(truncatingIfNeeded: limit >> 16) & 0xfff0
        let wide = facts[bridge].hasPrefetch64
        registers[bridge].prefetchBaseUpper = wide ? UInt32(truncatingIfNeeded: base >> 32) : 0
        registers[bridge].prefetchLimitUpper = wide ? UInt32(truncatingIfNeeded: limit >> 32) : 0
    }

    /// `pci_disable_bridge_window`: closes both memory windows in the registers.
    mutating func closeMemoryWindows(_ bridge: Int32) {
        registers[bridge].memoryBase = 0xfff0
        registers[bridge].memoryLimit = 0
        guard facts[bridge].hasPrefetchWindow else { return }
        registers[bridge].prefetchBase = 0xfff0
        registers[bridge].prefetchLimit = 0
        registers[bridge].prefetchLimitUpper = 0
        if facts[bridge].hasPrefetch64 { registers[bridge].prefetchBaseUpper = 0xffff_ffff }
    }

    /// `pci_read_bridge_bases`: fills the windows of a new bus from the registers.
    mutating func readBridgeWindows(_ bus: Int32) {
        let bridge = buses[bus].bridge
        guard bridge != none else { return }
        buses[bus].extra = []
        readIOWindow(bridge)
        readMemoryWindow(bridge)
        readPrefetchableWindow(bridge)
        guard devices[bridge].isTransparent else { return }
        let parent = buses[bus].parent
        guard parent != none else { return }
        for n in 0..<busResourceCount(parent) {
            let window = busResource(parent, n)
            if window != none, resources[window].flags != 0 { buses[bus].extra.append(window) }
        }
    }

    /// Gives a window the range of its registers, or marks it closed where the generation keeps such windows.
    private mutating func setWindow(_ window: Int32, on bus: Int32, flags: UInt32, base: UInt64, last: UInt64?) {
        guard resources[window].parent == none else {
            // Bus numbers of a live bridge were rewritten: the kernel makes a second bus and writes over a claimed window.
            note(.fault(address(owners[window]), "a claimed window is read again from the registers"))
            return
        }
        if let last {
            let offset = offset(ofBusAddress: base, last, flags: flags, on: bus)
            resources[window].flags = flags
            resources[window].start = base &+ offset
            resources[window].end = last &+ offset
        } else if behaviour.closedWindowsKeepFlags {
            resources[window].flags = flags | Flag.unset | Flag.disabled
            resources[window].setRange(0, size: 0)
        }
    }

    private mutating func readIOWindow(_ bridge: Int32) {
        // A bridge without I/O window reads zero; older generations then see a window of the lowest 4 KiB.
        guard facts[bridge].hasIOWindow || behaviour.readsAbsentWindows else { return }
        let held = registers[bridge]
        let type: UInt32 = facts[bridge].hasIO32 ? 1 : 0
        var base = UInt64(held.ioBase) << 8
        var limit = UInt64(held.ioLimit) << 8
        if facts[bridge].hasIO32 {
            base |= UInt64(held.ioBaseUpper) << 16
            limit |= UInt64(held.ioLimitUpper) << 16
        }
        let granularity: UInt64 = facts[bridge].hasIO1K ? 0x400 : 0x1000
        setWindow(
            facts[bridge].firstResource &+ 13,
            on: devices[bridge].bus,
            flags: type | Flag.io,
            base: base,
            last: base <= limit ? limit &+ granularity &- 1 : nil
        )
    }

    private mutating func readMemoryWindow(_ bridge: Int32) {
        let base = UInt64(registers[bridge].memoryBase) << 16
        let limit = UInt64(registers[bridge].memoryLimit) << 16
        setWindow(
            facts[bridge].firstResource &+ 14,
            on: devices[bridge].bus,
            flags: Flag.memory,
            base: base,
            last: base <= limit ? limit &+ 0xf_ffff : nil
        )
    }

    private mutating func readPrefetchableWindow(_ bridge: Int32) {
        guard facts[bridge].hasPrefetchWindow || behaviour.readsAbsentWindows else { return }
        let held = registers[bridge]
        let wide = facts[bridge].hasPrefetch64
        var base = UInt64(held.prefetchBase) << 16
        var limit = UInt64(held.prefetchLimit) << 16
        // Some bridges reset to a base above the limit: then the upper halves are not used.
        if wide, held.prefetchBaseUpper <= held.prefetchLimitUpper {
            base |= UInt64(held.prefetchBaseUpper) << 32
            limit |= UInt64(held.prefetchLimitUpper) << 32
        }
        setWindow(
            facts[bridge].firstResource &+ 15,
            on: devices[bridge].bus,
            flags: Flag.memory | Flag.prefetch | (wide ? Flag.memory64 | 1 : 0),
            base: base,
            last: base <= limit ? limit &+ 0xf_ffff : nil
        )
    }
}
