// SPDX-License-Identifier: GPL-2.0-or-later

/// What is free in the window of a port, and whether that is the room which somebody wants kept for a card to come.
///
/// The one rule for room below a port: plans that make it, boots that are to leave it and the solver's lower bound all
/// ask here.
public struct FreeRoom: Hashable, Sendable {
    /// Free blocks, ascending, disjoint.
    public let blocks: [AddressRange]

    /// What `taken` leaves of `window`; a port without a window has no room.
    /// - Complexity: O(k log k) in the number of ranges.
    public init(in window: AddressRange?, taken: [AddressRange]) {
        blocks = window?.subtracting(taken) ?? []
    }

    /// The free bytes. The blocks are disjoint and lie in one range, so their sum is bounded by its size.
    public var bytes: UInt64 { blocks.reduce(0) { $0 &+ $1.clampedSize } }

    /// The largest naturally aligned power-of-two block that is free; 0 when nothing is.
    public var largestBlock: UInt64 { blocks.map(\.largestAlignedBlock).max() ?? 0 }

    /// Whether `wanted` bytes are free, and a BAR of the largest power of two in them has a place.
    public func holds(_ wanted: UInt64) -> Bool {
        largestBlock >= Self.block(of: wanted) && bytes >= wanted
    }

    /// The naturally aligned block that room of `wanted` bytes must have: the largest power of two in it, 0 for no bytes.
    public static func block(of wanted: UInt64) -> UInt64 {
        wanted == 0 ? 0 : 1 << UInt64(63 - wanted.leadingZeroBitCount)
    }

    /// The bus numbers of a port that neither its own bus nor the bridges below it take.
    ///
    /// - Parameters:
    ///   - range: the port's bus range.
    ///   - below: the ranges of the bridges on its bus.
    /// - Returns: 0 for a port without a bus, at most 255.
    public static func busNumbers(in range: BusRange?, below: [BusRange]) -> Int {
        guard let range else { return 0 }
        return max(0, range.count - 1 - below.reduce(0) { $0 + $1.count })
    }
}

extension Topology {
    /// What is free of a kind below the bridge at index `i`: in its prefetchable window, where it has one, for
    /// prefetchable memory, in its memory window otherwise.
    /// - Complexity: O(k log k) in the number of resources below the bridge.
    public func freeRoom(belowBridge i: Int, _ kind: ResourceKind) -> FreeRoom {
        let function = functions[i]
        let window: Resource? =
            switch kind {
            case .io: function.resource(.ioWindow)
            case .memory: function.resource(.memoryWindow)
            case .prefetchable: function.resource(.prefetchableWindow) ?? function.resource(.memoryWindow)
            }
        guard let range = window?.range else { return FreeRoom(in: nil, taken: []) }
        let space = occupancy(of: range, isIO: kind == .io, belowBridge: i)
        return FreeRoom(in: range, taken: space.holders.map(\.range))
    }

    /// The bus numbers that nobody below the bridge at index `i` uses.
    public func freeBusNumbers(belowBridge i: Int) -> Int {
        FreeRoom.busNumbers(
            in: functions[i].bridge?.busRange,
            below: children(of: i).compactMap { functions[$0].bridge?.busRange }
        )
    }
}
