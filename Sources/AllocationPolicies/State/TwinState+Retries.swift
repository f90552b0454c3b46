// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Sizing and assigning a whole tree, with tries and releases between them (drivers/pci/setup-bus.c).
extension TwinState {
    /// `pci_assign_unassigned_bus_resources`: one try below a bus, extras optional, nothing released.
    mutating func assignUnassigned(onBus bus: Int32) {
        var extras = Extras.listed
        var device = buses[bus].firstDevice
        while device != none {
            if isBridge(device), devices[device].subordinate != none {
                sizeBridges(devices[device].subordinate, &extras)
            }
            device = devices[device].next
        }
        var failures = Failures.unlisted
        assignBus(bus, &extras, &failures)
    }

    /// `pci_assign_unassigned_bridge_resources`: two tries below a bridge; the second after releasing what failed.
    mutating func assignUnassigned(belowBridge bridge: Int32) {
        var tries = 0
        while devices[bridge].subordinate != none {
            var extras = Extras.listed
            var failures = Failures.listed
            sizeBridges(devices[bridge].subordinate, &extras)
            distribute(below: bridge, &extras)
            assignBridge(bridge, &extras, &failures)
            tries += 1
            if failures.entries.isEmpty || tries >= 2 { break }
            prepareRetry(failures, nextTry: tries + 1, wholeSubtree: true)
        }
        if isEnabled(bridge) { _ = enableResources(bridge, mask: .max) }
        registers[bridge].command |= 4
        devices[bridge].isBusMaster = true
    }

    /// `pci_assign_unassigned_root_bus_resources`: boot; as many tries as the tree is deep when reallocation is on.
    mutating func assignUnassigned(onRootBus bus: Int32) {
        var limit = 1
        switch platform.reallocation {
        case .on: limit = depth(bus) + 1
        case .off: break
        case .automatic:
            if !platform.preservesConfiguration, hasVFBARAtZero(bus) { limit = depth(bus) + 1 }
        }
        var tries = 0
        while true {
            // Only the last try treats extras as optional.
            var extras = tries + 1 == limit ? Extras.listed : Extras.mandatory
            var failures = Failures.listed
            sizeBridges(bus, &extras)
            if behaviour.distributesAtBoot { distributeAtBoot(bus, &extras) }
            assignBus(bus, &extras, &failures)
            tries += 1
            if failures.entries.isEmpty || tries >= limit { return }
            prepareRetry(failures, nextTry: tries + 1, wholeSubtree: tries + 1 > 2)
        }
    }

    /// The number of bus levels below a bus (`pci_bus_get_depth`).
    private func depth(_ bus: Int32) -> Int {
        var deepest = 0
        var child = buses[bus].firstChild
        while child != none {
            deepest = max(deepest, depth(child) + 1)
            child = buses[child].next
        }
        return deepest
    }

    /// `iov_resources_unassigned`: whether a VF BAR at or below a bus has no bus address.
    private func hasVFBARAtZero(_ bus: Int32) -> Bool {
        var device = buses[bus].firstDevice
        while device != none {
            if facts[device].resourceCount >= 13 {
                for index in Int32(7)...12 {
                    let resource = facts[device].firstResource &+ index
                    if resources[resource].flags != 0,
                        resources[resource].start == offset(of: resource, on: bus)
                    {
                        return true
                    }
                }
            }
            let below = devices[device].subordinate
            if below != none, hasVFBARAtZero(below) { return true }
            device = devices[device].next
        }
        return false
    }

    /// `pci_prepare_next_assign_round` and its predecessors: releases windows by what failed, restores the requests.
    private mutating func prepareRetry(_ failures: Failures, nextTry: Int, wholeSubtree: Bool) {
        note(.retry(nextTry))
        let newestFirst = failures.entries.reversed()
        for failed in newestFirst {
            let bus = devices[failed.device].bus
            if behaviour.windowSelectedByType {
                let window = selectWindow(bus, forType: failed.flags)
                if window != none { releaseWindows(bus, window: window, wholeSubtree: wholeSubtree) }
            } else {
                releaseWindows(bus, type: failed.flags & Flag.windowBits, wholeSubtree: wholeSubtree)
            }
        }
        for failed in newestFirst {
            if behaviour.windowSelectedByType {
                if resources[failed.resource].parent == none { restore(failed) }
                continue
            }
            restore(failed)
            if isBridge(failed.device), isWindow(index(failed.resource, of: failed.device)) {
                resources[failed.resource].flags = 0
            }
        }
    }

    /// `pci_bus_release_bridge_resources` up to 6.17: the windows of a type, of the bridge above a bus and below it.
    private mutating func releaseWindows(_ bus: Int32, type: UInt32, wholeSubtree: Bool) {
        var isLeaf = true
        var device = buses[bus].firstDevice
        while device != none {
            let below = devices[device].subordinate
            if below != none {
                isLeaf = false
                if devices[device].classWord == 0x0604, wholeSubtree {
                    releaseWindows(below, type: type, wholeSubtree: true)
                }
            }
            device = devices[device].next
        }
        let bridge = buses[bus].bridge
        guard !buses[bus].isRoot, bridge != none, devices[bridge].classWord == 0x0604, wholeSubtree || isLeaf else {
            return
        }
        releaseWindow(of: bridge, bus, type: type)
    }

    /// `pci_bridge_release_resources`: the one window that a failed request belongs to; its size stays.
    private mutating func releaseWindow(of bridge: Int32, _ bus: Int32, type: UInt32) {
        let first = facts[bridge].firstResource &+ 13
        let prefetchable = resources[first &+ 2].flags
        let kind: Int32
        if type & Flag.io != 0 {
            kind = 0
        } else if type & Flag.prefetch == 0 {
            kind = 1
        } else if type & Flag.memory64 != 0, prefetchable & Flag.memory64 != 0 {
            kind = 2
        } else if prefetchable & Flag.memory64 == 0, prefetchable & Flag.prefetch != 0 {
            kind = 2
        } else {
            kind = 1
        }
        let window = first &+ kind
        guard resources[window].parent != none else { return }
        releaseChildren(of: window)
        note(.released(address(bridge), resourceIndex(window, of: bridge), range(window)))
        release(window)
        let flags = resources[window].flags & Flag.windowBits
        let size = resources[window].size
        resources[window].setRange(0, size: size)
        resources[window].flags = 0
        programBridge(bus, types: flags & Flag.prefetch != 0 ? Flag.prefetch : flags)
        resources[window].flags = flags
    }

    /// `pci_bus_release_bridge_resources` from 7.0: a window and, in a whole subtree, the windows inside it.
    private mutating func releaseWindows(_ bus: Int32, window: Int32, wholeSubtree: Bool) {
        var isLeaf = true
        var device = buses[bus].firstDevice
        while device != none {
            let below = devices[device].subordinate
            if below != none {
                isLeaf = false
                if devices[device].classWord == 0x0604, wholeSubtree {
                    for n in 0..<busResourceCount(below) {
                        let inner = busResource(below, n)
                        guard inner != none, resources[inner].parent == window else { continue }
                        releaseWindows(below, window: inner, wholeSubtree: true)
                    }
                }
            }
            device = devices[device].next
        }
        let bridge = buses[bus].bridge
        guard !buses[bus].isRoot, bridge != none, devices[bridge].classWord == 0x0604, wholeSubtree || isLeaf,
            resources[window].parent != none, owners[window] == bridge
        else { return }
        releaseChildren(of: window)
        releasePlace(window, of: bridge)
        programWindow(bridge, index(window, of: bridge))
    }
}
