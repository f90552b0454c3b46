// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// The two hot-plug drivers and the sysfs rescans (hotplug/pciehp_pci.c, hotplug/acpiphp_glue.c, pci-sysfs.c).
extension TwinState {
    /// `pci_rescan_bus`.
    mutating func rescan(_ bus: Int32) {
        scanChildBus(bus)
        assignUnassigned(onBus: bus)
        addDevices(bus)
    }

    /// `bus_rescan_store`: an empty bus lets its bridge's windows grow.
    mutating func rescanBus(_ bus: Int32) {
        let bridge = buses[bus].bridge
        guard !buses[bus].isRoot, buses[bus].firstDevice == none, bridge != none else { return rescan(bus) }
        scanChildBus(bus)
        assignUnassigned(belowBridge: bridge)
        addDevices(bus)
    }

    /// `pciehp_configure_device`, `shpchp_configure_device`.
    mutating func configureSlot(onBus bus: Int32, device slot: UInt8) {
        let port = buses[bus].bridge
        // Both drivers sit in a bridge.
        guard port != none else { return }
        var known = buses[bus].firstDevice
        while known != none, devices[known].devfn != slot << 3 { known = devices[known].next }
        guard known == none else { return note(.refused(address(port), .exists, "function 0 is known already")) }
        guard scanSlot(bus, device: slot) > 0 else {
            return note(.refused(address(port), .noDevice, "no device found"))
        }
        var device = buses[bus].firstDevice
        while device != none {
            if isBridge(device), devices[device].devfn >> 3 == slot { _ = addHotBridge(device) }
            device = devices[device].next
        }
        assignUnassigned(belowBridge: port)
        addDevices(bus)
    }

    /// `pciehp_unconfigure_device`: newest first; what stays present is kept from making requests.
    mutating func unconfigureSlot(behind port: Int32) {
        let bus = devices[port].subordinate
        guard bus != none else { return }
        while buses[bus].lastDevice != none {
            let device = buses[bus].lastDevice
            removeDevice(device)
            registers[device].command = registers[device].command & ~0x104 | 0x400
        }
    }

    /// `enable_slot` without native hot-plug: claims below new bridges, one try, nothing grows.
    mutating func enableACPISlot(onBus bus: Int32, device slot: UInt8) {
        _ = scanSlot(bus, device: slot)
        var highest = highestNumber(below: bus)
        var extras = Extras.listed
        for isSecondPass in [false, true] {
            var device = buses[bus].firstDevice
            while device != none {
                if isBridge(device), devices[device].devfn >> 3 == slot {
                    highest = scanBridge(
                        device,
                        on: bus,
                        highest: highest,
                        available: 0,
                        isSecondPass: isSecondPass
                    )
                    let below = devices[device].subordinate
                    if isSecondPass, below != none {
                        let sparesPort = behaviour.acpiSparesUpstreamPorts && facts[device].portType == 5
                        if !sparesPort { devices[device].isHotPlugBridge = true }
                        if platform.boot == .survey {
                            survey([below])
                            if !platform.assignsROMs { claimROMs(below) }
                        }
                        sizeBridges(below, &extras)
                    }
                }
                device = devices[device].next
            }
        }
        var failures = Failures.unlisted
        assignBus(bus, &extras, &failures)
        sanitize(bus)
        addDevices(bus)
    }

    /// `acpiphp_max_busnr`: the highest number that a bus below holds.
    private func highestNumber(below bus: Int32) -> Int {
        var highest = Int(truncatingIfNeeded: resources[buses[bus].numbers].start)
        var child = buses[bus].firstChild
        while child != none {
            highest = max(highest, Int(truncatingIfNeeded: resources[buses[child].numbers].end))
            highest = max(highest, highestNumber(below: child))
            child = buses[child].next
        }
        return highest
    }

    /// `acpiphp_sanitize_bus`: a function with a resource that has size and no address is dropped.
    private mutating func sanitize(_ bus: Int32) {
        var device = buses[bus].lastDevice
        while device != none {
            let previous = devices[device].previous
            let first = facts[device].firstResource
            for resource in first..<(first &+ min(facts[device].resourceCount, 13)) {
                let held = resources[resource]
                if held.flags & (Flag.io | Flag.memory) != 0, held.start == 0, held.end != 0 {
                    removeDevice(device)
                    break
                }
            }
            device = previous
        }
    }
}
