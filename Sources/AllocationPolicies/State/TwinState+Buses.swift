// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// Buses and the tree of bus numbers (drivers/pci/probe.c, search.c, remove.c).
extension TwinState {
    /// Makes a bus below `parent` (`pci_add_new_bus`); without `bridge` it is one that VFs need.
    mutating func addBus(_ number: UInt8, below parent: Int32, bridge: Int32) -> Int32 {
        let numbers = appendNumbers()
        resources[numbers].start = UInt64(number)
        resources[numbers].end = 0xff
        resources[numbers].flags = 0
        var bus = KernelBus(host: buses[parent].host, number: number, numbers: numbers)
        bus.parent = parent
        bus.primary = UInt8(truncatingIfNeeded: resources[buses[parent].numbers].start)
        bus.bridge = bridge
        if bridge != none { bus.windows = facts[bridge].firstResource &+ 13 }
        bus.hidesExtendedConfiguration =
            buses[parent].hidesExtendedConfiguration || (bridge != none && facts[bridge].hidesExtendedConfiguration)
        bus.previous = buses[parent].lastChild
        let index: Int32
        if let free = freeBuses.popLast() {
            index = free
            let reused = buses[free].numbers
            bus.numbers = reused
            resources[reused] = KernelResource(start: UInt64(number), end: 0xff, flags: 0)
            buses[free] = bus
        } else {
            index = buses.append(bus)
        }
        numbered.add(index, number: number, host: bus.host)
        let last = buses[parent].lastChild
        if last == none { buses[parent].firstChild = index } else { buses[last].next = index }
        buses[parent].lastChild = index
        if bridge != none { devices[bridge].subordinate = index }
        return index
    }

    /// Whether a function's extended capabilities can be read (`pci_cfg_space_size`).
    func showsExtendedCapabilities(_ device: Int32) -> Bool {
        let bus = devices[device].bus
        return bus != none && !buses[bus].hidesExtendedConfiguration
    }

    /// A new node for bus numbers, unless a removed bus left one.
    private mutating func appendNumbers() -> Int32 {
        if let free = freeBuses.last { return buses[free].numbers }
        return appendResource(KernelResource(), owner: none)
    }

    /// Makes the root bus of a host bridge.
    mutating func addRootBus(host: Int) {
        let number = hosts[host].firstBus
        let root = numbersRoot(segment: hosts[host].segment)
        let numbers = appendResource(
            KernelResource(
                start: UInt64(number),
                end: UInt64(hosts[host].lastBus),
                flags: Flag.bus | Flag.fixed
            ),
            owner: none
        )
        var bus = KernelBus(host: Int32(truncatingIfNeeded: host), number: number, numbers: numbers)
        bus.extra = hosts[host].apertures
        hosts[host].rootBus = buses.append(bus)
        numbered.add(hosts[host].rootBus, number: number, host: bus.host)
        _ = request(numbers, in: root)
    }

    /// `pci_bus_insert_busn_res`: claims a range of numbers below the parent's; a conflict is only reported.
    mutating func insertNumbers(_ bus: Int32, first: UInt64, last: UInt64) {
        let numbers = buses[bus].numbers
        resources[numbers].start = first
        resources[numbers].end = last
        resources[numbers].flags = Flag.bus
        let parent = buses[bus].parent
        guard parent != none else { return }
        if request(numbers, in: buses[parent].numbers) != none, buses[bus].bridge != none,
            let range = busRange(bus)
        {
            note(.busConflict(address(buses[bus].bridge), range))
        }
    }

    /// `pci_bus_update_busn_res_end`: the last number is known now.
    mutating func updateNumbers(_ bus: Int32, last: UInt64) {
        let numbers = buses[bus].numbers
        let first = resources[numbers].start
        guard first <= last else { return }
        if adjust(numbers, start: first, size: last &- first &+ 1), resources[numbers].parent == none {
            insertNumbers(bus, first: first, last: resources[numbers].end)
        }
    }

    /// The numbers that a bus holds, nil when they are not a range.
    func busRange(_ bus: Int32) -> BusRange? {
        let held = resources[buses[bus].numbers]
        guard held.start <= 0xff, held.end <= 0xff else { return nil }
        return BusRange(first: BusNumber(UInt8(held.start)), last: BusNumber(UInt8(held.end)))
    }

    /// `pci_find_bus`: the bus of a number in a segment, depth first from each root.
    func findBus(_ number: Int, segment: UInt32) -> Int32 {
        guard (0...255).contains(number) else { return none }
        for host in hosts.indices where hosts[host].segment == segment && hosts[host].rootBus != none {
            switch numbered.bus(UInt8(number), host: host) {
            case .absent: continue
            case .only(let bus): return bus
            case .several:
                let found = findBus(UInt8(number), at: hosts[host].rootBus)
                if found != none { return found }
            }
        }
        return none
    }

    private func findBus(_ number: UInt8, at bus: Int32) -> Int32 {
        if buses[bus].number == number { return bus }
        var child = buses[bus].firstChild
        while child != none {
            let found = findBus(number, at: child)
            if found != none { return found }
            child = buses[child].next
        }
        return none
    }

    /// `pci_remove_bus`: takes a bus out of its parent's list and gives back its numbers.
    mutating func removeBus(_ bus: Int32) {
        let parent = buses[bus].parent
        let previous = buses[bus].previous
        let next = buses[bus].next
        if parent != none {
            if previous == none { buses[parent].firstChild = next } else { buses[previous].next = next }
            if next == none { buses[parent].lastChild = previous } else { buses[next].previous = previous }
        }
        if resources[buses[bus].numbers].flags != 0 { release(buses[bus].numbers) }
        unlist(bus)
        buses[bus].exists = false
        buses[bus].next = none
        buses[bus].previous = none
        buses[bus].firstDevice = none
        buses[bus].lastDevice = none
        buses[bus].firstChild = none
        buses[bus].lastChild = none
        freeBuses.append(bus)
    }

    /// Takes a bus that is removed, and what is still below it, from what a search by number finds.
    ///
    /// Below it are buses that their bridges left for others (a scan that gives a bridge new numbers makes a new bus and leaves
    /// the old one where it was): with the bus above them gone no way from a root leads to them.
    private mutating func unlist(_ bus: Int32) {
        guard buses[bus].isListed else { return }
        buses[bus].isListed = false
        numbered.remove(bus, number: buses[bus].number, host: buses[bus].host)
        var child = buses[bus].firstChild
        while child != none {
            unlist(child)
            child = buses[child].next
        }
    }

    /// The functions that answer configuration cycles to `bus`: the first in ascending devfn, by the bridges' registers.
    ///
    /// A bridge takes a cycle when the number lies in its secondary to subordinate range. Where several claim it the
    /// lowest devfn answers.
    func functionsAnswering(bus number: UInt8, host: Int32) -> Int32 {
        let segment = hosts[Int(host)].segment
        // The host bridge whose numbers cover the bus; the one asked first when ranges overlap.
        var chosen = Int(host)
        if !(hosts[chosen].firstBus...max(hosts[chosen].firstBus, hosts[chosen].lastBus)).contains(number),
            let better = hosts.firstIndex(where: {
                $0.segment == segment && $0.firstBus <= number && number <= $0.lastBus
            })
        {
            chosen = better
        }
        if hosts[chosen].firstBus == number { return hosts[chosen].firstFunction }
        var level = hosts[chosen].firstFunction
        var depth = 0
        while level != none, depth < 256 {
            level = claimant(of: number, from: level)
            guard level != none else { return none }
            if registers[level].secondary == number { return facts[level].firstChild }
            level = facts[level].firstChild
            depth += 1
        }
        return none
    }

    /// Whether two bridges side by side claim configuration cycles to a bus, by their registers.
    ///
    /// Hardware does something or other then. The numbers of a bridge that was removed stay in its registers, so numbers
    /// that are written into its neighbour can meet them.
    func isClaimedTwice(bus number: UInt8, host: Int32) -> Bool {
        var level = hosts[Int(host)].firstFunction
        for _ in 0..<256 {
            let first = claimant(of: number, from: level)
            guard first != none else { return false }
            if claimant(of: number, from: facts[first].nextSibling) != none { return true }
            if registers[first].secondary == number { return false }
            level = facts[first].firstChild
        }
        return false
    }

    /// The first bridge, among a function and those after it on its bus, that claims configuration cycles to a bus.
    private func claimant(of number: UInt8, from first: Int32) -> Int32 {
        var this = first
        while this != none {
            let secondary = registers[this].secondary
            if secondary != 0, secondary <= number, number <= registers[this].subordinate,
                facts[this].headerLayout == 1, facts[this].isPresent
            {
                return this
            }
            this = facts[this].nextSibling
        }
        return none
    }

    /// Whether configuration cycles to the function's bus, routed by the bridges' registers, arrive at the function.
    func answers(_ device: Int32) -> Bool {
        let bus = devices[device].bus
        guard bus != none, facts[device].isPresent else { return false }
        if facts[device].physicalFunction != none { return true }
        var this = functionsAnswering(bus: buses[bus].number, host: buses[bus].host)
        while this != none {
            if this == device { return true }
            this = facts[this].nextSibling
        }
        return false
    }
}
