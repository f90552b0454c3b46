// SPDX-License-Identifier: GPL-2.0-or-later

public import PCITopology
public import RebalancePlanner

/// The most that a hot-plug port was seen to hold: what a card that comes back needs.
public struct HeldRoom: Hashable, Sendable {
    /// The port's place in the tree, which stays when buses are renumbered.
    public var port: String
    /// The greatest need of each kind, not always of one card.
    public var room: Headroom
    /// When the need last grew, seconds since 1970.
    public var time: Int64

    /// Creates a record.
    public init(port: String, room: Headroom, time: Int64) {
        self.port = port
        self.room = room
        self.time = time
    }
}

extension Topology {
    /// What the functions below the bridge at index `i` need, placed or not: BARs, VF BARs that are placed, windows of bridges
    /// in the kernel's granules, and a bus number for each bridge.
    ///
    /// - Complexity: O(resources below it).
    public func need(belowBridge i: Int) -> Headroom {
        var io: UInt64 = 0
        var memory: UInt64 = 0
        var prefetchable: UInt64 = 0
        var buses = 0
        for child in children(of: i) where !functions[child].isVirtual {
            for resource in functions[child].resources {
                guard resource.index.isBAR || resource.index.isVFBAR && resource.range != nil,
                    let size = resource.size?.rawValue
                else { continue }
                switch resource.kind {
                case .io: io = io.saturatingAdd(size)
                case .memory: memory = memory.saturatingAdd(size)
                case .prefetchable: prefetchable = prefetchable.saturatingAdd(size)
                case nil: continue
                }
            }
            guard functions[child].isBridge else { continue }
            let inner = need(belowBridge: child)
            io = io.saturatingAdd(alignUpClamped(inner.io.rawValue, 0x1000))
            memory = memory.saturatingAdd(alignUpClamped(inner.memory.rawValue, 0x10_0000))
            prefetchable = prefetchable.saturatingAdd(alignUpClamped(inner.prefetchable.rawValue, 0x10_0000))
            buses = min(255, buses + 1 + inner.buses)
        }
        return Headroom(
            io: ByteCount(io),
            memory: ByteCount(memory),
            prefetchable: ByteCount(prefetchable),
            buses: buses
        )
    }
}

extension EventLedger {
    /// The room to keep for what was plugged before: for each empty hot-plug port of `topology` the most that it was seen to
    /// hold, in the order of the tree.
    public func reserves(in topology: Topology) -> [(port: FunctionAddress, room: Headroom)] {
        topology.functions.indices.compactMap { i in
            guard topology.functions[i].isHotPlugBridge, topology.children(of: i).isEmpty else { return nil }
            let place = topology.path(of: i).description
            return held.first { $0.port == place }.map { (topology.functions[i].address, $0.room) }
        }
    }

    /// Notes what the hot-plug ports of `topology` hold.
    ///
    /// - Parameters:
    ///   - topology: the tree.
    ///   - time: seconds since 1970.
    ///   - isMeant: whether a port, by index, is to be remembered.
    /// - Returns: whether anything grew.
    public mutating func noteHeld(_ topology: Topology, at time: Int64, where isMeant: (Int) -> Bool) -> Bool {
        var grew = false
        for i in topology.functions.indices where topology.functions[i].isHotPlugBridge && isMeant(i) {
            let need = topology.need(belowBridge: i)
            guard need != Headroom() else { continue }
            let place = topology.path(of: i).description
            let old = held.first { $0.port == place }?.room ?? Headroom()
            let room = Headroom(
                io: max(old.io, need.io),
                memory: max(old.memory, need.memory),
                prefetchable: max(old.prefetchable, need.prefetchable),
                buses: max(old.buses, need.buses)
            )
            guard room != old else { continue }
            grew = true
            remember(HeldRoom(port: place, room: room, time: time))
        }
        return grew
    }
}
