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
    /// BAR sizes to be written to Resizable BAR capabilities before the removal, in address order.
    var resizes: [Resize] = []
    /// How the removed functions are found again.
    var rescan: Rescan

    /// A size for a resizable BAR.
    struct Resize: Hashable {
        var function: FunctionAddress
        var bar: Int
        /// The exponent n of 2^n MiB.
        var exponent: Int
        /// The offset of the entry's control register.
        var controlOffset: Int
        /// Whether a driver is bound and has to let go first.
        var isBound: Bool
    }

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
        /// Nothing is removed: the resourceN_resize files do it.
        case resizeFiles
    }

    /// The writes that stop what is to be removed, in order: below before above, numbers and windows of a bridge right
    /// before its own removal, when nothing below it needs to be reached any more.
    func stopWrites(in topology: Topology) -> [SystemWrite] {
        var writes: [SystemWrite] = []
        if rescan == .resizeFiles {
            for resize in resizes where resize.isBound { writes.append(.unbindDriver(resize.function)) }
            return writes
        }
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
                || resizes.contains { $0.function == f.address }
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
        for resize in resizes where resize.function == function.address {
            if resize.isBound { writes.append(.unbindDriver(resize.function)) }
            // The size may be written only while the function does not decode memory (PCIe 6.0 §7.8.6.3).
            writes.append(.config(resize.function, offset: 4, width: 2, mask: 0x7, value: 0))
            writes.append(
                .config(
                    resize.function,
                    offset: resize.controlOffset,
                    width: 4,
                    mask: 0x3f00,
                    value: UInt32(resize.exponent) << 8
                )
            )
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

    /// The writes that find the removed functions again, or resize what stays.
    var findWrites: [SystemWrite] {
        switch rescan {
        case .bus(let segment, let bus): [.rescanBus(segment: segment, bus: bus)]
        case .aboveBridge(let bridge): [.rescanDevice(bridge)]
        case .resizeFiles:
            resizes.map { .resizeBAR($0.function, bar: $0.bar, exponent: $0.exponent) }
                + resizes.filter(\.isBound).map { .probeDriver($0.function) }
        }
    }

    /// The functions that the maneuver stops.
    var stopped: [FunctionAddress] { rescan == .resizeFiles ? resizes.map(\.function) : roots }
}
