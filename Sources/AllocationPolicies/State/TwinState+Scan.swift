// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// The bus scan and the distribution of bus numbers (drivers/pci/probe.c).
extension TwinState {
    /// `pci_scan_child_bus`: finds what is on a bus and below; gives the highest bus number in use.
    @discardableResult
    mutating func scanChildBus(_ bus: Int32) -> Int { scanChildBus(bus, available: 0) }

    /// `pci_scan_child_bus_extend`: as above, with `available` numbers to hand out among hot-plug bridges.
    @discardableResult
    mutating func scanChildBus(_ bus: Int32, available: Int) -> Int {
        let start = Int(truncatingIfNeeded: resources[buses[bus].numbers].start)
        scanDepth += 1
        defer { scanDepth -= 1 }
        guard scanDepth < 64 else {
            if buses[bus].bridge != none { note(.fault(address(buses[bus].bridge), "the bus scan runs in a circle")) }
            return start
        }
        scanSlots(bus)
        var used = reservedForVFs(bus)
        var highest = start + used
        if !buses[bus].isAdded {
            if platform.readsBridgeWindows { readBridgeWindows(bus) }
            if platform.boot == .powerPCSurvey || platform.boot == .powerPCReassign { forgetWindows(bus) }
            buses[bus].isAdded = true
        }
        var plain = 0
        var hotPlug = 0
        var device = buses[bus].firstDevice
        while device != none {
            if isBridge(device) {
                if devices[device].isHotPlugBridge { hotPlug += 1 } else { plain += 1 }
            }
            device = devices[device].next
        }
        device = buses[bus].firstDevice
        while device != none {
            if isBridge(device) {
                let before = highest
                highest = scanBridge(device, on: bus, highest: highest, available: 0, isSecondPass: false)
                used += 1
                if !behaviour.configuredBusesAreUsed {
                    used -= highest - before
                } else if highest - before > 1 {
                    used += highest - before - 1
                }
            }
            device = devices[device].next
        }
        device = buses[bus].firstDevice
        while device != none {
            if isBridge(device) {
                var share = 0
                if hotPlug == 0, plain == 1 {
                    share = available
                } else if devices[device].isHotPlugBridge {
                    // Unsigned arithmetic in the kernel: a negative rest is huge and does not bound the share.
                    let rest = available - used + 1
                    share = available / hotPlug
                    if rest >= 0 { share = min(share, rest) }
                }
                let before = highest
                highest = scanBridge(device, on: bus, highest: before, available: share, isSecondPass: true)
                if highest - before > 1 { used += highest - before - 1 }
            }
            device = devices[device].next
        }
        let bridge = buses[bus].bridge
        if bridge != none, devices[bridge].isHotPlugBridge {
            let wanted = max(available, platform.hotPlugBuses - 1)
            if highest - start < wanted {
                highest = min(start + wanted, Int(truncatingIfNeeded: resources[buses[bus].numbers].end))
            }
        }
        return highest
    }

    /// `pci_iov_bus_range`: bus numbers beyond this one that VFs on it may need.
    private func reservedForVFs(_ bus: Int32) -> Int {
        var highest: Int32 = 0
        var device = buses[bus].firstDevice
        while device != none {
            if devices[device].isPhysicalFunction { highest = max(highest, devices[device].maxVFBus) }
            device = devices[device].next
        }
        return highest == 0 ? 0 : Int(highest) - Int(buses[bus].number)
    }

    /// Probes the slots of a bus; known functions stay as they are.
    private mutating func scanSlots(_ bus: Int32) {
        // A bus that was made for VFs has no bridge of its own, and nothing answers a probe there.
        guard buses[bus].bridge != none || buses[bus].isRoot else { return }
        if buses[bus].bridge != none, isClaimedTwice(bus: buses[bus].number, host: buses[bus].host) {
            note(.fault(address(buses[bus].bridge), "another bridge claims the same bus number"))
        }
        var function = functionsAnswering(bus: buses[bus].number, host: buses[bus].host)
        while function != none {
            let device = facts[function].devfn >> 3
            if device > 0, hasOnlyOneChild(bus) { return }
            function = scanSlot(bus, device: device, from: function)
        }
    }

    /// Probes one slot only (`pci_scan_slot`); gives the number of functions that are new.
    mutating func scanSlot(_ bus: Int32, device: UInt8) -> Int {
        var function = functionsAnswering(bus: buses[bus].number, host: buses[bus].host)
        while function != none, facts[function].devfn >> 3 < device { function = facts[function].nextSibling }
        guard function != none, facts[function].devfn >> 3 == device else { return 0 }
        let before = newlyFound(bus)
        _ = scanSlot(bus, device: device, from: function)
        return newlyFound(bus) - before
    }

    private func newlyFound(_ bus: Int32) -> Int {
        var count = 0
        var device = buses[bus].firstDevice
        while device != none {
            if !devices[device].isAdded { count += 1 }
            device = devices[device].next
        }
        return count
    }

    /// `pci_scan_slot`: function 0 must answer; the others follow if it says so, or along the ARI chain.
    ///
    /// Gives the first hardware function of a later slot.
    private mutating func scanSlot(_ bus: Int32, device: UInt8, from first: Int32) -> Int32 {
        var function = first
        let ari: Bool
        var isMulti = false
        if facts[function].devfn & 7 == 0, facts[function].isPresent {
            probe(function, on: bus)
            isMulti = devices[function].isMultiFunction
            ari = ariEnabled(bus) && device == 0 && facts[function].hasARI
            function = facts[function].nextSibling
        } else {
            ari = false
            // A listing that leaves function 0 out: where others were found, it answered.
            isMulti = facts[function].devfn & 7 != 0
        }
        let last: UInt8 = ari ? 0xff : device << 3 | 7
        while function != none, facts[function].devfn <= last {
            if isMulti || ari, facts[function].isPresent {
                probe(function, on: bus)
                if devices[function].exists { devices[function].isMultiFunction = true }
            }
            function = facts[function].nextSibling
        }
        return function
    }

    private mutating func probe(_ function: Int32, on bus: Int32) {
        if devices[function].exists {
            if devices[function].bus != bus {
                note(.fault(address(function), "the function answers on a second bus"))
            }
            return
        }
        guard facts[function].physicalFunction == none else { return }
        discover(function, on: bus)
    }

    private func ariEnabled(_ bus: Int32) -> Bool {
        let bridge = buses[bus].bridge
        return bridge != none && devices[bridge].ariEnabled
    }

    /// `only_one_child`: a PCI Express link has one device.
    private func hasOnlyOneChild(_ bus: Int32) -> Bool {
        guard !platform.scansAllDevices else { return false }
        let bridge = buses[bus].bridge
        guard bridge != none else { return false }
        // Root port, downstream port, PCI to PCI Express bridge (`pcie_downstream_port`).
        let type = facts[bridge].portType
        return type == 4 || type == 6 || type == 8
    }

    /// `pci_scan_bridge_extend`: first pass follows sane numbers in the registers, second pass gives out new ones.
    mutating func scanBridge(
        _ device: Int32,
        on bus: Int32,
        highest: Int,
        available: Int,
        isSecondPass: Bool
    ) -> Int {
        var highest = highest
        var available = available
        let segment = hosts[Int(buses[bus].host)].segment
        let number = buses[bus].number
        var primary = registers[device].primary
        let secondary = registers[device].secondary
        let subordinate = registers[device].subordinate
        if primary == 0, primary != number, secondary != 0, subordinate != 0 { primary = number }
        let isCardBus = facts[device].headerLayout == 2
        let isBroken = !isSecondPass && (primary != number || secondary <= number || secondary > subordinate)
        let control = registers[device].bridgeControl
        if isBroken, secondary != 0 || subordinate != 0 { note(.renumbered(address(device))) }

        var child = none
        if secondary != 0 || subordinate != 0, !platform.renumbersAllBuses, !isCardBus, !isBroken {
            if isSecondPass { return highest }
            child = findBus(Int(secondary), segment: segment)
            if child == none {
                child = addBus(secondary, below: bus, bridge: device)
                buses[child].primary = primary
                insertNumbers(child, first: UInt64(secondary), last: UInt64(subordinate))
                buses[child].bridgeControl = control
            }
            scanChildBus(
                child,
                available: behaviour.configuredBridgesShareBuses ? Int(subordinate) - Int(secondary) : 0
            )
            highest = max(highest, Int(subordinate))
        } else {
            if !isSecondPass {
                if platform.renumbersAllBuses || isBroken || isCardBus {
                    registers[device].primary = 0
                    registers[device].secondary = 0
                    registers[device].subordinate = 0
                }
                return highest
            }
            let fixed = facts[device].fixedSecondary != 0 && facts[device].headerLayout == 1
            let wanted = fixed ? Int(facts[device].fixedSecondary) : highest + 1
            child = findBus(wanted, segment: segment)
            if child == none {
                guard let new = UInt8(exactly: wanted) else { return highest }
                child = addBus(new, below: bus, bridge: device)
                insertNumbers(child, first: UInt64(new), last: resources[buses[bus].numbers].end)
            }
            highest += 1
            if available > 0 { available -= 1 }
            registers[device].primary = buses[child].primary
            registers[device].secondary = UInt8(truncatingIfNeeded: resources[buses[child].numbers].start)
            registers[device].subordinate = UInt8(truncatingIfNeeded: resources[buses[child].numbers].end)
            if isCardBus {
                highest = reserveForCardBus(on: bus, highest: highest, segment: segment)
            } else {
                buses[child].bridgeControl = control
                highest = scanChildBus(child, available: available)
            }
            if fixed { highest = Int(facts[device].fixedSubordinate) }
            updateNumbers(child, last: UInt64(highest))
            registers[device].subordinate = UInt8(truncatingIfNeeded: highest)
        }
        if let range = busRange(child) { note(.bus(address(device), range)) }
        validateNumbers(child, bridge: device)
        return highest
    }

    /// CardBus bridges get three more bus numbers for cards with bridges, fewer where they would not fit.
    private func reserveForCardBus(on bus: Int32, highest: Int, segment: UInt32) -> Int {
        var extra = 0
        while extra < 3 {
            if findBus(highest + extra + 1, segment: segment) != none { break }
            var crosses = false
            var parent = bus
            while buses[parent].parent != none {
                let end = Int(truncatingIfNeeded: resources[buses[parent].numbers].end)
                if !platform.renumbersAllBuses, end > highest, end <= highest + extra { crosses = true }
                parent = buses[parent].parent
            }
            if crosses {
                extra /= 2
                break
            }
            extra += 1
        }
        return highest + extra
    }

    /// `pbus_validate_busn`: the numbers must lie within those of every bus above.
    private mutating func validateNumbers(_ child: Int32, bridge: Int32) {
        let number = UInt64(buses[child].number)
        let end = resources[buses[child].numbers].end
        var above = devices[bridge].bus
        while buses[above].parent != none {
            let limit = resources[buses[above].numbers].end
            let lowest = UInt64(buses[above].number)
            if end > limit || number > limit || number < lowest || end < lowest {
                if let range = busRange(child) { note(.unusable(address(bridge), range)) }
                return
            }
            above = buses[above].parent
        }
    }

    /// `pci_hp_add_bridge`: numbers for a bridge that was plugged in; false when none is free.
    mutating func addHotBridge(_ device: Int32) -> Bool {
        let parent = devices[device].bus
        let segment = hosts[Int(buses[parent].host)].segment
        let start = Int(truncatingIfNeeded: resources[buses[parent].numbers].start)
        let end = Int(truncatingIfNeeded: resources[buses[parent].numbers].end)
        var number = start
        while number <= end, findBus(number, segment: segment) != none { number += 1 }
        guard number <= end else {
            note(.noBusNumber(address(device)))
            return false
        }
        number -= 1
        let highest = scanBridge(device, on: parent, highest: number, available: 0, isSecondPass: false)
        _ = scanBridge(device, on: parent, highest: highest, available: end - highest, isSecondPass: true)
        return devices[device].subordinate != none
    }
}
