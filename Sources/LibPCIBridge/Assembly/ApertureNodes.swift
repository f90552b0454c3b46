// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// Finds the nodes of /proc/iomem or /proc/ioports that are a host bridge's apertures.
///
/// With ACPI they are named `PCI Bus DDDD:BB` after the root bus (`acpi_pci_root_create`). With a device tree the driver
/// chooses the name (`pcie@10000000`, `MEM`); there they are the nodes that hold BARs and windows of the tree and are
/// neither.
struct ApertureNodes {
    private let tree: TreePlacement

    init(_ tree: TreePlacement) { self.tree = tree }

    /// The indices of the nodes of `root`, in ascending order.
    func find(_ root: TreePlacement.Root, in text: IomemText) -> [Int] {
        let named = text.busNodes
            .filter { $0.segment == root.segment && $0.bus == root.bus && !text.isBelowBus($0.node) }
            .map(\.node)
        if !named.isEmpty { return named }
        let next = tree.roots.first { $0.segment == root.segment && $0.bus > root.bus }?.bus
        func isBelow(_ bus: BusNumber) -> Bool { bus >= root.bus && (next.map { bus < $0 } ?? true) }
        var found = Set<Int>()
        for node in text.nodes {
            guard let parent = node.parent else { continue }
            let above = text.nodes[parent].name
            guard functionName(above) == nil, IomemText.bus(named: above) == nil else { continue }
            if let function = functionName(node.name), function.segment == root.segment, isBelow(function.bus) {
                found.insert(parent)
            } else if let bus = IomemText.bus(named: node.name), bus.segment == root.segment, isBelow(bus.bus) {
                found.insert(parent)
            }
        }
        // A node inside another that was found is a part of it (`Reserved` around a BAR), no aperture.
        return found.sorted().filter { node in
            var p = text.nodes[node].parent
            while let q = p {
                if found.contains(q) { return false }
                p = text.nodes[q].parent
            }
            return true
        }
    }
}
