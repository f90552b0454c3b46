// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Finding a function and reading what it asks for (drivers/pci/probe.c).
extension TwinState {
    /// Makes the kernel's record of a function that answered on `bus` (`pci_setup_device`, `pci_device_add`).
    mutating func discover(_ device: Int32, on bus: Int32) {
        var held = KernelDevice()
        held.exists = true
        held.bus = bus
        held.devfn = facts[device].devfn
        held.isMultiFunction = facts[device].isMultiFunction
        held.classCode = facts[device].classCode
        devices[device] = held
        clearResources(device)
        note(.found(address(device)))
        switch facts[device].headerLayout {
        case 0:
            // A bridge class in an endpoint's header: the kernel ignores the class.
            if held.classWord == 0x0604 {
                devices[device].classCode = 0
            } else {
                readBARs(device, count: 6)
                readLegacyIDE(device)
            }
        case 1:
            devices[device].isTransparent = facts[device].classCode & 0xff == 1
            readBARs(device, count: 2)
            devices[device].hasIOWindow = facts[device].hasIOWindow
            devices[device].hasPrefetchWindow = facts[device].hasPrefetchWindow
            devices[device].hasPrefetchWindow64 = facts[device].hasPrefetch64
            devices[device].isHotPlugBridge = facts[device].isSlotHotPlug
            if platform.boot == .powerPCSurvey {
                // The device tree's bridges are not asked which windows they have (`of_create_pci_dev`).
                devices[device].hasIOWindow = false
                devices[device].hasPrefetchWindow = false
            }
        case 2:
            if held.classWord == 0x0607 { readBARs(device, count: 1) } else { devices[device].classCode = 0 }
        default:
            devices[device].exists = false
            return
        }
        // Errors from below shall pass (`pci_configure_serr`).
        if facts[device].headerLayout == 1 { registers[device].bridgeControl |= 0x2 }
        readShadowedROM(device)
        if platform.boot == .powerPCSurvey || platform.boot == .powerPCReassign { forgetAddresses(device) }
        applyAlignmentRequest(device)
        readEnhancedAllocation(device)
        configureARI(device)
        readSRIOV(device)
        if platform.hasPartitionableEndpoints { fitVFsToSegments(device) }
        link(device, to: bus)
    }

    private mutating func clearResources(_ device: Int32) {
        let first = facts[device].firstResource
        for resource in first..<(first &+ facts[device].resourceCount) { resources[resource] = KernelResource() }
    }

    /// `pci_read_bases`: flags, size and present address of each BAR and the ROM.
    private mutating func readBARs(_ device: Int32, count: Int) {
        let first = facts[device].firstResource
        for bar in 0..<count {
            let known = facts[device].bars[bar]
            let size = registers[device].sizes[bar]
            guard known.kind != .none, known.kind != .upperHalf, size > 0 else { continue }
            readAddress(
                first &+ Int32(bar),
                of: device,
                flags: known.flags | Flag.sizeAlign,
                address: registers[device].bars[bar],
                size: size
            )
        }
        guard facts[device].hasROM, registers[device].romSize > 0 else { return }
        let enabled = registers[device].romEnabled ? Flag.romEnable : 0
        readAddress(
            first &+ 6,
            of: device,
            flags: Flag.memory | Flag.readOnly | Flag.sizeAlign
                | (platform.boot == .powerPCSurvey ? 0 : Flag.prefetch | enabled),
            address: registers[device].rom,
            size: registers[device].romSize
        )
    }

    /// `__pci_read_base`, the part after sizing: bus to CPU address, and unset when no aperture leads back.
    private mutating func readAddress(
        _ resource: Int32,
        of device: Int32,
        flags: UInt32,
        address: UInt64,
        size: UInt64
    ) {
        let bus = devices[device].bus
        let first = address & ~(size &- 1)
        let offset = offset(ofBusAddress: first, first &+ size &- 1, flags: flags, on: bus)
        resources[resource].flags = flags
        resources[resource].setRange(first &+ offset, size: size)
        guard translates else { return }
        if resources[resource].start &- self.offset(of: resource, on: bus) != first {
            resources[resource].flags |= Flag.unset
            resources[resource].setRange(0, size: size)
        }
    }

    /// An IDE controller in compatibility mode has fixed I/O addresses whatever its BARs say.
    private mutating func readLegacyIDE(_ device: Int32) {
        guard devices[device].classWord == 0x0101 else { return }
        let interface = facts[device].classCode & 0xff
        let first = facts[device].firstResource
        func fixed(_ start: UInt64, _ end: UInt64) -> KernelResource {
            KernelResource(start: start, end: end, flags: Flag.io | Flag.fixed)
        }
        if interface & 1 == 0 {
            resources[first] = fixed(0x1f0, 0x1f7)
            resources[first &+ 1] = fixed(0x3f6, 0x3f6)
        }
        if interface & 4 == 0 {
            resources[first &+ 2] = fixed(0x170, 0x177)
            resources[first &+ 3] = fixed(0x376, 0x376)
        }
    }

    /// `pci_fixup_video`: the boot display's ROM is the copy in RAM, as long as the display decodes anything.
    private mutating func readShadowedROM(_ device: Int32) {
        guard facts[device].hasShadowedROM, registers[device].command & 3 != 0 else { return }
        resources[facts[device].firstResource &+ 6] = KernelResource(
            start: 0xc0000,
            end: 0xdffff,
            flags: Flag.memory | Flag.romShadow | Flag.fixed
        )
    }

    /// `pci_ea_init`: ranges that are fixed in hardware.
    private mutating func readEnhancedAllocation(_ device: Int32) {
        let first = facts[device].firstResource
        for bar in 0..<6 {
            if let range = facts[device].bars[bar].fixedRange {
                let flags = facts[device].bars[bar].flags & (Flag.windowBits)
                resources[first &+ Int32(bar)] = KernelResource(
                    start: range.first,
                    end: range.last,
                    flags: flags | Flag.fixed | Flag.enhancedAllocation
                )
            }
            if facts[device].resourceCount > 12, let range = facts[device].vfBARs[bar].fixedRange {
                let flags = facts[device].vfBARs[bar].flags & (Flag.windowBits)
                resources[first &+ 7 &+ Int32(bar)] = KernelResource(
                    start: range.first,
                    end: range.last,
                    flags: flags | Flag.fixed | Flag.enhancedAllocation
                )
            }
        }
    }

    /// `pci_configure_ari`: function 0 decides for the port above.
    private mutating func configureARI(_ device: Int32) {
        let bus = devices[device].bus
        let bridge = buses[bus].bridge
        guard !platform.ignoresARI, facts[device].isExpress, devices[device].devfn == 0, bridge != none,
            facts[bridge].forwardsARI
        else { return }
        let enables = facts[device].hasARI && showsExtendedCapabilities(device)
        devices[bridge].ariEnabled = enables
        registers[bridge].ariForwarding = enables
    }

    /// `sriov_init`: the VF BAR blocks, for all VFs that the function could have.
    private mutating func readSRIOV(_ device: Int32) {
        let total = UInt64(facts[device].totalVFs)
        guard facts[device].isExpress, showsExtendedCapabilities(device), total > 0, facts[device].resourceCount >= 13,
            !platform.forbidsVFs,
            facts[device].physicalFunction == none
        else { return }
        registers[device].vfEnabled = false
        registers[device].numVFs = 0
        let bus = devices[device].bus
        var other = buses[bus].firstDevice
        while other != none, !devices[other].isPhysicalFunction { other = devices[other].next }
        registers[device].vfARI = other == none && buses[bus].bridge != none && devices[buses[bus].bridge].ariEnabled
        let first = facts[device].firstResource &+ 7
        for bar in 0..<6 {
            let known = facts[device].vfBARs[bar]
            let resource = first &+ Int32(bar)
            if resources[resource].flags & Flag.fixed == 0 {
                let size = registers[device].vfSizes[bar]
                guard known.kind != .none, known.kind != .upperHalf, size > 0 else { continue }
                readAddress(
                    resource,
                    of: device,
                    flags: known.flags | Flag.sizeAlign,
                    address: registers[device].vfBARs[bar],
                    size: size
                )
            }
            guard resources[resource].size & (platform.pageSize &- 1) == 0 else {
                for failed in first..<(first &+ 6) { resources[failed].flags = 0 }
                return
            }
            resources[resource].setRange(resources[resource].start, size: resources[resource].size &* total)
        }
        devices[device].isPhysicalFunction = true
        devices[device].maxVFBus = highestVFBus(device)
    }

    /// The highest bus over every possible NumVFs (`compute_max_vf_buses`); offset and stride are taken as constant.
    ///
    /// The kernel keeps it in 8 bits: of a card whose offset and stride lead beyond bus 255 the rest of the number counts.
    func highestVFBus(_ device: Int32) -> Int32 {
        let total = Int(facts[device].totalVFs)
        let devfn = Int(devices[device].devfn)
        guard total > 0 else { return 0 }
        let last = devfn + Int(facts[device].vfOffset) + Int(facts[device].vfStride) * (total - 1)
        let bus = Int(buses[devices[device].bus].number)
        if bus + last >> 8 <= 0xff { return Int32(bus + last >> 8) }
        var highest: Int32 = 0
        for number in (0..<total).reversed() {
            let reached = Int32(bus) &+ vfRoutingID(device, number: Int32(number)) >> 8
            if reached > highest { highest = reached & 0xff }
        }
        return highest
    }

    /// Devfn of a VF counted from its physical function's bus; the bits above 8 count buses. The kernel's sum has 32 bits.
    func vfRoutingID(_ device: Int32, number: Int32) -> Int32 {
        Int32(devices[device].devfn) &+ Int32(facts[device].vfOffset) &+ Int32(facts[device].vfStride) &* number
    }

    private mutating func link(_ device: Int32, to bus: Int32) {
        let last = buses[bus].lastDevice
        devices[device].previous = last
        devices[device].next = none
        if last == none { buses[bus].firstDevice = device } else { devices[last].next = device }
        buses[bus].lastDevice = device
    }

    /// Takes a function off its bus's list.
    mutating func unlink(_ device: Int32) {
        let bus = devices[device].bus
        let previous = devices[device].previous
        let next = devices[device].next
        if previous == none { buses[bus].firstDevice = next } else { devices[previous].next = next }
        if next == none { buses[bus].lastDevice = previous } else { devices[next].previous = previous }
        devices[device].next = none
        devices[device].previous = none
    }
}
