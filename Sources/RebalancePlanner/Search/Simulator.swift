// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// A machine that does writes in thought: the seam between the search and the twin.
///
/// A value; the search branches by copying it.
protocol Simulator {
    /// The machine as it is now.
    func topology() throws -> Topology
    /// Does the writes in order; false when the machine would refuse one.
    mutating func perform(_ writes: [SystemWrite]) -> Bool
}
