// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Handing out left-over space among hot-plug bridges (drivers/pci/setup-bus.c).
extension TwinState {
    /// A range that is still to be handed out: pseudo addresses, in the kernel's wrapping arithmetic.
    private struct Available {
        var start: UInt64
        var end: UInt64
        var flags: UInt32
        var size: UInt64 { end &- start &+ 1 }
    }

    /// The three ranges of a bridge: I/O, memory, prefetchable.
    private struct ThreeRanges {
        var io: Available
        var memory: Available
        var prefetchable: Available

        subscript(_ index: Int32) -> Available {
            get {
                switch index {
                case 0: io
                case 1: memory
                default: prefetchable
                }
            }
            set {
                switch index {
                case 0: io = newValue
                case 1: memory = newValue
                default: prefetchable = newValue
                }
            }
        }
    }

    /// `pci_bridge_distribute_available_resources`: below a hot-plug bridge, from what its own windows offer.
    mutating func distribute(below bridge: Int32, _ extras: inout Extras) {
        guard devices[bridge].isHotPlugBridge, devices[bridge].subordinate != none else { return }
        distribute(devices[bridge].subordinate, ranges(of: bridge), &extras)
    }

    private func ranges(of bridge: Int32) -> ThreeRanges {
        func available(_ index: Int32) -> Available {
            let held = resources[facts[bridge].firstResource &+ index]
            return Available(start: held.start, end: held.end, flags: held.flags)
        }
        return ThreeRanges(io: available(13), memory: available(14), prefetchable: available(15))
    }

    /// `pci_root_bus_distribute_available_resources`: at boot, below bridges whose windows are all new.
    mutating func distributeAtBoot(_ bus: Int32, _ extras: inout Extras) {
        var device = buses[bus].firstDevice
        while device != none {
            let below = devices[device].subordinate
            if isBridge(device), below != none {
                if buses[bus].bridge != none, hasOnlyNewWindows(device) {
                    distribute(below: device, &extras)
                } else {
                    distributeAtBoot(below, &extras)
                }
            }
            device = devices[device].next
        }
    }

    /// `pci_bridge_resources_not_assigned`.
    private func hasOnlyNewWindows(_ bridge: Int32) -> Bool {
        for index in Int32(13)...15 {
            let flags = resources[facts[bridge].firstResource &+ index].flags
            if flags != 0, flags & Flag.startAlign == 0 { return false }
        }
        return true
    }

    /// `adjust_bridge_window`: a window without a place takes the size on offer.
    private mutating func adjustWindow(_ window: Int32, of bridge: Int32, to size: UInt64, _ extras: inout Extras) {
        guard resources[window].parent == none, size != 0 else { return }
        let old = resources[window].size
        if size == old { return }
        if size < old, !behaviour.distributionMayShrink {
            // Only the hot-plug extra can be taken back.
            guard extras.isListed else { return }
            let extra: UInt64
            switch index(window, of: bridge) {
            case 13: extra = platform.hotPlugIO
            case 14: extra = platform.hotPlugMemory
            default: extra = platform.hotPlugPrefetchable
            }
            if old > extra { return }
            guard let listed = extras.list.find(window) else {
                note(.fault(address(bridge), "distribution looks for an extra that is not listed"))
                return
            }
            let less = old &- size
            if less < listed.extra {
                extras.list.setExtra(window, listed.extra &- less)
            } else {
                extras.list.remove(window)
            }
            return
        }
        resources[window].end = resources[window].start &+ size &- 1
        if extras.isListed { extras.list.remove(window) }
    }

    /// `remove_dev_resource`: what a resource takes off the front of a range.
    private func take(_ resource: Int32, of device: Int32, from available: inout Available) {
        let size = resources[resource].size
        guard size != 0 else { return }
        let alignment = alignment(resource, of: device)
        let pad = alignment == 0 ? 0 : Word.align(available.start, alignment) &- available.start
        available.start = min(available.start &+ pad &+ size, available.end &+ 1)
    }

    /// `remove_dev_resources`: takes everything of a function off the ranges of its bus.
    private func take(_ device: Int32, from available: inout ThreeRanges, bridge: Int32) {
        let first = facts[device].firstResource
        for resource in first..<(first &+ facts[device].resourceCount) {
            let flags = resources[resource].flags
            let kind: Int32
            if behaviour.windowSelectedByType {
                let window = selectWindow(devices[device].bus, for: resource)
                guard window != none, owners[window] == bridge else { continue }
                kind = index(window, of: bridge) &- 13
                guard (0...2).contains(kind) else { continue }
            } else {
                switch flags & Flag.typeBits {
                case Flag.io: kind = 0
                case Flag.memory:
                    let sameWidth = (flags ^ available.prefetchable.flags) & Flag.memory64 == 0
                    kind = flags & Flag.prefetch != 0 && sameWidth ? 2 : 1
                default: continue
                }
            }
            take(resource, of: device, from: &available[kind])
        }
    }

    /// `pci_bus_distribute_available_resources`: the literal arithmetic, later siblings' odd starts included.
    private mutating func distribute(_ bus: Int32, _ offered: ThreeRanges, _ extras: inout Extras) {
        let bridge = buses[bus].bridge
        guard bridge != none, facts[bridge].resourceCount >= 17 else { return }
        var available = offered
        for kind in Int32(0)...2 {
            let window = facts[bridge].firstResource &+ 13 &+ kind
            let alignment = alignment(window, of: bridge)
            if resources[window].parent == none, alignment != 0 {
                let start = Word.align(available[kind].start, alignment)
                available[kind].start = min(start, available[kind].end &+ 1)
            }
            adjustWindow(window, of: bridge, to: available[kind].size, &extras)
        }
        var hotPlug: UInt64 = 0
        var plain: UInt64 = 0
        var device = buses[bus].firstDevice
        while device != none {
            if isBridge(device) {
                if devices[device].isHotPlugBridge { hotPlug += 1 } else { plain += 1 }
            }
            device = devices[device].next
        }
        guard hotPlug + plain > 0 else { return }
        device = buses[bus].firstDevice
        while device != none {
            if !devices[device].isVirtualFunction { take(device, from: &available, bridge: bridge) }
            device = devices[device].next
        }
        let sharers = hotPlug > 0 ? hotPlug : plain
        let share = (
            available.io.size / sharers, available.memory.size / sharers, available.prefetchable.size / sharers
        )
        device = buses[bus].firstDevice
        while device != none {
            let below = devices[device].subordinate
            if isBridge(device), below != none, hotPlug == 0 || devices[device].isHotPlugBridge {
                for kind in Int32(0)...2 {
                    let window = facts[device].firstResource &+ 13 &+ kind
                    let alignment = alignment(window, of: device)
                    let part = kind == 0 ? share.0 : kind == 1 ? share.1 : share.2
                    let usable = alignment != 0 ? Word.alignDown(part, alignment) : part
                    available[kind].end = available[kind].start &+ usable &- 1
                    available[kind].start = available[kind].start &- resources[window].size
                }
                distribute(below, available, &extras)
                for kind in Int32(0)...2 {
                    available[kind].start = available[kind].start &+ available[kind].end &+ 1
                }
            }
            device = devices[device].next
        }
    }
}
