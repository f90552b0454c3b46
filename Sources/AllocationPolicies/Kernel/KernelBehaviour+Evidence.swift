// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology

// What a machine did tells which behaviour it has.
extension KernelBehaviour {
    /// The other behaviours under which operations end in what the machine shows, likeliest first.
    ///
    /// For the moment when an applied step did not end as predicted: a stable tree may carry a piece of another generation.
    ///
    /// - Parameters:
    ///   - observed: what the machine shows after the operations.
    ///   - operations: what was done, in order; an operation that the twin refuses ends that candidate.
    ///   - before: the machine before the first of them, as it was read.
    /// - Returns: what fits all that was seen, so that a plan can be made anew with the first of them; none means that no
    ///   known kernel does this, and the machine's way back is the only way.
    /// - Complexity: one simulation for each of `alternatives`, O(n log n) each.
    public func alternatives(
        for observed: TreeState,
        after operations: [TwinOperation],
        from before: Topology
    ) -> [KernelBehaviour] {
        alternatives.filter { candidate in
            candidate.prediction(of: operations, from: before)?.differences(from: observed).isEmpty == true
        }
    }

    /// Whether this behaviour itself ends there.
    public func explains(_ observed: TreeState, after operations: [TwinOperation], from before: Topology) -> Bool {
        prediction(of: operations, from: before)?.differences(from: observed).isEmpty == true
    }

    /// Where operations end, or nil when the twin cannot carry them out.
    private func prediction(of operations: [TwinOperation], from before: Topology) -> TreeState? {
        guard var twin = try? LinuxTwin(before, behaviour: self) else { return nil }
        twin.recordsEvents = false
        for operation in operations {
            guard (try? twin.perform(operation)) != nil else { return nil }
        }
        return (try? twin.topology()).map { TreeState($0) }
    }
}
