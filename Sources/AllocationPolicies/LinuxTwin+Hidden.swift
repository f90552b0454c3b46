// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// What a reading shows only indirectly: VFs' places in their blocks, sizes that the kernel keeps to itself.
extension LinuxTwin {
    /// Guesses the sizes that windows without a place keep.
    ///
    /// From 7.0 such a window keeps the size it asked for, and an I/O window counts that size when it is sized again; sysfs
    /// prints zeros. What it asked for follows from what is below it.
    mutating func guessHiddenSizes() {
        var scratch = state
        scratch.records = false
        var extras = Extras.listed
        for host in state.hosts where host.rootBus != none { scratch.sizeBridges(host.rootBus, &extras) }
        for device in 0..<state.devices.count where state.facts[device].headerLayout == 1 {
            let window = state.facts[device].firstResource &+ 13
            let sized = scratch.resources[window]
            guard state.devices[device].hasIOWindow, state.devices[device].subordinate != none,
                state.resources[window].parent == none, sized.flags & Flag.disabled == 0
            else { continue }
            // The required part stays; a window that is wholly optional was last tried with its extra.
            let size = sized.size != 0 ? sized.size : extras.list.find(window)?.extra ?? 0
            guard size > 0 else { continue }
            state.resources[window] = KernelResource(flags: Flag.io | Flag.startAlign | Flag.unset)
            state.resources[window].setRange(sized.start, size: size)
        }
    }

    /// One VF, its bus, and its parts of the physical function's blocks.
    mutating func readVF(_ i: Int, _ topology: Topology) {
        guard let address = topology.functions[i].physicalFunction, let p = topology.position(of: address) else {
            return
        }
        let device = Int32(i)
        let physical = Int32(p)
        let number = topology.functions[i].address.bus.rawValue
        var bus = state.devices[physical].bus
        guard bus != none else { return }
        if state.buses[bus].number != number {
            let known = state.findBus(Int(number), segment: topology.functions[i].address.segment)
            if known != none {
                bus = known
            } else {
                bus = state.addBus(number, below: bus, bridge: none)
                state.insertNumbers(bus, first: UInt64(number), last: UInt64(number))
            }
        }
        readDevice(device, on: bus, topology)
        state.devices[device].isVirtualFunction = true
        state.devices[device].isPhysicalFunction = false
        state.facts[device].physicalFunction = physical
        // In address order, which is that of the numbers.
        state.facts[device].vfNumber = state.facts[physical].vfCapacity
        var last = state.facts[physical].firstVF
        if last == none {
            state.facts[physical].firstVF = device
        } else {
            while state.facts[last].nextVF != none { last = state.facts[last].nextVF }
            state.facts[last].nextVF = device
        }
        state.facts[physical].vfCapacity += 1
        state.devices[physical].enabledVFs += 1
        state.registers[physical].vfEnabled = true
        let first = state.facts[device].firstResource
        for resource in topology.functions[i].resources where resource.index.isBAR {
            guard let range = resource.range else { continue }
            let index = Int32(resource.index.rawValue)
            state.resources[first &+ index] = KernelResource(
                start: range.first,
                end: range.last,
                flags: UInt32(truncatingIfNeeded: resource.flags.rawValue)
            )
            // Who reads without privilege sees no capability: such a physical function has no blocks.
            if index &+ 7 < state.facts[physical].resourceCount {
                _ = state.request(first &+ index, in: state.facts[physical].firstResource &+ 7 &+ index)
            } else {
                hold(first &+ index, of: physical)
            }
        }
    }
}
