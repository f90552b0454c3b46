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
        for entry in alignmentEntries {
            guard let matches = matches(device, entry.subject) else { return nil }
            if matches { return 1 << UInt64(entry.order) }
        }
        return nil
    }

    /// Whether an entry is about a device; nil for one that the kernel cannot read, and reads nothing behind.
    private func matches(_ device: Int32, _ subject: AlignmentEntry.Subject) -> Bool? {
        switch subject {
        case .unreadable: return nil
        case .ids(let ids):
            let held = facts[device]
            let own = [held.vendor, held.device, held.subsystemVendor, held.subsystemDevice]
            return zip(ids, own).allSatisfy { $0 == 0 || $0 == $1 }
        case .path(let top, let hops):
            var this = device
            for hop in hops {
                guard let hop else { return nil }
                guard devices[this].devfn == hop else { return false }
                let bus = devices[this].bus
                guard bus != none, buses[bus].bridge != none else { return false }
                this = buses[bus].bridge
            }
            return top.map { address(this) == $0 }
        }
    }
}

/// One entry of the text in `resource_alignment`.
struct AlignmentEntry: Sendable {
    /// Whom an entry is about.
    enum Subject: Sendable {
        /// `pci:VVVV:DDDD[:SSSS:SSSS]`: vendor, device, and those of the subsystem; 0 matches anything.
        case ids([UInt16])
        /// `[DDDD:]BB:DD.F[/DD.F]*`: the hops from the bottom up, nil for one that says nothing, and the function at the top.
        case path(top: FunctionAddress?, hops: [UInt8?])
        case unreadable
    }

    /// The logarithm of the alignment that it asks for.
    var order: Int
    /// Whom it is about.
    var subject: Subject

    /// The entries of a text, up to one without a separator behind it.
    static func entries(of text: String) -> [AlignmentEntry] {
        var result: [AlignmentEntry] = []
        var text = Substring(text.filter { $0 != "\n" })
        while !text.isEmpty {
            var order = 12
            let digits = text.prefix { $0 >= "0" && $0 <= "9" }
            if !digits.isEmpty, text.dropFirst(digits.count).first == "@", let value = Int(digits) {
                order = value > 63 ? 12 : value
                text = text.dropFirst(digits.count + 1)
            }
            let subject: Subject
            if text.hasPrefix("pci:") {
                let end = text.dropFirst(4).prefix { $0.isHexDigit || $0 == ":" }
                subject = ids(end)
                text = text.dropFirst(4 + end.count)
            } else {
                let words = text.prefix { $0 != ";" }
                subject = path(words)
                text = text.dropFirst(words.count)
            }
            result.append(AlignmentEntry(order: order, subject: subject))
            guard let separator = text.first, separator == ";" || separator == "," else { break }
            text = text.dropFirst()
        }
        return result
    }

    private static func ids(_ text: Substring) -> Subject {
        let ids = text.split(separator: ":").map { UInt16($0, radix: 16) }
        guard ids.count >= 2, let vendor = ids[0], let model = ids[1] else { return .unreadable }
        guard ids.count >= 4, let a = ids[2], let b = ids[3] else { return .ids([vendor, model, 0, 0]) }
        return .ids([vendor, model, a, b])
    }

    private static func path(_ text: Substring) -> Subject {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let head = parts.first else { return .unreadable }
        let hops = parts.dropFirst().reversed().map { part -> UInt8? in
            let pair = part.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0, radix: 16) }
            guard pair.count == 2, let slot = pair[0], let function = pair[1], slot < 32, function < 8 else {
                return nil
            }
            return slot << 3 | function
        }
        return .path(top: FunctionAddress(parsing: head), hops: hops)
    }
}
