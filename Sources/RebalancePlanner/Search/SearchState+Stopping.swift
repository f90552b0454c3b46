// SPDX-License-Identifier: GPL-2.0-or-later

internal import AllocationPolicies
internal import PCITopology

// The writes that stop what a stage removes.
extension SearchState {
    /// The physical functions with VFs among what a stage removes, with how many each has enabled.
    ///
    /// Some drivers leave VFs enabled (`pci_iov_remove` only warns), which would stay without their physical function: the
    /// stage takes them away first. Nothing but a write enables them again.
    func physicalFunctions(removedBy stage: Stage) -> [(address: FunctionAddress, count: Int)] {
        guard !stage.usesResizeFiles else { return [] }
        return stage.roots.flatMap { context.subtree[$0] }.compactMap { i in
            guard summary.enabledVFs[i] > 0, let address = address(i) else { return nil }
            return (address, Int(summary.enabledVFs[i]))
        }
    }

    /// The writes in order: VFs away, then below before above, registers of a function right before its own removal, when
    /// nothing below it needs to be reached any more.
    func stopWrites(_ stage: Stage) -> [SystemWrite] {
        var writes: [SystemWrite] = []
        if stage.usesResizeFiles {
            for i in stage.stopped where stage.resizes.contains(where: { $0.function == i && $0.isBound }) {
                if let address = address(i) { writes.append(.unbindDriver(address)) }
            }
            return writes
        }
        var touched = FunctionSet(stage.numbering.map(\.bridge))
        touched.formUnion(FunctionSet(stage.windows.map(\.bridge)))
        touched.formUnion(FunctionSet(stage.resizes.map(\.function)))
        touched.formUnion(FunctionSet(stage.silenced))
        writes += physicalFunctions(removedBy: stage).map { .sriovNumVFs($0.address, count: 0) }
        for root in inOrder(stage.roots, stage) { stop(root, stage, touched, &writes) }
        return writes
    }

    /// Functions of one bus in an order in which none hides another: a bridge that is written new numbers claims the cycles
    /// to them at once, also those that still lead to what is below a neighbour.
    private func inOrder(_ functions: [Int], _ stage: Stage) -> [Int] {
        let numbered = Dictionary(stage.numbering.map { ($0.bridge, $0.range) }) { first, _ in first }
        guard functions.count > 1, functions.contains(where: { numbered[$0] != nil }) else { return functions }
        var waiting = functions
        var result: [Int] = []
        while !waiting.isEmpty {
            let next = waiting.first { i in
                guard let range = numbered[i] else { return true }
                return !waiting.contains { $0 != i && summary.buses[$0]?.overlaps(range) == true }
            }
            // Two that want each other's numbers cannot both be written; the twin refuses that.
            let chosen = next ?? waiting[0]
            result.append(chosen)
            waiting.removeAll { $0 == chosen }
        }
        return result
    }

    private func stop(_ i: Int, _ stage: Stage, _ touched: FunctionSet, _ writes: inout [SystemWrite]) {
        guard let address = address(i) else { return }
        guard context.subtree[i].contains(where: { touched.contains($0) }) else {
            writes.append(.remove(address))
            return
        }
        for child in inOrder(context.children[i].filter { !context.isVirtual($0) }, stage) {
            stop(child, stage, touched, &writes)
        }
        for window in stage.windows where window.bridge == i {
            writes += window.size == 0 ? closing(address, window.kind) : opening(address, window.kind, window.size)
        }
        for wanted in stage.numbering where wanted.bridge == i {
            let value =
                UInt32(wanted.primary.rawValue) | UInt32(wanted.range.first.rawValue) << 8
                | UInt32(wanted.range.last.rawValue) << 16
            writes.append(.config(address, offset: 0x18, width: 4, mask: 0x00ff_ffff, value: value))
        }
        let resizes = stage.resizes.filter { $0.function == i }
        if !resizes.isEmpty || stage.silenced.contains(i) {
            // A driver must not find its device dead; a port's goes with what is below, and that is gone by now.
            if !context.isBridge(i), context.hasDriver(i) { writes.append(.unbindDriver(address)) }
            // A size may be written only while the function does not decode memory (PCIe 6.0 §7.8.6.3).
            writes.append(.config(address, offset: 4, width: 2, mask: 0x7, value: 0))
        }
        for resize in resizes {
            writes.append(
                .config(
                    address,
                    offset: resize.controlOffset,
                    width: 4,
                    mask: 0x3f00,
                    value: UInt32(resize.exponent) << 8
                )
            )
        }
        writes.append(.remove(address))
    }

    /// Whether the registers of bridge `i` forward anything of a kind.
    func isOpen(_ i: Int, _ kind: ResourceKind) -> Bool {
        guard address(i) != nil else { return false }
        func register(_ offset: Int, _ width: Int) -> UInt32 {
            simulation.twin.register(ofNumber: i, at: offset, width: width) ?? 0
        }
        switch kind {
        case .io:
            guard context.hasWindow(i, .io) else { return false }
            let value = register(0x1c, 2)
            guard value != 0 else { return false }
            return value & 0xf0 <= value >> 8 & 0xf0
        case .memory:
            let value = register(0x20, 4)
            return value & 0xfff0 <= value >> 16 & 0xfff0
        case .prefetchable:
            guard context.hasWindow(i, .prefetchable) else { return false }
            let value = register(0x24, 4)
            let low = UInt64(register(0x28, 4)) << 16 | UInt64(value & 0xfff0)
            let high = UInt64(register(0x2c, 4)) << 16 | UInt64(value >> 16 & 0xfff0)
            return low <= high
        }
    }

    /// The writes that close a window: base above limit, in the upper halves too.
    private func closing(_ address: FunctionAddress, _ kind: ResourceKind) -> [SystemWrite] {
        switch kind {
        case .io: return [.config(address, offset: 0x1c, width: 2, mask: 0xf0f0, value: 0x00f0)]
        case .memory: return [.config(address, offset: 0x20, width: 4, mask: 0xfff0_fff0, value: 0x0000_fff0)]
        case .prefetchable:
            var writes: [SystemWrite] = [
                .config(address, offset: 0x24, width: 4, mask: 0xfff0_fff0, value: 0x0000_fff0)
            ]
            if is64BitWide(address) {
                writes.append(.config(address, offset: 0x28, width: 4, mask: .max, value: .max))
                writes.append(.config(address, offset: 0x2c, width: 4, mask: .max, value: 0))
            }
            return writes
        }
    }

    /// The writes that open a window of `size` bytes; decoding goes off first, since where it opens belongs to others.
    ///
    /// Only the size counts when the bridge is found again (`pci_read_bridge_bases`, then `calculate_memsize`).
    private func opening(_ address: FunctionAddress, _ kind: ResourceKind, _ size: UInt64) -> [SystemWrite] {
        var writes: [SystemWrite] = [.config(address, offset: 4, width: 2, mask: 0x3, value: 0)]
        switch kind {
        case .io:
            let last = UInt32(truncatingIfNeeded: min(size.saturatingAdd(0x1000), 0x1_0000) - 1)
            writes.append(.config(address, offset: 0x1c, width: 2, mask: 0xf0f0, value: 0x10 | last & 0xf000))
        case .memory:
            let last = UInt32(truncatingIfNeeded: min(size.saturatingAdd(0x10_0000), 0xfff0_0000) - 1)
            writes.append(.config(address, offset: 0x20, width: 4, mask: 0xfff0_fff0, value: 0x10 | last & 0xfff0_0000))
        case .prefetchable:
            let isWide = is64BitWide(address)
            let first: UInt64 = isWide ? 1 << 32 : 0x10_0000
            let last = first.saturatingAdd(isWide ? max(size, 1) - 1 : min(max(size, 1), 0xffe0_0000) - 1)
            let value =
                UInt32(truncatingIfNeeded: first >> 16) & 0xfff0 | UInt32(truncatingIfNeeded: last) & 0xfff0_0000
            writes.append(.config(address, offset: 0x24, width: 4, mask: 0xfff0_fff0, value: value))
            if isWide {
                writes.append(.config(address, offset: 0x28, width: 4, mask: .max, value: 1))
                let upper = UInt32(truncatingIfNeeded: last >> 32)
                writes.append(.config(address, offset: 0x2c, width: 4, mask: .max, value: upper))
            }
        }
        return writes
    }

    private func is64BitWide(_ address: FunctionAddress) -> Bool {
        (simulation.twin.register(of: address, at: 0x24, width: 2) ?? 0) & 0xf == 1
    }
}
