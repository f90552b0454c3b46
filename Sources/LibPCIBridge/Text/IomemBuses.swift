// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

/// A range of addresses that /proc/iomem names as an aperture or as the window to a bus, and what lies in it.
///
/// Which bridge a window belongs to, which BAR a range is, and what has no address are not in the file. A window in
/// which nothing lies may be a reserve or be missed by a device: the file does not tell.
public struct BusShare: Hashable, Sendable {
    /// What a range is.
    public enum Role: String, Hashable, Sendable {
        /// What a host bridge decodes.
        case aperture
        /// What a bridge forwards to a bus.
        case window
    }

    /// What the range is.
    public var role: Role
    /// The root bus, or the bus that a window leads to, `0000:03`; for a host bridge that a device tree describes, the name
    /// of its node, `pcie@fe280000`.
    public var owner: String
    /// The CPU addresses.
    public var range: AddressRange
    /// How many such ranges stand above it.
    public var depth: Int
    /// What lies directly in it, in ascending order.
    public var holders: [Holder]
    /// The largest block, aligned to its size, that nobody holds.
    public var largestFree: ByteCount

    /// What lies in a range.
    public struct Holder: Hashable, Sendable {
        /// The kernel's name for it.
        public var name: String
        /// Its CPU addresses.
        public var range: AddressRange
    }

    /// One sentence without full stop.
    public var sentence: String {
        let what =
            switch role {
            case .aperture: owner.contains("@") ? "an aperture of host bridge" : "an aperture of root bus"
            case .window: "a window to bus"
            }
        let names = holders.map { "\($0.name) (\(ByteCount($0.range.clampedSize)))" }
        let contents = names.isEmpty ? "nothing lies in it" : "in it \(names.listed(3))"
        let free = names.isEmpty ? "" : ", largest free block \(largestFree)"
        return "\(range) is \(what) \(owner), \(ByteCount(range.clampedSize)): \(contents)\(free)"
    }
}

extension IomemText {
    /// What the nesting says for certain of apertures and of windows, in the order of the file; empty for a file that was
    /// read without privilege.
    ///
    /// Firmware with ACPI names apertures by the root bus (`acpi_pci_probe_root_resources`), a device tree by the node of
    /// the host bridge (`of_pci_range_to_resource`): there a range that bears a bus's name is a window.
    /// - Complexity: O(nodes squared).
    public func busShares() -> [BusShare] {
        guard !isZeroed else { return [] }
        var result: [BusShare] = []
        for i in nodes.indices {
            let bus = Self.bus(named: nodes[i].name)
            guard bus != nil || isDeviceTreeHost(i) else { continue }
            // The legacy video memory of every host bridge says nothing.
            guard nodes[i].range.first >= 0x10_0000 else { continue }
            let below = nodes.indices.filter { nodes[$0].parent == i }
            var depth = 0
            var p = nodes[i].parent
            while let q = p {
                if Self.bus(named: nodes[q].name) != nil || isDeviceTreeHost(q) { depth += 1 }
                p = nodes[q].parent
            }
            result.append(
                BusShare(
                    role: depth == 0 ? .aperture : .window,
                    owner: bus.map { busName(segment: $0.segment, $0.bus) } ?? nodes[i].name,
                    range: nodes[i].range,
                    depth: depth,
                    holders: below.map { BusShare.Holder(name: nodes[$0].name, range: nodes[$0].range) },
                    largestFree: ByteCount(
                        FreeRoom(in: nodes[i].range, taken: below.map { nodes[$0].range }).largestBlock
                    )
                )
            )
        }
        return result
    }

    /// Whether a node is an aperture that a device tree names: `pcie@fe280000`, with functions or windows in it.
    private func isDeviceTreeHost(_ i: Int) -> Bool {
        let name = Array(nodes[i].name.utf8)[...]
        guard name.starts("pci"), name.contains(0x40) else { return false }
        return nodes.contains {
            $0.parent == i && (Self.bus(named: $0.name) != nil || FunctionAddress(parsing: $0.name) != nil)
        }
    }
}
