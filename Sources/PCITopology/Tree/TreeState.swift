// SPDX-License-Identifier: GPL-2.0-or-later

/// What a kernel shows of one function at one moment: the part that a prediction must get right.
public struct FunctionState: Hashable, Sendable {
    /// The address.
    public var address: FunctionAddress
    /// The place in the kernel's tree, independent of bus numbers.
    public var path: TopologyPath
    /// The place by the wires, where the function really stands: together with the ids what tells that two trees show the
    /// same function. Mostly that is `path`; see `BusRoutes` for when the two part.
    public var place: TopologyPath
    /// Where the function may stand instead, as far as the wires tell: its bus is the secondary bus of several bridges.
    public var otherPlaces: [TopologyPath] = []
    /// Vendor ID in the high half, device ID in the low half.
    public var ids: UInt32
    /// The lines of the sysfs file `resource`.
    public var lines: [ResourceLine]
    /// The bus range of a bridge that has a bus; nil otherwise.
    public var busRange: BusRange?

    /// Creates a state.
    public init(
        address: FunctionAddress,
        path: TopologyPath,
        ids: UInt32,
        lines: [ResourceLine],
        busRange: BusRange?,
        place: TopologyPath? = nil
    ) {
        self.address = address
        self.path = path
        self.place = place ?? path
        self.ids = ids
        self.lines = lines
        self.busRange = busRange
    }
}

/// What a kernel shows of the whole tree at one moment, in ascending address order.
///
/// Held segment by segment: states of one machine that differ in one segment share the others.
public struct TreeState: Hashable, Sendable {
    /// The functions of each segment that has any, the segments ascending.
    private var segments: [[FunctionState]]

    /// The functions in ascending address order.
    /// - Complexity: O(1) for one segment, O(n) for several.
    public var functions: [FunctionState] {
        get { segments.count == 1 ? segments[0] : Array(segments.joined()) }
        set { segments = Self.bySegment(newValue) }
    }

    /// Creates a state; functions are sorted by address.
    public init(_ functions: [FunctionState]) {
        segments = Self.bySegment(functions.sorted { $0.address < $1.address })
    }

    private static func bySegment(_ functions: [FunctionState]) -> [[FunctionState]] {
        guard let first = functions.first, let last = functions.last else { return [] }
        if first.address.segment == last.address.segment { return [functions] }
        var result: [[FunctionState]] = []
        for function in functions {
            if let segment = result.last?.first?.address.segment, segment == function.address.segment {
                result[result.count - 1].append(function)
            } else {
                result.append([function])
            }
        }
        return result
    }

    /// This state with some segments as they are in another.
    ///
    /// - Parameters:
    ///   - numbers: the segments to replace, whether or not either state has functions there.
    ///   - part: what is there instead; its other segments do not count.
    /// - Returns: the state.
    public func replacing(segments numbers: Set<UInt32>, with part: TreeState) -> TreeState {
        func isReplaced(_ segment: [FunctionState]) -> Bool {
            segment.first.map { numbers.contains($0.address.segment) } ?? true
        }
        var result = self
        result.segments = segments.filter { !isReplaced($0) } + part.segments.filter { isReplaced($0) }
        result.segments.sort { ($0.first?.address.segment ?? 0) < ($1.first?.address.segment ?? 0) }
        return result
    }

    /// The state that `topology` shows.
    public init(_ topology: Topology) {
        segments = Self.bySegment(
            topology.functions.indices.map { i in
                let f = topology.functions[i]
                return FunctionState(
                    address: f.address,
                    path: topology.path(of: i),
                    ids: UInt32(f.identity.vendor) << 16 | UInt32(f.identity.device),
                    lines: f.lines,
                    busRange: f.bridge?.busRange
                )
            }
        )
        setPlaces(
            claimedBesides: topology.functions.compactMap { f in
                f.bridge?.busRange == nil ? BusRoutes.Claim(f.address, f.bridge?.registers) : nil
            }
        )
    }

    /// The function at `address`, or nil.
    /// - Complexity: O(log n) within the segment.
    public subscript(address: FunctionAddress) -> FunctionState? {
        guard let segment = segments.first(where: { $0.first?.address.segment == address.segment }) else { return nil }
        var low = 0
        var high = segment.count
        while low < high {
            let middle = (low + high) / 2
            if segment[middle].address < address { low = middle + 1 } else { high = middle }
        }
        return low < segment.count && segment[low].address == address ? segment[low] : nil
    }

    /// The part of each of two states in which they may differ, in address order: without the segments that are the same,
    /// and without what both show alike at the beginning and at the end of a segment.
    ///
    /// A step of a plan leaves most of a tree as it was; who compares two states function by function begins here.
    /// - Complexity: O(number of resource lines) of the segments that the states do not share.
    public static func differingParts(
        _ one: TreeState,
        _ other: TreeState
    ) -> (one: [FunctionState], other: [FunctionState]) {
        var result: (one: [FunctionState], other: [FunctionState]) = ([], [])
        var a = one.segments[...]
        var b = other.segments[...]
        while let next = [a.first, b.first].compactMap({ $0?.first?.address.segment }).min() {
            let mine = a.first?.first?.address.segment == next ? a.removeFirst() : []
            let theirs = b.first?.first?.address.segment == next ? b.removeFirst() : []
            if mine == theirs { continue }
            let shorter = min(mine.count, theirs.count)
            var first = 0
            while first < shorter, mine[first] == theirs[first] { first += 1 }
            var last = 0
            while last < shorter - first, mine[mine.count - 1 - last] == theirs[theirs.count - 1 - last] { last += 1 }
            result.one += mine[first..<mine.count - last]
            result.other += theirs[first..<theirs.count - last]
        }
        return result
    }

    /// A 64-bit fingerprint of addresses, ids, resource lines and bus ranges (FNV-1a over their bytes).
    ///
    /// Tells whether a tree is still the one that a plan was made for. Not a defence against forgery.
    /// - Complexity: O(number of resource lines).
    public var fingerprint: UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ value: UInt64) {
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                // FNV-1a is defined modulo 2^64.
                hash = (hash ^ (value >> shift & 0xff)) &* 0x100_0000_01b3
            }
        }
        for f in functions {
            mix(UInt64(f.address.segment) << 16 | UInt64(f.address.bus.rawValue) << 8 | UInt64(f.address.devfn))
            mix(UInt64(f.ids))
            if let buses = f.busRange {
                mix(1 << 16 | UInt64(buses.first.rawValue) << 8 | UInt64(buses.last.rawValue))
            } else {
                mix(0)
            }
            for line in f.lines {
                mix(line.start)
                mix(line.end)
                mix(line.flags.rawValue)
            }
        }
        return hash
    }

    /// One difference between two states.
    public enum Difference: Hashable, Sendable {
        /// A function is in `self` and not in the other state.
        case missing(FunctionState)
        /// A function is in the other state and not in `self`.
        case unexpected(FunctionState)
        /// Another device answers at the address.
        case identity(FunctionAddress, expected: UInt32, found: UInt32)
        /// A resource line differs; a line that one side lacks counts as zero.
        case resource(FunctionAddress, ResourceIndex, expected: ResourceLine, found: ResourceLine)
        /// The bus range differs.
        case busRange(FunctionAddress, expected: BusRange?, found: BusRange?)
    }

    /// What `found` has otherwise than this state, in address order; empty when they agree.
    /// - Complexity: O(number of resource lines).
    public func differences(from found: TreeState) -> [Difference] {
        var result: [Difference] = []
        let mine = functions
        let theirs = found.functions
        var a = 0
        var b = 0
        while a < mine.count || b < theirs.count {
            if b >= theirs.count
                || (a < mine.count && mine[a].address < theirs[b].address)
            {
                result.append(.missing(mine[a]))
                a += 1
                continue
            }
            if a >= mine.count || theirs[b].address < mine[a].address {
                result.append(.unexpected(theirs[b]))
                b += 1
                continue
            }
            let x = mine[a]
            let y = theirs[b]
            if x.ids != y.ids { result.append(.identity(x.address, expected: x.ids, found: y.ids)) }
            if x.busRange != y.busRange {
                result.append(.busRange(x.address, expected: x.busRange, found: y.busRange))
            }
            for (index, p, q) in x.lines.pairs(with: y.lines) where p != q {
                result.append(.resource(x.address, index, expected: p, found: q))
            }
            a += 1
            b += 1
        }
        return result
    }
}

extension TreeState.Difference: CustomStringConvertible {
    /// A lower-case sentence with what was expected and found.
    public var description: String {
        switch self {
        case .missing(let f): "\(f.address) expected, not found"
        case .unexpected(let f): "\(f.address) found, not expected"
        case .identity(let address, let expected, let found):
            "\(address) expected id \(bareHex(UInt64(expected), width: 8)), found \(bareHex(UInt64(found), width: 8))"
        case .resource(let address, let index, let expected, let found):
            "\(address) \(index) expected \(expected), found \(found)"
        case .busRange(let address, let expected, let found):
            "\(address) expected \(expected?.description ?? "no bus"), found \(found?.description ?? "no bus")"
        }
    }
}
