// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

// /sys/bus/pci/resource_alignment (drivers/pci/pci.c).
extension TwinState {
    /// `pci_reassigndev_resource_alignment`: inflates small memory resources of a matching function, closes a matching
    /// bridge's memory windows.
    mutating func applyAlignmentRequest(_ device: Int32) {
        let requested = alignmentRequests.isEmpty ? nil : requestedAlignment(device)
        let alignment = requested ?? platform.leastBARAlignment
        guard alignment > 0 else { return }
        if facts[device].headerLayout == 0, devices[device].classWord == 0x0600 { return }
        registers[device].command &= ~2
        let first = facts[device].firstResource
        for resource in first...(first &+ 6) {
            let held = resources[resource]
            guard held.flags & Flag.memory != 0, held.flags & Flag.fixed == 0, held.size < alignment else { continue }
            if requested != nil {
                resources[resource].setRange(0, size: alignment)
            } else {
                // Every BAR of the machine gets that alignment, so sizes can stay.
                resources[resource].flags = held.flags & ~Flag.sizeAlign | Flag.startAlign
                resources[resource].setRange(alignment, size: held.size)
            }
            resources[resource].flags |= Flag.unset
        }
        guard facts[device].headerLayout == 1 else { return }
        for resource in (first &+ 13)..<(first &+ 17) where resources[resource].flags & Flag.memory != 0 {
            resources[resource].flags |= Flag.unset
            let size = resources[resource].size
            resources[resource].setRange(0, size: size)
        }
        closeMemoryWindows(device)
    }

    /// `pci_specified_resource_alignment`: the first entry that matches; an entry that cannot be read ends the search.
    private func requestedAlignment(_ device: Int32) -> UInt64? {
        var text = Substring(alignmentRequests.filter { $0 != "\n" })
        while !text.isEmpty {
            var order = 12
            let digits = text.prefix { $0 >= "0" && $0 <= "9" }
            if !digits.isEmpty, text.dropFirst(digits.count).first == "@", let value = Int(digits) {
                order = value > 63 ? 12 : value
                text = text.dropFirst(digits.count + 1)
            }
            let matches: Bool?
            if text.hasPrefix("pci:") {
                let end = text.dropFirst(4).prefix { $0.isHexDigit || $0 == ":" }
                matches = matchesIDs(device, end)
                text = text.dropFirst(4 + end.count)
            } else {
                let path = text.prefix { $0 != ";" }
                matches = matchesPath(device, path)
                text = text.dropFirst(path.count)
            }
            guard let matches else { return nil }
            if matches { return 1 << UInt64(order) }
            guard let separator = text.first, separator == ";" || separator == "," else { return nil }
            text = text.dropFirst()
        }
        return nil
    }

    /// `pci:VVVV:DDDD[:SSSS:SSSS]`; 0 matches anything.
    private func matchesIDs(_ device: Int32, _ text: Substring) -> Bool? {
        let ids = text.split(separator: ":").map { UInt16($0, radix: 16) }
        guard ids.count >= 2, let vendor = ids[0], let model = ids[1] else { return nil }
        var subsystem: (UInt16, UInt16) = (0, 0)
        if ids.count >= 4, let a = ids[2], let b = ids[3] { subsystem = (a, b) }
        let held = facts[device]
        return (vendor == 0 || vendor == held.vendor) && (model == 0 || model == held.device)
            && (subsystem.0 == 0 || subsystem.0 == held.subsystemVendor)
            && (subsystem.1 == 0 || subsystem.1 == held.subsystemDevice)
    }

    /// `[DDDD:]BB:DD.F[/DD.F]*`, the path from the top down.
    private func matchesPath(_ device: Int32, _ text: Substring) -> Bool? {
        var parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let head = parts.first else { return nil }
        parts.removeFirst()
        var this = device
        for part in parts.reversed() {
            let pair = part.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0, radix: 16) }
            guard pair.count == 2, let slot = pair[0], let function = pair[1], slot < 32, function < 8 else {
                return nil
            }
            guard devices[this].devfn == slot << 3 | function else { return false }
            let bus = devices[this].bus
            guard bus != none, buses[bus].bridge != none else { return false }
            this = buses[bus].bridge
        }
        guard let wanted = FunctionAddress(parsing: head) else { return nil }
        return address(this) == wanted
    }
}
