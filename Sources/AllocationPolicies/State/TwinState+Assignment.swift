// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Assigning everything on a bus, then below (drivers/pci/setup-bus.c).
extension TwinState {
    /// Where failures go: a list for the retry, or nowhere.
    struct Failures: Sendable {
        var isListed: Bool
        /// Oldest first; the kernel's list is the reverse.
        var entries: [Request] = []

        static var unlisted: Failures { Failures(isListed: false) }
        static var listed: Failures { Failures(isListed: true) }
    }

    /// The resources of a list, for the question whether one is among them.
    private struct ResourceNumbers {
        private var sorted: [Int32]

        init(_ list: [Ordered]) { sorted = list.map(\.resource).sorted() }

        func contains(_ resource: Int32) -> Bool {
            guard let first = sorted.first, let last = sorted.last, first <= resource, resource <= last else {
                return false
            }
            var low = 0
            var high = sorted.count
            while low < high {
                let middle = (low + high) / 2
                if sorted[middle] < resource { low = middle + 1 } else { high = middle }
            }
            return low < sorted.count && sorted[low] == resource
        }
    }

    /// A request in the order of assignment, with the required part as it was when the list was made.
    struct Ordered {
        var request: Request
        var resource: Int32 { request.resource }
        var device: Int32 { request.device }
    }

    /// `pdev_sort_resources` for one function: its open requests, largest alignment first, equal ones in order found.
    private func collect(_ device: Int32, into list: inout [Ordered]) {
        guard isAssignable(device) else { return }
        let first = facts[device].firstResource
        for resource in first..<(first &+ facts[device].resourceCount) {
            let held = resources[resource]
            if held.flags == 0 || held.parent != none || held.flags & Flag.fixed != 0 { continue }
            if behaviour.closedWindowsKeepFlags, !shouldFit(resource, of: device) { continue }
            let wanted = alignment(resource, of: device)
            guard wanted != 0 else { continue }
            let request = Ordered(request: makeRequest(resource, device))
            // Before the first entry that asks for less; entries are in descending order of alignment.
            var low = 0
            var high = list.count
            while low < high {
                let middle = (low + high) / 2
                if wanted > alignment(list[middle].resource, of: list[middle].device) {
                    high = middle
                } else {
                    low = middle + 1
                }
            }
            list.insert(request, at: low)
        }
    }

    /// `__pci_bus_assign_resources`: the bus's requests first, then each bridge's bus, then the bridge's registers.
    mutating func assignBus(_ bus: Int32, _ extras: inout Extras, _ failures: inout Failures) {
        var list: [Ordered] = []
        var device = buses[bus].firstDevice
        while device != none {
            collect(device, into: &list)
            device = devices[device].next
        }
        if !list.isEmpty { assignSorted(&list, &extras, &failures) }
        device = buses[bus].firstDevice
        while device != none {
            assignFixed(device)
            let below = devices[device].subordinate
            if below != none {
                assignBus(below, &extras, &failures)
                // The registers of a bridge that is enabled are left as they are.
                if facts[device].headerLayout == 1, !isEnabled(device) {
                    widenToApertures(below)
                    programBridge(below)
                }
            }
            device = devices[device].next
        }
    }

    /// `__pci_bridge_assign_resources`: a bridge's own windows, everything below, and its registers in any case.
    mutating func assignBridge(_ bridge: Int32, _ extras: inout Extras, _ failures: inout Failures) {
        var list: [Ordered] = []
        collect(bridge, into: &list)
        if !list.isEmpty { assignSorted(&list, &extras, &failures) }
        let bus = devices[bridge].subordinate
        guard bus != none else { return }
        assignBus(bus, &extras, &failures)
        if devices[bridge].classWord == 0x0604 {
            widenToApertures(bus)
            programBridge(bus)
        }
    }

    private mutating func assignSorted(_ list: inout [Ordered], _ extras: inout Extras, _ failures: inout Failures) {
        if behaviour.optionalSplit {
            assignSplit(&list, &extras, &failures)
        } else {
            assignByType(&list, &extras, &failures)
        }
    }

    /// `pdev_assign_fixed_resources`: ranges that cannot move are requested where they are, in any window above.
    private mutating func assignFixed(_ device: Int32) {
        let first = facts[device].firstResource
        let kinds = Flag.io | Flag.memory | Flag.prefetch
        for resource in first..<(first &+ facts[device].resourceCount) {
            let flags = resources[resource].flags
            guard flags & Flag.fixed != 0, resources[resource].parent == none,
                flags & (Flag.io | Flag.memory) != 0
            else { continue }
            var bus = devices[device].bus
            while bus != none, resources[resource].parent == none {
                for n in 0..<busResourceCount(bus) {
                    let window = busResource(bus, n)
                    guard window != none, resources[resource].parent == none,
                        (resources[window].flags ^ flags) & kinds == 0, contains(window, resource)
                    else { continue }
                    _ = request(resource, in: window)
                }
                bus = buses[bus].parent
            }
        }
    }

    /// Adds the optional parts to a list's requests and keeps it in order of alignment.
    private mutating func addExtras(to list: inout [Ordered], _ extras: Extras) {
        var i = 0
        while i < list.count {
            let entry = list[i]
            i += 1
            let resource = entry.resource
            guard let extra = extras.list.find(resource) else { continue }
            resources[resource].end &+= extra.extra
            guard resources[resource].flags & Flag.startAlign != 0, extra.alignment > resources[resource].start else {
                continue
            }
            resources[resource].setRange(extra.alignment, size: resources[resource].size)
            if let target = list.firstIndex(where: { extra.alignment > alignment($0.resource, of: $0.device) }),
                target != i - 1
            {
                let moved = list.remove(at: i - 1)
                list.insert(moved, at: target < i ? target : target - 1)
                // Moved towards the tail: the entry that followed stands here now.
                if target > i { i -= 1 }
            }
        }
    }

    /// The types of space in which something failed (`pci_fail_res_type_mask`).
    private func failedTypes(_ failed: [Request]) -> UInt32 {
        failed.reduce(0) { $0 | $1.flags } & (Flag.io | Flag.memory | Flag.prefetch)
    }

    /// `pci_need_to_release`.
    private func mustYield(_ resource: Int32, to failed: UInt32) -> Bool {
        let held = resources[resource]
        if held.flags & Flag.io != 0 { return failed & Flag.io != 0 }
        if held.flags & Flag.prefetch != 0 {
            if failed & Flag.prefetch != 0 { return true }
            return failed & Flag.memory != 0 && held.parent != none
                && resources[held.parent].flags & Flag.prefetch == 0
        }
        return held.flags & Flag.memory != 0 && failed & Flag.memory != 0
    }

    /// Drops from the list what has its place and whose type is not affected by a failure.
    private mutating func keepPlaced(_ list: inout [Ordered], _ failed: UInt32, _ extras: inout Extras) {
        var kept: [Ordered] = []
        for entry in list {
            if resources[entry.resource].parent != none, !mustYield(entry.resource, to: failed) {
                extras.list.remove(entry.resource)
            } else {
                kept.append(entry)
            }
        }
        list = kept
    }

    private mutating func wipe(_ resource: Int32) {
        resources[resource].start = 0
        resources[resource].end = 0
        resources[resource].flags = 0
    }
}

// Up to 6.14: with extras if all fit, else required parts, then single extras (`__assign_resources_sorted`).
extension TwinState {
    private mutating func assignByType(
        _ list: inout [Ordered],
        _ extras: inout Extras,
        _ failures: inout Failures
    ) {
        if extras.isListed, !extras.list.isEmpty {
            addExtras(to: &list, extras)
            var failed = Failures.listed
            assignRequested(list, &failed)
            if failed.entries.isEmpty {
                for entry in list { extras.list.remove(entry.resource) }
                return
            }
            keepPlaced(&list, failedTypes(failed.entries), &extras)
            for entry in list { release(entry.resource) }
            for entry in list { restore(entry.request) }
        }
        assignRequested(list, &failures)
        if extras.isListed { assignExtrasByType(list, &extras) }
    }

    /// `assign_requested_resources_sorted`: a failure is wiped; one that is not a ROM in the off state is listed.
    private mutating func assignRequested(_ list: [Ordered], _ failures: inout Failures) {
        for entry in list {
            let resource = entry.resource
            guard resources[resource].size != 0, !assign(resource, of: entry.device) else { continue }
            if failures.isListed {
                let isIdleROM =
                    index(resource, of: entry.device) == 6 && resources[resource].flags & Flag.romEnable == 0
                if !isIdleROM { failures.entries.append(makeRequest(resource, entry.device)) }
            }
            wipe(resource)
        }
    }

    /// `reassign_resources_sorted`: each optional part by itself, newest first.
    private mutating func assignExtrasByType(_ list: [Ordered], _ extras: inout Extras) {
        guard !extras.list.isEmpty else { return }
        let members = ResourceNumbers(list)
        for place in extras.list.places.reversed() {
            guard let extra = extras.list[place] else { continue }
            let resource = extra.resource
            if resources[resource].flags == 0 {
                extras.list.remove(resource)
                continue
            }
            guard members.contains(resource) else { continue }
            if resources[resource].size == 0 {
                resources[resource].setRange(extra.alignment, size: extra.extra)
                if !assign(resource, of: extra.device) { wipe(resource) }
            } else {
                resources[resource].flags |= extra.flags & (Flag.startAlign | Flag.sizeAlign)
                _ = reassign(resource, of: extra.device, extra: extra.extra, alignment: extra.alignment)
            }
            extras.list.remove(resource)
        }
    }
}

// From 6.15: required and optional parts are told apart throughout (`__assign_resources_sorted`).
extension TwinState {
    private mutating func assignSplit(
        _ list: inout [Ordered],
        _ extras: inout Extras,
        _ failures: inout Failures
    ) {
        var failed = Failures.listed
        let hasExtras = extras.isListed && !extras.list.isEmpty
        if hasExtras { addExtras(to: &list, extras) }
        assignSplitRequested(list, &failed, withOptional: true)
        if failed.entries.isEmpty {
            for entry in list { extras.list.remove(entry.resource) }
        } else if extras.list.isEmpty,
            !failed.entries.contains(where: { !isOptional($0.resource, of: $0.device) })
        {
            if hasExtras {
                for entry in list where resources[entry.resource].parent == none { restore(entry.request) }
            }
        } else {
            keepPlaced(&list, failedTypes(failed.entries), &extras)
            for entry in list {
                releasePlace(entry.resource, of: entry.device)
                restore(entry.request)
            }
            assignSplitRequested(list, &failed, withOptional: false)
            if !extras.list.isEmpty { assignSplitExtras(list, &extras) }
        }
        for entry in list where resources[entry.resource].parent == none {
            if failures.isListed { failures.entries.append(makeRequest(entry.resource, entry.device)) }
            resetFailed(entry.resource, of: entry.device)
        }
    }

    private mutating func assignSplitRequested(_ list: [Ordered], _ failures: inout Failures, withOptional: Bool) {
        for entry in list {
            let resource = entry.resource
            guard resources[resource].size != 0 else { continue }
            if !withOptional, isOptional(resource, of: entry.device) { continue }
            if !assign(resource, of: entry.device) {
                failures.entries.append(makeRequest(resource, entry.device))
            }
        }
    }

    /// `reassign_resources_sorted`: optional parts by themselves, newest first; what failed as required is not tried.
    private mutating func assignSplitExtras(_ list: [Ordered], _ extras: inout Extras) {
        let members = ResourceNumbers(list)
        for place in extras.list.places.reversed() {
            guard let extra = extras.list[place] else { continue }
            let resource = extra.resource
            let held = resources[resource]
            let wouldFail = held.parent == none && held.size != 0 && !isOptional(resource, of: extra.device)
            guard members.contains(resource) || behaviour.dropsExtrasOfUnplaced && wouldFail else { continue }
            defer { extras.list.remove(resource) }
            if wouldFail { continue }
            if held.parent == none {
                resources[resource].setRange(extra.alignment, size: held.size &+ extra.extra)
                _ = assign(resource, of: extra.device)
            } else if extra.extra > 0 || behaviour.alignmentAloneIsExtra && held.start & (extra.alignment &- 1) != 0 {
                resources[resource].flags |= extra.flags & (Flag.startAlign | Flag.sizeAlign)
                _ = reassign(resource, of: extra.device, extra: extra.extra, alignment: extra.alignment)
            }
        }
    }

    /// `reset_resource`: a failed window keeps what it asked for, anything else is wiped.
    private mutating func resetFailed(_ resource: Int32, of device: Int32) {
        if behaviour.closedWindowsKeepFlags, isWindow(index(resource, of: device)) {
            resources[resource].flags |= Flag.unset
        } else {
            wipe(resource)
        }
    }
}
