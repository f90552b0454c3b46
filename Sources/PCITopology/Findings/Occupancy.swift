// SPDX-License-Identifier: GPL-2.0-or-later

/// How a window or an aperture is filled: who holds which part of it, and what is left.
public struct Occupancy: Hashable, Sendable {
    /// The range of the window or aperture.
    public var range: AddressRange
    /// Who holds parts of it, ascending by address.
    public var holders: [Holder]
    /// The parts that nobody holds, ascending, disjoint.
    public var free: [AddressRange]

    /// Who holds a part of a window.
    public struct Holder: Hashable, Sendable {
        /// The part inside the window.
        public var range: AddressRange
        /// Who it is.
        public var owner: Owner

        /// Creates a record.
        public init(range: AddressRange, owner: Owner) {
            self.range = range
            self.owner = owner
        }
    }

    /// A resource of a function, or something that is not PCI.
    public enum Owner: Hashable, Sendable {
        /// The resource `index` of the function at position `function` of the topology.
        case resource(function: Int, index: ResourceIndex)
        /// The blocker at position `blocker` of the topology.
        case blocker(Int)
    }

    init(range: AddressRange, holders: [Holder]) {
        self.range = range
        self.holders = holders.sorted { $0.range < $1.range }
        free = range.subtracting(self.holders.map(\.range))
    }

    /// The bytes that nobody holds.
    ///
    /// The free parts are disjoint and lie in one range, so their sum is bounded by its size.
    public var freeBytes: ByteCount { ByteCount(free.reduce(0) { $0 &+ $1.clampedSize }) }

    /// The bytes that somebody holds; what two hold is counted once.
    public var usedBytes: ByteCount { ByteCount(range.clampedSize - freeBytes.rawValue) }

    /// The largest naturally aligned power-of-two block that is free; 0 when nothing is.
    public var largestFreeBlock: ByteCount { ByteCount(free.map(\.largestAlignedBlock).max() ?? 0) }

    /// Whether `size` bytes at a multiple of `alignment` fit into a free part.
    public func fits(size: UInt64, alignment: UInt64) -> Bool {
        guard size > 0 else { return true }
        return free.contains { gap in
            guard let start = alignUp(gap.first, alignment), start <= gap.last else { return false }
            return gap.last - start >= size - 1
        }
    }
}

extension Topology {
    /// How `range` is filled by what sits directly below the bridge at index `i`.
    ///
    /// Windows of child bridges count as a whole. Below a subtractive bridge the functions behind it count as well,
    /// because they may live outside its windows. VFs do not count: they lie inside the blocks of their PF.
    /// - Complexity: O(k log k) in the number of resources below the bridge.
    public func occupancy(of range: AddressRange, isIO: Bool, belowBridge i: Int) -> Occupancy {
        Occupancy(range: range, holders: holders(of: range, isIO: isIO, among: children(of: i)))
    }

    /// How `aperture` of host bridge `h` is filled: functions of the root bus, and what is not PCI.
    public func occupancy(of aperture: Aperture, host h: Int) -> Occupancy {
        var found = holders(of: aperture.range, isIO: aperture.isIO, among: roots(of: h))
        for (position, blocker) in blockers.enumerated() where blocker.isIO == aperture.isIO {
            guard let part = blocker.range.intersection(aperture.range) else { continue }
            found.append(Occupancy.Holder(range: part, owner: .blocker(position)))
        }
        return Occupancy(range: aperture.range, holders: found)
    }

    private func holders(of range: AddressRange, isIO: Bool, among siblings: [Int]) -> [Occupancy.Holder] {
        var result: [Occupancy.Holder] = []
        var queue = siblings
        var next = 0
        while next < queue.count {
            let i = queue[next]
            next += 1
            let function = functions[i]
            guard !function.isVirtual else { continue }
            for resource in function.resources where resource.flags.contains(.io) == isIO {
                guard let part = resource.range?.intersection(range) else { continue }
                result.append(
                    Occupancy.Holder(range: part, owner: .resource(function: i, index: resource.index))
                )
            }
            if function.bridge?.isSubtractive == true { queue.append(contentsOf: children(of: i)) }
        }
        return result
    }
}
