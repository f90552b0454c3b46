// SPDX-License-Identifier: GPL-2.0-or-later

internal import PCITopology

/// One stage of a plan: functions that are removed together, registers written before, and the rescan that finds them
/// again.
struct Maneuver: Hashable {
    /// The functions to remove, all on one bus, in the kernel's list order; what is below each goes with it.
    var roots: [FunctionAddress]
    /// Bus numbers to be written before the removal, keyed by the bridge's present address, in address order.
    var numbering: [BridgeNumbers]
    /// Whether the windows of the removed bridges are closed before the removal.
    var closesWindows: Bool
    /// How the removed functions are found again.
    var rescan: Rescan

    /// The numbers that a bridge gets.
    struct BridgeNumbers: Hashable {
        var bridge: FunctionAddress
        var primary: BusNumber
        var range: BusRange
    }

    /// How removed functions are found again.
    enum Rescan: Hashable {
        /// The rescan file of their bus: of an emptied bus below a bridge, the one that may grow the bridge's windows.
        case bus(segment: UInt32, bus: BusNumber)
        /// The rescan file of the bridge above: a plain rescan of the bus that the bridge sits on, and below.
        case aboveBridge(FunctionAddress)
    }

    /// The writes that stop what is to be removed, in order: below before above, numbers and windows of a bridge right
    /// before its own removal, when nothing below it needs to be reached any more.
    func stopWrites(in topology: Topology) -> [SystemWrite] {
        var writes: [SystemWrite] = []
        let numbers = Dictionary(numbering.map { ($0.bridge, $0) }, uniquingKeysWith: { first, _ in first })
        for root in roots {
            guard let i = topology.position(of: root) else { continue }
            stop(i, topology, numbers, &writes)
        }
        return writes
    }

    private func stop(
        _ i: Int,
        _ topology: Topology,
        _ numbers: [FunctionAddress: BridgeNumbers],
        _ writes: inout [SystemWrite]
    ) {
        let function = topology.functions[i]
        let below = topology.subtree(of: i)
        let needsRegisters = below.contains { member in
            let f = topology.functions[member]
            return numbers[f.address] != nil || (closesWindows && f.isBridge)
        }
        guard needsRegisters else {
            writes.append(.remove(function.address))
            return
        }
        for child in topology.children(of: i) where !topology.functions[child].isVirtual {
            stop(child, topology, numbers, &writes)
        }
        if closesWindows, function.isBridge { writes += Self.closing(function) }
        if let wanted = numbers[function.address] {
            let value =
                UInt32(wanted.primary.rawValue) | UInt32(wanted.range.first.rawValue) << 8
                | UInt32(wanted.range.last.rawValue) << 16
            writes.append(.config(function.address, offset: 0x18, width: 4, mask: 0x00ff_ffff, value: value))
        }
        writes.append(.remove(function.address))
    }

    /// The writes that close every window a bridge has: base above limit.
    static func closing(_ function: Function) -> [SystemWrite] {
        guard let registers = function.bridge?.registers else { return [] }
        var writes: [SystemWrite] = []
        if registers.io.range != nil, function.resource(.ioWindow) != nil {
            writes.append(.config(function.address, offset: 0x1c, width: 2, mask: 0xf0f0, value: 0x00f0))
        }
        if registers.memory.range != nil {
            writes.append(.config(function.address, offset: 0x20, width: 4, mask: 0xfff0_fff0, value: 0x0000_fff0))
        }
        if registers.prefetchable.range != nil, function.resource(.prefetchableWindow) != nil {
            writes.append(.config(function.address, offset: 0x24, width: 4, mask: 0xfff0_fff0, value: 0x0000_fff0))
        }
        return writes
    }

    /// The write that finds the removed functions again.
    var rescanWrite: SystemWrite {
        switch rescan {
        case .bus(let segment, let bus): .rescanBus(segment: segment, bus: bus)
        case .aboveBridge(let bridge): .rescanDevice(bridge)
        }
    }
}
