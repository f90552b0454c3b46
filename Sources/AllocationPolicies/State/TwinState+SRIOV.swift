// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// VFs coming and going (drivers/pci/iov.c).
extension TwinState {
    /// `sriov_numvfs_store` and `sriov_enable`.
    mutating func setVFs(_ device: Int32, _ number: Int) {
        let facts = facts[device]
        guard number >= 0, number <= Int(facts.totalVFs), devices[device].isPhysicalFunction else {
            return note(.refused(address(device), .range, "expected at most \(facts.totalVFs) VFs, found \(number)"))
        }
        let enabled = Int(devices[device].enabledVFs)
        if number == enabled { return }
        guard devices[device].isBound else {
            return note(.refused(address(device), .missing, "no driver is bound"))
        }
        if number == 0 { return removeVFs(device) }
        guard enabled == 0 else {
            return note(.refused(address(device), .busy, "\(enabled) VFs are enabled; 0 must be written first"))
        }
        guard hasRoomForVFs(device, number) else {
            return note(.refused(address(device), .noMemory, "not enough MMIO resources for SR-IOV"))
        }
        let bus = devices[device].bus
        let last = Int32(buses[bus].number) &+ vfRoutingID(device, number: Int32(number) - 1) >> 8
        // A sum that has become negative is a very large number to the comparison.
        guard UInt64(bitPattern: Int64(last)) <= resources[buses[bus].numbers].end else {
            let name = bareHex(UInt64(UInt32(bitPattern: last)), width: 2)
            return note(
                .refused(address(device), .noMemory, "bus \(name) is out of the bus range")
            )
        }
        guard enableResources(device, mask: 0x3f << 7) else {
            return note(.refused(address(device), .noMemory, "a VF BAR has no address"))
        }
        registers[device].numVFs = UInt16(truncatingIfNeeded: number)
        registers[device].vfEnabled = true
        var vf = vfFunctions(of: device, count: Int32(truncatingIfNeeded: number))
        for id in 0..<Int32(truncatingIfNeeded: number) where vf != none {
            addVF(vf, of: device, id: id)
            vf = self.facts[vf].nextVF
        }
        devices[device].enabledVFs = Int32(truncatingIfNeeded: number)
    }

    /// Every implemented VF BAR must have its place; from 7.0 the place must hold as many VFs as are asked for.
    private func hasRoomForVFs(_ device: Int32, _ number: Int) -> Bool {
        for bar in 0..<6 {
            let known = facts[device].vfBARs[bar]
            guard known.isImplemented else { continue }
            let resource = facts[device].firstResource &+ 7 &+ Int32(bar)
            guard resources[resource].parent != none else { return false }
            if behaviour.vfRoomIsCounted {
                let needed = registers[device].vfSizes[bar].multipliedReportingOverflow(by: UInt64(number))
                if needed.overflow || needed.partialValue > resources[resource].size { return false }
            }
        }
        return true
    }

    /// The hardware functions of `count` VFs, made when first needed.
    private mutating func vfFunctions(of device: Int32, count: Int32) -> Int32 {
        var known: Int32 = 0
        if facts[device].firstVF != none {
            known = facts[device].vfCapacity
            if known >= count { return facts[device].firstVF }
        }
        let first = facts.count
        for id in 0..<count {
            var vf = FunctionFacts()
            vf.vendor = facts[device].vendor
            vf.device = facts[device].vfDevice
            vf.subsystemVendor = facts[device].subsystemVendor
            vf.subsystemDevice = facts[device].subsystemDevice
            vf.classCode = facts[device].classCode
            vf.physicalFunction = device
            vf.vfNumber = id
            vf.host = facts[device].host
            vf.parent = facts[device].parent
            vf.portType = 0
            vf.isPresent = false
            vf.nextVF = id + 1 < count ? first &+ id &+ 1 : none
            _ = appendFunction(vf, FunctionRegisters())
        }
        facts[device].firstVF = first
        facts[device].vfCapacity = count
        return first
    }

    /// `pci_iov_add_virtfn`: a VF gets its parts of the blocks; nothing is allocated.
    private mutating func addVF(_ vf: Int32, of device: Int32, id: Int32) {
        let routing = vfRoutingID(device, number: id)
        let physicalBus = devices[device].bus
        let number = Int(buses[physicalBus].number) + Int(routing >> 8)
        guard let bus = busForVF(number, below: physicalBus) else { return }
        facts[vf].devfn = UInt8(truncatingIfNeeded: routing)
        facts[vf].isPresent = true
        var held = KernelDevice()
        held.exists = true
        held.bus = bus
        held.devfn = facts[vf].devfn
        held.classCode = facts[vf].classCode
        held.isVirtualFunction = true
        devices[vf] = held
        let first = facts[vf].firstResource
        for bar in 0..<Int32(7) { resources[first &+ bar] = KernelResource() }
        for bar in 0..<Int32(6) {
            let block = facts[device].firstResource &+ 7 &+ bar
            guard resources[block].parent != none else { continue }
            let size = registers[device].vfSizes[Int(bar)]
            resources[first &+ bar].flags = resources[block].flags
            resources[first &+ bar].setRange(resources[block].start &+ size &* UInt64(id), size: size)
            _ = request(first &+ bar, in: block)
        }
        let last = buses[bus].lastDevice
        devices[vf].previous = last
        if last == none { buses[bus].firstDevice = vf } else { devices[last].next = vf }
        buses[bus].lastDevice = vf
        note(.found(address(vf)))
        devices[vf].isAdded = true
    }

    /// `virtfn_add_bus`: the bus that a VF's number falls on; made without a bridge where there is none.
    private mutating func busForVF(_ number: Int, below bus: Int32) -> Int32? {
        if number == Int(buses[bus].number) { return bus }
        let segment = hosts[Int(buses[bus].host)].segment
        let known = findBus(number, segment: segment)
        if known != none { return known }
        guard let new = UInt8(exactly: number) else { return nil }
        let child = addBus(new, below: bus, bridge: none)
        insertNumbers(child, first: UInt64(new), last: UInt64(new))
        return child
    }

    /// `sriov_disable`: VFs go, and buses that only they used.
    mutating func removeVFs(_ device: Int32) {
        var vf = facts[device].firstVF
        guard vf != none, devices[device].enabledVFs > 0 else { return }
        let physicalBus = devices[device].bus
        for _ in 0..<devices[device].enabledVFs where vf != none {
            let this = vf
            vf = facts[this].nextVF
            guard devices[this].exists else { continue }
            let bus = devices[this].bus
            removeDevice(this)
            if bus != physicalBus, buses[bus].firstDevice == none, buses[bus].bridge == none { removeBus(bus) }
        }
        devices[device].enabledVFs = 0
        registers[device].numVFs = 0
        registers[device].vfEnabled = false
    }
}
