// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Enabling functions, drivers coming and going (drivers/pci/pci.c, setup-res.c, bus.c, remove.c).
extension TwinState {
    /// `pci_enable_resources`: sets the decode bits; false when a resource that counts has no address.
    mutating func enableResources(_ device: Int32, mask: UInt32) -> Bool {
        var command = registers[device].command
        let first = facts[device].firstResource
        for index in 0..<facts[device].resourceCount where mask >> UInt32(index) & 1 == 1 {
            let resource = first &+ index
            let held = resources[resource]
            guard held.flags & (Flag.io | Flag.memory) != 0 else { continue }
            if behaviour.enableOverlooksWindows {
                if isOptional(resource, of: device) { continue }
                if index < 13, held.flags & Flag.unset != 0 || held.parent == none { return false }
                if held.parent == none { continue }
            } else {
                if index == 6, held.flags & Flag.romEnable == 0 { continue }
                if held.flags & Flag.unset != 0 || held.parent == none { return false }
            }
            if held.flags & Flag.io != 0 { command |= 1 }
            if held.flags & Flag.memory != 0 { command |= 2 }
        }
        registers[device].command = command
        return true
    }

    /// `pci_enable_device`: the bridges above first, then the function's decode bits.
    @discardableResult
    mutating func enable(_ device: Int32) -> Bool {
        devices[device].enableCount += 1
        if devices[device].enableCount > 1 { return true }
        let bus = devices[device].bus
        if buses[bus].bridge != none { enableBridge(buses[bus].bridge) }
        var mask: UInt32 = 0
        let first = facts[device].firstResource
        for index in 0..<facts[device].resourceCount where index <= 6 || index >= 13 {
            if resources[first &+ index].flags & (Flag.io | Flag.memory) != 0 { mask |= 1 << UInt32(index) }
        }
        if enableResources(device, mask: mask) { return true }
        devices[device].enableCount -= 1
        note(.notEnabled(address(device)))
        return false
    }

    /// `pci_enable_bridge`.
    private mutating func enableBridge(_ bridge: Int32) {
        let bus = devices[bridge].bus
        if bus != none, buses[bus].bridge != none { enableBridge(buses[bus].bridge) }
        if !isEnabled(bridge) { enable(bridge) }
        setBusMaster(bridge)
    }

    /// `pci_set_master`.
    mutating func setBusMaster(_ device: Int32) {
        registers[device].command |= 4
        devices[device].isBusMaster = true
    }

    /// `pci_disable_device`: the last user takes bus mastering away; decode bits stay.
    mutating func disable(_ device: Int32) {
        guard devices[device].enableCount > 0 else { return }
        devices[device].enableCount -= 1
        guard devices[device].enableCount == 0 else { return }
        registers[device].command &= ~4
        devices[device].isBusMaster = false
    }

    /// Offers a function to its driver.
    mutating func bind(_ device: Int32) {
        guard !devices[device].isBound else { return }
        switch facts[device].driver {
        case .none: return
        case .passive: devices[device].isBound = true
        case .port:
            guard enable(device) else { return }
            if hasPortServices(device) { setBusMaster(device) }
            devices[device].isBound = true
        case .enabling:
            guard enable(device) else { return }
            setBusMaster(device)
            devices[device].isBound = true
        }
    }

    /// Whether the port driver finds anything to do on a port (`get_port_device_capability`).
    private func hasPortServices(_ device: Int32) -> Bool {
        let known = facts[device]
        let leadsDown = known.portType == 4 || known.portType == 6
        // Root ports signal power management events.
        if known.portType == 4 { return true }
        if devices[device].isHotPlugBridge, hosts[Int(known.host)].hasNativeHotPlug,
            leadsDown || behaviour.everyPortReportsErrors
        {
            return true
        }
        if known.hasErrorReporting, showsExtendedCapabilities(device), behaviour.everyPortReportsErrors { return true }
        guard leadsDown, known.notifiesBandwidth else { return false }
        return known.hasSeveralSpeeds || !behaviour.bandwidthNeedsSpeeds
    }

    /// Takes the driver away.
    mutating func unbind(_ device: Int32) {
        guard devices[device].isBound else { return }
        devices[device].isBound = false
        if facts[device].driver != .passive { disable(device) }
    }

    /// `quirk_usb_early_handoff`: a USB host controller is enabled for a moment to take it from the firmware.
    ///
    /// The bridges above stay enabled, and the controller loses bus mastering.
    private mutating func takeOver(_ device: Int32) {
        guard devices[device].classWord == 0x0c03, devices[device].classCode & 0xff & ~0x30 == 0 else { return }
        if enable(device) { disable(device) }
    }

    /// `pci_apply_final_quirks`: at boot the quirks come before any driver.
    mutating func applyFinalQuirks(_ bus: Int32) {
        var device = buses[bus].firstDevice
        while device != none {
            takeOver(device)
            if devices[device].subordinate != none { applyFinalQuirks(devices[device].subordinate) }
            device = devices[device].next
        }
    }

    /// `pci_bus_add_devices`: new functions of a bus get their drivers, then the buses below.
    mutating func addDevices(_ bus: Int32, appliesQuirks: Bool = true) {
        var device = buses[bus].firstDevice
        while device != none {
            if !devices[device].isAdded {
                devices[device].isAdded = true
                if appliesQuirks { takeOver(device) }
                if probesDrivers || behaviour.addIgnoresAutoprobe { bind(device) }
            }
            device = devices[device].next
        }
        device = buses[bus].firstDevice
        while device != none {
            if devices[device].isAdded, devices[device].subordinate != none {
                addDevices(devices[device].subordinate, appliesQuirks: appliesQuirks)
            }
            device = devices[device].next
        }
    }

    /// `pci_stop_and_remove_bus_device`: drivers go from the bottom, then functions and buses are forgotten.
    mutating func removeDevice(_ device: Int32) {
        stop(device)
        forget(device)
    }

    private mutating func stop(_ device: Int32) {
        let below = devices[device].subordinate
        if below != none {
            var child = buses[below].lastDevice
            while child != none {
                let previous = devices[child].previous
                stop(child)
                child = previous
            }
        }
        guard devices[device].isAdded else { return }
        if devices[device].enabledVFs > 0 { removeVFs(device) }
        unbind(device)
        devices[device].isAdded = false
    }

    private mutating func forget(_ device: Int32) {
        let below = devices[device].subordinate
        if below != none {
            while buses[below].firstDevice != none { forget(buses[below].firstDevice) }
            removeBus(below)
            devices[device].subordinate = none
        }
        guard devices[device].exists else { return }
        note(.removed(address(device)))
        unlink(device)
        let first = facts[device].firstResource
        for resource in first..<(first &+ facts[device].resourceCount) { release(resource) }
        devices[device].exists = false
        devices[device].bus = none
        if facts[device].physicalFunction != none { facts[device].isPresent = false }
    }
}
