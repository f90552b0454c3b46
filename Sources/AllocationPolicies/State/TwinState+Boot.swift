// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Something that is not PCI and holds addresses, with its name.
struct TwinBlocker: Sendable {
    var range: AddressRange
    var isIO: Bool
    var name: String

    /// Whether it is in the tree before PCI assigns at boot: the firmware's map, interrupt controllers and what PNP
    /// reserves are, and what a quirk claims for a function beside its BARs; what drivers and ACPI take comes later.
    var isEarly: Bool {
        FunctionAddress(parsing: name) != nil || isFirmwares
    }

    private var isFirmwares: Bool {
        name.hasPrefix("Reserved") || name.hasPrefix("reserved") || name.hasPrefix("IOAPIC") || name.hasPrefix("ACPI")
            || name.hasPrefix("pnp") || name.hasPrefix("System RAM") || name.hasPrefix("Unusable")
            || name.hasPrefix("Persistent")
            || name.hasPrefix("Local APIC")
    }
}

// Taking over a machine: scan, claim, assign (arch/x86/pci/i386.c, drivers/pci/probe.c).
extension TwinState {
    /// Starts the kernel on the registers as they are.
    mutating func boot() {
        forgetEverything()
        alignmentRequests = platform.alignmentRequests
        // Host bridges that a driver makes, of a device which it finds first, come after all others.
        let own = (0..<hosts.count).filter { !hosts[$0].isMadeByDriver }
        for host in own {
            addRootBus(host: host)
            scanChildBus(hosts[host].rootBus)
            if platform.preservesConfiguration || platform.probesOnly { claimWindows(hosts[host].rootBus) }
        }
        switch platform.boot {
        case .survey: survey(own.map { hosts[$0].rootBus })
        case .powerPCSurvey, .powerPCReassign: surveyPowerPC(own.map { hosts[$0].rootBus })
        case .rootBus, .hostProbe, .loongArch, .once: break
        }
        insertBlockers(early: true)
        if platform.boot == .survey, !platform.assignsROMs {
            for host in own { claimROMs(hosts[host].rootBus) }
        }
        for host in own { assignAtBoot(hosts[host].rootBus) }
        firmwareAddresses = [:]
        insertBlockers(early: false)
        for host in own { applyFinalQuirks(hosts[host].rootBus) }
        for host in own { addDevices(hosts[host].rootBus, appliesQuirks: false) }
        for host in 0..<hosts.count where hosts[host].isMadeByDriver { bootDriverHost(host) }
    }

    /// `vmd_enable_domain`: the host bridge's apertures lie in BARs of the device; what is behind it is found and assigned
    /// once, and nothing that firmware left there is claimed.
    private mutating func bootDriverHost(_ host: Int) {
        for aperture in hosts[host].apertures where aperture > Self.ioRoot && resources[aperture].parent == none {
            if let bar = barHolding(aperture), request(aperture, in: bar) == none { continue }
            _ = insert(aperture, in: resources[aperture].flags & Flag.io != 0 ? Self.ioRoot : Self.memoryRoot)
        }
        addRootBus(host: host)
        scanChildBus(hosts[host].rootBus)
        assignUnassigned(onBus: hosts[host].rootBus)
        applyFinalQuirks(hosts[host].rootBus)
        addDevices(hosts[host].rootBus, appliesQuirks: false)
    }

    /// The assigned BAR that covers an aperture, or nil.
    private func barHolding(_ aperture: Int32) -> Int32? {
        for device in 0..<Int32(facts.count) {
            let first = facts[device].firstResource
            for bar in first..<(first &+ min(facts[device].resourceCount, 6)) where resources[bar].parent != none {
                if resources[bar].flags & Flag.typeBits & ~Flag.prefetch
                    == resources[aperture].flags & Flag.typeBits & ~Flag.prefetch,
                    resources[bar].start <= resources[aperture].start, resources[bar].end >= resources[aperture].end
                {
                    return bar
                }
            }
        }
        return nil
    }

    /// What is left after claiming, or everything: how many tries, and whether extras are a must.
    private mutating func assignAtBoot(_ bus: Int32) {
        let once: Bool
        switch platform.boot {
        case .survey, .powerPCSurvey, .powerPCReassign, .rootBus: once = false
        case .hostProbe: once = behaviour.hostProbeAssignsOnce
        case .loongArch: once = behaviour.loongArchAssignsOnce
        case .once: once = true
        }
        guard once else { return assignUnassigned(onRootBus: bus) }
        if platform.probesOnly { return }
        var extras = Extras.mandatory
        sizeBridges(bus, &extras)
        var failures = Failures.unlisted
        assignBus(bus, &extras, &failures)
    }

    /// Drops all that a kernel holds; hardware stays.
    mutating func forgetEverything() {
        for device in 0..<devices.count {
            devices[device] = KernelDevice()
            registers[device].numVFs = 0
            if facts[device].physicalFunction != none { facts[device].isPresent = false }
        }
        buses = Table()
        freeBuses = []
        numbered = NumberedBuses()
        segments = []
        firmwareAddresses = [:]
        for resource in 0..<resources.count {
            resources[resource].child = none
            if owners[resource] != none { resources[resource] = KernelResource() }
            resources[resource].parent = none
            resources[resource].sibling = none
        }
        for host in 0..<hosts.count {
            hosts[host].rootBus = none
            if platform.ignoresApertures {
                hosts[host].apertures = [Self.ioRoot, Self.memoryRoot]
                hosts[host].offsets = [0, 0]
            }
            for aperture in hosts[host].apertures where aperture > Self.ioRoot && !hosts[host].isMadeByDriver {
                let root = resources[aperture].flags & Flag.io != 0 ? Self.ioRoot : Self.memoryRoot
                _ = insert(aperture, in: root)
            }
        }
    }

    /// Puts what is in the way into the trees; pieces of it that something else holds already are left out.
    mutating func insertBlockers(early: Bool) {
        for blocker in blockers where blocker.isEarly == early {
            let node = appendResource(
                KernelResource(
                    start: blocker.range.first,
                    end: blocker.range.last,
                    flags: (blocker.isIO ? Flag.io : Flag.memory) | Flag.busy
                ),
                owner: none
            )
            _ = insert(node, in: blocker.isIO ? Self.ioRoot : Self.memoryRoot)
        }
    }

    /// `pcibios_resource_survey` and `pcibios_resource_survey_bus`: windows first, then BARs with decoding on, then others.
    mutating func survey(_ roots: [Int32]) {
        for bus in roots { claimBridges(bus) }
        for bus in roots { claimBARs(bus, wantsDisabled: false) }
        for bus in roots { claimBARs(bus, wantsDisabled: true) }
    }

    /// `pcibios_allocate_bus_resources`: a window at 0, or one that cannot be claimed, is dropped.
    private mutating func claimBridges(_ bus: Int32) {
        let bridge = buses[bus].bridge
        if bridge != none {
            let first = facts[bridge].firstResource
            for window in (first &+ 13)..<(first &+ facts[bridge].resourceCount) {
                guard resources[window].flags != 0, resources[window].parent == none else { continue }
                if resources[window].start == 0 || !claimWindow(window, of: bridge) {
                    resources[window].start = 0
                    resources[window].end = 0
                    resources[window].flags = 0
                }
            }
        }
        var child = buses[bus].firstChild
        while child != none {
            claimBridges(child)
            child = buses[child].next
        }
    }

    /// `pci_claim_bridge_resource`: as it is, or the part that lies in a window above.
    mutating func claimWindow(_ window: Int32, of bridge: Int32) -> Bool {
        if claim(window, of: bridge) { return true }
        let index = index(window, of: bridge)
        guard devices[bridge].classWord == 0x0604 else { return true }
        guard index <= 15 else { return false }
        var done = false
        if clipToParent(window, of: bridge) {
            if !behaviour.unclaimableWindowIsClosed { programWindow(bridge, index) }
            done = claim(window, of: bridge)
        }
        if behaviour.unclaimableWindowIsClosed { programWindow(bridge, index) }
        return done
    }

    /// `pci_bus_clip_resource`.
    private mutating func clipToParent(_ window: Int32, of bridge: Int32) -> Bool {
        let bus = devices[bridge].bus
        for n in 0..<busResourceCount(bus) {
            let outer = busResource(bus, n)
            guard outer != none, (resources[outer].flags ^ resources[window].flags) & Flag.typeBits == 0 else {
                continue
            }
            let start = max(resources[outer].start, resources[window].start)
            let end = min(resources[outer].end, resources[window].end)
            guard start <= end else { continue }
            if start == resources[window].start, end == resources[window].end { return false }
            resources[window].start = start
            resources[window].end = end
            resources[window].flags &= ~Flag.unset
            return true
        }
        return false
    }

    /// `pcibios_allocate_resources`: BARs and VF BARs with an address; a failed one remembers it for later.
    private mutating func claimBARs(_ bus: Int32, wantsDisabled: Bool) {
        var device = buses[bus].firstDevice
        while device != none {
            let first = facts[device].firstResource
            let command = registers[device].command
            for index in 0..<min(facts[device].resourceCount, 13) where index != 6 {
                let resource = first &+ index
                let held = resources[resource]
                guard held.parent == none, held.start != 0 else { continue }
                let isDisabled = command & (held.flags & Flag.io != 0 ? 1 : 2) == 0
                guard isDisabled == wantsDisabled, !claim(resource, of: device) else { continue }
                if held.flags & Flag.fixed != 0 { continue }
                firmwareAddresses[resource] = held.start
                resources[resource].end = held.end &- held.start
                resources[resource].start = 0
            }
            if !wantsDisabled, facts[device].resourceCount > 6 {
                let rom = first &+ 6
                if resources[rom].flags & Flag.romEnable != 0 {
                    resources[rom].flags &= ~Flag.romEnable
                    registers[device].romEnabled = false
                }
            }
            if devices[device].subordinate != none {
                claimBARs(devices[device].subordinate, wantsDisabled: wantsDisabled)
            }
            device = devices[device].next
        }
    }

    /// `pcibios_allocate_rom_resources`.
    mutating func claimROMs(_ bus: Int32) {
        var device = buses[bus].firstDevice
        while device != none {
            let rom = facts[device].firstResource &+ 6
            let held = resources[rom]
            if held.flags != 0, held.start != 0, held.parent == none, !claim(rom, of: device) {
                resources[rom].end = held.end &- held.start
                resources[rom].start = 0
            }
            if devices[device].subordinate != none { claimROMs(devices[device].subordinate) }
            device = devices[device].next
        }
    }

    /// `pci_bus_claim_resources`: hosts that keep firmware's configuration without the x86 survey.
    private mutating func claimWindows(_ bus: Int32) {
        claimWindowsBelow(bus)
        claimAllBelow(bus)
    }

    private mutating func claimWindowsBelow(_ bus: Int32) {
        let bridge = buses[bus].bridge
        if bridge != none {
            readBridgeWindows(bus)
            let first = facts[bridge].firstResource
            for window in (first &+ 13)..<(first &+ facts[bridge].resourceCount) {
                let held = resources[window]
                if held.flags == 0 || held.parent != none || held.flags & Flag.disabled != 0 { continue }
                _ = claimWindow(window, of: bridge)
            }
        }
        var child = buses[bus].firstChild
        while child != none {
            claimWindowsBelow(child)
            child = buses[child].next
        }
    }

    private mutating func claimAllBelow(_ bus: Int32) {
        var device = buses[bus].firstDevice
        while device != none {
            let first = facts[device].firstResource
            for resource in first..<(first &+ min(facts[device].resourceCount, 13)) {
                if resources[resource].flags != 0, resources[resource].parent == none {
                    _ = claim(resource, of: device)
                }
            }
            if devices[device].subordinate != none { claimAllBelow(devices[device].subordinate) }
            device = devices[device].next
        }
    }
}
