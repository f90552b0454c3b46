// SPDX-License-Identifier: GPL-2.0-or-later

import PCITopology

/// What one function shows differently in two states of a tree; functions are matched by path, which renumbering keeps.
struct StateChange: Equatable {
    /// What changed.
    enum What: Equatable {
        /// The function is gone.
        case gone
        /// The function is new.
        case new
        /// Another bus number, hence another address.
        case renumbered(from: FunctionAddress)
        /// The bridge's bus range.
        case buses(from: BusRange?, to: BusRange?)
        /// A resource.
        case resource(ResourceIndex, from: ResourceLine, to: ResourceLine)
    }

    /// The address in the later state; in the earlier one where the function is gone.
    var address: FunctionAddress
    /// What changed.
    var what: What

    /// All changes from `old` to `new`, in address order of the later state, functions that are gone first.
    ///
    /// What a new function shows is part of its changes, compared with nothing.
    static func changes(from old: TreeState, to new: TreeState) -> [StateChange] {
        let (before, after) = TreeState.differingParts(old, new)
        return changes(from: before, to: after)
    }

    /// The same where the parts in which the states differ are known; a new function is compared with what it showed last if
    /// it is among those that are `absent` from the earlier state.
    static func changes(
        from before: [FunctionState],
        absent: [TopologyPath: FunctionState] = [:],
        to after: [FunctionState]
    ) -> [StateChange] {
        var result: [StateChange] = []
        let oldByPath = Dictionary(before.map { ($0.path, $0) }) { first, _ in first }
        let newPaths = Set(after.map(\.path))
        for function in before where !newPaths.contains(function.path) {
            result.append(StateChange(address: function.address, what: .gone))
        }
        for function in after {
            guard let before = oldByPath[function.path] ?? absent[function.path] else {
                result.append(StateChange(address: function.address, what: .new))
                if let range = function.busRange {
                    result.append(StateChange(address: function.address, what: .buses(from: nil, to: range)))
                }
                appendResources(of: function, from: [], to: &result)
                continue
            }
            if before.address != function.address {
                result.append(StateChange(address: function.address, what: .renumbered(from: before.address)))
            }
            if before.busRange != function.busRange {
                result.append(
                    StateChange(address: function.address, what: .buses(from: before.busRange, to: function.busRange))
                )
            }
            appendResources(of: function, from: before.lines, to: &result)
        }
        return result
    }

    private static func appendResources(
        of function: FunctionState,
        from old: [ResourceLine],
        to result: inout [StateChange]
    ) {
        // What a reader of the text cannot tell apart did not change for him: a bit of the flags alone.
        for (index, a, b) in old.pairs(with: function.lines) where a != b && a.text(index) != b.text(index) {
            result.append(StateChange(address: function.address, what: .resource(index, from: a, to: b)))
        }
    }
}

extension ResourceLine {
    /// The line as the kernel log words it: `[mem 0xfe800000-0xfe800fff]`, `no address (1G)`, `closed`.
    func text(_ index: ResourceIndex) -> String {
        guard let range = range(of: index) else {
            return index.isWindow ? "closed" : size.map { "no address (\($0))" } ?? "no address"
        }
        let kind = ResourceKind(flags)
        var text = "[\(kind == .io ? "io " : "mem") "
        text += "\(hex(range.first, width: kind == .io ? 4 : 8))-\(hex(range.last, width: kind == .io ? 4 : 8))"
        if flags.contains(.memory64) { text += " 64bit" }
        if flags.contains(.prefetchable) { text += " pref" }
        return text + "]"
    }
}
