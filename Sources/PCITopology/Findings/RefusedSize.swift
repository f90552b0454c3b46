// SPDX-License-Identifier: GPL-2.0-or-later

/// A size that a BAR was to have and was refused; it keeps the size that it had.
public struct RefusedSize: Hashable, Sendable {
    /// The function.
    public var address: FunctionAddress
    /// The BAR.
    public var index: ResourceIndex
    /// Its kind.
    public var flags: ResourceFlags
    /// The size asked for.
    public var size: ByteCount

    /// Creates a refusal.
    public init(_ address: FunctionAddress, _ index: ResourceIndex, flags: ResourceFlags, size: ByteCount) {
        self.address = address
        self.index = index
        self.flags = flags
        self.size = size
    }
}

extension Topology {
    /// The tree in which the refused sizes are what the BARs want and have no place for, with the findings that say so.
    package func wanting(_ refusals: [RefusedSize]) -> (tree: Topology, findings: [Finding]) {
        var tree = self
        var findings: [Finding] = []
        for refusal in refusals {
            let wanted = Resource(
                index: refusal.index,
                flags: refusal.flags,
                size: refusal.size,
                alignment: refusal.size,
                assignment: .unassigned
            )
            let isKnown = tree.update(refusal.address) { function in
                function.resources.removeAll { $0.index == refusal.index }
                function.resources.append(wanted)
                function.resources.sort { $0.index < $1.index }
            }
            guard isKnown else { continue }
            findings.append(
                Finding(
                    .barUnassigned,
                    .problem,
                    at: refusal.address,
                    resource: refusal.index,
                    "\(refusal.size) was refused"
                )
            )
        }
        return (tree, findings)
    }
}
