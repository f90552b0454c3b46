// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

extension Platform {
    /// The platform of a machine: that of its kernel, corrected by what its tree shows.
    ///
    /// Of the hosts of device trees only some renumber every bus (`PCI_REASSIGN_ALL_BUS` of pci-host-common); a bridge
    /// whose range goes beyond what is in use and what hot-plug may keep was left as boot firmware numbered it.
    /// - Complexity: O(number of functions).
    public init(_ topology: Topology) {
        self.init(topology.kernel, commandLine: topology.kernel.commandLine)
        if preset == .arm64DT, Self.showsKeptNumbers(topology) { renumbersAllBuses = false }
    }

    private static func showsKeptNumbers(_ topology: Topology) -> Bool {
        topology.functions.indices.contains { i in
            guard let range = topology.functions[i].bridge?.busRange, topology.functions[i].config.headerLayout != 2
            else {
                return false
            }
            let below = topology.subtree(of: i)
            guard !below.contains(where: { topology.functions[$0].isHotPlugBridge }) else { return false }
            let used = below.flatMap { j in
                [topology.functions[j].address.bus] + (topology.functions[j].bridge?.busRange.map { [$0.first] } ?? [])
            }
            .max()
            return used.map { range.last > $0 } ?? false
        }
    }
}
