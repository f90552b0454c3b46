// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// resourceN_resize (drivers/pci/pci-sysfs.c, rebar.c, setup-bus.c).
extension TwinState {
    /// A write to resourceN_resize (`__resource_resize_store`).
    mutating func resize(_ device: Int32, bar: Int, exponent: Int) {
        let here = address(device)
        if behaviour.resizeRelease == .noFile {
            return note(.refused(here, .unsupported, "this kernel has no resourceN_resize"))
        }
        if devices[device].isBound { return note(.refused(here, .busy, "a driver is bound")) }
        if behaviour.resizeRefusedWithVFs, devices[device].enabledVFs > 0 {
            return note(.refused(here, .busy, "VFs are enabled"))
        }
        let command = registers[device].command
        registers[device].command &= ~2
        if platform.preservesConfiguration {
            note(.refused(here, .unsupported, "firmware's configuration is to be preserved"))
        } else if !(0...43).contains(exponent) || facts[device].bars[bar].resizable >> UInt64(exponent) & 1 == 0
            || !showsExtendedCapabilities(device)
        {
            note(.refused(here, .invalid, "size exponent \(exponent) is not offered"))
        } else if behaviour.resizeRelease == .identicalFlags || behaviour.resizeRelease == .selectedWindowForGood {
            resizeForGood(device, bar: bar, exponent: exponent)
        } else {
            resizeInWindow(device, bar: bar, exponent: exponent)
        }
        assignUnassigned(onBus: devices[device].bus)
        registers[device].command = command
    }

    /// `pci_rebar_set_size`: the hardware's BAR gets another size, and with it other address bits.
    mutating func setResizable(_ device: Int32, bar: Int, exponent: Int) {
        let size: UInt64 = 1 << UInt64(20 + exponent)
        registers[device].sizes[bar] = size
        registers[device].bars[bar] &= ~(size &- 1)
    }

    private func exponent(_ device: Int32, bar: Int) -> Int {
        max(registers[device].sizes[bar].trailingZeroBitCount - 20, 0)
    }

    /// `pci_do_resource_release_and_resize`.
    private mutating func resizeInWindow(_ device: Int32, bar: Int, exponent: Int) {
        let first = facts[device].firstResource
        let resource = first &+ Int32(bar)
        let bus = devices[device].bus
        let flags = resources[resource].flags
        let selected = behaviour.resizeRelease == .selectedWindow
        let window = selected ? selectWindow(bus, for: resource) : resources[resource].parent
        if selected, window == none { return note(.refused(address(device), .invalid, "no window for the BAR")) }
        let old = self.exponent(device, bar: bar)
        setResizable(device, bar: bar, exponent: exponent)
        var saved: [Request] = []
        for other in first..<(first &+ min(facts[device].resourceCount, 13)) {
            if selected {
                guard selectWindow(bus, for: other) == window else { continue }
            } else {
                guard resources[other].end != 0, resources[other].size != 0 else { continue }
                guard window != none ? resources[other].parent == window : resources[other].flags == flags else {
                    continue
                }
            }
            saved.append(makeRequest(other, device))
            releasePlace(other, of: device)
        }
        resources[resource].setRange(resources[resource].start, size: 1 << UInt64(20 + exponent))
        var done: Bool
        if buses[bus].bridge != none {
            done = selected ? reassignChain(bus, resource, &saved) : reassignByFlags(bus, resource, &saved)
        } else {
            if behaviour.rootBusResizeIsChecked {
                var extras = Extras.mandatory
                var failures = Failures.unlisted
                assignBus(bus, &extras, &failures)
            }
            done = saved.allSatisfy { resources[$0.resource].parent != none } || !behaviour.rootBusResizeIsChecked
        }
        if done { return }
        note(.refused(address(device), .noSpace, "no room for the new size; the old configuration is restored"))
        setResizable(device, bar: bar, exponent: old)
        for request in saved.reversed() { restoreClaim(request) }
    }

    /// The way back after a failed resize: old range, claimed again, registers written where the claim fails.
    private mutating func restoreClaim(_ request: Request) {
        let resource = request.resource
        if resources[resource].parent != none {
            releaseChildren(of: resource)
            releasePlace(resource, of: request.device)
        }
        restore(request)
        // The kernel goes on with the next one unless the claim succeeded: `pci_claim_resource` gives 0 then.
        guard claim(resource, of: request.device) else { return }
        if index(resource, of: request.device) < 13 { writeBAR(resource, of: request.device) }
        let below = devices[request.device].subordinate
        if below != none { programBridge(below) }
    }

    /// `pci_reassign_bridge_resources` up to 6.17: windows whose kind equals the BAR's, as long as nothing else is inside.
    private mutating func reassignByFlags(_ bus: Int32, _ resource: Int32, _ saved: inout [Request]) -> Bool {
        let type = resources[resource].flags
        var bridge = buses[bus].bridge
        var next = bridge
        while next != none {
            bridge = next
            var found = false
            for window in (facts[bridge].firstResource &+ 13)..<(facts[bridge].firstResource &+ 16) {
                guard (resources[window].flags ^ type) & Flag.windowBits == 0, resources[window].child == none else {
                    continue
                }
                saved.append(makeRequest(window, bridge))
                if resources[window].parent != none {
                    note(.released(address(bridge), resourceIndex(window, of: bridge), range(window)))
                    release(window)
                }
                resources[window].start = 0
                resources[window].end = 0
                found = true
                break
            }
            if !found { break }
            let above = devices[bridge].bus
            next = above == none ? none : buses[above].bridge
        }
        guard !saved.isEmpty else { return false }
        return assignReleased(below: bridge, saved, relevant: 0)
    }

    /// `pbus_reassign_bridge_resources` from 6.19: the BAR's window on every level, where nothing else is inside.
    private mutating func reassignChain(_ bus: Int32, _ resource: Int32, _ saved: inout [Request]) -> Bool {
        let type = resources[resource].flags
        var bus = bus
        var bridge = none
        var this = resource
        while !buses[bus].isRoot {
            bridge = buses[bus].bridge
            guard bridge != none else { break }
            this = selectWindow(bus, for: this)
            guard this != none, owners[this] == bridge else { break }
            if resources[this].child == none {
                saved.append(makeRequest(this, bridge))
                releasePlace(this, of: bridge)
            }
            bus = buses[bus].parent
        }
        guard bridge != none, behaviour.resizeRelease != .selectedWindowForGood || !saved.isEmpty else { return false }
        return assignReleased(below: bridge, saved, relevant: type & Flag.windowBits)
    }

    private mutating func assignReleased(below bridge: Int32, _ saved: [Request], relevant type: UInt32) -> Bool {
        guard devices[bridge].subordinate != none else { return false }
        var extras = Extras.listed
        var failures = Failures.listed
        sizeBridges(devices[bridge].subordinate, &extras)
        assignBridge(bridge, &extras, &failures)
        if behaviour.optionalSplit {
            // Only required resources of the BAR's own kind count.
            let failed = failures.entries.contains {
                (type == 0 || $0.flags & Flag.windowBits == type) && !isOptional($0.resource, of: $0.device)
            }
            if failed { return false }
        } else if !failures.entries.isEmpty {
            return false
        }
        for request in saved.reversed() where request.device != bridge {
            if devices[request.device].subordinate != none { programBridge(devices[request.device].subordinate) }
        }
        return true
    }

    /// The original form: BARs are released first, and a failure leaves them to the last assignment.
    private mutating func resizeForGood(_ device: Int32, bar: Int, exponent: Int) {
        let first = facts[device].firstResource
        let resource = first &+ Int32(bar)
        let flags = resources[resource].flags
        let bus = devices[device].bus
        let selected = behaviour.resizeRelease == .selectedWindowForGood
        if selected {
            let window = selectWindow(bus, for: resource)
            guard window != none else { return note(.refused(address(device), .invalid, "no window for the BAR")) }
            for other in first..<(first &+ min(facts[device].resourceCount, 13))
            where selectWindow(bus, for: other) == window { releasePlace(other, of: device) }
        } else {
            for other in first..<(first &+ 6) where resources[other].end != 0 && resources[other].flags == flags {
                releasePlace(other, of: device)
            }
        }
        guard resources[resource].flags & Flag.unset != 0 else {
            return note(.refused(address(device), .busy, "the BAR is still assigned"))
        }
        let old = self.exponent(device, bar: bar)
        setResizable(device, bar: bar, exponent: exponent)
        resources[resource].setRange(resources[resource].start, size: 1 << UInt64(20 + exponent))
        guard buses[bus].bridge != none else { return }
        var saved: [Request] = []
        if selected ? reassignChain(bus, resource, &saved) : reassignByFlags(bus, resource, &saved) { return }
        note(.refused(address(device), .noSpace, "no room for the new size"))
        for request in saved.reversed() {
            if selected, resources[request.resource].parent != none {
                releaseChildren(of: request.resource)
                releasePlace(request.resource, of: request.device)
            }
            restore(request)
            _ = claim(request.resource, of: request.device)
            if devices[request.device].subordinate != none { programBridge(devices[request.device].subordinate) }
        }
        setResizable(device, bar: bar, exponent: old)
        resources[resource].setRange(resources[resource].start, size: 1 << UInt64(20 + old))
    }
}
