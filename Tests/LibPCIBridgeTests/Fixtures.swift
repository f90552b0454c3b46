// SPDX-License-Identifier: GPL-2.0-or-later

import LibPCIBridge
import PCITopology

/// The recorded machines below `Fixtures/`.
enum Fixtures {
    /// The directory, found from this source file.
    static let path: String = {
        let parts = #filePath.split(separator: "/")
        return "/" + parts.dropLast(3).joined(separator: "/") + "/Fixtures"
    }()

    static func record(_ name: String) throws -> MachineRecord {
        try SnapshotFile(path: "\(path)/\(name).snapshot.json").read()
    }

    static func topology(_ name: String) throws -> Topology {
        try TopologyAssembler(record(name)).topology()
    }
}

/// The address that `text` states; a test with a misspelt address fails by finding nothing.
func at(_ text: String) -> FunctionAddress {
    FunctionAddress(parsing: text) ?? FunctionAddress(segment: .max, bus: BusNumber(0), devfn: 0)
}

/// The range `first...last`; a range that is none becomes the whole space.
func range(_ first: UInt64, _ last: UInt64) -> AddressRange { AddressRange(first: first, last: last) ?? .all }
