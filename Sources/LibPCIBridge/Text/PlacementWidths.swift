// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// What the kernel's own placements below a bridge tell of a prefetchable window that no text shows.
///
/// A kernel puts prefetchable memory into the prefetchable window where that can carry it. What it assigned to the memory
/// window instead tells: a 32-bit prefetchable BAR or a ROM, that the other window is 64 bits wide or not there; a 64-bit
/// one, that it is not there. What firmware placed tells nothing. Source: `pbus_size_mem`, `__pci_assign_resource`.
struct PlacementWidths {
    private var widths: [FunctionAddress: Int] = [:]

    /// Collects the placements of the log in `evidence`.
    /// - Complexity: O(assigned resources times bridges).
    init(_ evidence: TextEvidence) {
        let bridges = evidence.functions.filter { one in
            one.bridge?.memory?.range != nil && one.bridge?.prefetchable?.range == nil
        }
        guard !bridges.isEmpty else { return }
        for message in evidence.messages {
            guard let line = TriageLine(Array(message.text.utf8)[...]), line.kind == .assigned, line.isCore,
                case .resource(let index) = line.target, !index.isVFBAR, let address = line.address,
                let resource = line.resource, let range = resource.range, index.isROM || resource.kind == .prefetchable,
                evidence[address]?.resource(index)?.start == range.first
            else { continue }
            let isWide = !index.isROM && resource.flags.contains(.memory64)
            for bridge in bridges where bridge.address.segment == address.segment {
                guard let buses = bridge.bridge?.busRange, buses.contains(address.bus),
                    bridge.bridge?.memory?.range?.contains(range) == true,
                    !Self.hasFailed(bridge)
                else { continue }
                widths[bridge.address] = isWide ? 0 : widths[bridge.address] ?? 64
            }
        }
    }

    private static func hasFailed(_ bridge: TextFunction) -> Bool {
        if case .unassigned = bridge.bridge?.prefetchable { return true }
        return false
    }

    /// The width in bits of the prefetchable window of the bridge at `address`, 0 for none, nil when nothing tells.
    subscript(address: FunctionAddress) -> Int? { widths[address] }
}
