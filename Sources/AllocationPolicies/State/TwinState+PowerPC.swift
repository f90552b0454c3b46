// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// What powerpc adds to discovery, survey and windows (arch/powerpc/kernel/pci-common.c, pci_of_scan.c,
// platforms/powernv/pci-ioda.c, pci-sriov.c).
extension TwinState {
    /// `pcibios_fixup_resources`: BARs at bus address 0 count as unset, with `PCI_REASSIGN_ALL_RSRC` all of them.
    mutating func forgetAddresses(_ device: Int32) {
        let first = facts[device].firstResource
        for resource in first..<(first &+ facts[device].resourceCount) where resources[resource].flags != 0 {
            let offset = offset(of: resource, on: devices[device].bus)
            guard platform.boot == .powerPCReassign || resources[resource].start == offset else { continue }
            let size = resources[resource].size
            resources[resource].setRange(0, size: size)
            resources[resource].flags |= Flag.unset
        }
    }

    /// `pcibios_fixup_bridge`: with `PCI_REASSIGN_ALL_RSRC` windows lose place and size, else those that nobody set up.
    mutating func forgetWindows(_ bus: Int32) {
        let bridge = buses[bus].bridge
        guard bridge != none, facts[bridge].resourceCount >= 17 else { return }
        let first = facts[bridge].firstResource &+ 13
        for window in first..<(first &+ 3) where resources[window].flags != 0 {
            if platform.boot == .powerPCReassign {
                resources[window].flags |= Flag.unset
                resources[window].setRange(0, size: 0)
            } else if isUntouched(window, of: bridge) {
                resources[window].flags = 0
            } else {
                // The device tree's windows carry the flags of its addresses (`pci_parse_of_flags`).
                let kind = resources[window].flags & Flag.windowBits
                let type: UInt32 = kind & Flag.io != 0 ? 0x1 : 0
                let wide: UInt32 = kind & Flag.memory64 != 0 ? 0x4 : 0
                let prefetch: UInt32 = kind & Flag.prefetch != 0 ? 0x8 : 0
                resources[window].flags = kind | Flag.sizeAlign | type | wide | prefetch
            }
        }
    }

    /// `pcibios_uninitialized_bridge_resource`: at bus address 0, with the bridge's decoding off.
    private func isUntouched(_ window: Int32, of bridge: Int32) -> Bool {
        let offset = offset(of: window, on: devices[bridge].bus)
        guard resources[window].start &- offset == 0 else { return false }
        if resources[window].flags & Flag.io != 0 { return registers[bridge].command & 1 == 0 }
        if registers[bridge].command & 2 == 0 { return true }
        let host = hosts[Int(buses[devices[bridge].bus].host)]
        return !zip(host.apertures, host.offsets).contains { aperture, offset in
            resources[aperture].flags & Flag.memory != 0 && resources[aperture].start == offset
        }
    }

    /// `pcibios_resource_survey`: windows from the top, BARs with decoding on, then the others, then legacy ranges.
    mutating func surveyPowerPC(_ roots: [Int32]) {
        for bus in roots { claimPowerPCWindows(bus) }
        if platform.boot != .powerPCReassign {
            for bus in roots { claimPowerPCBARs(bus, wantsDisabled: false) }
            for bus in roots { claimPowerPCBARs(bus, wantsDisabled: true) }
        }
        for host in hosts { reserveLegacyRanges(host) }
    }

    /// `pcibios_allocate_bus_resources`.
    private mutating func claimPowerPCWindows(_ bus: Int32) {
        let bridge = buses[bus].bridge
        if bridge != none, facts[bridge].resourceCount >= 17 {
            let first = facts[bridge].firstResource &+ 13
            for window in first..<(first &+ 4) {
                let held = resources[window]
                guard held.flags != 0, held.start <= held.end, held.parent == none else { continue }
                if held.flags & Flag.unset != 0 || !claimWindow(window, of: bridge) { dropWindow(window) }
            }
        }
        var child = buses[bus].firstChild
        while child != none {
            claimPowerPCWindows(child)
            child = buses[child].next
        }
    }

    private mutating func dropWindow(_ window: Int32) {
        resources[window].setRange(0, size: 0)
        resources[window].flags = 0
    }

    /// `pcibios_allocate_resources`: BARs and ROM; what cannot be had is unset. ROMs are switched off.
    private mutating func claimPowerPCBARs(_ bus: Int32, wantsDisabled: Bool) {
        var device = buses[bus].firstDevice
        while device != none {
            let first = facts[device].firstResource
            for resource in first...(first &+ 6) {
                let held = resources[resource]
                guard held.parent == none, held.flags != 0, held.flags & Flag.unset == 0 else { continue }
                let isDisabled = registers[device].command & (held.flags & Flag.io != 0 ? 1 : 2) == 0
                guard isDisabled == wantsDisabled, !claim(resource, of: device) else { continue }
                let size = resources[resource].size
                resources[resource].setRange(0, size: size)
            }
            if !wantsDisabled, resources[first &+ 6].flags & Flag.romEnable != 0 {
                resources[first &+ 6].flags &= ~Flag.romEnable
                registers[device].romEnabled = false
            }
            if devices[device].subordinate != none {
                claimPowerPCBARs(devices[device].subordinate, wantsDisabled: wantsDisabled)
            }
            device = devices[device].next
        }
    }

    /// `pcibios_reserve_legacy_regions`: the lowest 4 KiB of I/O and the VGA range, where nothing holds a part of them.
    private mutating func reserveLegacyRanges(_ host: TwinHost) {
        for (aperture, offset) in zip(host.apertures, host.offsets) {
            let isIO = resources[aperture].flags & Flag.io != 0
            let start = offset &+ (isIO ? 0 : 0xa0000)
            let end = offset &+ (isIO ? 0xfff : 0xbffff)
            guard resources[aperture].start <= start, end <= resources[aperture].end else { continue }
            let kind = isIO ? Flag.io : Flag.memory
            let node = appendResource(KernelResource(start: start, end: end, flags: kind), owner: none)
            _ = request(node, in: aperture)
        }
    }
}

// powernv: windows and VF BARs follow the segments by which a PCI host bridge (PHB) isolates its partitionable endpoints.
extension TwinState {
    /// Segments of a PHB.
    private struct Segments {
        var count: UInt64
        /// Of the 64-bit prefetchable aperture.
        var wide: UInt64
        /// Of the 32-bit aperture.
        var narrow: UInt64
        /// The whole 64-bit range, of which two segments are kept from the aperture.
        var first: UInt64
        var last: UInt64
    }

    /// The segments follow from the apertures: two of a power of two are kept back at one end (`pnv_ioda2_init_m64`), and
    /// 64 KiB of the 32-bit aperture are for interrupts (`pnv_pci_init_ioda_phb`).
    private func segments(_ bus: Int32) -> Segments? {
        let host = hosts[Int(buses[bus].host)]
        let wide = Flag.memory | Flag.prefetch64
        guard let aperture = host.apertures.first(where: { resources[$0].flags & wide == wide }) else { return nil }
        let size = resources[aperture].size
        guard size > 1, size & (size &- 1) != 0 else { return nil }
        let bits = UInt64(64 - size.leadingZeroBitCount)
        guard bits < 64 else { return nil }
        let total: UInt64 = 1 << bits
        let segment = (total &- size) / 2
        guard segment > 0 else { return nil }
        let first = Word.alignDown(resources[aperture].start, total)
        let narrow = host.apertures.first { resources[$0].flags & Flag.typeBits == Flag.memory && $0 != aperture }
        return Segments(
            count: total / segment,
            wide: segment,
            narrow: narrow.map { (resources[$0].size &+ 0x1_0000) / (total / segment) } ?? 0,
            first: first,
            last: first &+ total &- 1
        )
    }

    /// The alignment that a bridge's window has at least (`pci_min_window_alignment`, `pcibios_window_alignment`).
    func windowAlignment(_ bus: Int32, _ flags: UInt32) -> UInt64 {
        let bridge = buses[bus].bridge
        let isIO = flags & Flag.io != 0
        let least: UInt64 = isIO ? (bridge != none && facts[bridge].hasIO1K ? 0x400 : 0x1000) : 0x10_0000
        guard platform.hasPartitionableEndpoints, !isIO, let segments = segments(bus) else { return least }
        // Everything below two bridges to conventional PCI is one endpoint.
        var above = bridge
        var bridges = 0
        while above != none {
            if facts[above].portType == 7 { bridges += 1 }
            if bridges >= 2 { return least }
            above = buses[devices[above].bus].bridge
        }
        return max(least, flags & Flag.prefetch64 == Flag.prefetch64 ? segments.wide : segments.narrow)
    }

    /// `pnv_pci_fixup_bridge_resources`: the windows of a root port and of the port behind it become the apertures, so that
    /// cards can be plugged later; the tree of resources keeps them where they were.
    mutating func widenToApertures(_ bus: Int32) {
        guard platform.hasPartitionableEndpoints else { return }
        let bridge = buses[bus].bridge
        guard bridge != none, facts[bridge].resourceCount >= 17 else { return }
        let outer = devices[bridge].bus
        if !buses[outer].isRoot {
            let port = buses[outer].bridge
            guard port != none, buses[devices[port].bus].isRoot else { return }
        }
        guard let segments = segments(bus) else { return }
        let host = hosts[Int(buses[bus].host)]
        var sparesInterrupts = false
        for window in (facts[bridge].firstResource &+ 13)...(facts[bridge].firstResource &+ 15) {
            let held = resources[window]
            guard held.flags != 0, held.parent != none else { continue }
            let isWide = segments.first <= held.start && held.start <= segments.last
            let wanted: UInt32
            if held.flags & Flag.io != 0 {
                wanted = Flag.io
            } else if isWide {
                wanted = Flag.memory | Flag.prefetch64
            } else {
                wanted = Flag.memory
                sparesInterrupts = true
            }
            let mask = Flag.io | Flag.memory | Flag.prefetch64
            guard let aperture = host.apertures.first(where: { resources[$0].flags & mask == wanted }) else { continue }
            resources[window].start = resources[aperture].start
            // The room for interrupts is added and 1 MiB taken off for every window from the 32-bit one on.
            resources[window].end = resources[aperture].end &+ (sparesInterrupts ? 0x1_0000 &- 0x10_0000 : 0)
        }
    }

    /// `pnv_pci_ioda_fixup_iov_resources`: a VF BAR takes as many places as there are segments, unless it fills more than
    /// a quarter of one; VF BARs that are not 64-bit prefetchable are dropped, all of them.
    mutating func fitVFsToSegments(_ device: Int32) {
        guard devices[device].isPhysicalFunction, facts[device].resourceCount >= 13,
            let segments = segments(devices[device].bus)
        else { return }
        let first = facts[device].firstResource &+ 7
        for resource in first..<(first &+ 6) where resources[resource].flags != 0 {
            let size = registers[device].vfSizes[Int(resource &- first)]
            let isWide = resources[resource].flags & Flag.prefetch64 == Flag.prefetch64
            let isLarge = size > segments.wide >> 2
            if !isWide || isLarge && size < 32 << 20 {
                for dropped in first..<(first &+ 6) {
                    resources[dropped].flags = 0
                    resources[dropped].end = resources[dropped].start &- 1
                }
                return
            }
            if !isLarge { resources[resource].setRange(resources[resource].start, size: size &* segments.count) }
        }
    }

    /// `pnv_pci_iov_resource_alignment`: a VF BAR that is mapped by segments is aligned to all its places.
    func vfAlignment(_ size: UInt64, of device: Int32) -> UInt64 {
        guard platform.hasPartitionableEndpoints, let segments = segments(devices[device].bus),
            size <= segments.wide >> 2
        else { return size }
        return size &* segments.count
    }
}
