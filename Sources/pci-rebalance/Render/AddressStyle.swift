// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// How function addresses are written, as lspci users choose it.
struct AddressStyle {
    /// Whether the segment stands before the bus (`-D`, or when a segment other than 0 exists).
    var showsSegment: Bool
    /// Whether functions are named by their path (`-P`).
    var showsPath: Bool

    init(showsSegment: Bool = false, showsPath: Bool = false, for topology: Topology) {
        self.showsSegment = showsSegment || topology.hostBridges.contains { $0.segment != 0 }
        self.showsPath = showsPath
    }

    /// The name of the function at index `i`.
    func name(of i: Int, in topology: Topology) -> String {
        let address = topology.functions[i].address
        guard showsPath else { return text(address) }
        let path = topology.path(of: i).description
        return showsSegment ? path : String(path.drop { $0 != ":" }.dropFirst())
    }

    /// The address with or without segment.
    func text(_ address: FunctionAddress) -> String { showsSegment ? address.description : address.short }
}
